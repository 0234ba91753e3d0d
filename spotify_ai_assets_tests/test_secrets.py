"""Secrets: by the name of a variable or of a file, and left out of what is printed."""

from pathlib import Path

import pytest

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.settings import SECRETS, Settings, secret, secret_values

NAME = "SPOTIFY_AI_SLACK_WEBHOOK"


def test_a_secret_comes_from_its_variable_or_from_the_file_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mounted"
    file.write_text("  from a file\n")
    assert secret(NAME, {}) is None
    assert secret(NAME, {NAME: ""}) is None
    assert secret(NAME, {NAME: "from a variable"}) == "from a variable"
    assert secret(NAME, {f"{NAME}_FILE": str(file)}) == "from a file"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe", b"x" * 70_000], ids=["absent", "empty", "blank", "binary", "long"])
def test_a_file_without_a_secret_is_refused_by_the_name_of_its_variable(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "private-path"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"{NAME}_FILE") as refused:
        secret(NAME, {f"{NAME}_FILE": str(file)})
    assert "private-path" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_secret_told_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both"):
        secret(NAME, {NAME: "one", f"{NAME}_FILE": str(tmp_path / "two")})


def test_every_address_that_may_hold_a_password_may_come_from_a_file(tmp_path: Path) -> None:
    variables = {"VAULT_URL": "vault_url", "LEDGER_URL": "ledger_url", "TRACKING_URL": "tracking_url", "STREAM_URL": "stream_url"}
    environment = {}
    for name in variables:
        (tmp_path / name).write_text(f"redis://user:word-of-{name}@host/")
        environment[f"SPOTIFY_AI_{name}_FILE"] = str(tmp_path / name)
    settings = Settings.from_environment(environment)
    for name, attribute in variables.items():
        assert getattr(settings, attribute) == f"redis://user:word-of-{name}@host/"


def test_settings_that_are_printed_hold_no_secret() -> None:
    told = {name: f"redis://user:planted-{name}@host/" for name in SECRETS}
    settings = Settings.from_environment(told)
    assert settings.vault_url == told["SPOTIFY_AI_VAULT_URL"]
    assert "planted" not in f"{settings!r} {settings}"


def test_the_values_to_hide_are_secrets_and_the_passwords_in_addresses() -> None:
    hook = "https://hooks.example/services/T000/B000/abcdefghij"
    found = secret_values(
        {
            "SPOTIFY_AI_VAULT_URL": "postgresql+psycopg2://app:p%40ssword-9@db/vault",
            "SPOTIFY_AI_LANDING_KEY": "a-long-landing-key",
            "SPOTIFY_AI_SLACK_WEBHOOK": hook,
            "SPOTIFY_AI_LEDGER_URL": "sqlite:////data/ledger.db",
            "SPOTIFY_AI_PSEUDONYM_SEED": "short",
            "SPOTIFY_AI_BACKUP_KEY_FILE": "/nowhere",
            "UNRELATED": "not a secret at all",
        }
    )
    assert found == {
        "postgresql+psycopg2://app:p%40ssword-9@db/vault",
        "p%40ssword-9",
        "p@ssword-9",
        "a-long-landing-key",
        hook,
        "/services/T000/B000/abcdefghij",
    }


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("postgresql+psycopg2://db/vault?user=app&password=p%40ssword-9", {"p%40ssword-9", "p@ssword-9"}),
        ("postgresql+psycopg2:///vault?host=db&sslpassword=of+the+key", {"of+the+key", "of the key"}),
        ("redis://host/0?PASSWORD=of-the-broker", {"of-the-broker"}),
        ("postgresql+psycopg2://app:before-it@db/vault?password=behind-it", {"before-it", "behind-it"}),
        ("postgresql+psycopg2://db/vault?password=short", set()),
    ],
)
def test_a_password_among_the_parameters_of_an_address_is_a_secret(url: str, hidden: set[str]) -> None:
    assert secret_values({"SPOTIFY_AI_VAULT_URL": url}) == {url, *hidden}


@pytest.mark.parametrize(
    "url", ["postgresql:///vault?sslmode=require&sslkey=/etc/client.key", "sqlite:////data/passwords.db?timeout=10000000"]
)
def test_other_parameters_of_an_address_are_no_secrets(url: str) -> None:
    assert secret_values({"SPOTIFY_AI_VAULT_URL": url}) == frozenset()
