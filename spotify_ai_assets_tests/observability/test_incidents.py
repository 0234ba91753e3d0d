"""The router's memory against a model: what is open is what failed and was not well since, and beginnings and ends take turns."""

import itertools
import sqlite3
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.observability.alerts.incidents import Incidents
from spotify_ai_assets.observability.alerts.notices import DEFAULT_ROUTES, Notice, Route

NOW = datetime(2026, 6, 9, tzinfo=UTC)
_PARTS = st.sets(st.sampled_from(["1", "2", "3", "4"]), min_size=1).map(lambda parts: tuple(sorted(parts)))
_NOTICES = st.builds(
    Notice,
    subject=st.sampled_from(["run/a", "run/b"]),
    title=st.just("t"),
    is_healthy=st.booleans(),
    severity=st.sampled_from(["warning", "error", "critical"]),
    parts=_PARTS,
    occurrence=st.sampled_from(["", "x", "y"]),
)


@settings(max_examples=15)
@given(st.lists(_NOTICES, max_size=14))
def test_what_is_open_is_what_failed_and_was_not_well_since(notices: list[Notice]) -> None:
    failing: dict[str, set[str]] = defaultdict(set)
    seen: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory() as folder:
        incidents = Incidents(Path(folder) / "alerts.db")
        for number, notice in enumerate(notices):
            incidents.note(notice, DEFAULT_ROUTES, ["sentry", "pagerduty"], NOW + timedelta(seconds=number))
            if notice.occurrence and (notice.key, notice.occurrence) in seen:
                continue
            seen.add((notice.key, notice.occurrence))
            if notice.is_healthy:
                failing[notice.subject] -= set(notice.parts)
            else:
                failing[notice.subject] |= set(notice.parts)
            found = incidents.open()
            for subject, parts in failing.items():
                assert {part for each in found if each.subject == subject for part in each.parts} == parts
            assert all(each.parts for each in found)
        assert incidents.figures().open == len(incidents.open())


@settings(max_examples=15)
@given(st.lists(_NOTICES, max_size=14))
def test_for_each_channel_a_trouble_begins_before_it_ends_and_ends_once(notices: list[Notice]) -> None:
    told: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        incidents = Incidents(Path(folder) / "alerts.db")
        for number, notice in enumerate(notices):
            incidents.note(notice, [Route("*", "pagerduty")], ["pagerduty"], NOW + timedelta(seconds=number))
        later = NOW + timedelta(hours=1)
        while due := incidents.take_due(later, 100):
            assert len({delivery.key for delivery in due}) == len(due), "of one trouble one at a time"
            for delivery in due:
                told[delivery.key].append(delivery.action)
                incidents.settle(delivery, later)
        still = [each.key for each in incidents.open()]
    for key, actions in told.items():
        runs = [action for action, _ in itertools.groupby(actions)]
        assert runs[0] == "trigger"
        assert actions.count("resolve") <= actions.count("trigger")
        if key not in still:
            assert actions[-1] == "resolve"


def test_two_troubles_never_share_a_key(tmp_path: Path) -> None:
    incidents = Incidents(tmp_path / "alerts.db")
    for parts, is_healthy in ((("1", "2", "3"), False), (("1", "3"), True), (("1", "3"), False)):
        incidents.note(Notice("run/a", "t", is_healthy=is_healthy, parts=parts), DEFAULT_ROUTES, ["slack"], NOW)
    assert [each.key for each in incidents.open()] == ["run/a/1...3", "run/a/1...3 (2)"]


def test_two_deliveries_have_two_ids(tmp_path: Path) -> None:
    incidents = Incidents(tmp_path / "alerts.db")
    for subject in ("run/a", "run/b"):
        incidents.note(Notice(subject, "t", is_healthy=False), DEFAULT_ROUTES, ["sentry", "slack"], NOW)
    assert len({delivery.event_id for delivery in incidents.take_due(NOW, 10)}) == 4


def failed(*tables: str, parts: tuple[str, ...] = ("1",)) -> Notice:
    return Notice("run/daily", "t", is_healthy=False, parts=parts, tables=tables)


def made(*tables: str, parts: tuple[str, ...] = ("1",), wholes: tuple[str, ...] = ()) -> Notice:
    return Notice("run/backfill", "t", is_healthy=True, parts=parts, tables=tables, wholes=wholes)


def left(folder: Path, *notices: Notice) -> list[tuple[str, ...]]:
    """The parts of the troubles that are open after some notices."""
    incidents = Incidents(folder / "alerts.db")
    for number, notice in enumerate(notices):
        incidents.note(notice, DEFAULT_ROUTES, ["slack"], NOW + timedelta(seconds=number))
    return [each.parts for each in incidents.open()]


def test_other_runs_make_a_trouble_good_once_all_of_its_tables_and_parts_are_made(tmp_path: Path) -> None:
    both = failed("a", "b", parts=("1", "2"))
    assert left(tmp_path / "1", both, made("a", "b")) == [("2",)]
    assert left(tmp_path / "2", both, made("a", parts=("1", "2")), made("b")) == [("2",)], "what one made is not forgotten"
    assert left(tmp_path / "3", both, made("a", parts=("1", "2")), made(wholes=("b",))) == []
    assert left(tmp_path / "4", both, made("c", parts=("1", "2"))) == [("1", "2")]
    assert left(tmp_path / "5", both, made("a", "b"), failed("a", parts=("1",)), made("a")) == [("2",)]


def test_what_is_no_table_is_made_good_by_its_own_job_alone(tmp_path: Path) -> None:
    assert left(tmp_path, failed("", "a"), made("a", wholes=("a",))) == [("1",)]
    assert left(tmp_path, replace(failed("a"), subject="run/x", tables=()), made("a")) == [("1",), ("1",)]
    assert left(tmp_path, Notice("run/daily", "t", is_healthy=True, parts=("1",))) == [("1",)]


def test_the_end_of_a_trouble_is_told_however_long_it_was_open(tmp_path: Path) -> None:
    incidents = Incidents(tmp_path / "alerts.db")
    incidents.note(failed("a"), DEFAULT_ROUTES, ["pagerduty"], NOW)
    for delivery in incidents.take_due(NOW, 9):
        incidents.settle(delivery, NOW)
    later = NOW + timedelta(days=31)
    incidents.expire(later)
    incidents.note(made("a"), DEFAULT_ROUTES, ["pagerduty"], later)
    assert [(each.channel, each.action) for each in incidents.take_due(later, 9)] == [("pagerduty", "resolve")]
    for delivery in incidents.take_due(later + timedelta(hours=1), 9):
        incidents.settle(delivery, later)
    incidents.expire(later + timedelta(days=31))
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as database:
        kept = [database.execute(f"SELECT COUNT(*) FROM {table}").fetchone() for table in ("incidents", "deliveries", "missing")]
    assert kept == [(0,), (0,), (0,)]


def test_a_memory_from_before_tables_were_told_is_read_on(tmp_path: Path) -> None:
    incidents = Incidents(tmp_path / "alerts.db")
    incidents.note(failed("a"), DEFAULT_ROUTES, ["slack"], NOW)
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as database:
        database.execute("DROP TABLE missing")
    assert left(tmp_path, made("a")) == [("1",)]
    assert left(tmp_path, failed("a"), made("a")) == []
