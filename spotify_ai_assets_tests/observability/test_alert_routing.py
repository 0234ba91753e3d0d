"""The router against local servers: one trouble is one incident, whatever fails on the way."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from receivers import Receiver, receiving

from spotify_ai_assets.errors import PlatformError, SettingsError
from spotify_ai_assets.observability.alerts.channels import Request
from spotify_ai_assets.observability.alerts.incidents import open_incidents
from spotify_ai_assets.observability.alerts.notices import ROUTES, Notice
from spotify_ai_assets.observability.alerts.routing import beat, deliver, retry_after, tell
from spotify_ai_assets.resources.outgoing import Answer, UnreachableError
from spotify_ai_assets.settings import Settings

NOW = datetime(2026, 6, 9, 8, tzinfo=UTC)
FAILED = Notice("run/daily_listening", "daily_listening failed", is_healthy=False, parts=("2026-06-08",), occurrence="one")
WELL = Notice("run/daily_listening", "daily_listening is well again", is_healthy=True, parts=("2026-06-08",), occurrence="two")


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def environment(server: Receiver) -> dict[str, str]:
    """All channels, each at its path of one server."""
    host = server.url.removeprefix("http://")
    return {
        "SPOTIFY_AI_SENTRY_DSN": f"http://publickey@{host}/7",
        "SPOTIFY_AI_PAGERDUTY_KEY": "routing-key-of-the-team",
        "SPOTIFY_AI_PAGERDUTY_URL": f"{server.url}/v2/enqueue",
        "SPOTIFY_AI_SLACK_WEBHOOK": f"{server.url}/services/hook",
        "SPOTIFY_AI_DEADMAN_URL": f"{server.url}/alive",
    }


def events(server: Receiver) -> list[dict[str, Any]]:
    """What Sentry was sent."""
    return [json.loads(body.splitlines()[2]) for body in server.bodies("/api/7/envelope/")]


def pages(server: Receiver) -> list[dict[str, Any]]:
    """What PagerDuty was sent."""
    return [json.loads(body) for body in server.bodies("/v2/enqueue")]


def messages(server: Receiver) -> list[str]:
    """What the chat was sent."""
    return [json.loads(body)["text"] for body in server.bodies("/services/hook")]


def test_a_trouble_is_one_event_one_incident_and_one_message_and_its_end_resolves_it(
    settings: Settings, server: Receiver, environment: dict[str, str]
) -> None:
    told = tell(settings, FAILED, environment=environment, now=NOW)
    assert (len(told.changed), told.sent, told.waiting) == (1, 3, 0)
    again = tell(settings, replace(FAILED, occurrence="another run"), FAILED, environment=environment, now=NOW + timedelta(hours=1))
    assert (again.changed, again.sent) == ((), 0), "known already"
    assert [event["level"] for event in events(server)] == ["error"]
    assert [(page["event_action"], page["dedup_key"]) for page in pages(server)] == [("trigger", "run/daily_listening/2026-06-08")]
    assert len(messages(server)) == 1
    assert open_incidents(settings).open()[0].failures == 2

    ended = tell(settings, WELL, environment=environment, now=NOW + timedelta(hours=2))
    assert [incident.key for incident in ended.changed] == ["run/daily_listening/2026-06-08"]
    assert [(page["event_action"], page["dedup_key"]) for page in pages(server)][1:] == [("resolve", "run/daily_listening/2026-06-08")]
    assert len(events(server)) == 1, "Sentry knows no end"
    assert len(messages(server)) == 2
    assert open_incidents(settings).open() == []


def test_what_is_well_and_was_never_ill_is_not_told(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    assert tell(settings, WELL, environment=environment, now=NOW).changed == ()
    assert server.requests == []


def test_what_sentry_gets_is_a_whole_event_of_its_project(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    notice = replace(FAILED, owner="team:listening", text="plays: MissingInputError", facts={"run": "4711"}, link="http://ui/runs/4711")
    tell(settings, notice, environment=environment, now=NOW)
    request = next(each for each in server.requests if each.path == "/api/7/envelope/")
    assert "sentry_key=publickey" in request.headers["x-sentry-auth"]
    header, event = json.loads(request.body.splitlines()[0]), events(server)[0]
    assert header["event_id"] == event["event_id"]
    assert len(event["event_id"]) == 32
    assert event["message"] == "daily_listening failed"
    assert event["fingerprint"] == ["run/daily_listening/2026-06-08"]
    assert event["tags"]["owner"] == "team:listening"
    assert event["extra"]["run"] == "4711"
    assert event["timestamp"].startswith("2026-06-09T08:00:00")
    assert not event.get("server_name"), "the name of the host is nobody's business"
    assert "user" not in event


def test_what_pagerduty_gets_is_an_event_of_version_2(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    tell(settings, replace(FAILED, severity="critical", link="http://ui/1", title="x" * 3000), environment=environment, now=NOW)
    page = pages(server)[0]
    assert page["routing_key"] == "routing-key-of-the-team"
    assert (page["payload"]["severity"], page["payload"]["source"]) == ("critical", "run/daily_listening")
    assert len(page["payload"]["summary"]) == 1024
    assert page["links"][0]["href"] == "http://ui/1"


def test_a_message_cannot_call_people_or_hide_a_link(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    tell(settings, replace(FAILED, title="<!channel> *now* <http://evil|here> @here & co"), environment=environment, now=NOW)
    (message,) = messages(server)
    assert "<!channel>" not in message
    assert "<http" not in message
    assert "@here" not in message
    assert "&amp; co" in message


def test_nobody_is_woken_for_a_warning(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    tell(settings, replace(FAILED, severity="warning"), environment=environment, now=NOW)
    assert (len(events(server)), len(pages(server)), len(messages(server))) == (1, 0, 1)


def test_what_gets_worse_is_told_again_and_what_gets_milder_is_not(
    settings: Settings, server: Receiver, environment: dict[str, str]
) -> None:
    for number, severity in enumerate(("warning", "critical", "error")):
        notice = replace(FAILED, severity=severity, occurrence=str(number))
        tell(settings, notice, environment=environment, now=NOW)
    assert [event["level"] for event in events(server)] == ["warning", "fatal"]
    assert [page["payload"]["severity"] for page in pages(server)] == ["critical"]
    assert open_incidents(settings).open()[0].severity == "critical"


def test_a_route_may_wait_for_failures_in_a_row(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    routes = json.dumps([{"owner": "*", "channel": "pagerduty", "after": 3}, {"owner": "*", "channel": "slack"}])
    told = environment | {ROUTES: routes}
    for number in range(2):
        tell(settings, replace(FAILED, occurrence=str(number)), environment=told, now=NOW)
    tell(settings, replace(WELL, occurrence="well"), environment=told, now=NOW)
    assert pages(server) == [], "it was well before the third, and whoever was not told of it is not told of its end"
    assert len(messages(server)) == 2
    for number in range(3, 7):
        tell(settings, replace(FAILED, occurrence=str(number)), environment=told, now=NOW)
    assert [page["event_action"] for page in pages(server)] == ["trigger"]
    assert events(server) == [], "no route leads there"


def test_a_team_with_routes_of_its_own_has_its_own_channels(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    routes = [{"owner": "team:audio", "channel": "slack:audio", "from": "info"}, {"owner": "*", "channel": "slack"}]
    told = environment | {ROUTES: json.dumps(routes), "SPOTIFY_AI_SLACK_WEBHOOK_AUDIO": f"{server.url}/audio/hook"}
    tell(settings, replace(FAILED, owner="team:audio", severity="info"), environment=told, now=NOW)
    assert (len(server.bodies("/audio/hook")), len(messages(server))) == (1, 0)


@pytest.mark.parametrize(
    "routes",
    [
        "{",
        "{}",
        '["slack"]',
        '[{"owner": "*"}]',
        '[{"owner": "*", "channel": "fax"}]',
        '[{"owner": "*", "channel": "slack", "after": 0}]',
        '[{"owner": "*", "channel": "slack", "after": true}]',
        '[{"owner": "*", "channel": "slack", "from": "bad"}]',
        '[{"owner": "*", "channel": "slack", "url": "http://x"}]',
        '[{"owner": "*", "channel": "slack:../x"}]',
    ],
)
def test_routes_that_make_no_sense_are_refused_in_words(settings: Settings, routes: str) -> None:
    with pytest.raises(SettingsError, match="must be a JSON list of routes"):
        tell(settings, FAILED, environment={ROUTES: routes}, now=NOW)


def test_a_busy_channel_is_asked_again_when_it_said_so(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    told = {name: value for name, value in environment.items() if "PAGERDUTY" in name}
    server.answers = [(429, {"Retry-After": "120"}), (503, {}), (202, {})]
    assert tell(settings, FAILED, environment=told, now=NOW).waiting == 1
    assert deliver(settings, environment=told, now=NOW + timedelta(seconds=119)).sent == 0
    assert deliver(settings, environment=told, now=NOW + timedelta(seconds=120)).sent == 0, "503 now"
    assert len(server.requests) == 2
    assert deliver(settings, environment=told, now=NOW + timedelta(seconds=121)).sent == 0, "it is given time"
    assert deliver(settings, environment=told, now=NOW + timedelta(seconds=140)).sent == 1
    assert [page["dedup_key"] for page in pages(server)] == ["run/daily_listening/2026-06-08"] * 3
    assert deliver(settings, environment=told, now=NOW + timedelta(hours=5)).sent == 0


def test_the_end_is_not_told_before_the_beginning(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    told = {name: value for name, value in environment.items() if "PAGERDUTY" in name}
    server.answers = [(500, {})]
    tell(settings, FAILED, WELL, environment=told, now=NOW)
    assert len(server.requests) == 1
    deliver(settings, environment=told, now=NOW + timedelta(minutes=1))
    assert [page["event_action"] for page in pages(server)] == ["trigger", "trigger", "resolve"]


def test_what_is_sent_twice_has_one_id(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    told = {name: value for name, value in environment.items() if "SENTRY" in name}
    server.answers = [(500, {})]  # such as an answer that got lost
    tell(settings, FAILED, environment=told, now=NOW)
    deliver(settings, environment=told, now=NOW + timedelta(minutes=1))
    assert len(events(server)) == 2
    assert len({event["event_id"] for event in events(server)}) == 1


def test_a_channel_that_refuses_is_given_up_and_the_others_are_served(
    settings: Settings, server: Receiver, environment: dict[str, str]
) -> None:
    server.answers = [(400, {})]  # Sentry's, the first
    told = tell(settings, FAILED, environment=environment, now=NOW)
    assert (told.sent, told.waiting) == (2, 0)
    assert open_incidents(settings).figures().given_up == 1


def test_a_channel_that_never_answers_is_given_up_after_a_day(settings: Settings) -> None:
    asked: list[Request] = []

    def nobody(request: Request) -> Answer:
        asked.append(request)
        raise UnreachableError("nobody there")

    told = {"SPOTIFY_AI_SLACK_WEBHOOK": "https://chat.example/hook"}
    tell(settings, FAILED, environment=told, now=NOW, post=nobody)
    for minutes in range(5, 60 * 25, 5):
        deliver(settings, environment=told, now=NOW + timedelta(minutes=minutes), post=nobody)
    figures = open_incidents(settings).figures()
    assert (figures.waiting, figures.given_up) == (0, 1)
    assert 90 < len(asked) < 120, "every quarter of an hour, once the pauses have grown"


def test_without_channels_troubles_are_remembered_and_nothing_is_sent(settings: Settings) -> None:
    assert tell(settings, FAILED, environment={}, now=NOW).waiting == 0
    assert [incident.title for incident in open_incidents(settings).open()] == ["daily_listening failed"]


def test_a_month_that_failed_is_well_when_the_last_of_its_days_is(
    settings: Settings, server: Receiver, environment: dict[str, str]
) -> None:
    days = tuple(f"2026-06-{day:02}" for day in range(1, 31))
    tell(settings, replace(FAILED, parts=days), environment=environment, now=NOW)
    assert pages(server)[0]["dedup_key"] == "run/daily_listening/2026-06-01...2026-06-30"
    assert tell(settings, replace(WELL, parts=days[3:], occurrence="a"), environment=environment, now=NOW).changed == ()
    assert tell(settings, replace(FAILED, parts=days[1:2], occurrence="b"), environment=environment, now=NOW).changed == (), (
        "the same trouble"
    )
    assert open_incidents(settings).open()[0].parts == days[:3]
    assert len(tell(settings, replace(WELL, parts=days[:3], occurrence="c"), environment=environment, now=NOW).changed) == 1
    assert pages(server)[-1]["dedup_key"] == "run/daily_listening/2026-06-01...2026-06-30"
    assert pages(server)[-1]["event_action"] == "resolve"


def test_other_days_of_the_same_job_are_another_trouble(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    tell(settings, FAILED, replace(FAILED, parts=("2026-06-09",), occurrence="next"), environment=environment, now=NOW)
    assert len({page["dedup_key"] for page in pages(server)}) == 2


def test_secrets_and_people_are_hidden_before_anything_is_written_down(
    settings: Settings, server: Receiver, environment: dict[str, str]
) -> None:
    notice = replace(
        FAILED,
        title="failed for ada@example.org",
        text="cannot reach postgresql://u:hunter22hunter@db/x with routing-key-of-the-team",
        facts={"host": "203.0.113.9"},
    )
    tell(settings, notice, environment=environment, now=NOW)
    database = open_incidents(settings)._path
    for body in [each.body for each in server.requests if each.path != "/v2/enqueue"] + [database.read_bytes()]:
        for secret in (b"ada@example.org", b"hunter22hunter", b"routing-key-of-the-team", b"203.0.113.9"):
            assert secret not in body
    assert pages(server)[0]["payload"]["custom_details"]["host"] == "[hidden]"
    assert server.url.encode() not in database.read_bytes()
    assert database.stat().st_mode & 0o077 == 0


def test_the_dead_mans_switch_is_called_while_alerts_go_out(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    assert beat(settings, environment={}, now=NOW) == "no dead man's switch is set up"
    assert "was called" in beat(settings, environment=environment, now=NOW)
    server.answers = [(500, {})] * 3
    tell(settings, FAILED, environment=environment, now=NOW)
    assert "was called" in beat(settings, environment=environment, now=NOW + timedelta(minutes=15))
    assert "left to go off" in beat(settings, environment=environment, now=NOW + timedelta(minutes=16))
    assert len(server.bodies("/alive")) == 2
    deliver(settings, environment=environment, now=NOW + timedelta(minutes=17))
    assert "was called" in beat(settings, environment=environment, now=NOW + timedelta(minutes=17))


def test_a_dead_mans_switch_that_refuses_is_a_failure(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    server.answers = [(404, {})]
    with pytest.raises(PlatformError, match="status 404"):
        beat(settings, environment=environment, now=NOW)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("30", 30),
        ("0", 1),
        ("999999999999", 3600),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=9), usegmt=True), 1),
        ("soon", None),
        ("", None),
        ("-5", None),
    ],
)
def test_an_answer_says_how_long_to_wait_in_seconds_or_by_date(told: str, seconds: int | None) -> None:
    waited = retry_after(Answer(429, {"retry-after": told}), NOW)
    assert waited == (None if seconds is None else timedelta(seconds=seconds))


def test_many_processes_that_tell_of_one_trouble_make_one_incident(settings: Settings, tmp_path: Path, server: Receiver) -> None:
    code = (
        "import sys; from spotify_ai_assets.observability.alerts.routing import tell;"
        "from spotify_ai_assets.observability.alerts.notices import Notice; from spotify_ai_assets.settings import Settings;"
        "settings = Settings.from_environment();"
        "[tell(settings, Notice('run/x', 'x failed', is_healthy=False, occurrence=f'{sys.argv[1]}.{n}')) for n in range(5)]"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPOTIFY_AI_")}
    told = inherited | {"SPOTIFY_AI_DATA": str(tmp_path), "SPOTIFY_AI_SLACK_WEBHOOK": f"{server.url}/services/hook"}
    processes = [subprocess.Popen([sys.executable, "-c", code, str(number)], env=told) for number in range(3)]
    assert [process.wait(60) for process in processes] == [0] * 3
    assert len(messages(server)) == 1
    assert [incident.failures for incident in open_incidents(settings).open()] == [15]


def test_what_was_due_when_its_process_died_is_sent_by_the_next(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    def dies(request: Request) -> Answer:
        raise KeyboardInterrupt

    told = {name: value for name, value in environment.items() if "SLACK" in name}
    with pytest.raises(KeyboardInterrupt):
        tell(settings, FAILED, environment=told, now=NOW, post=dies)
    assert deliver(settings, environment=told, now=NOW + timedelta(seconds=59)).sent == 0, "somebody may be at it"
    assert deliver(settings, environment=told, now=NOW + timedelta(seconds=61)).sent == 1


def test_what_is_long_over_is_forgotten(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    tell(settings, FAILED, WELL, environment=environment, now=NOW)
    tell(settings, replace(FAILED, subject="run/other"), environment=environment, now=NOW)
    deliver(settings, environment=environment, now=NOW + timedelta(days=31))
    with sqlite3.connect(open_incidents(settings)._path) as connection:
        counts = [connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("incidents", "deliveries", "occurrences")]
    connection.close()
    assert counts == [1, 3, 0], "what is open stays, with who is to be told of its end"


def test_a_delivery_that_cannot_be_made_is_given_up_and_holds_up_no_other(
    settings: Settings, server: Receiver, environment: dict[str, str]
) -> None:
    def post(request: Request) -> Answer:
        if b"odd" in request.body:
            raise RecursionError
        return Answer(200)

    notices = [replace(FAILED, subject=f"run/{name}", title=name, occurrence=name) for name in ("odd", "even")]
    told = tell(settings, *notices, environment=environment, now=NOW, post=post)
    assert (told.sent, told.waiting) == (3, 0)
    assert open_incidents(settings).figures().given_up == 3


def test_half_a_character_is_told_by_its_number(settings: Settings, server: Receiver, environment: dict[str, str]) -> None:
    tell(settings, replace(FAILED, title="\ud800", subject="run/\udfff", facts={"\ud800": "\ud800"}), environment=environment, now=NOW)
    assert events(server)[0]["message"] == "\\ud800"
    assert len(pages(server)) == len(messages(server)) == 1
