"""A year of days by the command line alone: imported, made, verified, with everything killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from spotify_ai_assets.demo.world import write_world
from spotify_ai_assets.maintenance.jobs import MADE, UNDATED
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

DAYS = 365
_COMMAND = [sys.executable, "-m", "spotify_ai_assets.cli"]


def _environment(data: Path) -> dict[str, str]:
    return {**os.environ, "SPOTIFY_AI_DATA": str(data), "SPOTIFY_AI_PSEUDONYM_SEED": "year"}


def _spotify_ai(data: Path, *arguments: str) -> dict:
    done = subprocess.run([*_COMMAND, *arguments, "--json"], env=_environment(data), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def _kill_when(data: Path, arguments: list[str], is_time: Callable[[], bool]) -> None:
    process = subprocess.Popen(
        [*_COMMAND, *arguments], env=_environment(data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 900
    while not is_time():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow(minutes=14)
def test_a_year_is_imported_made_and_verified_although_everything_is_killed_in_the_middle(tmp_path: Path) -> None:
    truth = json.loads(write_world(tmp_path / "world", days=DAYS).read_text())
    first = date.fromisoformat(truth["first_day"])
    partitions = sum(table.has(first + timedelta(days=number)) for table in MADE for number in range(DAYS))
    data = tmp_path / "data"
    lake = open_lake(Settings.from_environment(_environment(data)), TABLES)
    landing = [str(tmp_path / "world" / "landing"), str(tmp_path / "world" / "late")]

    _kill_when(data, ["import", *landing], lambda: len(lake.states("listening/events")) > DAYS / 3)
    files = _spotify_ai(data, "import", *landing)["files"]
    assert all(file["rows"] == file["stored"] + file["duplicate"] + file["rejected"] for file in files)
    assert len(lake.states("listening/events")) == DAYS

    _kill_when(data, ["backfill", "run"], lambda: len(lake.states("listening/charts")) > DAYS / 2)
    made_before = sum(len(lake.states(table.key)) for table in MADE)
    outcome = _spotify_ai(data, "backfill", "run")
    assert outcome["refused"] == {}
    assert sum(len(lake.states(table.key)) for table in MADE) == partitions
    undated = sum(len(lake.states(table.key)) for table in UNDATED)  # these come last, so all of them after the kill
    assert outcome["made"] == partitions - made_before + undated

    found = _spotify_ai(data, "backfill", "verify")
    assert (found["partitions"], found["differing"], found["stale"], found["failed"]) == (partitions + undated, [], [], [])
    plays = json.loads(
        subprocess.run(
            [*_COMMAND, "sql", "select count(*) as plays from listening.plays", "--json"],
            env=_environment(data),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert plays == [{"plays": truth["listens"]["plays"]}]
