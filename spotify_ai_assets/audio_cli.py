"""``spotify-ai audio``: what a decoder makes of files, and which files sound alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, failing_in_words, harmless, make_table, open_platform, out, print_json

if TYPE_CHECKING:
    from spotify_ai_assets.audio.intake.receiving import Report

audio = typer.Typer(help=_("Audio files: what can be decoded of them, and which sound alike."), no_args_is_help=True)


@audio.command("inspect", help=_("Measure files in confined processes and keep nothing: what was decoded or refused, time and memory."))
def inspect(
    paths: Annotated[list[Path], typer.Argument(exists=True, readable=False, help=_("Files and folders."))],
    as_json: Json = False,
) -> None:
    """Measure files and keep nothing; status 1 where one is not handled as a manifest beside it says."""
    from spotify_ai_assets.audio.intake.inspection import inspect_files, tabulate
    from spotify_ai_assets.audio.intake.sandbox import Pool

    with failing_in_words(), Pool(Settings.from_environment().audio_workers) as pool:
        rows = list(inspect_files(paths, pool))
    if as_json:
        print_json({"files": tabulate(rows).to_dicts()})
    else:
        table = make_table(_("File"), _("Kind"), _("Outcome"), _("Rule"), _("Seconds"), _("CPU s"), _("Peak MB"), _("As expected"))
        for row in rows:
            seconds = "–" if row.seconds is None else f"{row.seconds:.2f}"
            cells = (
                row.kind,
                row.outcome,
                row.rule,
                seconds,
                f"{row.cpu_s:.2f}",
                f"{row.peak_mb:.0f}",
                _("yes") if row.is_as_expected else _("no"),
            )
            table.add_row(harmless(row.path), *cells)
        out.print(table)
    raise typer.Exit(0 if all(row.is_as_expected for row in rows) else 1)


@audio.command("similar", help=_("The files that sound most like one, by its digest or by a track's id."))
def similar(
    item: Annotated[str, typer.Argument(help=_("The beginning of a file's SHA-256, or a track's id."))],
    count: Annotated[int, typer.Option(min=1, help=_("How many."))] = 10,
    as_json: Json = False,
) -> None:
    """Search the embeddings."""
    from spotify_ai_assets.audio.similarity import find_similar

    with open_platform() as (_instance, lake):
        found = find_similar(lake, item, count)
    if as_json:
        print_json({"similar": found.to_dicts()})
        return
    table = make_table(_("File"), _("Artist"), _("Title"), _("Track"), _("Cosine"))
    for row in found.iter_rows(named=True):
        names = (harmless(row[name] or "") for name in ("artist", "title", "track_id"))
        table.add_row(row["file_id"][:16], *names, f"{row['cosine']:.3f}")
    out.print(table)


def print_audio(reports: "list[Report]") -> None:
    """What became of imported audio, as a table."""
    table = make_table(_("File"), _("Format"), _("New"), _("Measured"), _("Reason"))
    for report in reports:
        flags = (_("yes") if each else "" for each in (report.is_new, report.is_measured))
        table.add_row(harmless(report.file), report.format or "–", *flags, f"{report.rule}: {report.reason}" if report.rule else "")
    out.print(table)
