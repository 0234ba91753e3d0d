"""Settings: defaults, and errors that name the variable."""

from pathlib import Path

import pytest

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.settings import ROOT, Settings


def test_everything_is_embedded_by_default() -> None:
    settings = Settings.from_environment({})
    assert settings.data == ROOT / "data"
    assert settings.lake == str(ROOT / "data" / "lake")
    assert settings.vault_url == f"sqlite:///{ROOT / 'data' / 'vault' / 'identities.db'}"
    assert (settings.executor, settings.language, settings.pseudonym_seed) == ("in_process", "en", None)


def test_the_data_folder_moves_everything_embedded(tmp_path: Path) -> None:
    settings = Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path)})
    assert {settings.landing.parent, settings.reports.parent, settings.stream.parent, Path(settings.lake).parent} == {tmp_path}
    assert settings.stream_url == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SPOTIFY_AI_EXECUTOR", "magic"),
        ("SPOTIFY_AI_LANG", "tlh"),
        ("SPOTIFY_AI_KEEP_LANDING_DAYS", "-1"),
        ("SPOTIFY_AI_STREAM_URL", "http://127.0.0.1:6379"),
    ],
)
def test_an_unusable_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})
