"""The sensor on real runs: a failed run is one Sentry event and one PagerDuty incident, which its recovery resolves."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from receivers import Receiver, receiving

from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.observability.alerts import jobs as alerts_jobs
from spotify_ai_assets.observability.alerts.incidents import open_incidents
from spotify_ai_assets.observability.alerts.jobs import alerts
from spotify_ai_assets.observability.alerts.troubles import RETRIED_BY, notices_of, partitions_of
from spotify_ai_assets.resources import run_events
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.run_events import Checked, Ended, Made, RunRecord, Step, runs_ended
from spotify_ai_assets.runs import launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

PLAYS = "listening/plays"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Sentry, PagerDuty, a chat and a dead man's switch, as this process's channels."""
    with receiving() as receiver:
        host = receiver.url.removeprefix("http://")
        monkeypatch.setenv("SPOTIFY_AI_SENTRY_DSN", f"http://publickey@{host}/7")
        monkeypatch.setenv("SPOTIFY_AI_PAGERDUTY_KEY", "routing-key-of-the-team")
        monkeypatch.setenv("SPOTIFY_AI_PAGERDUTY_URL", f"{receiver.url}/v2/enqueue")
        monkeypatch.setenv("SPOTIFY_AI_SLACK_WEBHOOK", f"{receiver.url}/services/hook")
        monkeypatch.setenv("SPOTIFY_AI_DEADMAN_URL", f"{receiver.url}/alive")
        yield receiver


def pages(server: Receiver) -> list[tuple[str, str]]:
    told = [json.loads(body) for body in server.bodies("/v2/enqueue")]
    return [(page["event_action"], page["dedup_key"]) for page in told]


def events(server: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body.splitlines()[2]) for body in server.bodies("/api/7/envelope/")]


def made_run(instance: dg.DagsterInstance, *, fails: bool, day: str = "2026-06-08", name: str = "daily", **tags: str) -> dg.DagsterRun:
    """A real run that makes a day of plays, or fails to."""

    @dg.asset(key=asset_key(TABLES[PLAYS]), partitions_def=dg.DailyPartitionsDefinition("2026-06-01"))
    def plays() -> None:
        if fails:
            raise ValueError("ada@example.org could not be read")

    job = dg.Definitions([plays], jobs=[dg.define_asset_job(name, [plays])]).resolve_job_def(name)
    told = {**launch_tags(), "dagster/partition": day, **tags}
    run_id = job.execute_in_process(instance=instance, tags=told, partition_key=day, raise_on_error=False).run_id
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def tick(instance: dg.DagsterInstance, lake: Lake, settings: Settings, cursor: str | None = None) -> tuple[str | None, str]:
    """The cursor and the words of one tick."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"settings": settings, "lake": lake})
    told = alerts.evaluate_tick(context)
    return told.cursor, told.skip_message or ""


def test_a_failed_run_is_one_event_and_one_incident_and_its_recovery_resolves_it(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver
) -> None:
    failed = made_run(instance, fails=True)
    cursor, words = tick(instance, lake, settings)
    assert words == "1 runs were looked at; 0 deliveries wait; the dead man's switch was called"
    for again in (cursor, None):  # also where the cursor was lost
        tick(instance, lake, settings, again)
    (event,) = events(server)
    assert event["message"] == "daily 2026-06-08 failed"
    assert event["tags"]["owner"] == TABLES[PLAYS].owner
    assert event["extra"]["text"] == "listening__plays: ValueError"
    assert event["extra"]["run"] == failed.run_id
    assert event["extra"]["link"] == f"http://127.0.0.1:3000/runs/{failed.run_id}"
    assert pages(server) == [("trigger", "run/daily/2026-06-08")]

    made_run(instance, fails=False, day="2026-06-07")
    cursor, _ = tick(instance, lake, settings, cursor)
    assert len(pages(server)) == 1, "another day is well, not that one"
    made_run(instance, fails=False)
    tick(instance, lake, settings, cursor)
    assert pages(server) == [("trigger", "run/daily/2026-06-08"), ("resolve", "run/daily/2026-06-08")]
    assert len(events(server)) == 1
    assert len(server.bodies("/services/hook")) == 2
    assert b"ada@example.org" not in b"".join(server.bodies())


def test_a_run_of_another_job_that_makes_what_was_missing_resolves_the_trouble(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver
) -> None:
    made_run(instance, fails=True)
    cursor, _ = tick(instance, lake, settings)
    made_run(instance, fails=False, name="backfill", day="2026-06-07")
    cursor, _ = tick(instance, lake, settings, cursor)
    assert pages(server) == [("trigger", "run/daily/2026-06-08")], "another day was made"
    made_run(instance, fails=False, name="backfill")
    tick(instance, lake, settings, cursor)
    assert pages(server) == [("trigger", "run/daily/2026-06-08"), ("resolve", "run/daily/2026-06-08")]
    assert "daily/2026-06-08 is well again" in server.bodies("/services/hook")[-1].decode()
    assert open_incidents(settings).open() == []


def test_a_run_whose_end_the_database_shows_late_is_told_all_the_same(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(instance, fails=True, day="2026-06-07")
    made_run(instance, fails=True)
    late, soon = runs_ended(instance, 0, 9)
    shown = run_events.runs_ended
    with monkeypatch.context() as hidden:
        hidden.setattr(run_events, "runs_ended", lambda *wanted: [each for each in shown(*wanted) if each != late])
        cursor, words = tick(instance, lake, settings)
    assert cursor == str(soon.place)
    assert words.startswith("1 runs")
    cursor, words = tick(instance, lake, settings, cursor)
    assert words.startswith("1 runs")
    assert [key for _, key in pages(server)] == ["run/daily/2026-06-08", "run/daily/2026-06-07"]
    assert tick(instance, lake, settings, cursor)[1].startswith("0 runs")


def test_after_a_restore_of_the_event_log_what_is_new_is_told_and_what_is_known_is_not(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver
) -> None:
    made_run(instance, fails=True)
    tick(instance, lake, settings)
    made_run(instance, fails=True, day="2026-06-09")
    cursor, _ = tick(instance, lake, settings, "999999,999990")
    assert [key for _, key in pages(server)] == ["run/daily/2026-06-08", "run/daily/2026-06-09"]
    assert tick(instance, lake, settings, cursor)[1].startswith("0 runs")


def test_a_run_that_cannot_be_read_holds_up_nothing(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = made_run(instance, fails=True, day="2026-06-07")
    made_run(instance, fails=True)
    read = alerts_jobs.read_run

    def unreadable(instance: dg.DagsterInstance, ended: Ended) -> RunRecord | None:
        if ended.run_id == odd.run_id:
            raise RecursionError
        return read(instance, ended)

    monkeypatch.setattr(alerts_jobs, "read_run", unreadable)
    cursor, words = tick(instance, lake, settings)
    assert words.startswith("2 runs were looked at, 1 of them could not be read;")
    assert pages(server) == [("trigger", "run/daily/2026-06-08")]
    assert tick(instance, lake, settings, cursor)[1].startswith("0 runs")


def test_half_a_character_in_a_run_is_told_by_its_number(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver
) -> None:
    odd = instance.add_run(dg.DagsterRun("odd", status=dg.DagsterRunStatus.STARTED))
    instance.report_run_failed(odd, "no answer of \ud800")
    tick(instance, lake, settings)
    (event,) = events(server)
    assert event["extra"]["text"] == "no answer of \\ud800"


def test_a_run_that_is_tried_again_is_told_only_if_that_does_not_come(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_run(instance, fails=True, **{"dagster/will_retry": "true"})
    cursor, words = tick(instance, lake, settings)
    assert words.startswith("0 runs were looked at")
    assert pages(server) == []
    monkeypatch.setattr(alerts_jobs, "_RETRY_S", 0.0)
    tick(instance, lake, settings, cursor)
    assert pages(server) == [("trigger", "run/daily/2026-06-08")], "nobody tried it again"
    assert run.run_id


def test_a_run_that_was_tried_again_is_no_trouble(instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver) -> None:
    made_run(instance, fails=True, **{RETRIED_BY: "another"})
    assert tick(instance, lake, settings)[1].startswith("1 runs were looked at")
    assert pages(server) == []


def test_failures_of_the_day_before_yesterday_wake_nobody(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(instance, fails=True)
    monkeypatch.setattr(alerts_jobs.time, "time", lambda now=time.time: now() + 2 * 86_400)
    cursor, words = tick(instance, lake, settings)
    assert words.startswith("1 runs were looked at")
    assert cursor == str(runs_ended(instance, 0, 9)[-1].place)
    assert pages(server) == []


def test_the_dead_mans_switch_does_not_hear_of_a_sensor_that_fails(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOTIFY_AI_ALERT_ROUTES", "not JSON")
    made_run(instance, fails=True)
    with pytest.raises(Exception, match="SPOTIFY_AI_ALERT_ROUTES must be"):
        tick(instance, lake, settings)
    assert server.bodies("/alive") == []


def test_a_switch_that_does_not_answer_does_not_stop_the_alerts(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOTIFY_AI_DEADMAN_URL", "http://127.0.0.1:9/alive")
    made_run(instance, fails=True)
    cursor, words = tick(instance, lake, settings)
    assert "UnreachableError" in words
    assert cursor
    assert len(pages(server)) == 1


def test_no_secret_and_no_address_is_kept(instance: dg.DagsterInstance, lake: Lake, settings: Settings, server: Receiver) -> None:
    made_run(instance, fails=True)
    tick(instance, lake, settings)
    kept = b"".join(path.read_bytes() for path in (settings.data / "alerts").iterdir())
    assert kept
    for secret in ("publickey", "routing-key-of-the-team", "/services/hook", "ada@example.org"):
        assert secret.encode() not in kept
    with closing(sqlite3.connect(settings.data / "alerts" / "alerts.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM deliveries WHERE state = 'sent'").fetchone() == (3,)


def record(**changed: Any) -> RunRecord:
    told: dict[str, Any] = {
        "run_id": "r",
        "job": "daily",
        "tags": {},
        "outcome": "failure",
        "created_at": 1.0,
        "started_at": 2.0,
        "ended_at": 9.0,
    }
    return RunRecord(**{**told, **changed})


def owner_of(key: str) -> str:
    return f"team:{key.partition('/')[0]}"


RANGE = {"dagster/asset_partition_range_start": "2026-06-27", "dagster/asset_partition_range_end": "2026-07-02"}
FAILED_CHECK = Checked(PLAYS, "contract", "listening__plays", 3.0, passed=False, severity="error", is_blocking=True)


def test_a_check_that_stopped_a_run_is_told_with_it_and_not_beside_it() -> None:
    failed = Step("listening__plays", 2.0, 3.0, "failure", "Failure")
    (notice,) = notices_of(record(steps=(failed,), checked=(FAILED_CHECK,)), owner_of, "http://ui")
    assert notice.subject == "run/daily"
    assert notice.text == "Check contract of listening/plays did not pass.\nlistening__plays: Failure"
    assert notice.owner == "team:listening"


def test_a_check_that_stops_nothing_is_a_trouble_of_its_own_with_its_own_severity() -> None:
    warned = replace(FAILED_CHECK, check="few_rejected", severity="warning", is_blocking=False)
    run, check = notices_of(record(outcome="success", checked=(warned,)), owner_of, "http://ui")
    assert run.is_healthy
    assert (check.subject, check.severity, check.is_healthy) == ("check/listening/plays:few_rejected", "warning", False)
    (_, well) = notices_of(record(outcome="success", checked=(warned, replace(warned, passed=True))), owner_of, "http://ui")
    assert well.is_healthy, "the newest counts"


def test_the_checks_of_health_are_told_by_health_itself() -> None:
    health = replace(FAILED_CHECK, asset="maintenance/health", is_blocking=False)
    assert len(notices_of(record(outcome="success", checked=(health,)), owner_of, "http://ui")) == 1


def test_only_the_days_that_were_refused_have_failed() -> None:
    refused = Step("listening__plays", 2.0, 3.0, "failure", "Failure", refused=("2026-06-30",))
    (notice,) = notices_of(record(tags=RANGE, steps=(refused,)), owner_of, "http://ui")
    assert notice.parts == ("2026-06-30",)
    lost = Step("listening__sessions", 3.0, 9.0)
    (notice,) = notices_of(record(tags=RANGE, steps=(refused, lost)), owner_of, "http://ui")
    assert notice.parts == partitions_of(RANGE)
    assert "its process is gone" in notice.text


def test_a_range_is_each_of_its_days_or_shards() -> None:
    assert partitions_of(RANGE) == ("2026-06-27", "2026-06-28", "2026-06-29", "2026-06-30", "2026-07-01", "2026-07-02")
    shards = dict(zip(RANGE, ("07", "10"), strict=True))
    assert partitions_of(shards) == ("07", "08", "09", "10")
    assert partitions_of(dict(zip(RANGE, ("a", "b"), strict=True))) == ("a", "b")
    assert partitions_of({"dagster/partition": "x"}) == ("x",)
    assert partitions_of({}) == ("",)


def test_a_range_without_end_is_its_first_and_its_last_day() -> None:
    for last, parts in (("2027-07-31", 400), ("2027-08-01", 2), ("9999-12-31", 2), ("2026-06-26", 2)):
        found = partitions_of(dict(zip(RANGE, ("2026-06-27", last), strict=True)))
        assert (len(found), found[0], found[-1]) == (parts, "2026-06-27", last)


def test_what_a_run_has_to_make_good_is_the_tables_that_failed() -> None:
    steps = (Step(PLAYS.replace("/", "__"), 2.0, 3.0, "failure"), Step("listening__sessions", 2.0, 3.0, "success"))
    (notice,) = notices_of(record(steps=steps), owner_of, "http://ui")
    assert notice.tables == (PLAYS,)
    checking = Step("listening__plays_contract", 3.0, 4.0, "failure")
    (notice,) = notices_of(record(steps=(checking,), checked=(replace(FAILED_CHECK, step=checking.key),)), owner_of, "http://ui")
    assert notice.tables == (PLAYS,)
    (notice,) = notices_of(record(steps=(*steps, Step("sweep", 2.0, 3.0, "failure"))), lambda key: "x" * ("/" in key), "http://ui")
    assert notice.tables == ("", PLAYS), "an op is no table: no other run makes it good"
    assert notices_of(record(), owner_of, "http://ui")[0].tables == ("",)
    assert notices_of(record(assets=(PLAYS,)), owner_of, "http://ui")[0].tables == (PLAYS,)


def test_what_a_run_has_made_is_its_tables_for_its_partitions_and_wholes() -> None:
    steps = tuple(Step(name, 2.0, 3.0, "success") for name in ("listening__plays", "listening__imports"))
    made = (Made("listening/imports", "", "listening__imports", 3.0), Made(PLAYS, "2026-06-08", "listening__plays", 3.0))
    run = record(outcome="success", steps=steps, made=made, tags={"dagster/partition": "2026-06-08"})
    (notice,) = notices_of(run, owner_of, "http://ui")
    assert (notice.tables, notice.wholes) == ((PLAYS,), ("listening/imports",))
    (notice,) = notices_of(replace(run, tags={}), owner_of, "http://ui")
    assert (notice.tables, notice.wholes) == ((), ("listening/imports",))


def test_a_cancelled_run_is_neither_a_trouble_nor_the_end_of_one() -> None:
    assert notices_of(record(outcome="canceled"), owner_of, "http://ui") == []


def test_a_run_may_say_whose_its_trouble_is_and_how_bad() -> None:
    (notice,) = notices_of(record(tags={"spotify_ai/owner": "team:ops", "spotify_ai/severity": "critical"}), owner_of, "http://ui")
    assert (notice.owner, notice.severity) == ("team:ops", "critical")
    (notice,) = notices_of(record(tags={"spotify_ai/severity": "<b>"}), owner_of, "http://ui")
    assert notice.severity == "error"


def test_a_run_of_assets_is_named_by_them() -> None:
    (notice,) = notices_of(record(job="__ASSET_JOB", assets=(PLAYS,), reason="Its process is gone"), owner_of, "http://ui/")
    assert (notice.subject, notice.text, notice.owner) == ("run/listening/plays", "Its process is gone", "team:listening")
    assert notice.link == "http://ui/runs/r"


def test_a_run_with_many_failed_steps_is_told_in_few_lines() -> None:
    steps = tuple(Step(f"s{number}", 2.0, 3.0, "failure", "ValueError") for number in range(9))
    (notice,) = notices_of(record(steps=steps), owner_of, "http://ui")
    assert notice.text.splitlines()[-1] == "and 4 more"
    assert len(notice.text.splitlines()) == 6


def test_runs_that_ended_are_read_in_order_and_none_is_passed_over(instance: dg.DagsterInstance) -> None:
    runs = [made_run(instance, fails=number % 3 == 0, day=f"2026-06-{number + 1:02}").run_id for number in range(7)]
    for most in (1, 2, 3, 100):
        place, found = 0, []
        while page := runs_ended(instance, place, most):
            assert len(page) <= most
            found += [each.run_id for each in page]
            place = page[-1].place
        assert found == runs


def test_the_memory_is_made_when_it_is_needed(tmp_path: Path) -> None:
    settings = Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path / "data")})
    assert open_incidents(settings).figures().open == 0
    assert open_incidents(settings).open() == []
    assert not (tmp_path / "data").exists()
