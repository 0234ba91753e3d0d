"""Clocks that jump, change to summer time and meet a leap day: days stay days, order stays order, nothing is thrown away too early."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from invented import require

pytestmark = [pytest.mark.slow, pytest.mark.fault]

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.fixture(scope="module", params=["Europe/Berlin", "Pacific/Kiritimati"])
def seen(request, tmp_path_factory) -> dict[str, Any]:
    """What a process saw whose clock was turned, in a time zone."""
    require(LIBRARY, "libfaketime is not installed")
    folder = tmp_path_factory.mktemp("clocks")
    (folder / "clock").write_text("+0")
    turned = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "TZ": request.param,
    }
    script = Path(__file__).with_name("turned_clocks.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)], env={**os.environ, **turned}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_the_newest_day_is_that_of_utc_whatever_the_zone_and_the_season(seen):
    assert seen["day_partitions"] == {moment: moment[:10] for moment in seen["day_partitions"]}
    assert len(seen["day_partitions"]) == 11


def test_a_chain_is_ordered_by_number_while_the_clock_jumps(seen):
    found = seen["chain_and_lake"]
    assert found["broken"] == [] and found["order"] == [0, 1, 2, 3] and found["newest"] == 3
    assert found["years"] == [2026, 2027, 2026, 1999]


def test_a_table_keeps_what_was_written_last_while_the_clock_jumps(seen):
    assert seen["chain_and_lake"]["seen"] == [{"n": number} for number in range(4)] and seen["chain_and_lake"]["mended"] == []


def test_a_leap_day_counts_as_a_day_for_backups(seen):
    """Seven daily ones back from the 29th of February, then the newest of each older week inside thirty days."""
    kept = seen["heads_and_backups"]["kept"]
    assert kept[:7] == [0, 1, 2, 3, 4, 5, 6] and max(kept) <= 30 and len(kept) <= 7 + 4


def test_a_clock_that_is_a_year_behind_throws_nothing_away(seen):
    assert seen["heads_and_backups"]["behind"] == 40 and seen["heads_and_backups"]["removed_behind"] == 0
    assert seen["heads_and_backups"]["removed"] == 0


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2028-02-29"])
def test_every_schedule_ticks_as_often_on_a_day_of_another_length(day):
    from dagster._utils.schedules import schedule_execution_time_iterator

    from spotify_ai_assets.definitions import defs

    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    schedules = list(defs().get_repository_def().schedule_defs)
    assert schedules
    for schedule in schedules:
        assert schedule.execution_timezone == "UTC", schedule.name
        counts = {_ticks(schedule_execution_time_iterator, schedule.cron_schedule, begin + timedelta(days=7 * week)) for week in (-1, 0, 1)}
        assert len(counts) == 1, schedule.name


def _ticks(iterate: Any, cron: Any, begin: datetime) -> int:
    """How often a schedule ticks within the week that ends with a day."""
    start, end = begin - timedelta(days=6), begin + timedelta(days=1)
    count = 0
    for tick in iterate(start.timestamp() - 1, cron, "UTC", ascending=True):
        if tick.timestamp() >= end.timestamp():
            return count
        count += 1
    return count
