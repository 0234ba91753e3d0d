"""``spotify-ai ui``: the web UI with its daemon, or a read-only one for viewers, on loopback unless a flag says otherwise.

Dagster's web server knows no login, and whoever reaches it may launch runs and wipe assets. ``deploy/proxy`` puts one before it.
"""

import ipaddress
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import ROOT
from spotify_ai_assets.terminal import err, failing_in_words


def add_ui(app: typer.Typer) -> None:
    """Give an application the command ``ui``."""
    app.command("ui", help=_("Open the web UI and run what is scheduled, until stopped; on this machine only unless told otherwise."))(ui)


def ui(
    host: Annotated[str, typer.Option(help=_("Address to listen on."))] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help=_("Port to listen on."))] = 3000,
    read_only: Annotated[
        bool, typer.Option("--read-only", help=_("For viewers: nothing can be launched or changed, nothing runs."))
    ] = False,
    public: Annotated[bool, typer.Option("--public", help=_("Listen on an address that others reach; there is no login."))] = False,
) -> None:
    """Become the web server."""
    with failing_in_words():
        command = server_command(host, port, is_read_only=read_only, is_public=public)
    if public:
        err.print(_("Whoever reaches this address may launch and remove everything; deploy/proxy has a login."), style="yellow")
    os.environ.setdefault("DAGSTER_HOME", str(ROOT))
    os.chdir(ROOT)
    os.execv(command[0], command)


def server_command(host: str, port: int, *, is_read_only: bool, is_public: bool) -> list[str]:
    """The command of the web server.

    Args:
        host: The address to listen on.
        port: The port.
        is_read_only: Whether it is for viewers: a web server that refuses every change, without the daemon.
        is_public: Whether the operator said that others may reach it.

    Raises:
        SettingsError: Others could reach it, and the operator did not say so.
    """
    if not is_public and not is_loopback(host):
        raise SettingsError("the web UI has no login and listens on loopback addresses alone; --public says that others may reach it")
    program = ["dagster-webserver", "--read-only"] if is_read_only else ["dagster", "dev"]
    place = ["--workspace", str(ROOT / "workspace.yaml"), "--host", host, "--port", str(port)]
    return [str(Path(sys.executable).parent / program[0]), *program[1:], *place]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; another name than ``localhost`` may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
