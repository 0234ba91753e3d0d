"""Rows are kept as long as their contract says: whole days of daily tables, single rows of others."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.contracts import TIME, Column, Reads, Table, by_key
from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.listening.contracts import REJECTED
from spotify_ai_assets.maintenance.upkeep.retention import age_column, expire, find_expired, kept_too_short
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.tables import TABLES

TODAY = date(2026, 3, 1)
_DAY, _ID = Column("day", pl.Date, "Day."), Column("id", pl.String, "Key.")
_AT = Column("noted_at", TIME, "When.", nullable=True)

DAILY = Table("a/daily", (_DAY, _ID), ("id",), "team:x", retention_days=10)
ROWS = Table("a/rows", (_ID, _AT), ("id",), "team:x", partitioned_by=None, retention_days=10)
DATED = Table("a/dated", (_ID, Column("noted_on", pl.Date, "When.")), ("id",), "team:x", partitioned_by=None, retention_days=0)
EVER = Table("a/ever", (_DAY, _ID), ("id",), "team:x")
SMALL = by_key(DAILY, ROWS, DATED, EVER)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"), SMALL, FileLocks(tmp_path / "locks"))


def at(days_ago: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, tzinfo=UTC) - timedelta(days=days_ago)


def land(lake: Lake, key: str, days_ago: int) -> None:
    day = TODAY - timedelta(days=days_ago)
    lake.write(key, pl.DataFrame({"day": [day] * 3, "id": ["a", "b", "c"]}, schema=SMALL[key].schema), day)


def test_days_past_their_time_go_and_those_at_its_end_stay(lake: Lake) -> None:
    for days_ago in (0, 9, 10, 11, 40):
        land(lake, "a/daily", days_ago)
        land(lake, "a/ever", days_ago)
    found = find_expired(lake, TODAY)
    assert [(each.key, each.partitions, each.rows) for each in found] == [("a/daily", ("2026-01-20", "2026-02-18"), 6)]
    assert len(lake.states("a/daily")) == 5, "looking changes nothing"
    expire(lake, found, TODAY)
    assert sorted(lake.states("a/daily")) == ["2026-02-19", "2026-02-20", "2026-03-01"]
    assert len(lake.states("a/ever")) == 5
    assert find_expired(lake, TODAY) == []


def test_rows_of_a_table_without_days_go_one_by_one(lake: Lake) -> None:
    rows = {"id": ["old", "edge", "new", "unknown"], "noted_at": [at(11, 23), at(10), at(0, 12), None]}
    lake.write("a/rows", pl.DataFrame(rows, schema=ROWS.schema))
    lake.write("a/dated", pl.DataFrame({"id": ["yesterday", "today"], "noted_on": [TODAY - timedelta(1), TODAY]}, schema=DATED.schema))
    found = find_expired(lake, TODAY)
    assert [(each.key, each.partitions, each.rows) for each in found] == [("a/rows", ("",), 1), ("a/dated", ("",), 1)]
    expire(lake, found, TODAY)
    assert lake.scan("a/rows").collect()["id"].to_list() == ["edge", "new", "unknown"], "a row without a time is kept"
    assert lake.scan("a/dated").collect()["id"].to_list() == ["today"]


def test_rows_that_come_between_looking_and_doing_are_judged_by_themselves(lake: Lake) -> None:
    lake.write("a/rows", pl.DataFrame({"id": ["old"], "noted_at": [at(20)]}, schema=ROWS.schema))
    found = find_expired(lake, TODAY)
    lake.append("a/rows", pl.DataFrame({"id": ["late"], "noted_at": [at(0)]}, schema=ROWS.schema), transaction="late")
    expire(lake, found, TODAY)
    assert lake.scan("a/rows").collect()["id"].to_list() == ["late"]


def test_an_empty_lake_has_nothing_past_its_days(lake: Lake) -> None:
    assert find_expired(lake, TODAY) == []


@settings(max_examples=15)
@given(st.lists(st.integers(0, 30), unique=True, max_size=8), st.integers(0, 20))
def test_a_day_is_kept_exactly_as_long_as_its_contract_says(ages: list[int], days: int) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        table = Table("a/daily", (_DAY, _ID), ("id",), "team:x", retention_days=days)
        lake = Lake(f"{folder}/lake", by_key(table), FileLocks(Path(folder) / "locks"))
        for age in ages[:3]:
            land(lake, "a/daily", age)
        expire(lake, find_expired(lake, TODAY), TODAY)
        assert {(TODAY - date.fromisoformat(name)).days for name in lake.states("a/daily")} == {age for age in ages[:3] if age <= days}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((None, None), []), ((10, None), []), ((10, 10), []), ((5, 10), []), ((None, 10), ["a/made"]), ((20, 10), ["a/made"])],
)
def test_a_table_kept_shorter_than_what_it_is_made_from_is_a_mistake(limits: tuple[int | None, int | None], expected: list[str]) -> None:
    source = Table("a/source", (_DAY, _ID), ("id",), "team:x", retention_days=limits[0])
    made = Table("a/made", (_DAY, _ID), ("id",), "team:x", reads=(Reads("a/source"),), retention_days=limits[1])
    assert kept_too_short(by_key(source, made)) == expected


def test_a_mistake_in_contracts_is_refused_before_anything_goes(tmp_path: Path) -> None:
    made = Table("a/made", (_DAY, _ID), ("id",), "team:x", reads=(Reads("a/ever"),), retention_days=3)
    lake = Lake(str(tmp_path), by_key(EVER, made), FileLocks(tmp_path / "locks"))
    with pytest.raises(PermanentError, match="a/made"):
        find_expired(lake, TODAY)


def test_every_contract_can_be_kept_to() -> None:
    assert kept_too_short(TABLES) == []
    limited = [table for table in TABLES.values() if table.retention_days is not None]
    assert REJECTED in limited
    assert all(age_column(table) for table in limited if not table.is_daily)


def test_a_table_that_tells_no_age_is_refused() -> None:
    with pytest.raises(PermanentError, match="a/none"):
        age_column(Table("a/none", (_ID,), ("id",), "team:x", partitioned_by=None, retention_days=1))
