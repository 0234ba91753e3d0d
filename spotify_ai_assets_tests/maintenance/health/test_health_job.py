"""The job of health: keeps one row for each part, tells of a trouble once and of its end, records changes, and has a check for each."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from invented import land

from spotify_ai_assets.errors import PermanentError, PlatformError
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.health import looking
from spotify_ai_assets.maintenance.health.assets import as_notice, as_rows, find_changes
from spotify_ai_assets.maintenance.health.contracts import COMPONENTS, HEALTH
from spotify_ai_assets.maintenance.health.grading import Finding
from spotify_ai_assets.maintenance.health.jobs import check_health, every_quarter_hour
from spotify_ai_assets.observability.alerts.incidents import open_incidents
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.audit import open_audit
from spotify_ai_assets.resources.instance_facts import read_checked
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import launch_tags

NOW = datetime(2026, 6, 28, 12, tzinfo=UTC)


def check(instance, lake, settings):
    return run_job(instance, check_health.name, {"lake": lake, "settings": settings}, launch_tags())


def graded(lake):
    return dict(lake.scan(HEALTH.key).select("component", "grade").collect().iter_rows())


def troubles(settings):
    return {incident.subject for incident in open_incidents(settings).open()}


def test_a_trouble_is_kept_told_recorded_checked_and_ends(instance, lake, settings):
    land(lake, range(1))
    check(instance, lake, settings)
    assert tuple(sorted(graded(lake))) == tuple(sorted(COMPONENTS))
    assert graded(lake)["lake"] == "good"
    assert "health/lake" not in troubles(settings)
    assert len(list(open_audit(settings).search(action="health"))) == 1

    log = sorted(Path(lake.storage.uri(EVENTS.key, "_delta_log")).glob("*.json"))[-1]
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    check(instance, Lake(lake.storage.root, lake.tables, lake.locks), settings)
    assert graded(lake)["lake"] == "failing"
    assert "health/lake" in troubles(settings)
    told = {each.name: each for each in read_checked(instance) if each.asset == HEALTH.key}
    assert set(told) == set(COMPONENTS)
    assert (told["lake"].passed, told["lake"].severity) == (False, "ERROR")
    assert (told["backups"].passed, told["backups"].severity) == (False, "WARN")
    assert told["queue"].passed
    newest = open_audit(settings).newest("health")
    assert newest is not None and newest.body["figures"]["lake"] == 2

    log.write_bytes(whole)
    check(instance, Lake(lake.storage.root, lake.tables, lake.locks), settings)
    assert graded(lake)["lake"] == "good"
    assert "health/lake" not in troubles(settings)


def test_what_dies_before_its_table_is_written_has_told_and_is_recorded_once(instance, lake, settings, monkeypatch):
    def die(*_, **__):
        raise PermanentError("no room")

    findings = [Finding("disk", "failing", "full"), Finding("lake", "good", "whole")]
    monkeypatch.setattr(looking, "look", lambda _: findings)
    with monkeypatch.context() as broken:
        broken.setattr(type(lake), "write", die)
        for _ in range(2):
            with pytest.raises(PlatformError, match="check_health failed"):
                check(instance, lake, settings)
    assert troubles(settings) == {"health/disk"}
    check(instance, lake, settings)
    assert graded(lake) == {"disk": "failing", "lake": "good"}
    assert len(list(open_audit(settings).search(action="health"))) == 1
    for grade in ("good", "failing"):
        findings[0] = Finding("disk", grade, "again")
        check(instance, lake, settings)
    assert len(list(open_audit(settings).search(action="health"))) == 3, "the same change at another time is another"


def test_a_router_that_cannot_tell_fails_the_run_and_loses_no_grade(instance, lake, settings, monkeypatch):
    monkeypatch.setenv("SPOTIFY_AI_ALERT_ROUTES", "not JSON")
    with pytest.raises(PlatformError, match="check_health failed"):
        check(instance, lake, settings)
    assert tuple(sorted(graded(lake))) == tuple(sorted(COMPONENTS))
    assert len(list(open_audit(settings).search(action="health"))) == 1


def test_a_second_check_waits_for_nobody_while_one_is_under_way(instance, lake, settings):
    with open_locks(settings).exclusive("job.check_health"), pytest.raises(PlatformError, match="check_health failed"):
        check(instance, lake, settings)


def test_a_part_keeps_since_when_it_has_its_grade():
    before = as_rows([Finding("disk", "good", "a"), Finding("queue", "good", "a")], HEALTH.empty(), NOW)
    later = NOW + timedelta(minutes=15)
    rows = {
        row["component"]: row
        for row in as_rows([Finding("disk", "good", "b"), Finding("queue", "failing", "b", 2)], before, later).to_dicts()
    }
    assert (rows["disk"]["changed_at"], rows["disk"]["checked_at"], rows["disk"]["reason"]) == (NOW, later, "b")
    assert (rows["queue"]["changed_at"], rows["queue"]["value"]) == (later, 2.0)


def test_only_another_grade_is_a_change():
    before = as_rows([Finding("disk", "good", "a"), Finding("queue", "good", "a")], HEALTH.empty(), NOW)
    changed = find_changes([Finding("disk", "good", "b"), Finding("queue", "warning", "a"), Finding("lake", "good", "new")], before)
    assert [each.component for each in changed] == ["queue", "lake"]


@pytest.mark.parametrize(
    ("grade", "is_healthy", "severity"),
    [("good", True, "info"), ("unknown", True, "info"), ("warning", False, "warning"), ("failing", False, "error")],
)
def test_a_notice_says_how_bad_it_is(grade, is_healthy, severity):
    notice = as_notice(Finding("disk", grade, "why"), NOW)
    assert (notice.subject, notice.is_healthy, notice.severity, notice.text) == ("health/disk", is_healthy, severity, "why")


def test_health_is_looked_at_every_quarter_of_an_hour_once():
    assert (every_quarter_hour.cron_schedule, every_quarter_hour.job_name) == ("*/15 * * * *", "check_health")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NOW)
        keys = [request.run_key for request in every_quarter_hour.evaluate_tick(context).run_requests or []]
    assert keys == ["2026-06-28T12:00"]
