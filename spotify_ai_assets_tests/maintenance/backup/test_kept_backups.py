"""Which backups are kept, how they are named and found."""

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.saving import DAILY, LONGEST, WEEKLY, kept
from spotify_ai_assets.maintenance.backup.snapshots import Manifest, Snapshot, TableState, choose, moment_of, new_id

NOW = datetime(2026, 3, 9, 3, 30, tzinfo=UTC)


def at(moment: datetime) -> Snapshot:
    return Snapshot(new_id(moment), moment, "embedded")


def ages(names: set[str]) -> list[int]:
    return sorted((NOW - moment_of(name)).days for name in names)


def test_seven_days_and_four_weeks_are_kept_of_two_months_of_nights() -> None:
    nights = [at(NOW - timedelta(days=age)) for age in range(60)]
    # The 9th is a Monday: its week has one night, and the newest of the weeks before are Sundays.
    assert ages(kept(nights, NOW)) == [0, 1, 2, 3, 4, 5, 6, 8, 15]


def test_the_newest_of_a_day_is_kept() -> None:
    first, second = at(NOW - timedelta(hours=2)), at(NOW - timedelta(hours=1))
    assert len(kept([first, second], NOW)) == 1 and second.id in kept([first, second], NOW)


def test_the_last_backup_stays_whatever_its_age_until_there_is_another() -> None:
    old = at(NOW - timedelta(days=400))
    assert kept([old], NOW) == {old.id}
    assert kept([old, newer := at(NOW)], NOW) == {newer.id}


def test_the_last_backup_goes_after_thirty_days_once_somebody_was_erased_since() -> None:
    old, young = at(NOW - timedelta(days=31)), at(NOW - timedelta(days=29))
    before, after = old.at - timedelta(hours=1), NOW - timedelta(days=2)
    assert kept([old], NOW, after) == set()
    assert kept([old], NOW, before) == {old.id} == kept([old], NOW)
    assert kept([young], NOW, after) == {young.id} == kept([old, young], NOW, after)


def test_a_backup_from_the_future_is_kept_and_takes_no_place() -> None:
    future = [at(NOW + timedelta(days=days)) for days in range(1, 20)]
    nights = [at(NOW - timedelta(days=age)) for age in range(7)]
    assert kept([*future, *nights], NOW) == {each.id for each in (*future, *nights)}
    # The clock goes right again: what it made while it was wrong is judged like the others.
    assert len(kept([*future, *nights], NOW + timedelta(days=20))) <= DAILY + WEEKLY


@given(st.lists(st.integers(-3 * 24 * 60, 70 * 24 * 60), unique=True), st.integers(0, 23))
def test_none_is_older_than_thirty_days_but_the_last_and_never_are_there_more_than_eleven(minutes: list[int], hour: int) -> None:
    now = NOW + timedelta(hours=hour)
    found = [at(now - timedelta(minutes=age)) for age in minutes]
    stay = kept(found, now)
    past = [each for each in found if each.at <= now]
    assert not past or max(past, key=lambda each: each.at).id in stay
    old = [each for each in past if each.id in stay and now - each.at > LONGEST]
    assert not old or (len(old) == 1 and all(now - each.at > LONGEST for each in past))
    assert sum(each.id in stay for each in past) <= DAILY + WEEKLY
    # Each of the last days with a backup has one still, and keeping is repeatable.
    days = sorted({each.at.date() for each in past if now - each.at <= LONGEST}, reverse=True)[:DAILY]
    assert set(days) <= {each.at.date() for each in past if each.id in stay}
    assert kept([each for each in found if each.id in stay], now) == stay


@pytest.mark.parametrize("moment", [datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)])
def test_leap_days_and_clock_changes_count_as_days_like_others(moment: datetime) -> None:
    nights = [at(moment - timedelta(days=age)) for age in range(7)]
    assert kept(nights, moment) == {each.id for each in nights}


def test_a_name_tells_its_moment_and_two_are_never_the_same() -> None:
    assert moment_of(new_id(NOW)) == NOW and new_id(NOW) != new_id(NOW)
    for wrong in ("", "latest", "../20260309T033000Z-01234567", "20260309T033000Z-0123456", "20261309T033000Z-0123456g"):
        with pytest.raises(BackupError):
            moment_of(wrong)


def test_a_backup_is_found_by_name_beginning_moment_or_as_the_latest() -> None:
    found = [at(NOW - timedelta(days=age)) for age in (2, 1, 0)]
    assert choose(found, "latest") == found[2] and choose(found, found[0].id) == found[0] == choose(found, found[0].id[:12])
    assert choose(found, "2026-03-08T23:00:00") == found[1] == choose(found, "2026-03-09T00:30:00+01:00")
    for wrong in ("202603", "2026-03-07", "2020-01-01", "nobody", ""):
        with pytest.raises(BackupError):
            choose(found, wrong)
    with pytest.raises(BackupError):
        choose([], "latest")


def test_a_manifest_is_read_as_it_was_written_and_no_other_document_is() -> None:
    written = Manifest("i", "a", "/d", {"t": "/r"}, {"a/b": TableState(7, {"": (1, "x")})}, {"p": (2, "y")}, {"audit": (3, "z")}, "k")
    assert Manifest.from_json(written.as_json()) == written
    assert written.facts == {"tables": 1, "partitions": 1, "rows": 1, "databases": 1, "ledger": 0}
    for wrong in ({"format": 2}, {"tables": {"a/b": 1}}, {"databases": {"p": 3}}, {"roots": None}, {"chains": {"audit": ("x", "y")}}):
        with pytest.raises(BackupError):
            Manifest.from_json({**written.as_json(), **wrong})
    with pytest.raises(BackupError):
        Manifest.from_json({})
