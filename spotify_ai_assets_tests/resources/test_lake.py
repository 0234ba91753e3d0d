import datetime as dt
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from lake_tables import DAY, DAYS, TABLES, day_rows, later, log_files, numbers, open_lake, whole_rows

from spotify_ai_assets.contracts import Column, by_key
from spotify_ai_assets.errors import (
    CommitConflictError,
    ContractError,
    EmptyPartitionError,
    HistoryErasedError,
    MissingInputError,
    PermanentError,
    SettingsError,
    TransientError,
)
from spotify_ai_assets.resources.lake import WHOLE, Origin, Recipe

# Contract ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "day"),
    [
        (day_rows(2).cast({"n": pl.Float64}), DAY),
        (day_rows(2).cast({"n": pl.Int32}), DAY),
        (day_rows(2).drop("n"), DAY),
        (day_rows(2).with_columns(extra=1), DAY),
        (day_rows(2), later(1)),
        (pl.concat([day_rows(1), day_rows({"z": 1}, later(1))]), DAY),
        (day_rows(2).with_columns(day=pl.lit(None, pl.Date)), DAY),
        (day_rows(2).with_columns(id=pl.lit(None, pl.String)), DAY),
        (day_rows(2).with_columns(id=pl.lit("secret-name")), DAY),
        (day_rows(2), None),
    ],
    ids=[
        "float into int",
        "narrower int",
        "missing column",
        "extra column",
        "another day",
        "two days",
        "no day",
        "no key",
        "repeated key",
        "unnamed day",
    ],
)
def test_a_frame_that_breaks_its_contract_is_refused_and_leaves_no_trace(lake, frame, day):
    with pytest.raises(ContractError) as error:
        lake.write("a/days", frame, day)
    assert "secret-name" not in str(error.value)
    assert lake.states("a/days") == {} and not Path(lake.storage.root).exists()


def test_a_whole_table_is_not_written_by_day(lake):
    with pytest.raises(ContractError):
        lake.write("a/whole", whole_rows({"a": 1.0}), DAY)


def test_an_undeclared_table_is_unknown(lake):
    for use in (lake.scan, lake.states, lake.mend, lake.vacuum, lake.forget_history, lambda key: lake.write(key, day_rows(1), DAY)):
        with pytest.raises(MissingInputError):
            use("a/unknown")


def test_columns_may_come_in_any_order_and_are_stored_in_the_contracts(lake):
    first = lake.write("a/days", day_rows(3), DAY)
    second = lake.write("a/days", day_rows(3).select("n", "id", "day"), DAY)
    assert not second.is_new and second.state == first.state
    assert lake.scan("a/days").collect_schema().names() == ["day", "id", "n"]


def test_an_empty_day_is_written_if_and_only_if_its_inputs_are_empty(lake):
    with pytest.raises(EmptyPartitionError):
        lake.write("a/days", day_rows(0), DAY, driving_rows=5)
    assert lake.state("a/days", DAY) is None
    assert lake.write("a/days", day_rows(0), DAY, driving_rows=0).state.rows == 0
    assert lake.write("a/days", day_rows(0), later(1)).state.rows == 0
    assert lake.scan("a/days").collect().is_empty() and len(lake.states("a/days")) == 2


# Reading and writing -------------------------------------------------------------------------------------------------------


def test_a_table_without_commits_reads_as_empty(lake):
    assert lake.table("a/days") is None and lake.states("a/days") == {} and lake.state("a/days", DAY) is None
    assert lake.scan("a/days").collect().schema == pl.Schema(DAYS.schema)
    assert lake.mend("a/days") == [] and lake.vacuum("a/days") == []
    lake.forget_history("a/days")


def test_rows_are_stored_sorted_by_their_key(lake):
    lake.write("a/days", day_rows(9).reverse(), DAY)
    assert lake.scan("a/days").collect().equals(day_rows(9))


def test_the_same_rows_by_the_same_recipe_change_nothing(lake):
    recipe = Recipe("1", {"b/events@2024-01-01": "d"})
    first = lake.write("a/days", day_rows(3), DAY, recipe=recipe, origin=Origin("run-1"))
    files = log_files(lake)
    again = lake.write("a/days", day_rows(3).reverse(), DAY, recipe=recipe, origin=Origin("run-2"))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.state == first.state and again.version == first.version and log_files(lake) == files


def test_the_same_rows_by_another_recipe_are_committed_but_not_new(lake):
    first = lake.write("a/days", day_rows(3), DAY, recipe=Recipe("1"))
    again = lake.write("a/days", day_rows(3), DAY, recipe=Recipe("2"))
    assert not again.is_new and again.version == first.version + 1
    assert lake.states("a/days")["2024-01-01"].recipe == Recipe("2")


def test_a_write_replaces_its_own_day_only(lake):
    for n in range(4):
        lake.write("a/days", day_rows(3, later(n)), later(n))
    lake.write("a/days", day_rows({"z": None}, later(2)), later(2))
    assert [state.rows for state in lake.states("a/days").values()] == [3, 3, 1, 3]
    assert numbers(lake, later(2)) == {"z": None}


@pytest.mark.parametrize(
    ("first", "last", "days"), [(None, None, 5), (later(1), None, 4), (None, later(1), 2), (later(1), later(3), 3), (later(9), None, 0)]
)
def test_a_scan_gives_the_days_asked_for_in_their_order(lake, first, last, days):
    for n in (3, 0, 4, 1, 2):
        lake.write("a/days", day_rows(2, later(n)), later(n))
    found = lake.scan("a/days", first=first, last=last).collect()
    assert found.height == 2 * days and found["day"].is_sorted() and found.schema == pl.Schema(DAYS.schema)


def test_a_range_of_days_says_nothing_about_a_whole_table(lake):
    lake.write("a/whole", whole_rows({"a": 1.0}))
    assert lake.scan("a/whole", first=DAY).collect().height == 1
    assert list(lake.states("a/whole")) == [WHOLE]


def test_known_states_are_read_from_their_own_files_whatever_came_since(lake):
    old = lake.write("a/days", day_rows(3), DAY).state
    lake.write("a/days", day_rows(5), DAY)
    assert lake.open("a/days", [old]).collect().height == 3
    assert lake.open("a/days", []).collect().height == 0


def test_a_lake_may_lie_under_a_folder_with_an_odd_name(tmp_path):
    lake = open_lake(tmp_path / "a [b]* #ü")
    lake.write("a/days", day_rows(3), DAY)
    lake.write("a/days", day_rows(4), DAY)
    assert numbers(lake).keys() == {"i0", "i1", "i2", "i3"} and lake.state("a/days", DAY).rows == 4
    lake.vacuum("a/days", keep=dt.timedelta(0))
    assert len(numbers(lake)) == 4


@pytest.mark.parametrize("name", ["a%20b", "a=1"])
def test_an_address_that_delta_or_polars_would_misread_is_refused(tmp_path, name):
    with pytest.raises(SettingsError):
        open_lake(tmp_path / name)


def test_update_changes_all_its_days_in_one_commit_or_none(lake):
    lake.write("a/days", day_rows(2), DAY)
    written = lake.update("a/days", [DAY, later(1), later(1), later(2)], lambda day, rows: _with(rows, day) if day != later(2) else rows)
    assert {day: (w.is_new, w.state.rows) for day, w in written.items()} == {DAY: (True, 3), later(1): (True, 1), later(2): (False, 0)}
    assert len({w.version for w in written.values()}) == 1 and list(lake.states("a/days")) == ["2024-01-01", "2024-01-02"]
    before = lake.states("a/days")
    with pytest.raises(ContractError):
        lake.update("a/days", [DAY, later(1)], lambda day, rows: rows.clear() if day == DAY else rows.drop("n"))
    assert lake.states("a/days") == before


def _with(rows: pl.DataFrame, day: dt.date, name: str = "zz") -> pl.DataFrame:
    return pl.concat([rows, day_rows({name: 1}, day)])


def test_a_batch_is_one_commit_of_all_that_was_put(lake):
    lake.write("a/days", day_rows(2), DAY)
    with lake.batch("a/days", [DAY, later(1), later(2)]) as batch:
        assert batch.put(day_rows(3), DAY).is_new
        assert batch.put(day_rows(4, later(1)), later(1)).is_new
        assert len(numbers(lake)) == 2, "nothing is seen before the flush"
        batch.flush()
        assert (len(numbers(lake)), len(numbers(lake, later(1)))) == (3, 4)
        assert not batch.put(day_rows(3), DAY).is_new
        batch.put(day_rows(5, later(2)), later(2))
    assert lake.table("a/days").version() == batch.version == 3
    assert [state.rows for state in lake.states("a/days").values()] == [3, 4, 5]


def test_a_batch_that_ends_in_an_error_leaves_everything_as_it_was(lake):
    with pytest.raises(ZeroDivisionError), lake.batch("a/days", [DAY, later(1)]) as batch:
        batch.put(day_rows(3), DAY)
        raise ZeroDivisionError
    assert lake.states("a/days") == {}
    lake.vacuum("a/days", keep=dt.timedelta(0))
    assert list(Path(lake.storage.uri("a/days")).glob("day=*/*.parquet")) == []


def test_a_batch_loses_against_another_writer_of_one_of_its_days_and_changes_none(lake):
    with pytest.raises(CommitConflictError), lake.batch("a/days", [DAY, later(1)]) as batch:
        batch.put(day_rows(3), DAY)
        batch.put(day_rows(4, later(1)), later(1))
        lake.write("a/days", day_rows({"theirs": 1}, later(1)), later(1))
    assert (numbers(lake), numbers(lake, later(1))) == ({}, {"theirs": 1})


def test_a_batch_goes_on_after_a_commit_of_another_day(lake):
    with lake.batch("a/days", [DAY]) as batch:
        batch.put(day_rows(3), DAY)
        lake.write("a/days", day_rows(1, later(5)), later(5))
    assert (len(numbers(lake)), len(numbers(lake, later(5)))) == (3, 1)


def test_rows_of_many_days_are_read_from_memory_as_from_disk(lake):
    with lake.batch("a/days", [later(number) for number in range(40)]) as batch:
        for number in range(40):
            batch.put(day_rows(number % 3, later(number)), later(number))
    states = list(lake.states("a/days").values())[5:30]
    memory, disk = lake.open("a/days", states).collect(), lake.open("a/days", states, from_disk=True).collect()
    assert memory.equals(disk)
    assert memory.height == sum(number % 3 for number in range(5, 30))
    assert open_lake(Path(lake.storage.root).parent).open("a/days", states).collect().equals(disk)


def test_a_transaction_is_appended_once(lake):
    rows = whole_rows({"a": 1.0})
    assert lake.append("a/whole", rows, transaction="t1") and lake.append("a/whole", whole_rows({"b": None}), transaction="t2")
    assert not lake.append("a/whole", rows, transaction="t1")
    lake.vacuum("a/whole", keep=dt.timedelta(0))
    lake.forget_history("a/whole")
    assert not lake.append("a/whole", rows, transaction="t2")
    assert lake.scan("a/whole").collect().sort("id").equals(whole_rows({"a": 1.0, "b": None}))
    assert lake.states("a/whole")[WHOLE].rows == 2
    lake.write("a/whole", whole_rows({"c": 2.0}))
    assert lake.scan("a/whole").collect()["id"].to_list() == ["c"]


def test_delta_itself_accepts_a_repeated_transaction(tmp_path):
    """Why ``append`` looks first."""
    from deltalake import CommitProperties, Transaction, write_deltalake

    for _ in range(2):
        write_deltalake(
            tmp_path / "t",
            whole_rows({"a": 1.0}),
            mode="append",
            commit_properties=CommitProperties(app_transactions=[Transaction("t1", 1)]),
        )
    assert DeltaTable(tmp_path / "t").to_pyarrow_table().num_rows == 2


# Evolution -----------------------------------------------------------------------------------------------------------------


def test_a_column_gained_later_is_null_in_rows_written_before(tmp_path):
    old = open_lake(tmp_path)
    for n in range(3):
        old.write("a/days", day_rows(2, later(n)), later(n))
    wider = replace(
        DAYS,
        columns=(*DAYS.columns, Column("mood", pl.String, "Gained.", nullable=True), Column("hour", pl.Int64, "Gained.", nullable=True)),
    )
    lake = open_lake(tmp_path, by_key(wider))
    assert lake.scan("a/days").collect()["mood"].null_count() == 6
    rows = day_rows(1, later(1)).with_columns(mood=pl.lit("calm"), hour=pl.lit(5, pl.Int64))
    lake.write("a/days", rows, later(1))
    lake.update("a/days", [later(2)], lambda day, rows: rows.with_columns(hour=pl.lit(7, pl.Int64)))
    found = lake.scan("a/days").collect()
    assert found["mood"].to_list() == [None, None, "calm", None, None] and found["hour"].to_list() == [None, None, 5, 7, 7]
    assert [field.name for field in DeltaTable(lake.storage.uri("a/days")).schema().fields] == ["day", "id", "n", "mood", "hour"]
    assert DeltaTable(lake.storage.uri("a/days")).to_pyarrow_table().num_rows == 5
    assert old.scan("a/days").collect().schema == pl.Schema(DAYS.schema), "the older contract reads what it knows"


# What is known of a partition ----------------------------------------------------------------------------------------------


def test_a_state_says_how_the_partition_was_made_and_outlives_vacuum_and_log(lake):
    recipe, origin = Recipe("7", {"b/x@2024-01-01": "e" * 64}), Origin("run-9", "f" * 32)
    written = lake.write("a/days", day_rows(3), DAY, recipe=recipe, origin=origin, seconds=1.25)
    lake.vacuum("a/days", keep=dt.timedelta(0))
    lake.forget_history("a/days")
    state = open_lake(Path(lake.storage.root).parent).state("a/days", DAY)
    assert state == written.state
    assert (state.rows, state.recipe, state.origin, state.seconds) == (3, recipe, origin, 1.25)
    assert state.size == Path(lake.storage.uri("a/days", state.paths[0])).stat().st_size


def test_a_commit_names_its_run_its_trace_and_its_inputs(lake):
    lake.write("a/days", day_rows(3), DAY, recipe=Recipe("7", {"b/x@2024-01-01": "e" * 64}), origin=Origin("run-9", "f" * 32))
    commit = lake.table("a/days").history(1)[0]
    partition = commit["partitions"]["2024-01-01"]
    assert (commit["run_id"], commit["trace_id"]) == ("run-9", "f" * 32)
    assert partition["inputs"] == {"b/x@2024-01-01": "e" * 64} and partition["rows"] == 3
    assert partition["digest"] == lake.state("a/days", DAY).digest


def test_no_value_of_any_row_gets_into_the_log(lake):
    canaries = [f"canary-{n}" for n in range(6)]
    for n in range(104):
        lake.write("a/days", day_rows({name: 77_000_001 for name in canaries}, later(n % 3)), later(n % 3), recipe=Recipe(str(n)))
    lake.update("a/days", [DAY], lambda day, rows: rows.filter(pl.col("id") != "canary-3"))
    lake.vacuum("a/days", keep=dt.timedelta(0))
    log = Path(lake.storage.uri("a/days", "_delta_log"))
    checkpoints = [name for name in log_files(lake) if name.endswith(".parquet")]
    assert len(checkpoints) == 2
    for name in checkpoints:
        assert "canary" not in str(pl.read_parquet(log / name).rows()) and "77000001" not in str(pl.read_parquet(log / name).rows())
    for path in log.iterdir():
        assert b"canary" not in path.read_bytes() and b"77000001" not in path.read_bytes()
    data = Path(lake.storage.uri("a/days", lake.state("a/days", later(1)).paths[0])).read_bytes()
    assert data.count(b"canary-5") <= 1, "a pseudonym is in the data page and in no statistics of the file"


# Past ----------------------------------------------------------------------------------------------------------------------


def test_past_states_are_read_by_version_and_by_moment(lake):
    versions = [lake.write("a/days", day_rows(n), DAY).version for n in (1, 2, 3)]
    assert [lake.scan("a/days", version=version).collect().height for version in versions] == [1, 2, 3]
    moment = dt.datetime.fromtimestamp(_committed_at(lake, versions[1]) / 1000, dt.UTC)
    assert lake.scan("a/days", as_of=moment).collect().height == 2
    assert lake.scan("a/days", as_of=dt.datetime.now(dt.UTC)).collect().height == 3
    for past in ({"version": 99}, {"version": -1}, {"as_of": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}):
        with pytest.raises(PermanentError, match="7 days"):
            lake.scan("a/days", **past)


def _committed_at(lake, version: int) -> int:
    return next(commit["timestamp"] for commit in lake.table("a/days").history() if commit["version"] == version)


def test_an_erasure_leaves_the_present_and_says_that_the_past_was_erased(lake):
    old = lake.write("a/days", day_rows({"canary": 1, "b": 2}), DAY)
    before = dt.datetime.now(dt.UTC)
    lake.write("a/days", day_rows({"b": 2}), DAY)
    lake.forget_history("a/days")
    assert not Path(lake.storage.uri("a/days", old.state.paths[0])).exists()
    assert not any(b"canary" in path.read_bytes() for path in Path(lake.storage.root).rglob("*") if path.is_file())
    for past in ({"version": old.version}, {"as_of": before}):
        with pytest.raises(HistoryErasedError, match="erasure"):
            lake.scan("a/days", **past)
    written = lake.write("a/days", day_rows(5), DAY)
    assert lake.scan("a/days", version=written.version - 1).collect().height == 1
    assert lake.table("a/days").metadata().configuration["delta.logRetentionDuration"] == "interval 7 days"
    with pytest.raises(PermanentError, match="7 days"):
        lake.scan("a/days", version=9_999)


def test_an_erasure_interrupted_in_the_middle_can_be_done_again(lake, monkeypatch):
    from spotify_ai_assets.resources import lake_care

    lake.write("a/days", day_rows(1), DAY)
    lake.write("a/days", day_rows(2), DAY)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(lake_care, "vacuum", lambda *_, **__: (_ for _ in ()).throw(RuntimeError()))
        lake.forget_history("a/days")
    lake.forget_history("a/days")
    assert lake.table("a/days").metadata().configuration["delta.logRetentionDuration"] == "interval 7 days"
    assert len(numbers(lake)) == 2 and len(list(Path(lake.storage.root).rglob("day=*/*.parquet"))) == 1


def test_history_is_kept_for_seven_days_and_no_longer(lake, monkeypatch):
    for n in range(1, 5):
        lake.write("a/days", day_rows(n), DAY)
    assert lake.vacuum("a/days") == [] and lake.scan("a/days", version=1).collect().height == 1
    week = dt.timedelta(days=8).total_seconds()
    log = Path(lake.storage.uri("a/days", "_delta_log"))
    for path in log.glob("*.json"):
        _age(path, int(week * 1000))
        os.utime(path, (path.stat().st_atime - week, path.stat().st_mtime - week))
    for path in log.glob("*checkpoint*"):
        path.unlink()
    lake.write("a/days", day_rows(5), DAY)
    removed = lake.vacuum("a/days")
    assert len(removed) == 3 and len(numbers(lake)) == 5
    with pytest.raises(PermanentError):
        lake.scan("a/days", version=1)


def _age(path: Path, milliseconds: int) -> None:
    """Make a commit older, as if it had been made that long ago."""
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        for content in action.values():
            for name in ("timestamp", "deletionTimestamp", "modificationTime"):
                if name in content:
                    content[name] -= milliseconds
    path.write_text("\n".join(map(json.dumps, actions)))


# Vacuum --------------------------------------------------------------------------------------------------------------------


def test_vacuum_removes_what_killed_writers_left_and_a_dry_run_only_says_so(lake):
    written = lake.write("a/days", day_rows(3), DAY)
    root = Path(lake.storage.uri("a/days"))
    orphan, staged = root / "day=2024-01-01/orphan.parquet", root / "_delta_log" / f"{9:020}.json#1"
    orphan.write_bytes(b"half a fi")
    staged.write_bytes(b"")
    expected = {str(path.relative_to(root)) for path in (orphan, staged)}
    at_once = dt.timedelta(0)
    assert set(lake.vacuum("a/days", keep=at_once, dry_run=True)) == expected and orphan.exists() and staged.exists()
    assert lake.vacuum("a/days") == [str(staged.relative_to(root))] and orphan.exists(), "a young file may be needed for a past state"
    assert lake.vacuum("a/days", keep=at_once) == [str(orphan.relative_to(root))] and not orphan.exists() and not staged.exists()
    assert lake.state("a/days", DAY) == written.state and lake.scan("a/days").collect().height == 3


def test_a_missing_file_is_a_clear_error_for_readers(lake):
    path = lake.write("a/days", day_rows(3), DAY).state.paths[0]
    Path(lake.storage.uri("a/days", path)).unlink()
    with pytest.raises(TransientError, match="mend"):
        open_lake(Path(lake.storage.root).parent).states("a/days")


# Against a model -----------------------------------------------------------------------------------------------------------

_days = st.integers(0, 3).map(later)
_rows = st.dictionaries(st.sampled_from("abcdef"), st.none() | st.integers(-5, 5), max_size=4)


class LakeAgainstDict(RuleBasedStateMachine):
    """Whatever is done in whatever order, the lake holds what a dictionary would."""

    @initialize()
    def begin(self):
        self._folder = tempfile.TemporaryDirectory()
        self.lake = open_lake(self._folder.name)
        self.days: dict[dt.date, dict] = {}
        self.whole: dict[str, float | None] = {}
        self.transactions: set[str] = set()

    def teardown(self):
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    @rule(day=_days, rows=_rows, recipe=st.sampled_from("12"))
    def write(self, day, rows, recipe):
        written = self.lake.write("a/days", day_rows(rows, day), day, recipe=Recipe(recipe))
        assert written.is_new == (self.days.get(day) != rows)
        self.days[day] = rows

    @rule(days=st.sets(_days, max_size=3), rows=_rows)
    def update(self, days, rows):
        written = self.lake.update(
            "a/days", sorted(days), lambda day, present: day_rows(dict(present.select("id", "n").iter_rows()) | rows, day)
        )
        for day in days:
            new = self.days.get(day, {}) | rows
            assert written[day].is_new == (new != self.days.get(day, {}))
            if written[day].is_new or day in self.days:
                self.days[day] = new

    @rule(name=st.sampled_from("tuvw"), value=st.none() | st.floats(-1, 1))
    def append(self, name, value):
        added = self.lake.append("a/whole", whole_rows({name: value}), transaction=name)
        assert added == (name not in self.transactions)
        if added:
            self.whole[name] = value
            self.transactions.add(name)

    @rule(days=st.sets(_days, max_size=3))
    def drop(self, days):
        there = sorted(day for day in days if day in self.days)
        assert self.lake.drop("a/days", days) == [day.isoformat() for day in there]
        for day in there:
            del self.days[day]

    @rule(key=st.sampled_from(sorted(TABLES)), care=st.sampled_from(["vacuum", "forget_history", "mend", "reopen"]))
    def care(self, key, care):
        if care == "vacuum":
            self.lake.vacuum(key, keep=dt.timedelta(0))
        elif care == "forget_history":
            self.lake.forget_history(key)
        elif care == "mend":
            assert self.lake.mend(key) == []
        else:
            self.lake = open_lake(self._folder.name)

    @invariant()
    def holds_the_same(self):
        if not hasattr(self, "lake"):
            return
        states = self.lake.states("a/days")
        assert {name: state.rows for name, state in states.items()} == {day.isoformat(): len(rows) for day, rows in self.days.items()}
        found = self.lake.scan("a/days").collect()
        expected = pl.concat([day_rows(0), *(day_rows(dict(sorted(rows.items())), day) for day, rows in sorted(self.days.items()))])
        assert found.equals(expected)
        assert dict(self.lake.scan("a/whole").collect().iter_rows()) == self.whole


TestLakeAgainstDict = LakeAgainstDict.TestCase
TestLakeAgainstDict.settings = settings(
    max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
