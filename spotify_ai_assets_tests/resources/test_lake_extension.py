"""Extending partitions: new rows in files of their own, all or none, and one file again when it is asked for."""

import polars as pl
import pytest
from lake_tables import DAY, day_rows, later, numbers

from spotify_ai_assets.errors import ContractError


def only(rows: dict[object, pl.DataFrame]):
    """Gives the rows of a day that the partition lacks."""

    def new_rows(day, present):
        return rows[day].join(present.collect(), on="id", how="anti")

    return new_rows


def test_rows_are_added_to_days_beside_those_that_are_there(lake):
    lake.write("a/days", day_rows({"old": 1}), DAY)
    rows = {DAY: day_rows({"new": 2}), later(1): day_rows({"other": 3}, later(1))}
    assert lake.extend("a/days", rows, only(rows), transaction="t") == {DAY: 1, later(1): 1}
    assert numbers(lake) == {"old": 1, "new": 2} and numbers(lake, later(1)) == {"other": 3}
    assert lake.state("a/days", DAY).rows == 2 and len(lake.state("a/days", DAY).paths) == 2
    assert lake.table("a/days").transaction_version("t") is not None


def test_rows_that_are_there_already_make_no_commit(lake):
    rows = {DAY: day_rows({"new": 2})}
    lake.extend("a/days", rows, only(rows))
    before = lake.table("a/days").version()
    assert lake.extend("a/days", rows, only(rows)) == {DAY: 0}
    assert lake.table("a/days").version() == before and numbers(lake) == {"new": 2}


def test_another_commit_in_between_is_seen(lake):
    rows, calls = {DAY: day_rows({"a": 1, "b": 2})}, []

    def new_rows(day, present):
        calls.append(day)
        found = only(rows)(day, present)
        if len(calls) == 1:
            lake.write("a/days", day_rows({"b": 9}), DAY)
        return found

    assert lake.extend("a/days", rows, new_rows) == {DAY: 1}
    assert len(calls) == 2 and numbers(lake) == {"a": 1, "b": 9}


def test_many_files_are_made_one_and_the_rows_stay(lake):
    for number in range(5):
        rows = {DAY: day_rows({f"i{number}": number})}
        lake.extend("a/days", rows, only(rows))
    many = lake.state("a/days", DAY)
    lake.update("a/days", [DAY], lambda _, present: present)
    one = lake.state("a/days", DAY)
    assert (len(many.paths), len(one.paths), many.rows, one.rows) == (5, 1, 5, 5)
    assert numbers(lake) == {f"i{number}": number for number in range(5)}
    assert lake.update("a/days", [DAY], lambda _, present: present)[DAY].is_new is False


def test_rows_that_break_the_contract_are_refused(lake):
    with pytest.raises(ContractError):
        lake.extend("a/days", [DAY], lambda _day, _present: day_rows({"a": 1}, later(1)))
    with pytest.raises(ContractError):
        lake.extend("a/days", [DAY], lambda _day, _present: pl.concat([day_rows({"a": 1}), day_rows({"a": 2})]))
    assert lake.states("a/days") == {}
