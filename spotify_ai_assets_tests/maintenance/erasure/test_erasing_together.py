"""A case that cannot be brought any further fails alone."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest

from spotify_ai_assets.errors import PermanentError, TransientError
from spotify_ai_assets.maintenance.erasure import machine
from spotify_ai_assets.maintenance.erasure.cases import STATES, Case, Person, SealedPeople, note_request, read_cases
from spotify_ai_assets.maintenance.erasure.machine import Tools, erase
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.audit import open_audit, open_ledger
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings

FIGURES = {
    "rewritten": {"tables": {"listening/events": {"partitions": 1, "rows": 2}}},
    "rebuilt": {"partitions": 3},
    "scanned": {"files": 1, "bytes": 1, "forms": [], "left": []},
}


@pytest.fixture
def tools(settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """An erasure whose steps do nothing but fail where ``bad`` is among the people."""

    def doing(step: str):
        def do(batch):
            if step == "rebuilt" and "bad" in batch.users:
                raise PermanentError("this one cannot be made again")
            if step == "rebuilt" and "busy" in batch.users:
                raise TransientError("try again")
            return dict(FIGURES.get(step, {}))

        return do

    monkeypatch.setattr(machine, "_STEPS", tuple((step, doing(step)) for step in STATES[1:-1]))
    return Tools(settings, lake, open_vault(settings), cast("object", SimpleNamespace()))  # pyright: ignore[reportArgumentType]


def by_request(cases: list[Case]) -> dict[str, Case]:
    return {case.request: case for case in cases}


def test_one_that_fails_for_good_fails_alone_and_is_told_of(tools: Tools):
    good, bad, other = (tools.desk.accept(user) for user in ("good", "bad", "other"))
    cases = by_request(erase(tools))
    assert {name: case.state for name, case in cases.items()} == {good: "receipted", bad: "rewritten", other: "receipted"}
    assert cases[bad].left == ("this one cannot be made again",) and cases[good].left == ()
    with pytest.raises(PermanentError, match="cannot be made"):
        erase(tools)


def test_what_does_not_answer_is_told_as_before(tools: Tools):
    tools.desk.accept("good")
    tools.desk.accept("busy")
    with pytest.raises(TransientError):
        erase(tools)


def test_a_blank_id_of_a_former_version_and_lost_needles_hold_up_nobody(tools: Tools):
    suppression, people = Suppression(tools.settings), SealedPeople(tools.settings)
    blank = note_request(open_ledger(tools.settings), suppression.hash("user", " "), [], "file", datetime(2026, 3, 20, tzinfo=UTC))
    people.keep(blank, Person(" "))
    lost, good = tools.desk.accept("lost"), tools.desk.accept("good")
    people.drop(lost)
    cases = by_request(erase(tools))
    assert {name: case.state for name, case in cases.items()} == {blank: "requested", lost: "requested", good: "receipted"}
    assert "blank" in cases[blank].left[0] and "give the id again" in cases[lost].left[0]


def test_the_audit_counts_every_round(tools: Tools, monkeypatch):
    request, rounds = tools.desk.accept("good"), []

    def scan(batch):
        rounds.append(1)
        return {**FIGURES["scanned"], "left": [] if len(rounds) > 1 else ["logs: found"]}

    monkeypatch.setattr(machine, "_STEPS", (*machine._STEPS[:-1], ("scanned", scan)))
    (case,) = erase(tools)
    assert (case.request, case.state, case.rounds) == (request, "receipted", 2)
    erased = open_audit(tools.settings).newest("erased")
    assert erased and (erased.body["figures"]["rows"], erased.body["figures"]["partitions"]) == (4, 6)
    assert read_cases(tools.ledger)[0].totals("rewritten")["tables"]["listening/events"]["partitions"] == 2


def test_files_that_nobody_can_read_keep_a_case_open(tools: Tools, monkeypatch):
    kept = tools.settings.data / "kept"
    kept.mkdir()
    (kept / "a.fernet").write_bytes(b"gAAAAAno key")
    monkeypatch.setattr(machine, "_STEPS", tuple((step, machine._purge if step == "purged" else do) for step, do in machine._STEPS))
    monkeypatch.setattr(machine, "forget_trainings", lambda *_: 0)
    scan = {**FIGURES["scanned"]}
    left = lambda batch: {**scan, "left": [what for case in batch.cases for what in case.skipped()]}  # noqa: E731
    monkeypatch.setattr(machine, "_STEPS", (*machine._STEPS[:-1], ("scanned", left)))
    tools.desk.accept("somebody who is not there")
    (case,) = erase(tools)
    assert case.is_open and [what.partition(":")[0] for what in case.left] == ["kept"] and (kept / "a.fernet").exists()
