"""Receipts: signed, in three languages, and found out where a byte of them was changed."""

import json
from datetime import UTC, datetime
from typing import cast

import pytest
from typer.testing import CliRunner

from spotify_ai_assets.cli import app
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.maintenance.erasure.cases import STATES, Case, State, note_request, note_step, read_cases
from spotify_ai_assets.maintenance.erasure.receipts import describe, folder_of, read_receipt, sign_receipt, tell, verify_receipt
from spotify_ai_assets.resources.audit import ERASURE, open_ledger
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.settings import LANGUAGES, Settings

FIGURES = {
    "rewritten": {"tables": {"listening/events": {"partitions": 3, "rows": 1234}}, "kept_files": 1},
    "rebuilt": {"partitions": 206, "versions_removed": 6},
    "purged": {"files": 2, "messages": 4},
    "scanned": {"files": 888, "bytes": 8_559_430, "forms": ["utf-8", "hex"], "hits": 0},
}


@pytest.fixture
def case(settings: Settings) -> Case:
    ledger = Chain(settings.ledger_url, ERASURE, lambda: datetime(2026, 1, 31, tzinfo=UTC))
    request = note_request(ledger, "ab" * 32, ["cd" * 32], "command", datetime(2026, 1, 31, tzinfo=UTC))
    for step in cast("list[State]", list(STATES[1:-1])):
        (found,) = read_cases(ledger)
        more = {"left": []} if step == "scanned" else {}
        note_step(ledger, found, step, figures={"seconds": 1.0, **FIGURES.get(step, {})}, **more)
    (found,) = read_cases(ledger)
    note_step(ledger, found, "receipted", **sign_receipt(settings, found))
    assert found.request == request
    return read_cases(ledger)[0]


def test_a_receipt_is_genuine_and_the_same_whenever_it_is_made(settings: Settings, case: Case):
    before = {path.name: path.read_bytes() for path in folder_of(settings).iterdir()}
    assert set(before) == {f"{case.request}.json", *(f"{case.request}.{language}.txt" for language in LANGUAGES)}
    assert verify_receipt(settings, open_ledger(settings), case.request) == []
    sign_receipt(settings, case)
    assert {path.name: path.read_bytes() for path in folder_of(settings).iterdir()} == before
    assert all(path.stat().st_mode & 0o77 == 0 for path in folder_of(settings).iterdir())


def test_it_says_in_plain_words_what_was_done_and_until_when_it_had_to_be(settings: Settings, case: Case):
    told = read_receipt(settings, case.request[:8])
    english = tell(told, "en")
    for words in (
        "Jan 31, 2026",
        "Feb 28, 2026",
        "1,234 listens",
        "206 parts",
        "3 files and 4 messages",
        "888 files (9 MB)",
        case.request,
        "ab" * 32,
    ):
        assert words in english
    assert "{" not in english and "2 ways of" in english
    for language in LANGUAGES:
        text = tell(told, language)
        assert told["signature"] in text and max(map(len, text.splitlines())) < 200


def test_it_counts_what_was_done_in_every_round_and_tells_of_the_last_scan(settings: Settings):
    ledger = Chain(settings.ledger_url, ERASURE, lambda: datetime(2026, 1, 31, tzinfo=UTC))
    note_request(ledger, "ab" * 32, [], "command", datetime(2026, 1, 31, tzinfo=UTC))
    for files, left in ((5, ["logs: found"]), (888, [])):
        for step in cast("list[State]", list(STATES[1:-1])):
            (found,) = read_cases(ledger)
            more = {"left": left} if step == "scanned" else {}
            figures = {**FIGURES.get(step, {}), **({"files": files} if step == "scanned" else {})}
            note_step(ledger, found, step, figures=figures, **more)
    told = {**describe(read_cases(ledger)[0]), "signature": "", "public_key": ""}
    english = tell(told, "en")
    assert all(words in english for words in ("2,468 listens", "412 parts", "12 versions", "6 files and 8 messages", "888 files"))


@pytest.mark.parametrize("change", ["rounds", "user", "signature", "completed_at"])
def test_a_changed_receipt_is_found_out(settings: Settings, case: Case, change):
    path = folder_of(settings) / f"{case.request}.json"
    told = json.loads(path.read_bytes())
    told[change] = 9 if change == "rounds" else told[change][:-1] + ("0" if told[change][-1] != "0" else "1")
    path.write_text(json.dumps(told))
    assert "the receipt was changed, or signed by somebody else" in verify_receipt(settings, open_ledger(settings), case.request)


def test_a_changed_text_another_key_and_an_unknown_request_are_found_out(settings: Settings, case: Case, monkeypatch):
    ledger, text = open_ledger(settings), folder_of(settings) / f"{case.request}.de.txt"
    text.write_text(text.read_text() + "\n")
    assert verify_receipt(settings, ledger, case.request) == ["a text for the person is not the one that was signed for"]
    text.write_text(tell(read_receipt(settings, case.request), "de"))
    monkeypatch.setenv("SPOTIFY_AI_RECEIPT_KEY", "12" * 32)
    assert verify_receipt(settings, ledger, case.request) == ["the receipt was changed, or signed by somebody else"]
    with pytest.raises(MissingInputError, match="no receipt"):
        read_receipt(settings, "f" * 32)


def test_a_receipt_names_the_record_of_the_ledger_that_it_rests_on(case: Case):
    told = describe(case)
    scanned = next(record for record in case.records if record.kind == "scanned")
    assert told["ledger"] == {"sequence": scanned.sequence, "digest": scanned.digest} and told["rounds"] == 1
    assert [step["state"] for step in told["steps"]] == list(STATES[:-1])


def test_commands_tell_how_far_requests_are_and_whether_receipts_are_genuine(settings: Settings, case: Case, monkeypatch):
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(settings.data))

    def run(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, ["erasure", *arguments])
        assert done.exit_code == status, done.output
        return done.output

    assert json.loads(run("status", "--json"))["requests"][0]["state"] == "receipted"
    assert case.request[:8] in run("status") and "erased" in run("receipt", case.request)
    assert json.loads(run("receipt", case.request, "--json"))["request"] == case.request
    assert json.loads(run("verify", "--json")) == {"ledger": [], "receipts": {case.request: []}}
    assert "1 receipt is genuine" in run("verify", case.request)
    run("receipt", case.request, "--language", "xx", status=2)
    path = folder_of(settings) / f"{case.request}.json"
    path.write_bytes(path.read_bytes().replace(b'"rounds": 1', b'"rounds": 2'))
    assert "changed" in run("verify", status=1)
