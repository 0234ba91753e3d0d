"""Sixty days of the demo world through ``spotify-ai backfill run``, against a bare loop of the same functions and ``lake.write``.

Ours: the command as a user gives it: Dagster runs on the embedded instance, staleness and recipes, contracts, previews, plots.
Peer: each table's days in order, read with ``lake.open``, made and written with ``lake.write``, then the same report pages.
Both make the counts of plays, the charts and the daily page, not what insight makes of them; both write the same lake, digests and
durable commits included, and are timed from the start of the process to its end.
"""

import hashlib
import shutil
import tempfile
from collections import defaultdict
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.bare import MAKERS
from benchmarks.measuring import ROOT, Run, call, interleave, main, median, median_cpu, report, run
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.reports.publication import DAILY_REPORT, publish_days
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

CLI = "from spotify_ai_assets.cli import main; main()"
SELECTED = [word for key in MAKERS for word in ("--select", key)]
ASSET_DAYS = 300
"""The size that ``extra_seconds`` is scaled to."""


def measure(days: int = 60, scale: float = 1.0, rounds: int = 3, data: Path | None = None) -> dict[str, object]:
    """Medians of both sides and what the platform adds to ``ASSET_DAYS`` partitions.

    Args:
        days: Days of the world.
        scale: 1 is 5,000 listens a day.
        rounds: How often each side runs.
        data: A data folder whose listens are imported and whose daily tables are not made; a demo world unless given. It is
            copied, not changed.
    """
    with tempfile.TemporaryDirectory() as folder:
        imported, fresh = data or Path(folder, "imported"), Path(folder, "fresh")
        if data is None:
            call(write_demo, str(imported / "demo"), days, scale)
            environment = {"SPOTIFY_AI_DATA": imported, "DAGSTER_HOME": ROOT, "SPOTIFY_AI_PSEUDONYM_SEED": "benchmark"}
            run(["-c", CLI, "import", imported / "demo" / "landing", "--json"], **environment)

        def side(start: partial[Run]) -> Run:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(imported, fresh, ignore=shutil.ignore_patterns("demo"))
            done = start(SPOTIFY_AI_DATA=fresh, DAGSTER_HOME=ROOT)
            return Run(done.seconds, done.cpu_seconds, done.told | call(count_partitions, SPOTIFY_AI_DATA=fresh).told)

        ours, peer = interleave(
            rounds, partial(side, partial(run, ["-c", CLI, "backfill", "run", "--json", *SELECTED])), partial(side, partial(call, run_bare))
        )
    if len({each.told["digest"] for each in ours + peer}) > 1:
        raise RuntimeError("the sides made different rows")
    asset_days = ours[0].told["partitions"]
    return report(
        "backfill",
        median(ours),
        median(peer),
        unit="s",
        rounds=rounds,
        asset_days=asset_days,
        ours_cpu=median_cpu(ours),
        peer_cpu=median_cpu(peer),
        extra_cpu_seconds=(median_cpu(ours) - median_cpu(peer)) * ASSET_DAYS / asset_days,
        extra_seconds=(median(ours) - median(peer)) * ASSET_DAYS / asset_days,
    )


def write_demo(folder: str, days: int, scale: float) -> dict[str, Any]:
    """Write a demo world in which nothing is planted."""
    from spotify_ai_assets.demo.world import write_world

    return {"truth": str(write_world(Path(folder), days=days, scale=scale, clean=True))}


def run_bare() -> dict[str, Any]:
    """Make every day of every table by hand."""
    settings = Settings.from_environment()
    lake = open_lake(settings, TABLES)
    states = defaultdict(dict, {EVENTS.key: {date.fromisoformat(name): state for name, state in lake.states(EVENTS.key).items()}})
    days = pl.date_range(min(states[EVENTS.key]), max(states[EVENTS.key]), eager=True).to_list()

    def read(table: str, day: date, key: str) -> pl.LazyFrame:
        reads = next(reads for reads in TABLES[table].reads if reads.key == key)
        first = date.min if reads.first is None else day + timedelta(reads.first)
        last = day + timedelta(reads.last)
        return lake.open(key, [state for each, state in states[key].items() if first <= each <= last])

    for key, make in MAKERS.items():
        for day in days:
            states[key][day] = lake.write(key, make(partial(read, key, day), day), day).state
    publish_days(lake, settings, days, days, DAILY_REPORT)
    return {}


def count_partitions() -> dict[str, Any]:
    """How many partitions there are of the daily tables, and one digest of them all."""
    lake = open_lake(Settings.from_environment(), TABLES)
    digests = [(key, name, state.digest) for key in MAKERS for name, state in sorted(lake.states(key).items())]
    return {"partitions": len(digests), "digest": hashlib.sha256(repr(digests).encode()).hexdigest()}


if __name__ == "__main__":
    main(measure, __doc__, days=60, scale=1.0, rounds=3, data=None)
