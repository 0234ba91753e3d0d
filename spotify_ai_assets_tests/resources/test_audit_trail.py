import getpass
import os
from datetime import UTC, datetime, timedelta

import pytest

from spotify_ai_assets.resources.audit import AUDIT, Audit, Deed, open_audit, open_ledger, user_name, who_asks, who_of
from spotify_ai_assets.resources.chain import Chain

BEGIN = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
ANNA, DAILY = {"kind": "user", "name": "anna"}, {"kind": "schedule", "name": "daily"}


@pytest.fixture
def audit(settings) -> Audit:
    """A trail with a record an hour."""
    times = iter(BEGIN + timedelta(hours=hour) for hour in range(1000))
    trail = Audit(Chain(settings.ledger_url, AUDIT, lambda: next(times)))
    trail.record("job", subject="backfill", who=DAILY, run_id="r-1", trace_id="t1", figures={"seconds": 2.5})
    trail.record("materialised", subject="listening/plays", who=DAILY, run_id="r-1", outputs={"listening/plays@2026-03-28": "d"})
    trail.record("materialised", subject="listening/plays_long", who=ANNA, run_id="r-2")
    trail.record("job", subject="backup", who=ANNA, outcome="failure", run_id="r-3", trace_id="t3")
    return trail


def test_a_record_says_who_what_when_and_with_which_figures(audit):
    record = audit.newest("job")
    assert record and record.at == BEGIN + timedelta(hours=3)
    assert record.body == {
        "who": ANNA,
        "subject": "backup",
        "outcome": "failure",
        "run_id": "r-3",
        "trace_id": "t3",
        "inputs": {},
        "outputs": {},
        "figures": {},
    }
    assert audit.newest("restored") is None and audit.head().sequence == 4 and audit.chain.verify() == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"action": "job"}, [4, 1]),
        ({"subject": "listening"}, [3, 2]),
        ({"subject": "listening/"}, [3, 2]),
        ({"subject": "listening/plays"}, [2]),
        ({"subject": "listen"}, []),
        ({"who": "anna"}, [4, 3]),
        ({"who": "schedule"}, [2, 1]),
        ({"outcome": "failure"}, [4]),
        ({"run_id": "r-1"}, [2, 1]),
        ({"run_id": "r-"}, [4, 3, 2, 1]),
        ({"trace_id": "t1"}, [1]),
        ({"since": BEGIN + timedelta(hours=1)}, [4, 3, 2]),
        ({"until": BEGIN + timedelta(hours=1)}, [1]),
        ({"since": BEGIN + timedelta(hours=1), "until": BEGIN + timedelta(hours=3), "who": "anna"}, [3]),
    ],
)
def test_records_are_found_newest_first(audit, asked, found):
    assert [record.sequence for record in audit.search(**asked)] == found


def test_a_deed_is_recorded_once(audit):
    deed = Deed("promoted", "audio/genre", ANNA, once="pointer:1")
    assert len(audit.record_all([deed, deed])) == 1 and audit.record_all([deed]) == []


def test_trail_and_ledger_are_two_chains_of_one_database(settings):
    open_audit(settings).record("erased", subject="a keyed hash", who=who_asks())
    open_ledger(settings).append("requested", {"request": "x"})
    assert open_audit(settings).head().sequence == open_ledger(settings).head().sequence == 1
    assert (settings.data / "ledger" / "ledger.db").exists()


def test_whoever_runs_the_process_is_named(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    assert who_asks() == ANNA

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user_name() == f"uid {os.getuid()}"


def test_a_retry_of_the_daemon_is_by_whoever_asked_first_and_one_of_the_web_interface_is_not():
    tags = {"dagster/schedule_name": "daily", "dagster/parent_run_id": "r-1"}
    assert who_of({**tags, "dagster/retry_number": "1"}) == DAILY
    assert who_of(tags) == {"kind": "ui"}
