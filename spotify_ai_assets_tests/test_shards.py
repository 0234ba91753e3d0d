"""Sharded and whole tables: how they are written, when they are stale, and how they become assets."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.contracts import SHARDS, Column, Reads, Table, by_key, name_of, shard_of
from spotify_ai_assets.errors import ContractError, MissingInputError
from spotify_ai_assets.loading import made_table
from spotify_ai_assets.making import Inputs, make_partitions
from spotify_ai_assets.partitions import range_tags, run_days, run_shards
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger, digest_stale, partitions_of, plan, reasons

_SHARD, _ID = Column("shard", pl.String, "Shard."), Column("id", pl.String, "Id.")
_NUMBERS = Column("numbers", pl.List(pl.Float32), "Numbers.")
_BYTES = Column("bytes", pl.Binary, "Bytes.")
FILES = Table("a/files", (_SHARD, _ID, _NUMBERS, _BYTES), ("id",), "team:a", partitioned_by="shard")
LENGTHS = Table(
    "a/lengths",
    (_SHARD, _ID, Column("length", pl.Int64, "Length.")),
    ("id",),
    "team:a",
    partitioned_by="shard",
    reads=(Reads("a/files"),),
)
MODEL = Table(
    "a/model",
    (Column("name", pl.String, "Name."),),
    ("name",),
    "team:a",
    partitioned_by=None,
    is_model=True,
    reads=(Reads("a/lengths", drives=False),),
)
ANSWERS = Table(
    "a/answers",
    (_SHARD, _ID, Column("answer", pl.String, "Answer.")),
    ("id",),
    "team:a",
    partitioned_by="shard",
    reads=(Reads("a/lengths"), Reads("a/model", drives=False, awaited=True)),
)
TOTAL = Table(
    "a/total",
    (Column("files", pl.Int64, "Files."),),
    ("files",),
    "team:a",
    partitioned_by=None,
    reads=(Reads("a/lengths", drives=False, awaited=True),),
)
SHELVES = Table(
    "a/shelves",
    (_SHARD, _ID),
    ("id",),
    "team:a",
    partitioned_by="shard",
    reads=(Reads("a/model", drives=False, awaited=True), Reads("a/total", drives=False)),
)
TABLES = by_key(FILES, LENGTHS, MODEL, ANSWERS, TOTAL, SHELVES)
FOLLOWING = [LENGTHS.key, ANSWERS.key, TOTAL.key]


@pytest.fixture
def shards(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"), TABLES, FileLocks(tmp_path / "locks"))


def files(shard: str, *ids: str) -> pl.DataFrame:
    rows = {"shard": [shard] * len(ids), "id": list(ids), "numbers": [[1.0, 2.0]] * len(ids), "bytes": [each.encode() for each in ids]}
    return pl.DataFrame(rows, schema=FILES.schema)


def measure(read: Inputs) -> pl.DataFrame:
    return read("a/files").select("shard", "id", length=pl.col("bytes").bin.size().cast(pl.Int64)).collect()


def answer(read: Inputs) -> pl.DataFrame:
    name = read("a/model").collect().item()
    return read("a/lengths").select("shard", "id", answer=pl.lit(name)).collect()


def add_up(read: Inputs) -> pl.DataFrame:
    return read("a/lengths").select(files=pl.len().cast(pl.Int64)).collect()


MAKERS = {LENGTHS.key: measure, ANSWERS.key: answer, TOTAL.key: add_up}


def make(lake: Lake, key: str, *partitions: str | None) -> dict[str, str]:
    """Make what is stale; what became of each partition."""
    table = TABLES[key]
    made = make_partitions(table, MAKERS[key], partitions or SHARDS, lake, Ledger(lake.states), Origin("run", "trace"), only_stale=True)
    return {
        name_of(each.partition): each.reason or (f"waits for {each.waits_for[0]}" if each.waits_for else "made")
        for each in made
        if each.written or each.reason or each.waits_for
    }


def stale(lake: Lake) -> set[tuple[str, str]]:
    return {(each.key, name_of(each.partition)) for each in plan(TABLES, FOLLOWING, [], Ledger(lake.states))}


@given(st.text())
def test_every_id_has_one_of_the_shards(identity: str) -> None:
    try:
        identity.encode()
    except UnicodeEncodeError:
        return
    assert shard_of(identity) in SHARDS
    assert shard_of(identity) == shard_of(identity)


def test_ids_are_spread_over_all_shards() -> None:
    counts = {shard: 0 for shard in SHARDS}
    for number in range(6_400):
        counts[shard_of(f"file {number}")] += 1
    assert min(counts.values()) > 60
    assert max(counts.values()) < 150


def test_a_sharded_table_begins_with_its_shard() -> None:
    with pytest.raises(ValueError, match="first column of a sharded table"):
        Table("a/things", (_ID, _SHARD), ("id",), "team:a", partitioned_by="shard")


def test_a_shard_is_written_and_read_alone(shards: Lake) -> None:
    shards.write("a/files", files("00", "b", "a"), "00")
    shards.write("a/files", files("63", "c"), "63")
    assert shards.scan("a/files").collect()["id"].to_list() == ["a", "b", "c"]
    assert shards.scan("a/files").collect()["shard"].to_list() == ["00", "00", "63"]
    assert shards.scan("a/files").collect()["bytes"].to_list() == [b"a", b"b", b"c"]
    assert {name: state.rows for name, state in shards.states("a/files").items()} == {"00": 2, "63": 1}


def test_rows_of_another_shard_are_refused(shards: Lake) -> None:
    with pytest.raises(ContractError, match="another shard"):
        shards.write("a/files", files("01", "a"), "00")


@pytest.mark.parametrize("partition", [None, date(2026, 1, 1)])
def test_a_sharded_table_is_written_by_shard_only(shards: Lake, partition: date | None) -> None:
    with pytest.raises(ContractError, match="by shard"):
        shards.write("a/files", files("00", "a"), partition)


def test_several_shards_are_updated_in_one_commit(shards: Lake) -> None:
    shards.write("a/files", files("00", "a"), "00")
    written = shards.update("a/files", ["00", "05"], lambda shard, present: pl.concat([present, files(shard, f"new {shard}")]))
    assert {shard: each.version for shard, each in written.items()} == {"00": 2, "05": 2}
    assert shards.scan("a/files").collect()["id"].to_list() == ["a", "new 00", "new 05"]


def test_only_shards_that_inputs_have_are_made(shards: Lake) -> None:
    shards.write("a/files", files("07", "a"), "07")
    assert make(shards, "a/lengths") == {"07": "made"}
    assert list(shards.states("a/lengths")) == ["07"]


def test_a_changed_shard_makes_only_itself_stale_and_all_that_reads_everything(shards: Lake) -> None:
    for shard in ("01", "02"):
        shards.write("a/files", files(shard, shard), shard)
    make(shards, "a/lengths")
    make(shards, "a/total", None)
    assert stale(shards) == set()
    shards.write("a/files", files("02", "longer name"), "02")
    assert stale(shards) == {("a/lengths", "02"), ("a/total", "")}
    assert make(shards, "a/lengths") == {"02": "made"}
    assert make(shards, "a/total", None) == {"": "made"}
    assert stale(shards) == set()


def test_what_awaits_a_model_is_left_alone_until_there_is_one(shards: Lake) -> None:
    shards.write("a/files", files("01", "a"), "01")
    make(shards, "a/lengths")
    assert make(shards, "a/answers", "01") == {"01": "waits for a/model"}
    assert ("a/answers", "01") not in stale(shards)
    shards.write("a/model", pl.DataFrame({"name": []}, schema=MODEL.schema), None)
    assert make(shards, "a/answers", "01") == {"01": "waits for a/model"}
    shards.write("a/model", pl.DataFrame({"name": ["first"]}), None)
    assert ("a/answers", "01") in stale(shards)
    assert make(shards, "a/answers") == {"01": "made"}


def test_another_champion_makes_every_answer_stale(shards: Lake) -> None:
    for shard in ("01", "02"):
        shards.write("a/files", files(shard, shard), shard)
    make(shards, "a/lengths")
    shards.write("a/model", pl.DataFrame({"name": ["first"]}), None)
    make(shards, "a/answers")
    make(shards, "a/total", None)
    assert stale(shards) == set()
    shards.write("a/model", pl.DataFrame({"name": ["second"]}), None)
    assert stale(shards) == {("a/answers", "01"), ("a/answers", "02")}
    assert reasons(ANSWERS, "01", TABLES, Ledger(shards.states)) == ("input changed: a/model",)


def test_an_answer_is_refused_while_its_shard_is_out_of_date(shards: Lake) -> None:
    shards.write("a/files", files("01", "a"), "01")
    make(shards, "a/lengths")
    shards.write("a/model", pl.DataFrame({"name": ["first"]}), None)
    shards.write("a/files", files("01", "b"), "01")
    assert make(shards, "a/answers", "01") == {"01": "a/answers: waits for a/lengths of 01"}


def test_a_table_has_the_shards_of_itself_and_its_inputs_and_one_of_wholes_alone_has_all(shards: Lake) -> None:
    def found(table: Table) -> list[Any]:
        return list(partitions_of(table, [], TABLES, Ledger(shards.states)))

    assert found(LENGTHS) == found(FILES) == [] and found(SHELVES) == list(SHARDS) and found(TOTAL) == [None]
    shards.write(FILES.key, files("07", "x"), "07")
    shards.write(LENGTHS.key, LENGTHS.empty(), "63")
    assert found(FILES) == ["07"] and found(LENGTHS) == ["07", "63"] and found(ANSWERS) == ["63"]
    assert found(SHELVES) == list(SHARDS)  # whatever shards what it is made from came from


def test_a_table_of_wholes_alone_waits_for_them_and_is_then_stale_in_every_shard(shards: Lake) -> None:
    def stale_shards() -> list[Any]:
        return [each.partition for each in plan(TABLES, [SHELVES.key], [], Ledger(shards.states))]

    def fill(read: Inputs) -> pl.DataFrame:
        return pl.DataFrame({"shard": [read.shard], "id": [read("a/model").collect().item()]})

    assert stale_shards() == []
    shards.write(MODEL.key, pl.DataFrame({"name": ["one"]}))
    assert stale_shards() == list(SHARDS)
    for wanted in (("11",), SHARDS):
        list(make_partitions(SHELVES, fill, wanted, shards, Ledger(shards.states), Origin("run", "trace"), only_stale=True))
        assert stale_shards() == [each for each in SHARDS if each not in wanted]
    shards.write(MODEL.key, pl.DataFrame({"name": ["two"]}))
    assert stale_shards() == list(SHARDS)


def test_the_digest_of_what_is_stale_changes_with_what_it_would_be_made_from_and_with_nothing_else(shards: Lake) -> None:
    def digest(keys: list[str] = FOLLOWING) -> str:
        ledger = Ledger(shards.states)
        return digest_stale(plan(TABLES, keys, [], ledger), TABLES, ledger)

    nothing = digest()
    shards.write(FILES.key, files("01", "a"), "01")
    first = digest()
    assert first != nothing and digest() == first
    shards.write(FILES.key, files("01", "a"), "01")  # the same rows once more
    assert digest() == first != digest([LENGTHS.key])
    shards.write(FILES.key, files("01", "other"), "01")
    second = digest()
    shards.write(FILES.key, files("02", "b"), "02")
    third = digest()
    assert len({nothing, first, second, third}) == 4
    make(shards, LENGTHS.key, *SHARDS)
    make(shards, TOTAL.key, None)
    assert digest() == nothing


def test_the_digest_of_what_is_stale_follows_code_versions(shards: Lake) -> None:
    shards.write(FILES.key, files("01", "a"), "01")
    ledger = Ledger(shards.states)
    stale = plan(TABLES, [LENGTHS.key], [], ledger)
    newer = {**TABLES, LENGTHS.key: replace(LENGTHS, code_version="2")}
    assert digest_stale(stale, TABLES, ledger) != digest_stale(stale, newer, ledger)


def test_inputs_say_whether_a_day_or_a_shard_is_made(shards: Lake) -> None:
    read = Inputs(LENGTHS, "01", shards, Ledger(shards.states))
    assert read.shard == "01"
    with pytest.raises(MissingInputError, match="not made by day"):
        _ = read.day
    with pytest.raises(MissingInputError, match="not made by shard"):
        _ = Inputs(TOTAL, None, shards, Ledger(shards.states)).shard


def test_tags_tell_days_from_shards() -> None:
    assert run_shards(range_tags("61", "63")) == ["61", "62", "63"]
    assert run_days(range_tags("61", "63")) == []
    assert run_shards({"dagster/partition": "05"}) == ["05"]
    assert run_shards(range_tags(date(2026, 1, 1), date(2026, 1, 2))) == []
    assert run_shards({}) == []


class Counter:
    """A resource that is at a step."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def at(self, context: Any) -> "Counter":
        self.steps.append(context.asset_key.to_user_string())
        return self


@made_table(LENGTHS, tools="counter", present=lambda counter, rows: {"steps": len(counter.steps), "told": "in *words*"})
def lengths(read: Inputs, counter: Counter) -> pl.DataFrame:
    """Lengths."""
    return measure(read)


@made_table(ANSWERS)
def answers(read: Inputs) -> pl.DataFrame:
    """Answers."""
    return answer(read)


@made_table(TOTAL)
def total(read: Inputs) -> pl.DataFrame:
    """All files."""
    return add_up(read)


def materialise(shards: Lake, instance: dg.DagsterInstance, settings: Settings) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [lengths, answers, total],
        instance=instance,
        resources={"lake": shards, "settings": settings, "counter": Counter()},
        tags=range_tags(SHARDS[0], SHARDS[-1]),
    )


def test_shards_and_wholes_are_made_in_one_run_and_what_waits_is_not_recorded(
    shards: Lake, instance: dg.DagsterInstance, settings: Settings
) -> None:
    for shard in ("03", "40"):
        shards.write("a/files", files(shard, shard), shard)
    result = materialise(shards, instance, settings)
    assert result.success
    assert shards.scan("a/total").collect().item() == 2
    assert instance.get_latest_materialization_event(dg.AssetKey(["a", "answers"])) is None
    shards.write("a/model", pl.DataFrame({"name": ["first"]}), None)
    assert materialise(shards, instance, settings).success
    assert instance.get_latest_materialization_event(dg.AssetKey(["a", "answers"])) is not None
    assert shards.scan("a/answers").collect()["answer"].to_list() == ["first", "first"]


def test_the_tools_of_a_step_give_more_metadata(shards: Lake, instance: dg.DagsterInstance, settings: Settings) -> None:
    shards.write("a/files", files("03", "a"), "03")
    materialise(shards, instance, settings)
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(["a", "lengths"]), asset_partitions=["03"]), limit=1
    ).records
    metadata = records[0].asset_materialization.metadata  # type: ignore[union-attr]  # such a record has one
    assert metadata["steps"].value == 1
    assert isinstance(metadata["told"], dg.MarkdownMetadataValue)
    assert metadata["dagster/partition_row_count"].value == 1
