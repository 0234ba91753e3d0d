"""A heart beats for each run of its process until the run has ended, and stops for none before."""

import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from spotify_ai_assets.resources.heartbeat import Heart, beats_of, forget_beats

BEAT_S = 0.02


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance of files: a database in memory makes nobody wait for the thread that beats, it fails at once."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as filed:
        yield filed


@pytest.fixture
def heart() -> Iterator[Heart]:
    yield Heart(BEAT_S)


def start(instance: dg.DagsterInstance) -> str:
    job = dg.GraphDefinition(name="living").to_job()
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id


def until(look: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not look():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(BEAT_S)


def beat(instance: dg.DagsterInstance, run: str) -> str | None:
    return beats_of(instance, [run]).get(run)


def is_beating(instance: dg.DagsterInstance, run: str) -> bool:
    before = beat(instance, run)
    time.sleep(5 * BEAT_S)
    return beat(instance, run) != before


def test_it_beats_at_once_and_on_until_the_run_has_ended(instance: dg.DagsterInstance, heart: Heart) -> None:
    run = start(instance)
    assert beat(instance, run) is None
    heart.keep_beating(instance, run)
    first = beat(instance, run)
    assert first is not None
    until(lambda: beat(instance, run) != first)
    found = instance.get_run_by_id(run)
    assert found is not None
    instance.report_run_failed(found)
    until(lambda: heart._thread is None)
    assert not is_beating(instance, run)


def test_one_thread_beats_for_all_runs_of_a_process(instance: dg.DagsterInstance, heart: Heart) -> None:
    runs = [start(instance) for _ in range(3)]
    before = threading.active_count()
    for run in runs * 2:
        heart.keep_beating(instance, run)
    assert threading.active_count() == before + 1
    first = beats_of(instance, runs)
    until(lambda: all(beats_of(instance, runs)[run] != first[run] for run in runs))
    instance.delete_run(runs[0])
    until(lambda: not is_beating(instance, runs[0]))
    assert is_beating(instance, runs[1]), "a run that is gone silences no other"


@pytest.mark.parametrize("looks", [3, 12])
def test_a_database_that_is_away_for_a_moment_or_for_long_stops_no_heart(
    instance: dg.DagsterInstance, heart: Heart, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    run, get, failures = start(instance), instance.get_run_by_id, []

    def away(run_id: str) -> dg.DagsterRun | None:
        if len(failures) < looks:
            failures.append(run_id)
            raise ConnectionError("the database is away")
        return get(run_id)

    monkeypatch.setattr(instance, "get_run_by_id", away)
    heart.keep_beating(instance, run)
    first = beat(instance, run)
    until(lambda: beat(instance, run) != first)
    assert len(failures) == looks


def test_an_instance_that_nobody_has_any_more_ends_the_thread(heart: Heart) -> None:
    class Instance:
        """What a heart needs of one; Dagster's own go in cycles, whenever the collector looks."""

        def get_run_by_id(self, _: str) -> None:
            raise ConnectionError("the database is closed")

    mine = Instance()
    heart.keep_beating(mine, "run")  # type: ignore[arg-type]
    time.sleep(10 * BEAT_S)
    assert heart._thread and "run" in heart._runs, "closed for long is not gone"
    del mine
    until(lambda: heart._thread is None)


def test_a_run_whose_instance_is_gone_goes_on_with_another(instance: dg.DagsterInstance) -> None:
    heart, run = Heart(5), start(instance)
    heart._runs[run] = weakref.ref(type("Gone", (), {})())  # type: ignore[assignment]
    heart._thread = threading.current_thread()
    heart.keep_beating(instance, run)
    assert heart._runs[run]() is instance and beat(instance, run) is not None


def test_beats_of_ended_runs_are_forgotten(instance: dg.DagsterInstance, heart: Heart) -> None:
    run, other = start(instance), start(instance)
    for each in (run, other):
        heart.keep_beating(instance, each)
    found = instance.get_run_by_id(run)
    assert found is not None
    instance.report_run_failed(found)
    until(lambda: run not in heart._runs)
    instance.daemon_cursor_storage.set_cursor_values({"somebody else's": "1"})
    assert forget_beats(instance) == 1
    assert beat(instance, run) is None
    assert beat(instance, other) is not None
    assert instance.daemon_cursor_storage.get_cursor_values({"somebody else's"}) == {"somebody else's": "1"}
    assert beats_of(instance, []) == {}
