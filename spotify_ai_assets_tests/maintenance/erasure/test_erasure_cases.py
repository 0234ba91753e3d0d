"""What the ledger says of requests, and what is sealed beside it."""

import calendar
from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.maintenance.erasure.cases import (
    STATES,
    Case,
    LostNeedlesError,
    Person,
    SealedPeople,
    State,
    _case,
    a_month_after,
    add_figures,
    note_request,
    note_step,
    open_cases,
    read_cases,
)
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.chain import Record
from spotify_ai_assets.settings import Settings

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)))
def test_a_month_later_is_the_same_day_of_the_next_month_or_its_last(at):
    later = a_month_after(at.replace(tzinfo=UTC))
    assert 28 <= (later - at.replace(tzinfo=UTC)).days <= 31 and later.time() == at.time()
    assert (later.year * 12 + later.month) - (at.year * 12 + at.month) == 1
    assert later.day == min(at.day, calendar.monthrange(later.year, later.month)[1])


def test_the_last_of_january_is_due_on_the_leap_day():
    assert a_month_after(datetime(2028, 1, 31, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


def told(kinds: list[tuple[str, bool]]) -> Case:
    body = {"request": "r", "user": "u", "due": NOW.isoformat(), "pseudonyms": ["p"]}
    records = [Record(1, NOW, "requested", body, "", "")]
    for number, (kind, is_clean) in enumerate(kinds, 2):
        more = {"left": [] if is_clean else ["logs: found"]} if kind == "scanned" else {}
        records.append(Record(number, NOW, kind, {"request": "r", "pseudonyms": [f"p{number}"], **more}, "", ""))
    return _case("r", records)


@given(st.lists(st.tuples(st.sampled_from(STATES[1:-1]), st.booleans()), max_size=12))
def test_a_case_is_as_far_as_its_last_record_and_a_scan_that_found_something_sends_it_back(kinds):
    case = told(kinds)
    scans = [is_clean for kind, is_clean in kinds if kind == "scanned"]
    assert case.is_open and case.rounds == len(scans)
    assert case.left == (() if not scans or scans[-1] else ("logs: found",))
    last, is_clean = kinds[-1] if kinds else ("requested", True)
    assert case.state == ("requested" if last == "scanned" and not is_clean else last)
    assert case.is_before("receipted") and len(set(case.pseudonyms)) == len(kinds) + 1


def test_requests_and_steps_are_noted_once_however_often_they_are_said(settings: Settings):
    ledger = open_ledger(settings)
    for _ in range(3):
        note_request(ledger, "u", ["p"], "file", NOW, "r" * 32)
    (case,) = read_cases(ledger)
    for step in cast("list[State]", [*STATES[1:-2], "scanned"]):
        for _ in range(2):
            note_step(ledger, case, step, **({"left": []} if step == "scanned" else {"figures": {"seconds": 1.0}}))
    (case,) = open_cases(ledger)
    assert (case.state, case.rounds, case.due.day, case.due.month) == ("scanned", 1, 20, 4) and case.figures("purged") == {"seconds": 1.0}
    note_step(ledger, case, "receipted", receipt_sha256="x")
    assert open_cases(ledger) == [] and ledger.head().sequence == len(STATES)


def test_figures_of_several_rounds_are_added_up():
    rounds = [{"tables": {"a": {"rows": 2}, "b": {"rows": 1}}, "kept_files": 1, "is_trained": True, "forms": ["x"]}]
    rounds += [{"tables": {"a": {"rows": 3}}, "kept_files": 0, "seconds": 0.5, "is_trained": False, "forms": ["y"]}]
    assert add_figures(rounds) == {
        "tables": {"a": {"rows": 5}, "b": {"rows": 1}},
        "kept_files": 1,
        "seconds": 0.5,
        "is_trained": True,
        "forms": ["y"],
    }


def test_without_the_key_nothing_is_opened_and_no_key_is_made(settings: Settings):
    people = SealedPeople(settings)
    people.keep("1" * 32, Person("anna"))
    (settings.data / "keys" / "ledger.key").unlink()
    with pytest.raises(SettingsError, match="not there"):
        people.open("1" * 32)
    assert not any((settings.data / "keys").iterdir())


def test_what_is_sealed_opens_with_its_key_and_for_its_request_alone(settings: Settings, monkeypatch):
    people, person = SealedPeople(settings), Person("änna \U0001f3b5", ("p" * 32,))
    people.keep("1" * 32, person)
    assert people.open("1" * 32) == person and people.requests() == ["1" * 32] and "nna" not in repr(person)
    content = (people.folder / f"{'1' * 32}.sealed").read_bytes()
    assert b"nna" not in content and b"pppp" not in content and (people.folder / f"{'1' * 32}.sealed").stat().st_mode & 0o77 == 0
    (people.folder / f"{'2' * 32}.sealed").write_bytes(content)
    with pytest.raises(SettingsError, match="another key"):
        people.open("2" * 32)
    monkeypatch.setenv("SPOTIFY_AI_LEDGER_KEY", "ab" * 32)
    with pytest.raises(SettingsError, match="another key"):
        people.open("1" * 32)
    people.drop("1" * 32)
    people.drop("1" * 32)
    with pytest.raises(LostNeedlesError, match="again"):
        people.open("1" * 32)
