"""A day of two million listens through the daily job, against the same functions in bare polars.

Ours: plays, sessions, the four daily counts and the charts by the job ``daily_listening`` on the embedded instance: inputs read
from the lake, every contract validated, digests, durable commits, the blocking checks, Dagster's records, previews and plots.
Peer: the same functions on the same listens from one parquet file, each result handed on in memory and written by
``write_parquet(compression="zstd")``.

Each side starts in a fresh process and first makes the day before, which has no listens: what a process loads once (Dagster, the
code location, Delta, Arrow, matplotlib) is not timed. ``cold_ratio`` counts that in.
"""

import os
import shutil
import tempfile
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.bare import MAKERS
from benchmarks.listens import WEDNESDAY, draw_day, land
from benchmarks.measuring import ROOT, Run, Watch, call, interleave, main, median, report
from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.digests import digest
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

MADE = [key for key in MAKERS if key.startswith("listening/")]
AUDITS = ("equals_rebuild", "volume_is_usual")
"""Checks of the job that block nothing. The first makes every table of the day again from the listens, as a proof."""


def measure(listens: int = 2_000_000, rounds: int = 3, sunday: bool = False) -> dict[str, object]:
    """Medians of both sides, ours' peak memory, and ours with all checks.

    Args:
        listens: Listens of the day, by a tenth as many listeners.
        rounds: How often each side runs.
        sunday: Make a Sunday, which has weekly charts too, instead of a Wednesday.
    """
    day = WEDNESDAY + timedelta(days=4 * sunday)
    with tempfile.TemporaryDirectory() as folder:
        landed, fresh = Path(folder, "landed"), Path(folder, "fresh")
        rows = call(prepare, listens, day.toordinal(), SPOTIFY_AI_DATA=landed).told["rows"]

        def side(function: Any, *arguments: object) -> Run:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(landed, fresh, copy_function=os.link)
            return call(function, day.toordinal(), *arguments, SPOTIFY_AI_DATA=fresh, DAGSTER_HOME=ROOT)

        sides = interleave(
            rounds,
            partial(side, run_job, True, False),
            partial(side, run_bare, True),
            partial(side, run_job, True, True),
            partial(side, run_job, False, False),
            partial(side, run_bare, False),
        )
    if len({tuple(each.told["digests"]) for runs in sides for each in runs}) > 1:
        raise RuntimeError("the sides made different rows")
    ours, peer, audited, cold, cold_peer = sides
    return report(
        "listening",
        median(ours, "seconds"),
        median(peer, "seconds"),
        unit="s",
        rounds=rounds,
        listens=rows,
        day=f"{day:%A}",
        ours_megabytes=median(ours, "megabytes"),
        peer_megabytes=median(peer, "megabytes"),
        ours_cpu=median(ours, "cpu_seconds"),
        peer_cpu=median(peer, "cpu_seconds"),
        cpu_ratio=median(ours, "cpu_seconds") / median(peer, "cpu_seconds"),
        cold_ratio=median(cold, "seconds") / median(cold_peer, "seconds"),
        audited=median(audited, "seconds"),
        audited_ratio=median(audited, "seconds") / median(peer, "seconds"),
    )


def prepare(listens: int, ordinal: int) -> dict[str, Any]:
    """Draw the day and put it into the lake and beside it."""
    settings, day = Settings.from_environment(), date.fromordinal(ordinal)
    rows = draw_day(day, listens)
    land(open_lake(settings, TABLES), day, rows)
    rows.write_parquet(settings.data / "events.parquet", compression="zstd")
    return {"rows": rows.height}


def run_job(ordinal: int, is_warm: bool, with_audits: bool) -> dict[str, Any]:
    """Make the day as the schedule does, after the empty day before where ``is_warm``."""
    from spotify_ai_assets.definitions import defs
    from spotify_ai_assets.launching import QUIET
    from spotify_ai_assets.runs import launch_tags, open_instance, process_tags

    day = date.fromordinal(ordinal)
    job = defs().resolve_job_def("daily_listening")
    if not with_audits:
        assets = job.asset_layer.selected_asset_keys
        checks = {check for check in job.asset_layer.asset_graph.asset_check_keys if check.name not in AUDITS}
        job = job.get_subset(asset_selection=assets, asset_check_selection=checks)
    with open_instance() as instance:

        def make(day: date) -> Any:
            tags = {**launch_tags(), **process_tags()}
            return job.execute_in_process(instance=instance, partition_key=day.isoformat(), run_config=QUIET, tags=tags)

        if is_warm:
            make(day - timedelta(days=1))
        with Watch() as watch:
            result = make(day)
    lake = open_lake(Settings.from_environment(), TABLES)
    return {
        **watch.told,
        "checks": len(result.get_asset_check_evaluations()),
        "digests": [lake.states(key)[day.isoformat()].digest for key in MADE],
    }


def run_bare(ordinal: int, is_warm: bool) -> dict[str, Any]:
    """Make the day by hand, after the empty day before where ``is_warm``."""
    folder, day = Settings.from_environment().data, date.fromordinal(ordinal)

    def make(day: date) -> dict[str, pl.DataFrame | pl.LazyFrame]:
        rows: dict[str, pl.DataFrame | pl.LazyFrame] = {EVENTS.key: pl.scan_parquet(folder / "events.parquet")}
        for key in MADE:
            rows[key] = frame = MAKERS[key](lambda name: rows[name] if name in rows else TABLES[name].empty(), day)
            frame.write_parquet(folder / f"{key.replace('/', '.')}.parquet", compression="zstd")
        return rows

    if is_warm:
        make(day - timedelta(days=1))
    with Watch() as watch:
        rows = make(day)
    made = [rows[key].lazy().collect().sort(TABLES[key].primary_key).drop(DAY) for key in MADE]
    return {**watch.told, "digests": [digest(frame) for frame in made]}


if __name__ == "__main__":
    main(measure, __doc__, listens=2_000_000, rounds=3, sunday=False)
