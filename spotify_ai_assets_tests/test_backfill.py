"""Backfills: planned, run in chunks, killed and resumed, verified; by the real command line on a real instance."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from invented import day, land, listens, numbers_of

from spotify_ai_assets.backfill import _chunks, make_plan, recount, run_backfill, select_tables
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.listening.contracts import CHARTS, EVENTS, PLAYS, SESSIONS
from spotify_ai_assets.maintenance.jobs import MADE, UNDATED, report_unrecorded
from spotify_ai_assets.recommendations.contracts import INTERACTIONS
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger
from spotify_ai_assets.tables import TABLES

DAYS = 40
PARTITIONS = sum(len(numbers_of(table, range(DAYS))) for table in MADE)
WHOLES = [INTERACTIONS.key]
"""What is made of listens alone and has no days."""
_COMMAND = [sys.executable, "-m", "spotify_ai_assets.cli"]


def environment(data: Path) -> dict[str, str]:
    return {**os.environ, "SPOTIFY_AI_DATA": str(data), "SPOTIFY_AI_PSEUDONYM_SEED": "test", "PYTHONWARNINGS": ""}


def spotify_ai(data: Path, *arguments: str, status: int = 0) -> dict:
    done = subprocess.run([*_COMMAND, *arguments, "--json"], env=environment(data), capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stderr[-3000:]
    return json.loads(done.stdout)


def lake_of(data: Path) -> Lake:
    return open_lake(Settings.from_environment({"SPOTIFY_AI_DATA": str(data)}), TABLES)


def digests(data: Path) -> dict[str, dict[str, str]]:
    lake = lake_of(data)
    return {table.key: {name: state.digest for name, state in lake.states(table.key).items()} for table in (*MADE, *UNDATED)}


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 40 days of listens and nothing made of them."""
    data = tmp_path_factory.mktemp("landed")
    land(lake_of(data), range(DAYS))
    listeners = lake_of(data).scan(EVENTS.key).select(pl.col("listener_id").unique()).collect()["listener_id"]
    vault = Settings.from_environment({"SPOTIFY_AI_DATA": str(data)}).vault_url
    Vault(vault, source=lambda user: user).swap(listeners)
    return data


@pytest.fixture(scope="module")
def undisturbed(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, made in one go."""
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    shutil.copytree(landed, data)
    outcome = spotify_ai(data, "backfill", "run")
    assert (outcome["days"], outcome["made"], outcome["refused"]) == (DAYS, PARTITIONS + len(WHOLES), {})
    assert len(outcome["runs"]) == 2, "small days share a run, and what has no days has its own"
    return data


def test_a_plan_tells_what_is_stale_and_why(landed: Path) -> None:
    found = spotify_ai(landed, "backfill", "plan", "--from", str(day(3)), "--to", str(day(4)), "--select", "listening/plays")
    assert [(each["table"], each["partition"], each["reasons"]) for each in found["stale"]] == [
        (PLAYS.key, str(day(number)), ["never made"]) for number in (3, 4)
    ]
    assert found["seconds"][PLAYS.key] > 0


@pytest.mark.slow
def test_a_plan_of_what_is_made_is_empty_and_verification_agrees(undisturbed: Path) -> None:
    assert spotify_ai(undisturbed, "backfill", "plan")["stale"] == []
    found = spotify_ai(undisturbed, "backfill", "verify")
    assert (found["partitions"], found["differing"], found["stale"], found["failed"]) == (PARTITIONS + len(WHOLES), [], [], [])
    assert found["passed"] > len(MADE)


def test_a_backfill_that_has_nothing_to_do_starts_no_run(undisturbed: Path) -> None:
    before = digests(undisturbed)
    outcome = spotify_ai(undisturbed, "backfill", "run")
    assert (outcome["made"], outcome["runs"]) == (0, [])
    assert digests(undisturbed) == before


@pytest.mark.slow
def test_a_killed_backfill_goes_on_where_it_stopped_and_ends_equal(landed: Path, undisturbed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(landed, data)
    kept: dict[tuple[str, str], tuple[str, ...]] = {}
    for share in (0.3, 0.7):
        process = subprocess.Popen(
            [*_COMMAND, "backfill", "run"],
            env=environment(data),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while (made := sum(len(lake_of(data).states(table.key)) for table in MADE)) < share * PARTITIONS:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert made < PARTITIONS
        states = {(table.key, name): state.paths for table in MADE for name, state in lake_of(data).states(table.key).items()}
        assert kept.items() <= states.items(), "a day that was made before the kill was made again"
        kept = states
    resumed = spotify_ai(data, "backfill", "run")
    assert resumed["made"] == PARTITIONS - len(kept) + len(WHOLES)
    assert digests(data) == digests(undisturbed)
    after = {(table.key, name): state.paths for table in MADE for name, state in lake_of(data).states(table.key).items()}
    assert kept.items() <= after.items()


@pytest.mark.slow
def test_a_dead_run_is_failed_and_what_it_committed_is_recorded(landed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(landed, data)
    process = subprocess.Popen(
        [*_COMMAND, "backfill", "run"], env=environment(data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not lake_of(data).states(SESSIONS.key):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = spotify_ai(data, "status")
    assert [run["status"] for run in found["runs"]] == ["FAILURE"]
    committed = set(lake_of(data).states(SESSIONS.key))
    check = (
        "import dagster as dg; from spotify_ai_assets.runs import open_instance\n"
        "with open_instance() as instance:\n"
        "    print(' '.join(sorted(instance.get_materialized_partitions(dg.AssetKey(['listening', 'sessions'])))))\n"
        "    print(sum(len(instance.event_log_storage.get_concurrency_info(key).claimed_slots)"
        " for key in instance.event_log_storage.get_concurrency_keys()))\n"
    )
    told, slots = subprocess.run(
        [sys.executable, "-c", check], env=environment(data), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert set(told.split()) == committed
    assert slots == "0"


@pytest.mark.slow
def test_a_late_day_remakes_what_depends_on_it_only(undisturbed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(undisturbed, data)
    lake = lake_of(data)
    late = listens(day(10), count=1, shift=5).with_columns(pl.col("started_at").dt.offset_by("11h"), played_ms=pl.lit(60_000, pl.Int64))
    lake.update(EVENTS.key, [day(10)], lambda _, present: pl.concat([present, late]))
    before = digests(data)
    outcome = spotify_ai(data, "backfill", "run")
    assert outcome["refused"] == {}
    after = digests(data)
    changed = {key: {name for name in after[key] if after[key][name] != before[key][name]} for key in after}
    assert changed[PLAYS.key] == {str(day(10))}
    assert changed[SESSIONS.key] <= {str(day(10)), str(day(11))}
    assert min(changed[CHARTS.key]) == str(day(10))
    assert spotify_ai(data, "backfill", "plan")["stale"] == []
    # An undisturbed backfill over the same listens gives the same digests everywhere.
    fresh = tmp_path / "fresh"
    for number in range(DAYS):
        rows = lake.scan(EVENTS.key, first=day(number), last=day(number)).collect()
        lake_of(fresh).write(EVENTS.key, rows, day(number))
    spotify_ai(fresh, "backfill", "run")
    assert digests(fresh) == after


def test_a_refused_day_is_told_and_the_others_are_made(lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    land(lake, range(4))
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(Path(lake.storage.root).parent))
    bad = lake.scan(EVENTS.key, first=day(1), last=day(1)).collect().with_columns(country=pl.lit("Atlantis"))
    lake.write(EVENTS.key, bad, day(1))
    outcome = run_backfill(defs(), instance, lake, select_tables([]), None, None)
    assert outcome.refused[PLAYS.key][str(day(1))] == "listening/plays: country breaks str_matches('^(?:[A-Z]{2})$') in 60 rows"
    assert sorted(lake.states(PLAYS.key)) == [str(day(number)) for number in (0, 2, 3)]
    assert sorted(lake.states(CHARTS.key)) == [str(day(number)) for number in (0, 2, 3)]
    known = instance.get_materialized_partitions(dg.AssetKey(["listening", "charts"]))
    assert sorted(known) == [str(day(number)) for number in (0, 2, 3)]


def test_a_page_that_cannot_be_published_fails_the_backfill(lake: Lake, instance: dg.DagsterInstance, monkeypatch) -> None:
    land(lake, range(2))
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(Path(lake.storage.root).parent))
    Path(lake.storage.root).with_name("reports").write_text("a file where the folder of pages should be")
    outcome = run_backfill(defs(), instance, lake, select_tables([]), None, None)
    assert outcome.refused == {} and not outcome.is_whole
    assert outcome.failed["reports/daily_listening"] == "NotADirectoryError"


def test_what_the_lake_has_and_dagster_lacks_is_told_once(lake: Lake, instance: dg.DagsterInstance) -> None:
    for number in range(3):
        lake.write(EVENTS.key, listens(day(number)), day(number), origin=Origin("dead"))
    assert report_unrecorded(instance, lake, ["another"]) == 0
    assert report_unrecorded(instance, lake, ["dead"]) == 3
    assert report_unrecorded(instance, lake, ["dead"]) == 0
    lake.write(EVENTS.key, listens(day(1), shift=1), day(1), origin=Origin("dead"))
    assert report_unrecorded(instance, lake, ["dead"]) == 1, "known, but with other rows"


def test_verification_finds_rows_that_are_not_those_committed(lake: Lake) -> None:
    land(lake, range(2))
    state = lake.state(EVENTS.key, day(1))
    assert state is not None
    damaged = Path(lake.storage.uri(EVENTS.key, state.paths[0]))
    footer = pl.read_parquet_metadata(damaged)
    rows = pl.read_parquet(damaged).head(59)
    rows.write_parquet(damaged, metadata={"spotify_ai": footer["spotify_ai"]})
    found = recount(lake, [EVENTS], day(0), day(1), lambda *_: None)
    assert found["differing"] == [f"{EVENTS.key}@{day(1)}"]


def test_a_selection_that_selects_nothing_is_refused() -> None:
    with pytest.raises(MissingInputError, match="nothing/there"):
        select_tables(["nothing/there"])
    assert {table.key for table in select_tables(["reports"])} == {
        "reports/daily_listening",
        "reports/anomalies",
        "reports/weekly_trends",
        "reports/cohorts",
        "reports/year_in_review",
    }


def test_a_run_takes_a_month_and_of_small_days_up_to_a_year(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    land(lake, range(50))
    days = [day(number) for number in range(400)]
    assert [len(chunk) for chunk in _chunks(days, Ledger(lake.states))] == [366, 34]
    monkeypatch.setattr("spotify_ai_assets.backfill.SMALL_ROWS", 1_000)
    assert [len(chunk) for chunk in _chunks(days, Ledger(lake.states))] == [31, 31, 338]


def test_a_plan_is_bounded_by_its_days(lake: Lake) -> None:
    land(lake, range(3))
    stale = make_plan(lake, select_tables([]), day(1), day(1)).stale
    assert {each.partition for each in stale if each.partition} == {day(1)}
    assert [each.key for each in stale if each.partition is None] == WHOLES
    assert max(each.partition for each in make_plan(lake, list(MADE), None, None).stale) == day(2)
    assert make_plan(lake, select_tables([]), date(2020, 1, 1), date(2020, 1, 1) + timedelta(days=1)).stale != []
