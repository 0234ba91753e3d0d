"""Looking finds real troubles in real stores: a torn log, a damaged database, a changed record, an exposed key; and changes nothing."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from invented import land

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.health import looking
from spotify_ai_assets.maintenance.health.contracts import COMPONENTS
from spotify_ai_assets.maintenance.health.looking import View, as_json, find_expiries, look
from spotify_ai_assets.observability.audit.verification import export_heads
from spotify_ai_assets.observability.metrics.roster import Policy
from spotify_ai_assets.resources.audit import open_audit, open_ledger
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.resources.stream import SpoolStream

WHO = {"kind": "schedule", "name": "nightly"}


@pytest.fixture
def view(instance, lake, settings):
    def at(now=None, environment=None, policies=None, location_error=""):
        return View(instance, lake, settings, now or datetime.now(UTC), environment or {}, policies or {}, location_error)

    return at


def seen(view, component):
    return next(each for each in look(view) if each.component == component)


def test_a_new_platform_is_graded_in_every_part_and_none_fails(view):
    findings = look(view())
    assert tuple(each.component for each in findings) == COMPONENTS
    assert {each.component: each.grade for each in findings if each.grade not in ("good", "unknown")} == {
        "backups": "warning",
        "drills": "warning",
        **({"disk": "warning"} if seen(view(), "disk").grade == "warning" else {}),
    }


def test_looking_makes_no_file(view, settings):
    before = sorted(settings.data.rglob("*"))
    look(view())
    assert sorted(settings.data.rglob("*")) == before


def test_a_torn_log_fails_the_lake_and_stale_days_warn(view, lake):
    land(lake, range(2))
    assert seen(view(), "staleness").grade == "warning"
    assert seen(view(), "lake").grade == "good"
    log = sorted(Path(lake.storage.uri(EVENTS.key, "_delta_log")).glob("*.json"))[-1]
    log.write_bytes(log.read_bytes()[:-20])
    found = seen(view(), "lake")
    assert found.grade == "failing" and EVENTS.key in found.reason


def test_a_data_file_that_is_gone_fails_the_lake(view, lake):
    land(lake, range(1))
    next(Path(lake.storage.uri(EVENTS.key)).rglob("*.parquet")).unlink()
    lake._files.clear()
    assert seen(view(), "lake").grade == "failing"


def test_a_damaged_database_fails_and_is_left_as_it_is(view, settings):
    path = Path(settings.vault_url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a (b TEXT)")
    connection.executemany("INSERT INTO a VALUES (?)", [("x" * 500,) for _ in range(100)])
    connection.commit()
    connection.close()
    assert seen(view(), "databases").grade == "good"
    damaged = bytearray(path.read_bytes())
    damaged[4096:8192] = b"\xff" * 4096
    path.write_bytes(damaged)
    found = seen(view(), "databases")
    assert found.grade == "failing" and "vault" in found.reason
    assert path.read_bytes() == bytes(damaged)


def test_a_changed_record_fails_the_audit_trail(view, settings):
    open_audit(settings).record("job", subject="backfill", who=WHO)
    open_audit(settings).record("job", subject="refresh", who=WHO)
    assert seen(view(), "audit").grade == "good"
    connection = sqlite3.connect(settings.ledger_url.removeprefix("sqlite:///"))
    connection.execute("DROP TRIGGER chain_no_update")
    connection.execute("UPDATE chain_records SET body = replace(body, 'backfill', 'nothings')")
    connection.commit()
    connection.close()
    found = seen(view(), "audit")
    assert found.grade == "failing" and "record 1 was changed" in found.reason


def test_a_backup_a_drill_and_an_open_erasure_age(view, settings):
    open_audit(settings).record("backed_up", subject="a", who=WHO)
    open_audit(settings).record("drilled", subject="a", who=WHO)
    open_ledger(settings).append("requested", {"request": "r"})
    assert [seen(view(), part).grade for part in ("backups", "drills", "erasures")] == ["good"] * 3
    later = view(datetime.now(UTC) + timedelta(days=10))
    assert [seen(later, part).grade for part in ("backups", "drills", "erasures")] == ["failing", "warning", "warning"]


def test_a_key_that_others_may_read_and_one_that_is_none_fail(view, settings):
    open_key(settings, "ledger")
    assert seen(view(), "secrets").grade == "good"
    (settings.data / "keys" / "ledger.key").chmod(0o644)
    assert "ledger.key" in seen(view(), "secrets").reason
    (settings.data / "keys" / "ledger.key").chmod(0o600)
    (settings.data / "keys" / "ledger.key").write_bytes(b"short")
    assert seen(view(), "secrets").grade == "failing"


def test_a_secret_in_a_file_that_is_not_there_fails_and_its_path_is_not_told(view, tmp_path):
    found = seen(view(environment={"SPOTIFY_AI_SENTRY_DSN_FILE": str(tmp_path / "nowhere")}), "secrets")
    assert found.grade == "failing" and "SPOTIFY_AI_SENTRY_DSN" in found.reason and "nowhere" not in found.reason


def test_a_secret_that_expires_soon_warns_and_a_date_that_is_none_fails(view):
    now = datetime(2026, 6, 28, tzinfo=UTC)
    soon = {"SPOTIFY_AI_PAGERDUTY_KEY_EXPIRES_ON": "2026-07-05"}
    assert seen(view(now, soon), "secrets").grade == "warning"
    assert seen(view(now + timedelta(days=7), soon), "secrets").grade == "failing"
    assert seen(view(now, {"SPOTIFY_AI_PAGERDUTY_KEY_EXPIRES_ON": "soon"}), "secrets").grade == "failing"
    expires, strange = find_expiries({"AWS_CREDENTIAL_EXPIRATION": "2026-07-01T10:00:00Z"})
    assert (expires["AWS_SESSION_TOKEN"].isoformat(), strange) == ("2026-07-01", [])


def test_messages_that_wait_for_long_warn(view, settings):
    SpoolStream(settings.stream).append("listen", [b"{}"])
    assert seen(view(), "stream").grade == "good"
    assert seen(view(datetime.now(UTC) + timedelta(minutes=6)), "stream").grade == "warning"


def test_an_asset_that_missed_its_deadline_is_late_and_one_that_was_never_made_is_not(view, instance):
    at = datetime.now(UTC)
    policies = {"listening/plays": Policy("0 8 * * *", "UTC", 28_800.0), "listening/charts": Policy("0 8 * * *", "UTC", 28_800.0)}
    instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["listening", "plays"]), partition="2026-06-01"))
    assert seen(view(at, policies=policies), "freshness").grade == "good"
    later = seen(view(at + timedelta(days=3), policies=policies), "freshness")
    assert later.grade == "failing" and "listening/plays" in later.reason and "charts" not in later.reason


def test_a_code_location_that_does_not_load_fails(view):
    assert seen(view(location_error="ImportError"), "code_location").grade == "failing"


def test_what_cannot_be_looked_at_fails_by_its_kind_and_the_rest_is_graded(view, monkeypatch):
    def refuse(*_):
        raise PermissionError("/a/place/of/somebody")

    monkeypatch.setattr(looking.shutil, "disk_usage", refuse)
    found = {each.component: each for each in look(view())}
    assert found["disk"].grade == "failing" and "PermissionError" in found["disk"].reason and "/a/place" not in found["disk"].reason
    assert found["lake"].grade == "good"


def test_health_as_json_has_a_grade_for_all_and_one_for_each(view):
    now = datetime(2026, 6, 28, 12, tzinfo=UTC)
    told = as_json(look(view()), now)
    assert told["grade"] in ("good", "warning")
    assert tuple(told["components"]) == COMPONENTS
    assert told["checked_at"] == "2026-06-28T12:00:00+00:00"


def test_looking_at_a_small_platform_takes_no_time(view, lake):
    land(lake, range(3))
    look(view())
    began = time.process_time()
    look(view())
    assert time.process_time() - began < 3


def test_a_ledger_that_is_gone_though_it_was_witnessed_fails(view, settings):
    assert seen(view(), "audit").grade == "unknown"
    open_audit(settings).record("job", subject="a", who=WHO)
    export_heads(settings, WHO)
    assert seen(view(), "audit").grade == "good"
    for path in (settings.data / "ledger").iterdir():
        path.unlink()
    before = sorted(settings.data.rglob("*"))
    found = seen(view(), "audit")
    assert found.grade == "failing" and "record 2 was witnessed" in found.reason
    assert sorted(settings.data.rglob("*")) == before
