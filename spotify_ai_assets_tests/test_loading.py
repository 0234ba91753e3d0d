"""Tables as assets: retries by class of error, refused days, what is recorded of a partition, executors."""

from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import polars as pl
import pytest
from invented import day, land, listens

from spotify_ai_assets.contracts import Column, Reads, Table
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.errors import CommitConflictError, LockTimeoutError
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.loading import asset_key, made_table
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

FIRST = Table(
    "listening/first",
    (Column("day", pl.Date, "Day."), Column("country", pl.String, "Country.", pattern="[A-Z]{2}"), Column("rows", pl.Int64, "Rows.")),
    ("day", "country"),
    "team:test",
    reads=(Reads(EVENTS.key),),
)
SECOND = replace(FIRST, key="listening/second", reads=(Reads(FIRST.key),))


@made_table(FIRST)
def first(read: Inputs) -> pl.DataFrame:
    """Rows by country."""
    rows = read(EVENTS.key).group_by("country").agg(rows=pl.len().cast(pl.Int64)).collect()
    return rows.select(pl.lit(read.day).alias("day"), "country", "rows")


@made_table(SECOND)
def second(read: Inputs) -> pl.DataFrame:
    """The same again."""
    return read(FIRST.key).collect()


class Busy(Lake):
    """A lake whose table is held by others for the first writes of a run."""

    refusals: list[Exception]

    def batch(self, key: str, *arguments: Any, **options: Any) -> Any:
        if self.refusals:
            raise self.refusals.pop(0)
        return super().batch(key, *arguments, **options)


@pytest.fixture
def busy(lake: Lake) -> Busy:
    """A lake of three days of listens and two small tables."""
    land(lake, range(3))
    busy = Busy(lake.storage.root, {**TABLES, FIRST.key: FIRST, SECOND.key: SECOND}, lake.locks)
    busy.refusals = []
    return busy


def make(busy: Lake, instance: dg.DagsterInstance, settings: Settings, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [first, second], instance=instance, resources={"lake": busy, "settings": settings}, raise_on_error=False, **options
    )


def count(result: dg.ExecuteInProcessResult, kind: dg.DagsterEventType) -> dict[str | None, int]:
    steps = [event.step_key for event in result.all_events if event.event_type == kind]
    return {step: steps.count(step) for step in set(steps)}


def test_a_transient_error_is_tried_again(busy: Busy, instance: dg.DagsterInstance, settings: Settings) -> None:
    busy.refusals = [LockTimeoutError("held"), CommitConflictError("lost")]
    result = make(busy, instance, settings, partition_key=str(day(1)))
    assert result.success
    assert count(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == {"listening__first": 2}
    assert set(busy.states(SECOND.key)) == {str(day(1))}


def test_a_transient_error_is_not_tried_for_ever(busy: Busy, instance: dg.DagsterInstance, settings: Settings) -> None:
    busy.refusals = [LockTimeoutError("held")] * 10
    result = make(busy, instance, settings, partition_key=str(day(1)))
    assert not result.success
    assert count(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == {"listening__first": 3}


def spoil(lake: Lake, number: int) -> None:
    """Give the events of a day a country that breaks the contract of what is made of them."""
    lake.write(EVENTS.key, listens(day(number)).with_columns(country=pl.lit("Atlantis")), day(number))


def test_a_broken_contract_is_not_tried_again_and_stops_all_behind_it(busy: Busy, instance: dg.DagsterInstance, settings: Settings) -> None:
    spoil(busy, 1)
    result = make(busy, instance, settings, partition_key=str(day(1)))
    assert not result.success
    assert count(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == {}
    assert count(result, dg.DagsterEventType.STEP_FAILURE) == {"listening__first": 1}
    assert "listening__second" not in count(result, dg.DagsterEventType.STEP_START)
    assert busy.states(FIRST.key) == busy.states(SECOND.key) == {}
    assert result.get_asset_materialization_events() == []
    [evaluation] = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed, evaluation.blocking) == ("contract", False, True)


def test_a_range_makes_the_days_around_a_refused_one(busy: Busy, instance: dg.DagsterInstance, settings: Settings) -> None:
    spoil(busy, 1)
    result = make(busy, instance, settings, tags=range_tags(day(0), day(2)))
    assert not result.success
    assert set(busy.states(FIRST.key)) == {str(day(0)), str(day(2))}
    refused = result.get_step_failure_events()[0].step_failure_data.user_failure_data.metadata["refused"].value
    assert refused == {str(day(1)): "listening/first: country breaks str_matches('^(?:[A-Z]{2})$') in 1 rows"}


def test_an_error_of_a_table_s_function_is_told_without_its_message(lake: Lake, instance: dg.DagsterInstance, settings: Settings) -> None:
    @made_table(FIRST)
    def broken(read: Inputs) -> pl.DataFrame:
        """Fails with a person's name in its message."""
        raise ValueError("Ada Lovelace")

    land(lake, range(1))
    lake = Lake(lake.storage.root, {**TABLES, FIRST.key: FIRST}, lake.locks)
    result = dg.materialize(
        [broken], instance=instance, resources={"lake": lake, "settings": settings}, raise_on_error=False, partition_key=str(day(0))
    )
    assert not result.success
    logs = instance.all_logs(result.run_id)
    assert any("ValueError in broken" in str(entry) for entry in logs)
    assert not any("Lovelace" in str(entry) for entry in logs)


def metadata_bytes(metadata: dict[str, dg.MetadataValue]) -> int:
    return sum(len(name) + len(str(value.value)) for name, value in metadata.items())


def test_what_is_recorded_of_a_partition_is_small_and_shows_nobody(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    """Preview and plot are with the newest partition of a run only."""
    days = 31
    land(lake, range(days))
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    job = defs().resolve_job_def("backfill")
    result = job.execute_in_process(instance=instance, tags=range_tags(day(0), day(days - 1)), raise_on_error=False)
    seen: dict[tuple[str, date], dict[str, Any]] = {}
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            told = event.step_materialization_data.materialization
            seen["/".join(told.asset_key.path), date.fromisoformat(told.partition)] = dict(told.metadata)
    made = {key for key, _ in seen}
    assert len(seen) == days * len(made)
    assert made == {table.key for table in TABLES.values() if table.reads and table.is_daily}
    for (key, on), metadata in seen.items():
        due = [number for number in range(days) if TABLES[key].has(day(number))]
        if not TABLES[key].has(on):
            assert metadata == {}, key
            continue
        shown = {name: metadata.pop(name) for name in ("preview", "plot") if name in metadata}
        assert metadata_bytes(metadata) <= 2_000, key
        assert {"dagster/partition_row_count", "bytes", "digest", "seconds"} <= set(metadata)
        assert bool(shown) == (on == day(due[-1])), key
        personal = {column.name for column in TABLES[key].columns if column.personal != "none"}
        text = "".join(str(value.value).partition("data:image")[0] for value in shown.values())
        assert not [name for name in personal if f"| {name.replace('_', '&#95;')} |" in text or name in text]
        assert f"{0:032x}" not in text


def test_every_preview_has_public_columns_only() -> None:
    told = {
        key: set(table.public_columns) & {column.name for column in table.columns if column.personal != "none"}
        for key, table in TABLES.items()
    }
    assert set(told) == set(TABLES)
    assert {key: names for key, names in told.items() if names} == {}


def test_every_made_table_has_its_pool_and_runs_a_range_as_one() -> None:
    graph = defs().resolve_asset_graph()
    for table in TABLES.values():
        if table.reads:
            node = graph.get(asset_key(table))
            assert node.pools == {"trainings" if table.is_model else table.key.replace("/", "_")}  # one training at a time
            assert node.backfill_policy == (dg.BackfillPolicy.single_run() if table.partitioned_by else None)
