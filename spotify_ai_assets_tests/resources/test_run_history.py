"""Pruning of runs: what is the latest of anything stays, all else that is old goes, down to the bytes."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_ai_assets.resources.run_history import THINNED, clear, databases, delete_run, find_latest, prune
from spotify_ai_assets.settings import ROOT

NOW = datetime.now(UTC)
BEFORE = NOW - timedelta(days=30)
ASSET, OTHER = dg.AssetKey(["a", "days"]), dg.AssetKey(["a", "whole"])
SECRET = "what-nobody-needs-any-more"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with empty databases: to make them takes longer than a test."""
    data = tmp_path_factory.mktemp("fresh")
    with instance_of(data):
        return data


@contextmanager
def instance_of(data: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a data folder, in real SQLite databases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOTIFY_AI_DATA", str(data))
        patch.setenv("DAGSTER_HOME", str(ROOT))
        with dg.DagsterInstance.get() as opened:
            yield opened


@pytest.fixture
def embedded(fresh: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance of the test's own."""
    shutil.copytree(fresh, tmp_path, dirs_exist_ok=True)
    with instance_of(tmp_path) as opened:
        yield opened


def make_run(
    instance: dg.DagsterInstance,
    age_days: float,
    made: list[tuple[dg.AssetKey, str | None]] = (),  # type: ignore[assignment]
    *,
    checked: list[str] = (),  # type: ignore[assignment]
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS,
    text: str = "",
    **options: Any,
) -> str:
    """A run of some age that made partitions, had checks evaluated and printed something."""
    job = dg.GraphDefinition(name="made").to_job()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, **options)
    instance.report_engine_event(f"engine {text}", run)
    for asset, partition in made:
        event = dg.DagsterEvent(
            dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            "made",
            step_key="step",
            event_specific_data=_data(dg.AssetMaterialization(asset, partition=partition, metadata={"text": text})),
        )
        instance.report_dagster_event(event, run.run_id)
    for name in checked:
        _evaluate(instance, run.run_id, name, text)
    if status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE):
        kind = dg.DagsterEventType.RUN_SUCCESS if status == dg.DagsterRunStatus.SUCCESS else dg.DagsterEventType.RUN_FAILURE
        instance.report_dagster_event(dg.DagsterEvent(kind.value, "made", message="ended"), run.run_id)
    _date(instance, run.run_id, NOW - timedelta(days=age_days))
    return run.run_id


def _data(materialization: dg.AssetMaterialization) -> Any:
    from dagster._core.events import StepMaterializationData

    return StepMaterializationData(materialization)


def _evaluate(instance: dg.DagsterInstance, run_id: str, name: str, text: str) -> None:
    from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation, AssetCheckEvaluationPlanned

    planned = AssetCheckEvaluationPlanned(asset_key=ASSET, check_name=name)
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
    instance.report_dagster_event(dg.DagsterEvent(kind.value, "made", event_specific_data=planned), run_id)
    found = AssetCheckEvaluation(asset_key=ASSET, check_name=name, passed=True, metadata={"text": dg.MetadataValue.text(text)})
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    instance.report_dagster_event(dg.DagsterEvent(kind.value, "made", step_key="step", event_specific_data=found), run_id)


def _date(instance: dg.DagsterInstance, run_id: str, at: datetime) -> None:
    """Let a run have ended then; Dagster takes the clock's word."""
    from dagster._core.storage.runs.schema import RunsTable

    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        ended = {"create_timestamp": at.replace(tzinfo=None), "update_timestamp": at.replace(tzinfo=None), "end_time": at.timestamp()}
        connection.execute(RunsTable.update().where(RunsTable.c.run_id == run_id).values(**ended))


def latest_of(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What Dagster tells of assets: materialised partitions, newest events, newest evaluations."""
    found: dict[str, Any] = {}
    for asset in (ASSET, OTHER):
        found[f"{asset} partitions"] = sorted(instance.get_materialized_partitions(asset))
        for partition in (None, *"012"):
            wanted = dg.AssetRecordsFilter(asset, asset_partitions=[partition]) if partition else asset
            records = instance.fetch_materializations(wanted, limit=1).records
            found[f"{asset}@{partition}"] = [(each.storage_id, each.run_id) for each in records]
            event = instance.get_latest_materialization_event(asset)
            found[f"{asset}"] = event.run_id if event else None
    for name in "xy":
        records = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(ASSET, name), limit=1)
        found[f"check {name}"] = [(each.run_id, each.status) for each in records]
    return found


def runs_of(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


_partition = st.tuples(st.sampled_from([ASSET, OTHER]), st.sampled_from([None, *"012"]))
_run = st.tuples(
    st.sampled_from([1.0, 29.0, 31.0, 90.0]),
    st.lists(_partition, max_size=4),
    st.lists(st.sampled_from("xy"), max_size=2, unique=True),
    st.sampled_from([dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]),
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_run, max_size=7))
def test_whatever_was_made_when_the_latest_of_each_partition_and_check_stays(history: list[Any]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        made = [make_run(instance, age, parts, checked=checked, status=status) for age, parts, checked, status in history]
        before, latest = latest_of(instance), find_latest(instance)
        told = prune(instance, BEFORE, dry_run=True)
        assert (latest_of(instance), runs_of(instance)) == (before, set(made)), "a dry run changes nothing"
        assert prune(instance, BEFORE, dry_run=False) == told
        assert latest_of(instance) == before
        is_young = {
            run for run, (age, _, _, status) in zip(made, history, strict=True) if age < 30 or status == dg.DagsterRunStatus.STARTED
        }
        assert is_young | latest.runs == runs_of(instance), "every old run of which nothing is needed is gone, and no other"
        again = prune(instance, BEFORE, dry_run=False)
        assert (again.runs, again.thinned, again.events) == (0, 0, 0)


def test_of_an_old_run_that_is_still_needed_only_that_stays(embedded: dg.DagsterInstance) -> None:
    old = make_run(embedded, 60, [(ASSET, "0"), (ASSET, "1")], checked=["x", "y"], text="old")
    young = make_run(embedded, 1, [(ASSET, "1")], checked=["y"], text="young")
    whole = len(embedded.all_logs(young))
    told = prune(embedded, BEFORE, dry_run=False)
    assert (told.runs, told.thinned) == (0, 1)
    left = [entry.get_dagster_event() for entry in embedded.all_logs(old) if entry.is_dagster_event]
    assert [(event.event_type_value, event.partition) for event in left if event.event_type_value == "ASSET_MATERIALIZATION"] == [
        ("ASSET_MATERIALIZATION", "0")
    ]
    assert {event.event_type_value for event in left} == {"ASSET_MATERIALIZATION", "PIPELINE_SUCCESS"}
    assert len(embedded.all_logs(young)) == whole
    run = embedded.get_run_by_id(old)
    assert run is not None
    assert run.tags[THINNED] == old
    shown = embedded.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(ASSET, "x"), limit=5)
    assert [each.run_id for each in shown] == [old], "the newest evaluation of a check can still be shown"
    assert shown[0].event is not None


def test_a_run_that_was_superseded_goes_whole_and_its_bytes_with_it(embedded: dg.DagsterInstance, tmp_path: Path) -> None:
    old = make_run(embedded, 60, [(ASSET, "0")], checked=["x"], text=SECRET, tags={"told": SECRET})
    prints = tmp_path / "dagster" / "storage" / old / "compute_logs" / "step.out"
    prints.parent.mkdir(parents=True)
    prints.write_text(SECRET)
    make_run(embedded, 1, [(ASSET, "0")], checked=["x"])
    assert mentions(tmp_path), "the positive control"
    told = prune(embedded, BEFORE, dry_run=False)
    assert told.runs == 1
    assert runs_of(embedded).isdisjoint({old})
    assert mentions(tmp_path) == []
    assert not (tmp_path / "dagster" / "history" / "runs" / f"{old}.db").exists()
    assert embedded.get_materialized_partitions(ASSET) == {"0"}


def mentions(folder: Path) -> list[str]:
    """The files that hold what was to be removed."""
    return [path.name for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_thinned_run_leaves_no_byte_of_what_went(embedded: dg.DagsterInstance, tmp_path: Path) -> None:
    make_run(embedded, 60, [(ASSET, "0"), (OTHER, None)], text="kept")
    make_run(embedded, 59, [(ASSET, "1")], checked=["x"], text=SECRET)
    make_run(embedded, 58, [(ASSET, "1")], checked=["x"], text="newer")
    make_run(embedded, 57, [], text=SECRET)
    assert len(mentions(tmp_path)) > 2
    prune(embedded, BEFORE, dry_run=False)
    assert mentions(tmp_path) == []
    assert embedded.get_materialized_partitions(ASSET) == {"0", "1"}


def test_a_parent_stays_as_long_as_its_retry(embedded: dg.DagsterInstance) -> None:
    first = make_run(embedded, 60, status=dg.DagsterRunStatus.FAILURE)
    again = make_run(embedded, 1, root_run_id=first, parent_run_id=first)
    lost = make_run(embedded, 60)
    prune(embedded, BEFORE, dry_run=False)
    assert runs_of(embedded) == {first, again}
    assert lost not in runs_of(embedded)


def test_deleting_a_run_takes_its_executions_of_checks_with_it(embedded: dg.DagsterInstance, tmp_path: Path) -> None:
    run = make_run(embedded, 0, [(ASSET, "0")], checked=["x"], text=SECRET)
    other = make_run(embedded, 0, [(ASSET, "1")])
    last = make_run(embedded, 0, [(ASSET, "2")], text=SECRET)
    assert [delete_run(embedded, each) for each in (run, last)] == [5, 3]
    clear(embedded)
    assert mentions(tmp_path) == []
    assert latest_of(embedded)["check x"] == []
    event = embedded.get_latest_materialization_event(ASSET)
    assert event is not None
    assert event.run_id == other
    assert delete_run(embedded, run) == 0, "once more is no error"


def test_all_databases_of_the_instance_are_rewritten(embedded: dg.DagsterInstance, tmp_path: Path) -> None:
    run = make_run(embedded, 0)
    names = {path.relative_to(tmp_path / "dagster").as_posix() for path in databases(embedded)}
    assert names >= {"history/runs.db", "history/runs/index.db", "schedules/schedules.db", f"history/runs/{run}.db"}
    for path in databases(embedded):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE told (text TEXT)")
            connection.executemany("INSERT INTO told VALUES (?)", [(SECRET * 50,)] * 20)
            connection.execute("DROP TABLE told")
    assert mentions(tmp_path)
    clear(embedded)
    assert mentions(tmp_path) == []
    assert runs_of(embedded) == {run}


def test_an_instance_in_memory_has_no_files(instance: dg.DagsterInstance) -> None:
    make_run(instance, 60)
    assert databases(instance) == []
    assert prune(instance, BEFORE, dry_run=False).bytes == 0


@pytest.mark.slow
def test_on_postgresql_the_same_goes_and_the_tables_are_rewritten(postgres: str, tmp_path: Path) -> None:
    from sqlalchemy import create_engine, text

    storage = {"postgres": {"postgres_url": postgres}}
    (tmp_path / "dagster.yaml").write_text(json.dumps({"storage": storage, "telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as shared:
        make_run(shared, 60, [(ASSET, "0")], checked=["x"], text=SECRET)
        kept = make_run(shared, 59, [(ASSET, "0"), (ASSET, "1")], checked=["x"], text="kept")
        make_run(shared, 1, [(ASSET, "1")])
        before = latest_of(shared)
        with shared.run_storage.connect() as connection:  # type: ignore[attr-defined]
            assert connection.execute(text("SELECT count(*) FROM event_logs WHERE event LIKE :t"), {"t": f"%{SECRET}%"}).scalar_one() > 1
        counted = prune(shared, BEFORE, dry_run=True)
        assert latest_of(shared) == before
        told = prune(shared, BEFORE, dry_run=False)
        assert (told.runs, told.thinned, told.events) == (counted.runs, counted.thinned, counted.events) == (1, 1, told.events)
        assert latest_of(shared) == before
        assert databases(shared) == []
        run = shared.get_run_by_id(kept)
        assert run is not None
        assert run.tags[THINNED] == kept
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CHECKPOINT"))
        folder = Path(connection.execute(text("SHOW data_directory")).scalar_one())
    engine.dispose()
    assert mentions(folder / "base") == []
