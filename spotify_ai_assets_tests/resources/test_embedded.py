"""The embedded instance: its events are what Dagster's own storage would hold, in fewer connections and syncs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from spotify_ai_assets.launching import QUIET
from spotify_ai_assets.partitions import DAYS, range_tags
from spotify_ai_assets.resources import embedded
from spotify_ai_assets.resources.embedded import EmbeddedEvents
from spotify_ai_assets.runs import open_instance
from spotify_ai_assets.settings import ROOT


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance that ``dagster.yaml`` describes, in a data folder of its own."""
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(ROOT))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    with open_instance() as instance:
        yield instance


def _make(instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def thing(context: dg.AssetExecutionContext) -> None:
        for name in context.partition_keys:
            context.add_asset_metadata({"name": name}, partition_key=name)

    job = dg.Definitions([thing], jobs=[dg.define_asset_job("make", [thing])]).resolve_job_def("make")
    return job.execute_in_process(instance=instance, run_config=QUIET, tags=tags)


def _made(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey("thing")))


def _ten_days() -> dict[str, str]:
    return range_tags(date(2024, 3, 1), date(2024, 3, 10))


def test_a_ranged_run_is_recorded_day_by_day(home: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id = _make(home, **_ten_days()).run_id
    assert _made(home) == {f"2024-03-{day:02}" for day in range(1, 11)}
    plain = SqliteEventLogStorage(str(tmp_path / "dagster" / "history" / "runs"))
    assert [each.message for each in plain.get_logs_for_run(run_id)] == [each.message for each in home.all_logs(run_id)]
    newest = home.get_latest_materialization_event(dg.AssetKey("thing"))
    assert newest and newest.asset_materialization and newest.asset_materialization.metadata["name"].value == "2024-03-10"


def test_a_batch_is_stored_whole_or_not_at_all(home: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = home.event_log_storage
    assert isinstance(storage, EmbeddedEvents)
    events = [each for each in home.all_logs(_make(home, **_ten_days()).run_id) if each.is_dagster_event][:3]
    before = len(home.all_logs(events[0].run_id))
    stored = storage.store_event

    def fail_at_the_last(event: object) -> None:
        if event is events[-1]:
            raise OSError("disk full")
        stored(event)  # type: ignore[arg-type]

    monkeypatch.setattr(storage, "store_event", fail_at_the_last)
    with pytest.raises(OSError, match="disk full"):
        storage.store_event_batch(events)
    assert len(home.all_logs(events[0].run_id)) == before
    monkeypatch.undo()
    storage.store_event_batch(events)
    assert len(home.all_logs(events[0].run_id)) == before + 3


def test_only_the_databases_used_last_stay_open(home: dg.DagsterInstance) -> None:
    runs = [_make(home, **{"dagster/partition": f"2024-03-{day:02}"}).run_id for day in range(1, embedded._OPEN_DATABASES + 3)]
    storage = home.event_log_storage
    assert isinstance(storage, EmbeddedEvents)
    assert len(storage._engines) == embedded._OPEN_DATABASES
    assert all(home.all_logs(run) for run in runs)
    storage.wipe()
    assert _made(home) == set()
    _make(home, **{"dagster/partition": "2024-03-01"})
    assert _made(home) == {"2024-03-01"}


def test_threads_take_turns(home: dg.DagsterInstance) -> None:
    # Whole runs in threads lock each other out in Dagster's own logging, whatever the storage.
    events = [each for each in home.all_logs(_make(home, **_ten_days()).run_id) if each.is_dagster_event]
    with ThreadPoolExecutor(4) as pool:
        stored = [pool.submit(home.event_log_storage.store_event_batch, events) for _ in range(8)]
        read = [pool.submit(_made, home) for _ in range(8)]
    assert all(each.exception() is None for each in stored)
    assert {len(each.result()) for each in read} == {10}
    assert len([each for each in home.all_logs(events[0].run_id) if each.is_dagster_event]) == 9 * len(events)


def test_a_slot_freed_while_a_step_queues_for_it_is_not_lost(home: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = home.event_log_storage
    assert isinstance(storage, EmbeddedEvents)
    storage.set_concurrency_slots("pool", 1)
    assert storage.claim_concurrency_slot("pool", "first", "step").is_claimed
    assert not storage.claim_concurrency_slot("pool", "second", "step").is_assigned
    storage.free_concurrency_slot_for_step("second", "step")
    queue = storage.add_pending_step

    def free_and_queue(*arguments: object, **options: object) -> None:
        storage.free_concurrency_slot_for_step("first", "step")
        queue(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(storage, "add_pending_step", free_and_queue)
    assert storage.claim_concurrency_slot("pool", "second", "step").is_claimed
    monkeypatch.undo()
    assert not storage.claim_concurrency_slot("pool", "third", "step").is_assigned
