"""Alerts and traces out of a real daemon: a day that cannot be made, until it can."""

import json
from pathlib import Path

import polars as pl
import pytest
from invented import day, land, listens
from processes import run, serving, wait
from receivers import Receiver, receiving

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

SUBJECT = "run/listening/plays"


def pages(server: Receiver) -> list[str]:
    """What PagerDuty was told of the run of this test; the daemon's own runs may fail of the same day."""
    told = [json.loads(body) for body in server.bodies("/v2/enqueue")]
    return [page["event_action"] for page in told if page["dedup_key"].startswith(SUBJECT)]


def events(server: Receiver) -> list[str]:
    """What Sentry was told of it."""
    told = [json.loads(body.splitlines()[2]) for body in server.bodies("/api/7/envelope/")]
    return [event["message"] for event in told if event["tags"]["subject"] == SUBJECT]


@pytest.mark.slow
def test_a_run_that_failed_is_one_event_and_one_incident_of_the_daemon_which_its_recovery_resolves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    lake = open_lake(Settings.from_environment({"SPOTIFY_AI_DATA": str(data)}), TABLES)
    land(lake, range(2))
    lake.write(EVENTS.key, listens(day(1)).with_columns(country=pl.lit("Atlantis")), day(1))
    with receiving() as server:
        host = server.url.removeprefix("http://")
        channels = {
            "SPOTIFY_AI_SENTRY_DSN": f"http://publickey@{host}/7",
            "SPOTIFY_AI_PAGERDUTY_KEY": "routing-key-of-the-team",
            "SPOTIFY_AI_PAGERDUTY_URL": f"{server.url}/v2/enqueue",
            "SPOTIFY_AI_DEADMAN_URL": f"{server.url}/alive",
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
        }
        launch = ("dg", "launch", "--assets", "listening/plays", "--partition", str(day(1)))
        run(*launch, data=data, home=None, status=None)
        with serving("dagster", "dev", "--workspace", "workspace.yaml", log=tmp_path / "log", data=data, **channels):
            wait(lambda: pages(server) and events(server) and server.bodies("/alive") and server.bodies("/v1/traces"), 240)
            lake.write(EVENTS.key, listens(day(1)), day(1))
            run(*launch, data=data, home=None)
            wait(lambda: "resolve" in pages(server), 240)
    assert pages(server) == ["trigger", "resolve"]
    assert len(events(server)) == 1
    assert events(server)[0].startswith("listening/plays ")
    kept = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert b"routing-key-of-the-team" not in kept
    assert server.url.encode() not in kept
