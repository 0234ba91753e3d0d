"""What the sensors of maintenance ask for, and that a refused day is asked for once."""

from collections.abc import Callable
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
from invented import day, land, listens, numbers_of

from spotify_ai_assets.definitions import defs
from spotify_ai_assets.launching import QUIET
from spotify_ai_assets.listening.contracts import CHARTS, EVENTS, PLAYS, TRACK_DAYS
from spotify_ai_assets.maintenance.jobs import CHUNK_DAYS, MADE, chunks, stale_days
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import ONLY_STALE, TRACE

Tick = Callable[[], tuple[date, date] | None]


@pytest.fixture
def tick(lake: Lake, instance: dg.DagsterInstance) -> Tick:
    """Evaluates ``stale_days`` as a daemon does: the cursor goes from tick to tick. Gives the range that it asks for."""
    cursor: str | None = None

    def evaluate() -> tuple[date, date] | None:
        nonlocal cursor
        told = stale_days.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": lake}))
        cursor = told.cursor or cursor
        assert len(told.run_requests or []) <= 1
        for request in told.run_requests or []:
            assert {ONLY_STALE, TRACE} <= set(request.tags)
            first, last = (date.fromisoformat(request.tags[name]) for name in range_tags(day(0), day(0)))
            return first, last
        assert told.skip_message
        return None

    return evaluate


@pytest.fixture
def execute(lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Callable[[tuple[date, date]], bool]:
    """Runs the backfill that the sensor asked for."""
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    job = defs().resolve_job_def("backfill")

    def run(days: tuple[date, date] | None) -> bool:
        assert days is not None
        tags = {ONLY_STALE: "true", **range_tags(*days)}
        return job.execute_in_process(instance=instance, run_config=QUIET, tags=tags, raise_on_error=False).success

    return run


def spoil(lake: Lake, number: int, country: str = "Atlantis") -> None:
    lake.write(EVENTS.key, listens(day(number)).with_columns(country=pl.lit(country)), day(number))


def days_of(lake: Lake, key: str) -> list[int]:
    return sorted((date.fromisoformat(name) - day(0)).days for name in lake.states(key))


def test_nothing_is_asked_for_where_nothing_is(tick: Tick) -> None:
    assert tick() is None


def test_what_is_stale_is_asked_for_until_it_is_made(lake: Lake, tick: Tick, execute) -> None:
    land(lake, range(3))
    asked = tick()
    assert asked == (day(0), day(2))
    assert execute(asked)
    assert tick() is None
    lake.write(EVENTS.key, listens(day(1), shift=1), day(1))
    asked = tick()
    assert asked == (day(1), day(2)), "a corrected day changes every later chart"
    assert execute(asked)
    assert tick() is None


def test_the_same_state_is_asked_for_once(lake: Lake, tick: Tick) -> None:
    land(lake, range(3))
    assert tick() == (day(0), day(2))
    assert tick() is None, "its run failed without a word, or was deleted"
    land(lake, range(3, 4))
    assert tick() == (day(0), day(3))


def test_a_long_history_is_asked_for_in_ranges(lake: Lake, tick: Tick) -> None:
    land(lake, range(0, 2 * CHUNK_DAYS, CHUNK_DAYS), count=1)
    assert tick() == (day(0), day(CHUNK_DAYS - 1))
    assert tick() == (day(CHUNK_DAYS), day(CHUNK_DAYS))
    assert tick() is None


def test_no_second_backfill_is_asked_for_while_one_runs(lake: Lake, instance: dg.DagsterInstance, tick: Tick) -> None:
    land(lake, range(2))
    job = dg.GraphDefinition(name="backfill").to_job()
    for status in (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING):
        running = instance.create_run_for_job(job, status=status)
        assert tick() is None
        instance.delete_run(running.run_id)
    assert tick() == (day(0), day(1))


@pytest.mark.slow
def test_a_refused_day_is_left_alone_and_the_days_around_it_are_made(lake: Lake, tick: Tick, execute) -> None:
    land(lake, range(5))
    spoil(lake, 2)
    asked = [tick()]
    assert not execute(asked[0]), "its run says so"
    assert days_of(lake, PLAYS.key) == [0, 1, 3, 4]
    assert days_of(lake, CHARTS.key) == [], "the step failed, so nothing behind it ran"
    while (more := tick()) is not None:
        asked.append(more)
        execute(more)
        assert len(asked) <= 5
    assert asked[:2] == [(day(0), day(4)), (day(0), day(1))]
    assert asked[-1] == (day(3), day(4)), "once more with the refused day, as the charts before it are new, then without"
    assert {table.key: days_of(lake, table.key) for table in MADE} == {table.key: numbers_of(table, [0, 1, 3, 4]) for table in MADE}
    assert [tick() for _ in range(3)] == [None] * 3, "the same state is not asked for again and again"
    spoil(lake, 2, "Lyonesse")
    assert execute(tick()) is False, "its input changed, so it is tried again"
    assert [tick() for _ in range(2)] == [None] * 2
    land(lake, range(2, 3))
    asked = [tick()]
    assert execute(asked[0])
    assert asked == [(day(2), day(4))], "the charts behind it follow"
    assert tick() is None
    assert days_of(lake, CHARTS.key) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_day_refused_further_down_does_not_stop_the_others(lake: Lake, tick: Tick, execute, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table before it was made on every day, so what is stale of the refused day changes once."""
    from spotify_ai_assets.listening import assets

    count = assets.count_tracks

    def broken(plays: pl.LazyFrame, on: date) -> pl.DataFrame:
        return count(plays, on).with_columns(plays=pl.lit(-1, pl.Int64)) if on == day(1) else count(plays, on)

    monkeypatch.setattr(assets, "count_tracks", broken)
    land(lake, range(3))
    asked = []
    while (more := tick()) is not None:
        asked.append(more)
        execute(more)
        assert len(asked) <= 6
    assert days_of(lake, PLAYS.key) == [0, 1, 2]
    assert days_of(lake, TRACK_DAYS.key) == days_of(lake, CHARTS.key) == [0, 2]
    assert tick() is None


@pytest.mark.parametrize(
    ("days", "without", "expected"),
    [
        ([], [], []),
        ([0, 1, 2], [], [[0, 1, 2]]),
        ([0, 2], [], [[0, 2]]),
        ([0, 1, 2], [1], [[0], [2]]),
        ([0, 1, 2], [0, 2], [[1]]),
        ([0, 30, 31], [], [[0, 30], [31]]),
    ],
)
def test_ranges_are_short_and_go_around(days: list[int], without: list[int], expected: list[list[int]]) -> None:
    found = chunks([day(0) + timedelta(each) for each in days], without=[day(each) for each in without])
    assert [[(each - day(0)).days for each in chunk] for chunk in found] == expected
