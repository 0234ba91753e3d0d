"""``spotify-ai``: the platform from the command line.

Each command is a thin layer over what the UI and the schedules use too. Exit status: 0 the platform worked, whatever it found;
1 it failed, or a day could not be made; 2 the command was misused. ``--json`` prints one JSON document and nothing else.
"""

import json
import os
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.access_cli import add_export
from spotify_ai_assets.audio_cli import audio, print_audio
from spotify_ai_assets.audit_cli import audit
from spotify_ai_assets.backup_cli import add_backup
from spotify_ai_assets.contracts import name_of
from spotify_ai_assets.erasure_cli import add_erasure
from spotify_ai_assets.experiments_cli import experiment
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.metrics_cli import add_health, metrics
from spotify_ai_assets.models_cli import models
from spotify_ai_assets.recommend_cli import add_commands
from spotify_ai_assets.releases_cli import releases
from spotify_ai_assets.scan_cli import add_scan
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.stream_cli import streaming
from spotify_ai_assets.terminal import Json, err, failing_in_words, harmless, make_table, open_platform, out, print_json, show_progress
from spotify_ai_assets.ui_cli import add_ui
from spotify_ai_assets.upkeep_cli import add_upkeep

if TYPE_CHECKING:
    import polars as pl

    from spotify_ai_assets.listening.intake import FileReport

app = typer.Typer(
    help=_("Analytics, models and reports from your own listening data."), no_args_is_help=True, pretty_exceptions_enable=False
)
backfill = typer.Typer(help=_("Make ranges of days again: see what is stale, make it, count it again."), no_args_is_help=True)
app.add_typer(backfill, name="backfill")
lake_commands = typer.Typer(help=_("Care of the lake: vacuum and mending."), no_args_is_help=True)
app.add_typer(lake_commands, name="lake")
app.add_typer(audio, name="audio")
app.add_typer(models, name="models")
app.add_typer(releases, name="releases")
app.add_typer(experiment, name="experiment")
app.add_typer(audit, name="audit")
app.add_typer(streaming)
app.add_typer(metrics, name="metrics")
add_health(app)
add_commands(app)
add_upkeep(app)
add_export(app)
add_backup(app)
add_erasure(app)
add_ui(app)
add_scan(app)

From = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help=_("First day; the first with listens unless given."))]
To = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help=_("Last day; the last with listens unless given."))]
Select = Annotated[list[str] | None, typer.Option("--select", help=_("A table such as listening/charts, or a domain; all unless given."))]


@app.command(
    "import", help=_("Import files of listens, charts, catalogue rows or audio, or whole folders of them; they are read in place.")
)
def import_paths(
    paths: Annotated[list[Path], typer.Argument(exists=True, readable=False, help=_("Files and folders."))],
    as_json: Json = False,
    listener: Annotated[str | None, typer.Option(help=_("Whose listens files hold that name nobody."))] = None,
) -> None:
    """Import by hand, by the same job that the landing sensor launches."""
    from spotify_ai_assets.importing import import_files

    if listener:
        os.environ["SPOTIFY_AI_LISTENER"] = listener
    with open_platform() as (instance, lake), show_progress(as_json, _("Importing")) as advance:
        reports, audio_reports = import_files(instance, lake, Settings.from_environment(), paths, advance)
    if as_json:
        print_json({"files": [report.as_json() for report in reports], "audio": [report.as_json() for report in audio_reports]})
        return
    if reports:
        _print_reports(reports)
    if audio_reports:
        print_audio(audio_reports)


def _print_reports(reports: "list[FileReport]") -> None:
    table = make_table(_("File"), _("Format"), _("Rows"), _("Stored"), _("Duplicate"), _("Rejected"), _("Reason"))
    for report in reports:
        counts = [str(count) for count in (report.rows, report.stored, report.duplicate, report.rejected)]
        table.add_row(harmless(report.file), report.format or "–", *counts, report.reason or "")
    out.print(table)


@backfill.command("plan", help=_("Show which days of which tables are stale, why, and what making them will cost."))
def plan_backfill(first: From = None, last: To = None, select: Select = None, as_json: Json = False) -> None:
    """Show what is stale."""
    from spotify_ai_assets.backfill import make_plan, select_tables

    with open_platform() as (_instance, lake):
        found = make_plan(lake, select_tables(select or []), _date(first), _date(last))
    if as_json:
        stale = [{"table": each.key, "partition": name_of(each.partition), "reasons": list(each.reasons)} for each in found.stale]
        print_json({"stale": stale, "seconds": {key: round(value, 3) for key, value in found.seconds.items()}})
        return
    table = make_table(_("Table"), _("Days"), _("First"), _("Last"), _("Why"), _("About"))
    for key, seconds in found.seconds.items():
        mine = [each for each in found.stale if each.key == key]
        why = sorted({reason.split("@")[0] for each in mine for reason in each.reasons})
        table.add_row(key, str(len(mine)), name_of(mine[0].partition), name_of(mine[-1].partition), "\n".join(why), f"{seconds:.1f} s")
    out.print(table if found.stale else _("Nothing is stale."))


@backfill.command("run", help=_("Make what is stale, range by range; a killed run goes on where it stopped."))
def run_backfill_command(first: From = None, last: To = None, select: Select = None, as_json: Json = False) -> None:
    """Make what is stale."""
    from spotify_ai_assets.backfill import run_backfill, select_tables
    from spotify_ai_assets.definitions import defs

    with open_platform() as (instance, lake), show_progress(as_json, _("Days")) as advance:
        outcome = run_backfill(
            defs(),
            instance,
            lake,
            select_tables(select or []),
            _date(first),
            _date(last),
            progress=lambda begin, end, done, total: advance(f"{begin} – {end}", done, total),
        )
    if as_json:
        print_json(
            {
                "days": outcome.days,
                "made": outcome.made,
                "changed": outcome.changed,
                "refused": outcome.refused,
                "failed": outcome.failed,
                "runs": outcome.runs,
            }
        )
    else:
        out.print(
            _("{days} days, {made} partitions made, {changed} of them changed, {runs} runs").format(
                days=outcome.days, made=outcome.made, changed=outcome.changed, runs=len(outcome.runs)
            )
        )
        for key, days in outcome.refused.items():
            for day, reason in days.items():
                out.print(f"{key} {day}", style="red", end=" ")
                out.print(reason, highlight=False, soft_wrap=True)
        for key, reason in outcome.failed.items():
            out.print(key, style="red", end=" ")
            out.print(reason, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if outcome.is_whole else 1)


@backfill.command("verify", help=_("Count days again: every stored digest against its rows, staleness, and all checks."))
def verify_backfill(first: From = None, last: To = None, select: Select = None, as_json: Json = False) -> None:
    """Count again."""
    from spotify_ai_assets.backfill import recount, run_checks, select_tables
    from spotify_ai_assets.definitions import defs

    with open_platform() as (instance, lake), show_progress(as_json, _("Partitions")) as advance:
        found = recount(lake, select_tables(select or []), _date(first), _date(last), advance) | run_checks(defs(), instance)
    if as_json:
        print_json(found)
    else:
        table = make_table(_("Verified"), _("Result"))
        for name, value in found.items():
            table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        out.print(table)
    raise typer.Exit(1 if found["failed"] or found["differing"] or found["stale"] else 0)


@app.command(help=_("Show what is there: tables, rows, days, what is stale, the last runs."))
def status(as_json: Json = False) -> None:
    """Show what is there."""
    from spotify_ai_assets.backfill import describe_status

    with open_platform() as (instance, lake):
        found = describe_status(instance, lake)
    if as_json:
        print_json(found)
        return
    table = make_table(_("Table"), _("Partitions"), _("First"), _("Last"), _("Rows"), _("MB"), _("Stale"))
    for row in found["tables"]:
        table.add_row(*(str("" if value is None else value) for value in row.values()))
    out.print(table)
    runs = make_table(_("Run"), _("Job"), _("Status"), _("Started"))
    for row in found["runs"]:
        runs.add_row(*(str(value) for value in row.values()))
    out.print(runs)


@app.command("review", help=_("Review a year, or any range of days: what was played, of one listener or of all together."))
def review_command(
    year: Annotated[int | None, typer.Option(min=2002, max=9998, help=_("Calendar year; the newest with listens unless given."))] = None,
    first: From = None,
    last: To = None,
    listener: Annotated[str | None, typer.Option(help=_("A listener as the imported files name them; all together unless given."))] = None,
    page: Annotated[Path | None, typer.Option(dir_okay=False, help=_("Write it as an HTML page to this file as well."))] = None,
    as_json: Json = False,
) -> None:
    """Review a range of days."""
    from spotify_ai_assets.definitions import defs
    from spotify_ai_assets.reports.publication import write_review
    from spotify_ai_assets.resources import open_vault
    from spotify_ai_assets.reviewing import review_days, span

    settings = Settings.from_environment()
    with open_platform() as (instance, lake), show_progress(as_json, _("Days")) as advance:
        begin, end = span(lake, year, _date(first), _date(last))
        found = review_days(
            defs(),
            instance,
            lake,
            open_vault(settings),
            begin,
            end,
            listener,
            progress=lambda since, until, done, total: advance(f"{since} – {until}", done, total),
        )
        if page:
            write_review(page, found.rows, found.first, found.last, settings.language, k=settings.k_anonymity)
    if as_json:
        print_json({"first": found.first, "last": found.last, "rows": found.rows.drop("listener_id").to_dicts()})
    else:
        _print_review(found.rows, found.first, found.last)
    raise typer.Exit(0 if found.outcome.is_whole else 1)


def _print_review(rows: "pl.DataFrame", first: date, last: date) -> None:
    """The totals and the lists of a review."""
    headings = {
        "total": _("In all"),
        "tracks": _("Tracks"),
        "artists": _("Artists"),
        "genres": _("Genres"),
        "months": _("Months"),
        "weekdays": _("Weekdays, 1 is Monday"),
    }
    out.print(f"{first} – {last}" if rows.height else _("Nothing was played."))
    for section, heading in headings.items():
        if not (listed := rows.filter(section=section).sort("position").head(20)).height:
            continue
        table = make_table(heading, "", _("Plays"), _("Streams"), _("Suspicious"), _("Hours"), _("Days"))
        for row in listed.iter_rows(named=True):
            label = _("everything") if section == "total" else row["label"]
            counts = (row["plays"], row["streams"], row["suspicious_streams"], round(row["played_ms"] / 3_600_000, 1), row["days"])
            table.add_row(harmless(label), harmless(row["detail"] or ""), *map(str, counts))
        out.print(table)


@app.command(help=_("Ask the lake in SQL, such as: select country, sum(streams) from listening.country_days group by 1"))
def sql(query: Annotated[str, typer.Argument(help=_("One SELECT statement."))], as_json: Json = False) -> None:
    """Ask the lake in SQL."""
    from spotify_ai_assets.resources.warehouse import Warehouse

    with open_platform() as (_instance, lake):
        rows = Warehouse(lake).query(query)
    if as_json:
        sys.stdout.write(rows.write_json() + "\n")
        return
    table = make_table(*rows.columns)
    for row in rows.head(200).iter_rows():
        table.add_row(*("" if value is None else harmless(str(value)) for value in row))
    out.print(table)
    if rows.height > 200:
        err.print(_("{rows} rows, the first 200 shown; --json prints all").format(rows=rows.height))


@app.command(help=_("Make a demo world, import it and run the whole graph on it, offline."))
def demo(
    scale: Annotated[float, typer.Option(min=0.001, help=_("1 is 5,000 listens a day."))] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help=_("Another seed is another world."))] = 0,
    days: Annotated[int, typer.Option(min=1, help=_("Number of days."))] = 60,
    clean: Annotated[bool, typer.Option(help=_("Plant nothing: no anomalies, no faults."))] = False,
    audio_files: Annotated[
        int | None, typer.Option("--audio", min=0, help=_("Number of audio files; 300 at scale 1 unless given, 0 for none."))
    ] = None,
    score: Annotated[bool, typer.Option("--score", help=_("Score fresh worlds against what was planted in them, and keep none."))] = False,
    seeds: Annotated[str, typer.Option(help=_("With --score: which worlds; the detectors were tuned on 0 to 4."))] = "10,11,12,13,14",
    as_json: Json = False,
) -> None:
    """Run the whole graph on a demo world, or score the detectors on several."""
    if score:
        _score(seeds, scale, days, as_json)
        return
    from spotify_ai_assets.demonstration import run_demo

    os.environ.setdefault("SPOTIFY_AI_PSEUDONYM_SEED", f"demo-{seed}")
    os.environ.setdefault("SPOTIFY_AI_MODEL_SIZE", "demo")
    with open_platform() as (instance, lake), show_progress(as_json, _("Demo")) as advance:
        settings = Settings.from_environment()
        summary = run_demo(instance, lake, settings, scale=scale, seed=seed, days=days, clean=clean, audio=audio_files, progress=advance)
    if as_json:
        print_json(summary)
    else:
        _print_demo(summary)
    raise typer.Exit(1 if summary["refused"] or summary["failed"] or summary["checks_failed"] else 0)


def _score(seeds: str, scale: float, days: int, as_json: bool) -> None:
    from spotify_ai_assets.scoring import score_worlds

    if not all(seed.strip().isdigit() for seed in seeds.split(",")):
        raise typer.BadParameter(_("numbers with commas between them, such as 5,6,7"), param_hint="--seeds")
    with failing_in_words(), show_progress(as_json, _("Worlds")) as advance:
        found = score_worlds([int(seed) for seed in seeds.split(",")], scale, days, advance)
    if as_json:
        print_json(found)
        return
    measures = list(found["worlds"][0])
    table = make_table(_("Measure"), *(f"{world['seed']}{' ' + _('clean') if world['clean'] else ''}" for world in found["worlds"]))
    for measure in measures[2:]:
        table.add_row(measure.replace("_", " "), *(_shown(world[measure]) for world in found["worlds"]))
    out.print(table)
    summary = make_table(_("Measure"), _("Mean"), _("Worst"))
    for measure, value in found["summary"].items():
        cells = [value["mean"], value["worst"]] if isinstance(value, dict) else [value, None]
        summary.add_row(measure.replace("_", " "), *map(_shown, cells))
    out.print(summary)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _print_demo(summary: dict[str, Any]) -> None:
    table = make_table(_("The demo world"), "")
    for name, value in summary.items():
        table.add_row(name.replace("_", " "), json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value))
    out.print(table)
    out.print(_("A page of the last day: {page}").format(page=summary["page"]), soft_wrap=True)
    out.print(_("All pages: {page}").format(page=summary["pages"]), soft_wrap=True)
    out.print(_("Open the UI with `make ui`, then http://127.0.0.1:3000"))


@lake_commands.command("vacuum", help=_("Remove files that no version of the last seven days needs."))
def vacuum(dry_run: Annotated[bool, typer.Option(help=_("Only count them."))] = False, as_json: Json = False) -> None:
    """Remove files that nothing needs."""
    with open_platform() as (_instance, lake):
        removed = {key: len(lake.vacuum(key, dry_run=dry_run)) for key in lake.tables}
    _print_counts(removed, as_json)


@lake_commands.command("mend", help=_("Set aside what a power cut tore; what is lost by it counts as stale and is made again."))
def mend(as_json: Json = False) -> None:
    """Set aside what is torn."""
    with open_platform() as (_instance, lake):
        found = {key: lake.mend(key) for key in lake.tables}
    if as_json:
        print_json(found)
        return
    for sentence in [sentence for sentences in found.values() for sentence in sentences] or [_("Everything is whole.")]:
        out.print(sentence)


def _print_counts(counts: dict[str, int], as_json: bool) -> None:
    if as_json:
        print_json(counts)
        return
    table = make_table(_("Table"), _("Files"))
    for key, count in counts.items():
        table.add_row(key, str(count))
    out.print(table)


def _date(value: datetime | None) -> date | None:
    return value.date() if value else None


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
