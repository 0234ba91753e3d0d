"""What the chains tell of care: the newest deeds, open erasures, heads; read without making a database."""

from datetime import UTC, datetime, timedelta

import pytest

from spotify_ai_assets.observability.metrics.keeping import Keeping, Ledgers, is_there, read_deeds
from spotify_ai_assets.resources.audit import AUDIT, ERASURE, Audit, open_audit, open_ledger
from spotify_ai_assets.resources.chain import Chain

WHO = {"kind": "schedule", "name": "nightly"}
FIRST = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def audit(settings):
    return open_audit(settings)


def clocked(settings, name, *days):
    """A chain whose records are made on given days."""
    times = iter(FIRST + timedelta(days=day) for day in days)
    return Chain(settings.ledger_url, name, lambda: next(times))


def test_nothing_is_told_and_nothing_made_where_no_ledger_is(settings):
    assert Ledgers(settings).read() == Keeping()
    assert not (settings.data / "ledger").exists()


def test_the_newest_success_and_the_newest_failure_of_a_deed_are_told(settings):
    audit = Audit(clocked(settings, AUDIT, 1, 2, 3))
    audit.record("backed_up", subject="a", who=WHO, figures={"seconds": 3.5, "engine": "restic"})
    audit.record("backed_up", subject="b", who=WHO, figures={"seconds": 4.5})
    audit.record("backed_up", subject="c", who=WHO, outcome="failure", figures={"seconds": 99})
    deeds = Ledgers(settings).read().deeds["backed_up"]
    assert deeds.succeeded_at == (FIRST + timedelta(days=2)).timestamp()
    assert deeds.last["failure"] == (FIRST + timedelta(days=3)).timestamp()
    assert deeds.figures == {"seconds": 4.5}


def test_a_deed_that_only_failed_has_no_success(audit, settings):
    audit.record("drilled", subject="a", who=WHO, outcome="failure")
    deeds = Ledgers(settings).read().deeds
    assert (deeds["drilled"].succeeded_at, list(deeds)) == (None, ["drilled"])


def test_a_long_line_of_failures_does_not_make_reading_long(audit):
    with_many = [audit.record("drilled", subject="a", who=WHO, outcome="failure") for _ in range(3)]
    assert read_deeds(audit.chain, "drilled").last == {"failure": with_many[-1].at.timestamp()}


def test_an_erasure_is_open_until_its_receipt_and_the_oldest_request_is_known(settings):
    ledger = clocked(settings, ERASURE, 1, 2, 3, 4, 5)
    ledgers = Ledgers(settings)
    for kind, request in (("requested", "a"), ("requested", "b"), ("rewritten", "a")):
        ledger.append(kind, {"request": request})
    found = ledgers.read().erasures
    assert (found.open, dict(found.states)) == (2, {"rewritten": 1, "requested": 1})
    assert found.oldest_at == (FIRST + timedelta(days=1)).timestamp()
    ledger.append("receipted", {"request": "a"})
    found = ledgers.read().erasures
    assert (found.open, found.oldest_at) == (1, (FIRST + timedelta(days=2)).timestamp())
    ledger.append("receipted", {"request": "b"})
    assert ledgers.read().erasures.oldest_at is None
    assert ledgers.read().erasures == Ledgers(settings).read().erasures


def test_an_erasure_whose_scan_found_something_goes_back_and_is_open(settings):
    ledger = open_ledger(settings)
    for kind in ("requested", "scanned", "suppressed"):
        ledger.append(kind, {"request": "a"})
    assert dict(Ledgers(settings).read().erasures.states) == {"suppressed": 1}


def test_records_of_other_kinds_are_no_requests(settings):
    open_ledger(settings).append("replayed", {"request": "a"})
    open_ledger(settings).append("requested", {})
    assert Ledgers(settings).read().erasures.open == 0


def test_the_heads_of_both_chains_are_told(audit, settings):
    record = audit.record("job", subject="a", who=WHO)
    heads = Ledgers(settings).read().heads
    assert (heads[AUDIT].sequence, heads[AUDIT].digest) == (1, record.digest)
    assert heads[ERASURE].sequence == 0


def test_a_database_of_a_server_may_be_there(tmp_path):
    assert not is_there(f"sqlite:///{tmp_path / 'no.db'}")
    assert is_there("postgresql+psycopg2://host/name")


@pytest.mark.parametrize("later", [(), ("receipted",)], ids=["older", "another"])
def test_after_a_restore_of_the_ledger_it_is_read_anew(settings, later):
    ledger, ledgers = open_ledger(settings), Ledgers(settings)
    ledger.append("requested", {"request": "a"})
    ledger.append("requested", {"request": "b"})
    assert ledgers.read().erasures.open == 2
    for path in (settings.data / "ledger").iterdir():
        path.unlink()
    restored = open_ledger(settings)
    for kind in ("requested", *later):
        restored.append(kind, {"request": "c"})
    assert ledgers.read().erasures == Ledgers(settings).read().erasures
    assert dict(ledgers.read().erasures.states) == {later[0] if later else "requested": 1}
