"""Contracts: what they refuse, and that every declaration of the product keeps the house's rules."""

import re
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from spotify_ai_assets.contracts import Column, Reads, Table, by_key
from spotify_ai_assets.tables import TABLES

_DAY = Column("day", pl.Date, "Day.")
_ID = Column("id", pl.String, "Id.")


def test_a_daily_table_begins_with_its_day() -> None:
    with pytest.raises(ValueError, match="first column of a daily table"):
        Table("a/things", (_ID, _DAY), ("id",), "team:a")


def test_a_column_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        Table("a/things", (_DAY, _ID, _ID), ("id",), "team:a")


def test_a_key_column_must_be_declared() -> None:
    with pytest.raises(ValueError, match="not declared"):
        Table("a/things", (_DAY, _ID), ("other",), "team:a")


def test_two_tables_cannot_share_a_key() -> None:
    table = Table("a/things", (_DAY, _ID), ("id",), "team:a")
    with pytest.raises(ValueError, match="share a key"):
        by_key(table, table)


def test_columns_about_persons_are_not_public() -> None:
    table = Table("a/things", (_DAY, _ID, Column("who", pl.String, "Who.", personal="pseudonym")), ("id",), "team:a")
    assert table.public_columns == ("day", "id")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_names_follow_the_law(table: Table) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z_]+", table.key)
    assert table.owner.startswith("team:")
    for column in table.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name), column.name
        assert column.description.endswith("."), column.name
        if column.dtype == pl.Boolean:
            assert column.name.startswith(("is_", "has_", "was_")), column.name
        if isinstance(column.dtype, pl.Datetime):
            assert column.name.endswith("_at"), column.name
            assert column.dtype.time_zone == "UTC", column.name


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_a_table_reads_is_declared_and_comes_before_it(table: Table) -> None:
    domains = list(dict.fromkeys(each.domain for each in TABLES.values()))
    for reads in table.reads:
        source = TABLES[reads.key]
        assert domains.index(source.domain) <= domains.index(table.domain)
        assert isinstance(reads, Reads)
        if source.key == table.key:
            assert reads.last < 0, "a table may read only its own past"
            assert not reads.drives


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_listener_is_marked_as_a_pseudonym_wherever_it_stands(table: Table) -> None:
    for column in table.columns:
        assert (column.name == "listener_id") == (column.personal == "pseudonym")


def test_a_weekly_table_has_sundays_and_a_monthly_one_last_days() -> None:
    sunday = date(2026, 5, 31)
    days = [sunday + timedelta(days=number) for number in range(-31, 32)]
    daily = Table("a/things", (_DAY, _ID), ("id",), "team:a")
    weekly, monthly = (replace(daily, grain=grain) for grain in ("week", "month"))
    assert all(daily.has(day) for day in days)
    assert [day for day in days if weekly.has(day)] == [sunday + timedelta(days=7 * number) for number in range(-4, 5)]
    assert [day for day in days if monthly.has(day)] == [date(2026, 4, 30), sunday, date(2026, 6, 30)]
