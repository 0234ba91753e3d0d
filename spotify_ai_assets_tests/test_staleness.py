"""Staleness: what is out of date, why, and where rebuilding stops."""

from dataclasses import replace
from datetime import date

import polars as pl
from invented import day

from spotify_ai_assets.contracts import Column, Reads, Table, by_key
from spotify_ai_assets.resources.lake import Recipe, State
from spotify_ai_assets.staleness import ABSENT, Ledger, behind, in_order, plan, reasons, recipe_now

_COLUMNS = (Column("day", pl.Date, "Day."), Column("id", pl.String, "Id."))
RAW = Table("a/raw", _COLUMNS, ("id",), "team:a")
WHOLE = Table("a/whole", _COLUMNS[1:], ("id",), "team:a", partitioned_by=None)
CLEAN = Table("a/clean", _COLUMNS, ("id",), "team:a", reads=(Reads("a/raw"), Reads("a/whole")))
CARRIED = Table("a/carried", _COLUMNS, ("id",), "team:a", reads=(Reads("a/clean"), Reads("a/carried", -1, -1, drives=False)))
WINDOW = Table("a/window", _COLUMNS, ("id",), "team:a", reads=(Reads("a/clean", first=-2),))
PEAKS = Table("a/peaks", _COLUMNS, ("id",), "team:a", reads=(Reads("a/clean"), Reads("a/peaks", None, -1, drives=False)))
TABLES = by_key(PEAKS, WINDOW, CARRIED, CLEAN, RAW, WHOLE)
MADE = [CLEAN.key, CARRIED.key, WINDOW.key, PEAKS.key]


class World:
    """Partition states without a lake."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, State]] = {key: {} for key in TABLES}

    def put(self, key: str, on: date | None, digest: str, recipe: Recipe | None = None) -> None:
        name = on.isoformat() if on else ""
        self.states[key][name] = State(digest, 1, 1, recipe or Recipe(), None, 0.0, ())  # type: ignore[arg-type]

    def ledger(self) -> Ledger:
        return Ledger(self.states.__getitem__)

    def make(self, key: str, on: date, digest: str) -> None:
        self.put(key, on, digest, recipe_now(TABLES[key], on, TABLES, self.ledger()))

    def make_all(self, days: range, suffix: str = "") -> None:
        for key in MADE:
            for number in days:
                self.make(key, day(number), f"{key}{number}{suffix}")

    def stale(self, days: range) -> set[tuple[str, int]]:
        found = plan(TABLES, MADE, [day(number) for number in days], self.ledger())
        return {(each.key, (each.partition - day(0)).days) for each in found}


def world(days: int = 6) -> World:
    made = World()
    made.put(WHOLE.key, None, "whole")
    for number in range(days):
        made.put(RAW.key, day(number), f"raw{number}")
    made.make_all(range(days))
    return made


def test_a_made_world_has_nothing_stale() -> None:
    assert world().stale(range(6)) == set()


def test_a_partition_that_was_never_made_says_so() -> None:
    assert reasons(CLEAN, day(9), TABLES, world().ledger()) == ("never made",)


def test_a_changed_input_names_itself() -> None:
    made = world()
    made.put(RAW.key, day(2), "corrected")
    assert reasons(CLEAN, day(2), TABLES, made.ledger()) == (f"input changed: a/raw@{day(2)}",)
    assert reasons(CLEAN, day(3), TABLES, made.ledger()) == ()


def test_a_changed_day_may_change_all_that_depends_on_it_and_nothing_before() -> None:
    made = world()
    made.put(RAW.key, day(2), "corrected")
    after = {(CARRIED.key, number) for number in range(2, 6)} | {(PEAKS.key, number) for number in range(2, 6)}
    assert made.stale(range(6)) == {(CLEAN.key, 2), (WINDOW.key, 2), (WINDOW.key, 3), (WINDOW.key, 4)} | after


def test_rebuilding_stops_where_the_digest_did_not_change() -> None:
    made = world()
    made.put(RAW.key, day(2), "corrected")
    made.make(CLEAN.key, day(2), "a/clean2")  # the same rows came out
    assert made.stale(range(6)) == set()


def test_carried_state_is_followed_day_by_day_until_it_agrees() -> None:
    made = world()
    made.put(RAW.key, day(2), "corrected")
    made.make(CLEAN.key, day(2), "new")
    made.make(CARRIED.key, day(2), "new")
    assert (CARRIED.key, 3) in made.stale(range(6))
    made.make(CARRIED.key, day(3), "a/carried3")  # agrees again: the rest is untouched
    assert {number for key, number in made.stale(range(6)) if key == CARRIED.key} == set()


def test_all_history_is_one_input_that_changes_with_any_day_of_it() -> None:
    made = world()
    made.make(PEAKS.key, day(1), "other")
    assert {number for key, number in made.stale(range(6)) if key == PEAKS.key} == {2, 3, 4, 5}
    assert list(recipe_now(PEAKS, day(3), TABLES, made.ledger()).inputs)[1] == f"a/peaks@..{day(2)}"


def test_a_new_code_version_makes_every_day_stale() -> None:
    made = world()
    newer = Table("a/clean", _COLUMNS, ("id",), "team:a", code_version="2", reads=CLEAN.reads)
    assert reasons(newer, day(1), TABLES, made.ledger()) == ("code version 1 is now 2",)


def test_a_whole_table_is_an_input_of_every_day() -> None:
    made = world()
    made.put(WHOLE.key, None, "changed")
    assert {(CLEAN.key, number) for number in range(6)} <= made.stale(range(6))


def test_an_input_that_is_absent_is_an_input_too() -> None:
    made = world()
    inputs = recipe_now(WINDOW, day(0), TABLES, made.ledger()).inputs
    assert [inputs[f"a/clean@{day(number)}"] for number in (-2, -1)] == [ABSENT, ABSENT]


def test_tables_come_after_those_that_they_read() -> None:
    assert in_order(TABLES, MADE)[0].key == CLEAN.key


def test_the_ledger_follows_what_is_written() -> None:
    made = world()
    ledger = made.ledger()
    before = ledger.history(PEAKS.key, day(5))
    ledger.note(PEAKS.key, day(1), State("new", 1, 1, Recipe(), None, 0.0, ()))  # type: ignore[arg-type]
    assert ledger.history(PEAKS.key, day(5)) != before
    assert ledger.history(PEAKS.key, day(0)) == made.ledger().history(PEAKS.key, day(0))


def test_a_weekly_table_is_stale_on_its_sundays_only() -> None:
    made = world(14)
    weekly = replace(PEAKS, key="a/weekly", grain="week", reads=(Reads("a/clean", first=-6),))
    tables = {**TABLES, weekly.key: weekly}
    made.states[weekly.key] = {}
    found = plan(tables, [weekly.key], [day(number) for number in range(14)], made.ledger())
    assert [each.partition.weekday() for each in found] == [6, 6]
    assert reasons(weekly, day(0), tables, made.ledger()) == ()


def test_the_history_follows_days_that_are_added_and_days_that_change() -> None:
    made = world(4)
    ledger = made.ledger()
    before = [ledger.history(RAW.key, day(number)) for number in range(5)]
    assert before[3] == before[4]
    made.put(RAW.key, day(4), "raw4")
    ledger.note(RAW.key, day(4), made.states[RAW.key][str(day(4))])
    assert [ledger.history(RAW.key, day(number)) for number in range(4)] == before[:4]
    assert ledger.history(RAW.key, day(4)) == made.ledger().history(RAW.key, day(4)) != before[4]
    made.put(RAW.key, day(1), "corrected")
    ledger.note(RAW.key, day(1), made.states[RAW.key][str(day(1))])
    after = [ledger.history(RAW.key, day(number)) for number in range(5)]
    assert (after[0] == before[0], after[1] == before[1], after[3] == before[3]) == (True, False, False)


def test_a_window_holds_the_days_that_there_are() -> None:
    ledger = world(6).ledger()
    assert [state.digest for state in ledger.window(RAW.key, day(4), day(9))] == ["raw4", "raw5"]
    assert [state.digest for state in ledger.window(RAW.key, None, day(1))] == ["raw0", "raw1"]


def test_what_is_behind_a_table_is_all_that_it_is_made_from() -> None:
    assert {table.key for table in behind(TABLES, [WINDOW.key])} == {"a/window", "a/clean", "a/raw", "a/whole"}
    assert behind(TABLES, [WINDOW.key])[-1] == WINDOW
