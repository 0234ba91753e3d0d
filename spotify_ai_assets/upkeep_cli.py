"""``spotify-ai upkeep``: what the nightly job does, now: retention, compaction, orphans, rotation of logs, pruning of runs."""

from typing import Annotated

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, make_table, open_platform, out, print_json

DryRun = Annotated[bool, typer.Option("--dry-run", help=_("Only count what would be done."))]


def upkeep(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Keep the platform small."""
    from spotify_ai_assets.launching import run_job
    from spotify_ai_assets.maintenance.upkeep.jobs import UPKEEP, figures_of, upkeep_config
    from spotify_ai_assets.runs import launch_tags

    with open_platform() as (instance, lake):
        resources = {"lake": lake, "settings": Settings.from_environment()}
        run = run_job(instance, UPKEEP, resources, launch_tags(), config=upkeep_config(dry_run=dry_run))
        told = figures_of(instance, run)
    if as_json:
        print_json({"run": run, "dry_run": dry_run, "parts": told})
        return
    table = make_table(_("Part"), _("Figure"), "")
    for part, figures in told.items():
        for place, (name, value) in enumerate(figures.items()):
            shown = ", ".join(value) if isinstance(value, list) else str(value)
            table.add_row("" if place else part.replace("_", " "), name.replace("_", " "), shown or "–")
    out.print(table)
    if dry_run:
        out.print(_("Nothing was changed."))


def add_upkeep(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "upkeep",
        help=_("Keep the platform small: retention, compaction, orphans, rotation of logs, pruning of runs; every night by itself."),
    )(upkeep)
