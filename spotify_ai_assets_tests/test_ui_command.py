"""``spotify-ai ui`` listens on loopback alone unless it is told otherwise."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from spotify_ai_assets import ui_cli
from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.settings import ROOT
from spotify_ai_assets.ui_cli import add_ui, is_loopback, server_command


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that this process would have become."""
    commands: list[list[str]] = []
    monkeypatch.setattr(ui_cli.os, "execv", lambda _path, command: commands.append(command))
    monkeypatch.setattr(ui_cli.os, "chdir", lambda _path: None)
    monkeypatch.setenv("DAGSTER_HOME", str(ROOT))
    return commands


def invoke(*arguments: str) -> Any:
    app = typer.Typer()
    add_ui(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["ui", *arguments])


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.4", "10.0.0.1", "music.example.org", "localhost.example.org", "", "0", "127.1"]
)
def test_an_address_that_others_may_reach_needs_the_flag(host: str, started: list[list[str]]) -> None:
    refused = invoke("--host", host)
    assert refused.exit_code == 1
    assert "--public" in refused.output
    assert started == []
    assert invoke("--host", host, "--public").exit_code == 0
    assert started[0][started[0].index("--host") + 1] == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_flag(host: str, started: list[list[str]]) -> None:
    assert is_loopback(host)
    assert invoke("--host", host).exit_code == 0
    assert started[0][1:2] == ["dev"]


def test_the_default_is_loopback(started: list[list[str]]) -> None:
    assert invoke().exit_code == 0
    assert started[0][-4:] == ["--host", "127.0.0.1", "--port", "3000"]


def test_viewers_get_a_server_that_changes_nothing_and_no_daemon() -> None:
    command = server_command("127.0.0.1", 3001, is_read_only=True, is_public=False)
    assert Path(command[0]).name == "dagster-webserver"
    assert "--read-only" in command
    with pytest.raises(SettingsError):
        server_command("0.0.0.0", 3001, is_read_only=True, is_public=False)


def test_the_make_target_listens_on_loopback() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nui: install\n")[2].partition("\n\n")[0]
    assert "spotify-ai ui" in recipe or "--host 127.0.0.1" in recipe
    assert "0.0.0.0" not in recipe
    assert "--public" not in recipe
