"""The demo: make a world, let its files land, run the whole graph, let late files land, make again what they touch.

The same jobs as in production do the work. A second run finds every listen known and every day up to date.
"""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from spotify_ai_assets.backfill import Outcome, run_backfill, run_checks, select_tables
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.demo.world import write_world
from spotify_ai_assets.importing import run_import
from spotify_ai_assets.listening.landing import open_landing
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings


def run_demo(
    instance: dg.DagsterInstance,
    lake: Lake,
    settings: Settings,
    *,
    scale: float,
    seed: int,
    days: int,
    clean: bool,
    progress: Callable[..., None],
) -> dict[str, Any]:
    """Run the whole graph on a demo world.

    Args:
        instance: Where runs are recorded.
        lake: Where tables go.
        settings: Where files land.
        scale: 1 is 5,000 listens a day.
        seed: Which world.
        days: Its number of days.
        clean: Whether nothing is planted in it.
        progress: Told a text, and steps done of all.

    Returns:
        What was imported, made and checked, and where the last day's page lies.
    """
    started = time.monotonic()
    world = settings.data / "demo"
    truth = write_world(world, seed=seed, scale=scale, days=days, clean=clean, report=progress)
    intake = {"files": 0, "rows": 0, "stored": 0, "duplicate": 0, "rejected": 0}
    outcomes: list[Outcome] = []
    for delivery in ("landing", "late"):
        progress(delivery, 0)
        for name, count in deliver(instance, lake, settings, delivery).items():
            intake[name] += count
        outcomes.append(
            run_backfill(
                defs(),
                instance,
                lake,
                select_tables([]),
                None,
                None,
                progress=lambda _, last, done, total: progress(str(last), done, total),
            )
        )
    progress("checks", 0)
    checks = run_checks(defs(), instance)
    totals = lake.scan("listening/country_days").select(pl.sum("plays"), pl.sum("streams")).collect()
    suspicious = lake.scan("listening/suspicious_country_days").select(pl.sum("streams")).collect().item()
    unusual = lake.scan("listening/anomalies").filter("is_cause").select(pl.len()).collect().item()
    rising = lake.scan("listening/trends").filter(pl.col("subject") == "track").select(pl.n_unique("item_id")).collect().item()
    pages = sorted((settings.reports / "daily_listening" / settings.language).glob("2*.html"))
    return {
        **intake,
        "days": outcomes[0].days,
        "plays": totals["plays"][0],
        "streams": totals["streams"][0],
        "suspicious_streams": suspicious,
        "unusual_hours_and_days": unusual,
        "rising_tracks": rising,
        "partitions_made": outcomes[0].made,
        "partitions_made_for_late_files": outcomes[1].made,
        "refused": {key: days for outcome in outcomes for key, days in outcome.refused.items()},
        "checks_passed": checks["passed"],
        "checks_failed": checks["failed"],
        "checks_warned": checks["warned"],
        "truth": str(truth),
        "page": str(pages[-1]) if pages else None,
        "pages": str(settings.reports / settings.language / "index.html"),
        "seconds": round(time.monotonic() - started, 1),
    }


def deliver(instance: dg.DagsterInstance, lake: Lake, settings: Settings, delivery: str) -> dict[str, int]:
    """Let the files of a delivery land in the spool and import them.

    Returns:
        What became of their records.
    """
    source, spool = settings.data / "demo" / delivery, settings.landing / "demo" / delivery
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        target = spool / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    landing = open_landing(settings)
    run_import(instance, lake, settings, landing)
    reports = landing.reports
    counts = {name: sum(getattr(report, name) for report in reports) for name in ("rows", "stored", "duplicate", "rejected")}
    return {"files": len(reports), **counts}
