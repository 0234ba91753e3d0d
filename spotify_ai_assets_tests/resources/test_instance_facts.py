"""What is read of an instance is what happened on it: runs, ticks, pools, materialisations, checks."""

import time
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from spotify_ai_assets.resources.instance_facts import (
    last_deadline,
    read_checked,
    read_daemons,
    read_made,
    read_pools,
    read_runs,
    read_tickers,
)


@pytest.fixture(scope="module")
def kept():
    """An instance with every storage, on disk."""
    with instance_for_test() as instance:
        yield instance


@dg.asset(key=["a", "table"], pool="a_table", check_specs=[dg.AssetCheckSpec("contract", asset=["a", "table"])])
def table():
    yield dg.AssetCheckResult(
        check_name="contract", passed=False, severity=dg.AssetCheckSeverity.WARN, metadata={"cpu_seconds": 1.5, "note": "words"}
    )
    yield dg.MaterializeResult(metadata={"stream_lag_p50_s": 0.25, "rows": 3})


@dg.op
def fall():
    raise dg.Failure("as planned")


@dg.job
def falling():
    fall()


def materialise(instance, **options):
    return dg.materialize([table], instance=instance, **options)


LOCATION = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(python_file="invented.py"), "invented")
REPOSITORY = RemoteRepositoryOrigin(LOCATION, "__repository__")


def sensor_state(instance, name, status=InstigatorStatus.RUNNING):
    state = InstigatorState(RemoteInstigatorOrigin(REPOSITORY, name), InstigatorType.SENSOR, status, SensorInstigatorData(min_interval=60))
    instance.add_instigator_state(state)
    return state


def tick(instance, state, status, at):
    error = SerializableErrorInfo("as planned", [], None) if status == TickStatus.FAILURE else None
    origin, name = state.instigator_origin_id, state.instigator_name
    data = TickData(origin, name, InstigatorType.SENSOR, status, at, error=error, selector_id=state.selector_id)
    instance.create_tick(data)


def test_runs_are_counted_by_job_and_status_and_the_last_of_each_job_is_known(instance):
    materialise(instance)
    falling.execute_in_process(instance=instance, raise_on_error=False)
    falling.execute_in_process(instance=instance, raise_on_error=False)
    runs = read_runs(instance, time.time())
    assert runs.kept["falling", "failure"] == 2
    assert {(each.job, each.status) for each in runs.recent} >= {("falling", "failure")}
    assert len({each.run_id for each in runs.recent}) == 3
    assert runs.last["falling"].ended_at == max(each.ended_at for each in runs.recent if each.job == "falling")
    assert runs.last["falling"].seconds is not None and runs.last["falling"].seconds >= 0
    assert runs.active == ()


def test_runs_that_ended_long_ago_are_not_recent(instance):
    falling.execute_in_process(instance=instance, raise_on_error=False)
    assert read_runs(instance, time.time() + 3 * 3600).recent == ()


def test_a_queued_run_is_active_since_it_came_into_its_status(instance):
    before = time.time()
    create_run_for_test(instance, "falling", status=dg.DagsterRunStatus.QUEUED, remote_job_origin=RemoteJobOrigin(REPOSITORY, "falling"))
    (found,) = read_runs(instance, time.time()).active
    assert (found.job, found.status) == ("falling", "queued")
    assert before - 2 <= found.since <= time.time() + 2


def test_a_sensor_tells_its_last_tick_and_its_failed_ones(kept):
    instance = kept
    state = sensor_state(instance, "landed")
    tick(instance, state, TickStatus.FAILURE, 100.0)
    tick(instance, state, TickStatus.FAILURE, 200.0)
    tick(instance, state, TickStatus.SKIPPED, 300.0)
    sensor_state(instance, "resting", InstigatorStatus.STOPPED)
    found = {each.name: each for each in read_tickers(instance)}
    assert (found["landed"].kind, found["landed"].is_running) == ("sensor", True)
    assert (found["landed"].last_at, found["landed"].last_status) == (300.0, "skipped")
    assert len(found["landed"].failed) == 2
    assert (found["resting"].is_running, found["resting"].last_at, found["resting"].last_status) == (False, None, "")


def test_every_daemon_that_is_needed_is_told_though_it_never_beat(kept):
    found = {each.kind: each.beat_at for each in read_daemons(kept)}
    assert {"SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR"} <= set(found)
    assert set(found.values()) == {None}


def test_an_instance_without_ticks_and_daemons_has_none(instance):
    assert read_tickers(instance) == []
    assert read_daemons(instance) == []


def test_a_pool_tells_its_limit_and_what_waits(kept):
    kept.event_log_storage.set_concurrency_slots("a_table", 2)
    assert [(each.name, each.limit, each.active, each.pending) for each in read_pools(kept)] == [("a_table", 2, 0, 0)]


def test_the_last_materialisation_tells_its_time_its_run_and_its_numbers(instance):
    before = time.time()
    materialise(instance)
    found = read_made(instance, ["a/table", "a/other"])
    assert set(found) == {"a/table"}
    assert before <= (found["a/table"].at or 0) <= time.time()
    assert found["a/table"].run_status == "success"
    assert found["a/table"].figures == {"stream_lag_p50_s": 0.25, "rows": 3.0}


def test_of_a_check_only_the_last_evaluation_counts(instance):
    materialise(instance)
    materialise(instance)
    (found,) = read_checked(instance)
    assert (found.asset, found.name, found.passed, found.severity) == ("a/table", "contract", False, "WARN")
    assert found.figures == {"cpu_seconds": 1.5}


@pytest.mark.parametrize(
    ("moment", "deadline"), [("2026-03-29T07:59:59", "2026-03-28T08:00:00"), ("2026-03-29T08:00:01", "2026-03-29T08:00:00")]
)
def test_the_last_deadline_is_the_newest_that_has_passed(moment, deadline):
    now, then = (datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() for each in (moment, deadline))
    assert last_deadline("0 8 * * *", "UTC", now) == then


def test_a_deadline_follows_summer_time_of_its_zone():
    # On 29 March 2026 clocks in Berlin go forward: eight o'clock is six in UTC, and was seven the day before.
    for moment, hour in (("2026-03-28T12:00", 7), ("2026-03-29T12:00", 6)):
        now = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
        assert datetime.fromtimestamp(last_deadline("0 8 * * *", "Europe/Berlin", now), UTC).hour == hour
