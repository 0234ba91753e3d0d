"""``spotify-ai export``: everything that is held about a person, as one zip."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, failing_in_words, make_table, out, print_json

Listener = Annotated[str, typer.Option(help=_("A listener as the imported files name them."))]
Target = Annotated[Path, typer.Option("--to", dir_okay=False, help=_("The zip; one that is there is replaced."))]


def export(listener: Listener, to: Target, as_json: Json = False) -> None:
    """Export everything that is held about a person."""
    from spotify_ai_assets.maintenance.access import export_person
    from spotify_ai_assets.resources import open_lake, open_vault
    from spotify_ai_assets.tables import TABLES

    settings = Settings.from_environment()
    with failing_in_words():
        lake, vault = open_lake(settings, TABLES), open_vault(settings)
        done = export_person(listener, to, settings=settings, lake=lake, vault=vault, now=datetime.now(UTC))
    if as_json:
        told = {"is_known": done.is_known, "tables": dict(done.tables), "files": done.files, "bytes": done.bytes, "seconds": done.seconds}
        print_json(told)
        return
    if not done.is_known:
        out.print(_("Nothing is held about this person; the zip says so."))
        return
    table = make_table(_("Table"), _("Rows"))
    for key, rows in done.tables.items():
        table.add_row(key, str(rows))
    out.print(table)
    out.print(
        _("{files} files, {megabytes} MB, in {seconds} s").format(
            files=done.files, megabytes=round(done.bytes / 1e6, 2), seconds=done.seconds
        )
    )


def add_export(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", help=_("Export everything that is held about a person, as a zip of JSON and CSV with a page that explains it."))(
        export
    )
