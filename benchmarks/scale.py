"""What sixteen times the listens cost: as many more a day, and in as many more days.

Each size is a lake of its own and a fresh process that makes its daily tables by the ``backfill`` job; one day is made first, so
that neither imports nor first calls are timed. ``ratio`` is the time of 16 times the listens a day over 16 times that of one, at
most 1 where the cost is linear. A run's fixed cost flatters that, so ``marginal_ratio`` leaves it out: the CPU time of a listen more
between 4 and 16 times over that between 1 and 4 times. ``days_ratio`` is ``ratio`` for 16 times the days, ``days_memory_ratio`` their
peak memory over that of one time, which must stay flat; with the listens of a day memory may grow.
"""

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.bare import MAKERS
from benchmarks.listens import WEDNESDAY, draw_day, land
from benchmarks.measuring import ROOT, Run, Watch, call, interleave, main, median, report
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

FACTORS = (1, 4, 16)


def measure(listens: int = 100_000, days: int = 1, rounds: int = 3) -> dict[str, object]:
    """Time and memory of 1, 4 and 16 times the listens a day and of 4 and 16 times the days.

    Args:
        listens: Listens a day of the smallest size.
        days: Its timed days.
        rounds: How often each size is made.
    """
    sizes = [*((listens * factor, days) for factor in FACTORS), *((listens, days * factor) for factor in FACTORS[1:])]

    def make(count: int, number: int) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            call(prepare, count, number + 1, SPOTIFY_AI_DATA=Path(folder))
            return call(make_days, number, SPOTIFY_AI_DATA=Path(folder), DAGSTER_HOME=ROOT)

    runs = dict(zip(sizes, interleave(rounds, *((lambda size=size: make(*size)) for size in sizes)), strict=True))
    seconds = {size: median(found, "seconds") for size, found in runs.items()}
    cpu = {size: median(found, "cpu_seconds") for size, found in runs.items()}
    megabytes = {size: median(found, "megabytes") for size, found in runs.items()}
    _, middle, most = FACTORS
    one, denser, densest, longest = (listens, days), (middle * listens, days), (most * listens, days), (listens, most * days)
    growth = (cpu[densest] - cpu[denser]) / (most - middle), (cpu[denser] - cpu[one]) / (middle - 1)
    return report(
        "scale",
        seconds[densest],
        most * seconds[one],
        unit="s",
        rounds=rounds,
        marginal_ratio=growth[0] / growth[1],
        days_ratio=seconds[longest] / (most * seconds[one]),
        days_memory_ratio=megabytes[longest] / megabytes[one],
        sizes=[
            {
                "listens_a_day": size[0],
                "days": size[1],
                "seconds": round(seconds[size], 3),
                "cpu_seconds": round(cpu[size], 3),
                "megabytes": round(megabytes[size]),
            }
            for size in sizes
        ],
    )


def prepare(count: int, days: int) -> dict[str, Any]:
    """Draw the days and put them into the lake."""
    lake = open_lake(Settings.from_environment(), TABLES)
    for day in (WEDNESDAY + timedelta(days=offset) for offset in range(days)):
        land(lake, day, draw_day(day, count))
    return {}


def make_days(days: int) -> dict[str, Any]:
    """Make the first day, then as many more."""
    from spotify_ai_assets.backfill import run_backfill, select_tables
    from spotify_ai_assets.definitions import defs
    from spotify_ai_assets.runs import open_instance

    lake, tables = open_lake(Settings.from_environment(), TABLES), select_tables(MAKERS)

    def make(first: date, last: date) -> None:
        outcome = run_backfill(defs(), instance, lake, tables, first, last)
        if outcome.refused or outcome.made != len(tables) * outcome.days:
            raise RuntimeError(f"{outcome.made} partitions made, {len(outcome.refused)} tables refused")

    with open_instance() as instance:
        make(WEDNESDAY, WEDNESDAY)
        with Watch() as watch:
            make(WEDNESDAY + timedelta(days=1), WEDNESDAY + timedelta(days=days))
    return watch.told


if __name__ == "__main__":
    main(measure, __doc__, listens=100_000, days=1, rounds=3)
