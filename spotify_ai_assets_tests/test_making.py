"""Making days: only declared inputs, only valid rows, whole days, and a bad day harms no other."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from invented import day, land

from spotify_ai_assets.errors import LockTimeoutError, MissingInputError
from spotify_ai_assets.listening.charts import rank_charts
from spotify_ai_assets.listening.contracts import CHARTS, EVENTS, PLAYS, SESSIONS, TRACK_DAYS
from spotify_ai_assets.listening.days import count_tracks
from spotify_ai_assets.listening.insight.contracts import CHANGE_POINTS
from spotify_ai_assets.listening.plays import clean_plays
from spotify_ai_assets.listening.sessions import settle_sessions
from spotify_ai_assets.making import Inputs, Made, make_partitions
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.staleness import Ledger, reasons


def plays(read: Inputs) -> pl.DataFrame:
    return clean_plays(read("listening/events"), read.day)


def sessions(read: Inputs) -> pl.DataFrame:
    return settle_sessions(read("listening/plays"), read("listening/sessions"), read.day)


def tracks(read: Inputs) -> pl.DataFrame:
    return count_tracks(read("listening/plays"), read.day)


def charts(read: Inputs) -> pl.DataFrame:
    return rank_charts(read("listening/track_days"), read("listening/charts"), read.day)


def make(table, function, days, lake: Lake, **options) -> list[Made]:
    return list(make_partitions(table, function, days, lake, Ledger(lake.states), Origin("run", "trace"), **options))


def days(count: int) -> list[date]:
    return [day(number) for number in range(count)]


def test_a_day_is_made_from_its_declared_inputs_and_remembers_them(lake: Lake) -> None:
    land(lake, range(2))
    make(PLAYS, plays, days(2), lake)
    state = lake.state(PLAYS.key, day(1))
    assert state is not None
    assert state.recipe.inputs == {f"listening/events@{day(1)}": lake.state(EVENTS.key, day(1)).digest}
    assert (state.rows, state.origin) == (60, Origin("run", "trace"))


def test_an_undeclared_input_is_refused(lake: Lake) -> None:
    land(lake, range(1))
    (made,) = make(PLAYS, lambda read: clean_plays(read("listening/track_days"), read.day), days(1), lake)
    assert "does not declare that it reads listening/track_days" in made.reason


def test_the_window_of_an_input_is_what_the_contract_declares(lake: Lake) -> None:
    land(lake, range(9))
    for table, function in ((PLAYS, plays), (TRACK_DAYS, tracks)):
        make(table, function, days(9), lake)
    read = Inputs(CHARTS, day(8), lake, Ledger(lake.states))
    assert sorted(read("listening/track_days").collect()["day"].unique()) == [day(number) for number in range(2, 9)]
    assert read("listening/track_days", first=0).collect()["day"].unique().to_list() == [day(8)]
    assert read("listening/charts").collect().is_empty()


def test_making_again_changes_nothing(lake: Lake) -> None:
    land(lake, range(1))
    make(PLAYS, plays, days(1), lake)
    version = lake.table(PLAYS.key).version()
    (again,) = make(PLAYS, plays, days(1), lake)
    assert again.written is not None
    assert not again.written.is_new
    assert lake.table(PLAYS.key).version() == version


def test_what_is_up_to_date_is_left_alone(lake: Lake) -> None:
    land(lake, range(2))
    make(PLAYS, plays, days(1), lake)
    first, second = make(PLAYS, plays, days(2), lake, only_stale=True)
    assert first.written is None
    assert second.written is not None


def test_a_day_that_breaks_its_contract_is_not_committed_and_harms_no_other(lake: Lake) -> None:
    land(lake, range(3))

    def broken(read: Inputs) -> pl.DataFrame:
        return plays(read).with_columns(played_ms=pl.lit(-1 if read.day == day(1) else 1, pl.Int64))

    made = make(PLAYS, broken, days(3), lake)
    assert [bool(each.reason) for each in made] == [False, True, False]
    assert made[1].violations[0].column == "played_ms"
    assert sorted(lake.states(PLAYS.key)) == [str(day(0)), str(day(2))]


def test_a_refused_day_keeps_its_last_good_state(lake: Lake) -> None:
    land(lake, range(1))
    make(PLAYS, plays, days(1), lake)
    before = lake.state(PLAYS.key, day(0))
    make(PLAYS, lambda read: plays(read).with_columns(country=pl.lit("nowhere")), days(1), lake)
    assert lake.state(PLAYS.key, day(0)) == before


def test_an_unexpected_error_is_told_without_its_message(lake: Lake) -> None:
    land(lake, range(1))

    def leaky(read: Inputs) -> pl.DataFrame:
        raise ValueError("alice@example.org")

    (made,) = make(PLAYS, leaky, days(1), lake)
    assert made.reason.startswith("ValueError")
    assert "alice" not in made.reason


def test_a_transient_error_is_not_swallowed(lake: Lake) -> None:
    land(lake, range(1))

    def locked(read: Inputs) -> pl.DataFrame:
        raise LockTimeoutError("held")

    with pytest.raises(LockTimeoutError):
        make(PLAYS, locked, days(1), lake)


def test_an_empty_day_needs_empty_inputs(lake: Lake) -> None:
    land(lake, range(1))
    (refused,) = make(PLAYS, lambda read: PLAYS.empty(), days(1), lake)
    assert "came out empty although its inputs have 60 rows" in refused.reason
    (allowed,) = make(PLAYS, plays, [day(5)], lake)
    assert allowed.written is not None
    assert allowed.written.state.rows == 0


def test_a_day_waits_for_the_inputs_that_are_made_from_others(lake: Lake) -> None:
    land(lake, range(1))
    (made,) = make(SESSIONS, sessions, days(1), lake)
    assert made.reason == f"listening/sessions: listening/plays was not made for {day(0)} yet"


def test_a_stale_day_waits_for_stale_inputs_when_only_the_stale_is_made(lake: Lake) -> None:
    land(lake, range(1))
    make(PLAYS, plays, days(1), lake)
    make(SESSIONS, sessions, days(1), lake)
    land(lake, range(1), shift=3)
    lake.write(SESSIONS.key, lake.scan(SESSIONS.key).collect(), day(0))  # made by an older recipe, so stale itself
    (made,) = make(SESSIONS, sessions, days(1), lake, only_stale=True)
    assert "waits for listening/plays" in made.reason


def test_a_late_listen_rebuilds_what_depends_on_it_and_stops_where_digests_agree(lake: Lake) -> None:
    chain = ((PLAYS, plays), (SESSIONS, sessions), (TRACK_DAYS, tracks), (CHARTS, charts))
    land(lake, range(12))
    for table, function in chain:
        make(table, function, days(12), lake)
    corrected = lake.scan(EVENTS.key, first=day(4), last=day(4)).collect()
    corrected = pl.concat([corrected, corrected.head(1).with_columns(pl.col("started_at").dt.offset_by("1m"))])
    lake.write(EVENTS.key, corrected, day(4))
    remade = {
        table.key: [(each.partition - day(0)).days for each in make(table, function, days(12), lake, only_stale=True) if each.written]
        for table, function in chain
    }
    assert remade[PLAYS.key] == [4]
    assert remade[TRACK_DAYS.key] == [4]
    assert remade[SESSIONS.key] in ([4], [4, 5]), "the day after at most: its carried sessions agree again"
    assert remade[CHARTS.key] == list(range(4, 12)), "every later chart looks back over all history"
    ledger = Ledger(lake.states)
    assert not [reasons(table, on, lake.tables, ledger) for table, _ in chain for on in days(12) if reasons(table, on, lake.tables, ledger)]


def test_missing_inputs_are_permanent() -> None:
    from spotify_ai_assets.errors import PermanentError

    assert issubclass(MissingInputError, PermanentError)


def test_small_days_share_a_commit_and_a_weekly_table_gets_its_sundays(lake: Lake) -> None:
    land(lake, range(15))
    made = make(PLAYS, plays, days(15), lake)
    assert [each.partition for each in made if each.written] == days(15)
    assert lake.table(PLAYS.key).version() == 1, "one commit after that of the table itself"
    table = replace(CHANGE_POINTS, reads=())
    made = make(table, lambda read: table.empty(), days(15), lake)
    assert [each.partition for each in made if each.written] == [day(6), day(13)]
    assert [each.reason for each in made] == [""] * 15
