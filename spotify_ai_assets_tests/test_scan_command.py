"""``spotify-ai scan`` tells where a listener is, and never who."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spotify_ai_assets.cli import app
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.settings import Settings

VALUE = "canaryuser0123"


@pytest.fixture
def pseudonym(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """The pseudonym of a listener who stands in the vault and in one file."""
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(settings.data))
    monkeypatch.setenv("SPOTIFY_AI_PSEUDONYM_SEED", "test")
    found = open_vault(settings).swap([VALUE])[VALUE]
    folder = settings.data / "reports" / "daily" / "deep"
    folder.mkdir(parents=True)
    (folder / "page.html").write_text(f"<p>{found}</p>")
    (settings.data / "landing").mkdir()
    (settings.data / "landing" / f"{VALUE}.json").write_text("[]")
    return found


def test_both_names_of_a_listener_are_sought_everywhere(pseudonym: str, settings: Settings):
    told = CliRunner().invoke(app, ["scan", "--listener", VALUE, "--json"])
    assert told.exit_code == 0
    document = json.loads(told.stdout)
    assert not document["clean"]
    found = {(hit["store"], hit["inside"], hit["value"]) for hit in document["hits"]}
    assert found >= {
        ("reports", "", "pseudonym"),
        ("landing", "name", "user_id"),
        ("vault", "sqlite", "user_id"),
        ("vault", "", "pseudonym"),
    }
    assert VALUE not in told.stdout
    assert pseudonym not in told.stdout


def test_a_table_tells_the_folders_and_how_often(pseudonym: str):
    told = CliRunner().invoke(app, ["scan", "--pseudonym", pseudonym, "--leave-out", "vault"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    assert "daily/deep" in told.stdout
    assert "Found, or not everything could be read." in told.stdout
    assert pseudonym not in told.stdout


def test_nobody_is_found_nowhere(pseudonym: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = CliRunner().invoke(app, ["scan", "--listener", "somebody else entirely"])
    assert told.exit_code == 0
    assert "Found nowhere, and everything was read." in told.stdout
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path / "none"))
    assert CliRunner().invoke(app, ["scan", "--listener", "a"]).exit_code == 1
    assert CliRunner().invoke(app, ["scan"]).exit_code == 2
