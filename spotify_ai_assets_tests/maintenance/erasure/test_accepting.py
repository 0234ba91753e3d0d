"""Requests from the command line and from files."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spotify_ai_assets.errors import ContractError, SettingsError
from spotify_ai_assets.maintenance.erasure.accepting import Desk, take_files
from spotify_ai_assets.maintenance.erasure.cases import Person, SealedPeople, note_step, open_cases, read_cases
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings

NOW = datetime(2026, 3, 20, tzinfo=UTC)


@pytest.fixture
def desk(settings: Settings) -> Desk:
    return Desk(settings, open_vault(settings), open_ledger(settings), lambda: NOW)


@pytest.fixture
def folder(settings: Settings) -> Path:
    found = settings.data / "requests"
    found.mkdir()
    return found


def test_a_request_is_sealed_hashed_and_counts_from_now(desk: Desk):
    (pseudonym,) = desk.vault.swap(["anna"]).values()
    request = desk.accept("anna")
    (case,) = open_cases(desk.ledger)
    assert (case.request, case.state, case.due) == (request, "requested", datetime(2026, 4, 20, tzinfo=UTC))
    assert SealedPeople(desk.settings).open(request) == Person("anna", (pseudonym,)) and len(case.pseudonyms) == 1
    assert desk.accept("anna") == request and desk.accept("bert") != request


def test_what_cannot_be_an_id_is_refused(desk: Desk):
    for bad in ("", " ", "\t\n", "x" * 513, "a\0b"):
        with pytest.raises(ContractError):
            desk.accept(bad)
    assert open_cases(desk.ledger) == []


def test_who_died_between_sealing_and_noting_is_completed_and_what_is_done_is_dropped(desk: Desk):
    people = SealedPeople(desk.settings)
    people.keep("a" * 32, Person("anna"))
    assert desk.settle_sealed() == 1 and [case.request for case in open_cases(desk.ledger)] == ["a" * 32]
    assert desk.settle_sealed() == 0 and people.requests() == ["a" * 32]
    note_step(desk.ledger, read_cases(desk.ledger)[0], "receipted")
    desk.settle_sealed()
    assert people.requests() == []


def test_what_is_sealed_and_cannot_be_opened_holds_up_nobody(desk: Desk):
    people = SealedPeople(desk.settings)
    for request, person in (("a" * 32, "anna"), ("b" * 32, " "), ("c" * 32, "carl")):
        people.keep(request, Person(person))
    (people.folder / f"{'a' * 32}.sealed").write_bytes(b"damaged")
    assert desk.settle_sealed() == 1 and [case.request for case in open_cases(desk.ledger)] == ["c" * 32]
    assert people.requests() == ["a" * 32, "c" * 32]


def test_a_request_is_noted_with_the_mark_of_the_key_and_none_is_taken_up_with_another(desk: Desk, monkeypatch):
    request = desk.accept("anna")
    assert next(iter(desk.ledger.records())).body["key_mark"] == Suppression(desk.settings).mark
    monkeypatch.setenv("SPOTIFY_AI_LEDGER_KEY", "ab" * 32)
    with pytest.raises(SettingsError, match="another key"):
        desk.accept("bert")
    assert SealedPeople(desk.settings).requests() == [request]


def test_files_are_taken_up_and_removed_and_what_is_no_request_stays(desk: Desk, folder: Path):
    good = {
        "1.json": {"listener": "anna", "kind": "erasure"},
        "2.json": {"listener": "bert"},
        "3.json": {"listener": "anna", "kind": "access"},
    }
    bad = {
        "4.json": "[]",
        "5.json": "{",
        "6.json": '{"listener": 5}',
        "7.json": '{"listener": "x", "kind": "sale"}',
        "8.json": "[" * 30_000,
        "9.json": '{"listener": " \\t"}',
    }
    for name, content in (good | bad).items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    (folder / "later.json.part").write_text(json.dumps(good["1.json"]))
    (folder / "link.json").symlink_to(folder / "1.json")
    (folder / "answers").mkdir()
    (folder / "answers" / "x.json").write_text(json.dumps(good["1.json"]))
    asked: list[str] = []
    taken = take_files(desk, asked.append)
    assert (len(taken.erasures), taken.accesses, taken.unreadable, asked) == (2, 1, len(bad), ["anna"])
    assert {path.name for path in folder.iterdir()} == {*bad, "later.json.part", "link.json", "answers"}
    assert len(open_cases(desk.ledger)) == 2 and (folder / "answers" / "x.json").exists()


def test_an_export_that_nobody_can_make_waits(desk: Desk, folder: Path):
    (folder / "1.json").write_text(json.dumps({"listener": "anna", "kind": "access"}))
    assert take_files(desk).accesses == 0 and (folder / "1.json").exists()
    with pytest.raises(RuntimeError):
        take_files(desk, lambda _: (_ for _ in ()).throw(RuntimeError))
    assert (folder / "1.json").exists(), "who is not answered asks again"
