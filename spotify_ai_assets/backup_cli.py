"""``spotify-ai backup``, ``restore`` and ``drill``: making backups, proving them, and getting a platform back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, failing_in_words, make_table, open_platform, out, print_json, show_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_ai_assets.maintenance.backup.snapshots import Snapshot


def add_backup(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("backup", help=_("Back everything up, or list or check the backups that there are."))(backup)
    app.command("restore", help=_("Restore a backup into an empty folder; whom the ledger names is erased there before it opens."))(restore)
    app.command("drill", help=_("Prove a backup: restore it into scratch, compare, open, work with it and search it."))(drill)


def backup(
    listed: Annotated[bool, typer.Option("--list", help=_("Only list the backups."))] = False,
    checked: Annotated[bool, typer.Option("--check", help=_("Only read all backups again and say what is not whole."))] = False,
    expire: Annotated[bool, typer.Option("--expire/--keep", help=_("Whether to remove the backups whose time is over afterwards."))] = True,
    engine: Annotated[str, typer.Option(help=_("For the first backup of a place: restic, embedded, or what is installed."))] = "installed",
    as_json: Json = False,
) -> None:
    """Back up by the job that the schedule runs too."""
    from spotify_ai_assets.maintenance.backup.saving import list_snapshots

    if engine not in ("installed", "restic", "embedded"):
        raise typer.BadParameter("installed, restic, embedded", param_hint="--engine")
    settings = Settings.from_environment()
    if checked:
        _check(settings, as_json)
        return
    if listed:
        with failing_in_words():
            _print_snapshots(list_snapshots(settings), as_json)
        return
    from spotify_ai_assets.launching import run_job
    from spotify_ai_assets.maintenance.backup.jobs import BACKUP, backup_config
    from spotify_ai_assets.resources.audit import open_audit
    from spotify_ai_assets.runs import launch_tags

    with open_platform() as (instance, _lake), show_progress(as_json, _("Backing up")):
        run = run_job(instance, BACKUP, {}, launch_tags(), config=backup_config(dry_run=not expire, engine=engine))
        made = open_audit(settings).newest("backed_up")
    body: dict[str, Any] = dict(made.body) if made else {}
    if as_json:
        print_json({"snapshot": body.get("subject"), "run": run, **body.get("figures", {})})
        return
    figures = body["figures"]
    out.print(
        _("Backup {snapshot}: {files} files, {megabytes} MB, {added} MB of them new, {seconds} s").format(
            snapshot=body["subject"],
            files=figures["files"],
            megabytes=round(figures["bytes"] / 1e6, 1),
            added=round(figures["added_bytes"] / 1e6, 1),
            seconds=round(figures["seconds"], 1),
        ),
        highlight=False,
    )


def restore(
    snapshot: Annotated[str, typer.Argument(help=_("A backup's name, the beginning of it, latest, or a moment: the newest as of then."))],
    to: Annotated[Path, typer.Option("--to", file_okay=False, help=_("A folder that is empty or not there yet."))],
    database: Annotated[
        list[str] | None, typer.Option(help=_("An empty PostgreSQL database for what was in one, such as vault=postgresql+psycopg2://…"))
    ] = None,
    as_json: Json = False,
) -> None:
    """Restore a backup; the platform need not run, and its instance is not asked."""
    from spotify_ai_assets.maintenance.backup.restoring import restore as restore_backup

    pairs = {each.partition("=")[0]: each.partition("=")[2] for each in database or []}
    if not all(url.startswith("postgresql") for url in pairs.values()):
        raise typer.BadParameter("NAME=postgresql+psycopg2://…", param_hint="--database")
    settings = Settings.from_environment()
    with failing_in_words(), show_progress(as_json, _("Restoring")) as advance:
        found = restore_backup(settings, snapshot, to, databases=pairs, progress=advance)
    if as_json:
        print_json({"snapshot": found.snapshot.id, "folder": str(found.folder), "notes": found.notes, **found.figures})
        return
    out.print(
        _("Restored {snapshot} in {seconds} s: {tables} tables, {rows} rows; {erased} listeners were erased again.").format(
            snapshot=found.snapshot.id, seconds=round(found.seconds, 1), tables=found.tables, rows=found.rows, erased=found.erased
        ),
        highlight=False,
    )
    for note in found.notes:
        out.print(note, highlight=False)
    out.print(_("Open it with SPOTIFY_AI_DATA={folder}").format(folder=found.folder), highlight=False, soft_wrap=True)


def drill(
    snapshot: Annotated[str, typer.Option(help=_("Which backup; the newest unless given."))] = "latest", as_json: Json = False
) -> None:
    """Drill by the job that the schedule runs too."""
    from spotify_ai_assets.errors import PlatformError
    from spotify_ai_assets.launching import run_job
    from spotify_ai_assets.maintenance.backup.contracts import DRILLS
    from spotify_ai_assets.maintenance.backup.jobs import DRILL, drill_config
    from spotify_ai_assets.runs import launch_tags

    begin = datetime.now(UTC)
    with open_platform() as (instance, lake), show_progress(as_json, _("Drilling")):
        failure: PlatformError | None = None
        try:
            run_job(instance, DRILL, {}, launch_tags(), config=drill_config(snapshot))
        except PlatformError as error:
            failure = error
        rows = [row for row in lake.scan(DRILLS.key).collect().to_dicts() if row["began_at"] >= begin]
        if failure and not rows:
            raise failure
    found = rows[-1]
    if as_json:
        print_json(found)
    else:
        table = make_table(_("Drill"), "")
        for name, value in found.items():
            table.add_row(name.replace("_", " "), "–" if value is None else str(value))
        out.print(table)
    raise typer.Exit(0 if found["is_passed"] else 1)


def _check(settings: Settings, as_json: bool) -> None:
    from spotify_ai_assets.maintenance.backup.saving import open_repository

    with failing_in_words(), show_progress(as_json, _("Checking")) as advance:
        found = open_repository(settings).check(advance)
    if as_json:
        print_json({"whole": not found, "broken": found})
    else:
        for sentence in found or [_("All backups are whole.")]:
            out.print(sentence, highlight=False)
    raise typer.Exit(1 if found else 0)


def _print_snapshots(found: "Sequence[Snapshot]", as_json: bool) -> None:
    if as_json:
        print_json([{"snapshot": each.id, "at": each.at.isoformat(), "engine": each.engine, **each.facts} for each in found])
        return
    table = make_table(_("Backup"), _("Made"), _("Kept by"), _("Tables"), _("Rows"))
    for each in found:
        counts = [str(each.facts.get(name, "–")) for name in ("tables", "rows")]
        table.add_row(each.id, each.at.isoformat(), each.engine, *counts)
    out.print(table if found else _("There is no backup yet."))
