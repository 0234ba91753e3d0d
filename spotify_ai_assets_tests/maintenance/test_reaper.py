"""The reaper: runs whose process is gone are failed, their slots freed, and what the daemon launched is tried once more."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from invented import day, land
from processes import serving, wait

from spotify_ai_assets.listening.contracts import PLAYS
from spotify_ai_assets.maintenance.jobs import dead_runs
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources import heartbeat, open_lake
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import REAPED, SILENT_TICKS, Heard, bury_dead_runs, launch_tags, listen, process_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

ELSEWHERE = {**process_tags(), "spotify_ai/host": "elsewhere"}

Start = Callable[..., str]


@pytest.fixture
def start(instance: dg.DagsterInstance) -> Start:
    """Starts a run that says it lives in this process of some host."""
    job = dg.GraphDefinition(name="away").to_job()

    def make(tags: dict[str, str] = ELSEWHERE, *, pid: int | None = None, beats: bool = True) -> str:
        run = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        began = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "away", message="", pid=pid or os.getpid())
        instance.report_dagster_event(began, run.run_id)
        if beats:
            heartbeat._beat(instance, run.run_id)
        return run.run_id

    return make


def tick(instance: dg.DagsterInstance, lake: Lake, cursor: str | None) -> tuple[str, str | None]:
    """One look of the sensor, as the daemon takes it."""
    told = dead_runs.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": lake}))
    return told.skip_message or "", told.cursor


def status(instance: dg.DagsterInstance, run: str) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run)
    assert found is not None
    return found.status


def test_a_run_on_another_host_is_dead_once_its_heart_was_silent_for_some_looks(
    instance: dg.DagsterInstance, lake: Lake, start: Start
) -> None:
    silent, living = start(), start()
    cursor = None
    for _ in range(SILENT_TICKS):
        told, cursor = tick(instance, lake, cursor)
        assert told == "no dead runs"
        heartbeat._beat(instance, living)
    told, cursor = tick(instance, lake, cursor)
    assert told.startswith("1 dead runs were failed")
    assert status(instance, silent) == dg.DagsterRunStatus.FAILURE
    assert status(instance, living) == dg.DagsterRunStatus.STARTED
    run = instance.get_run_by_id(silent)
    assert run is not None
    assert run.tags[REAPED] == silent
    told, cursor = tick(instance, lake, cursor)
    assert told == "no dead runs"
    assert list(json.loads(cursor or "{}")) == [living], "what has ended is forgotten"


def test_one_beat_begins_the_count_anew(instance: dg.DagsterInstance, start: Start) -> None:
    run, heard = start(), {}
    for number in range(4 * SILENT_TICKS):
        heard = listen(instance, heard)
        assert bury_dead_runs(instance, heard) == []
        if number % SILENT_TICKS == SILENT_TICKS - 1:
            heartbeat._beat(instance, run)


def test_a_heart_that_never_beat_is_not_missed(instance: dg.DagsterInstance, start: Start) -> None:
    start(beats=False)
    heard: dict[str, Heard] = {}
    for _ in range(3 * SILENT_TICKS):
        heard = listen(instance, heard)
    assert heard == {}
    assert bury_dead_runs(instance, heard) == []


def test_a_second_try_is_not_judged_before_it_was_claimed(instance: dg.DagsterInstance, start: Start) -> None:
    """It has the tags of the first, whose process was another."""
    run = start(pid=os.getpid() + 1)
    assert bury_dead_runs(instance, {run: Heard("1", SILENT_TICKS)}) == []


def test_a_run_of_this_host_is_judged_by_its_process_and_not_by_its_heart(instance: dg.DagsterInstance, start: Start) -> None:
    run = start(process_tags())
    assert listen(instance, {}) == {}
    assert bury_dead_runs(instance, {run: Heard("1", 100)}) == []


def test_a_step_that_claims_a_run_sets_its_heart_beating(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    from spotify_ai_assets.runs import claim

    heard: list[dict[str, str]] = []

    @dg.op(out=dg.Out(dg.Nothing))
    def look(context: dg.OpExecutionContext) -> None:
        claim(context)
        heard.append(heartbeat.beats_of(context.instance, [context.run.run_id]))

    @dg.job
    def once() -> None:
        look()

    result = once.execute_in_process(instance=instance)
    assert list(heard[0]) == [result.run_id]


@pytest.mark.slow
def test_after_a_reboot_the_run_is_failed_tried_again_and_succeeds_and_no_slot_is_held(tmp_path: Path) -> None:
    """Every process is killed at once: webserver, daemon, code server, run worker. Then the platform starts again."""
    data = tmp_path / "data"
    lake = open_lake(Settings.from_environment({"SPOTIFY_AI_DATA": str(data)}), TABLES)
    days = 20
    land(lake, range(days), count=2_000, listeners=200, tracks=500)
    command: dict[str, Any] = {"data": data, "log": tmp_path / "server.log"}
    with serving("dagster", "dev", "--workspace", "workspace.yaml", **command) as client:
        run = client.launch("backfill", tags={**launch_tags(), **range_tags(day(0), day(days - 1))})
        wait(lambda: len(lake.states(PLAYS.key)) >= 3, 120)
        # A schedule's run may have made the first days: this one is under way when it says so itself, and where.
        worker = wait(lambda: client.runs(runIds=[run])[0]["tags"].get("spotify_ai/pid"), 120)
        wait(lambda: all(each["status"] != "STARTING" for each in client.runs()), 120)
        os.killpg(os.getpgid(int(worker)), signal.SIGKILL)
    with serving("dagster", "dev", "--workspace", "workspace.yaml", **command) as client:
        assert client.finished(run, 150) == "FAILURE"
        [first] = client.runs(runIds=[run])
        assert first["tags"][REAPED] == run
        again = wait(lambda: client.runs(runIds=[run])[0]["tags"].get("dagster/auto_retry_run_id"), 60)
        # It may have to wait for a run that was about to start when all was killed, of which no process is known yet: Dagster gives
        # that one up by its own timeout.
        assert client.finished(again, 420) == "SUCCESS"
        held = client("{ instance { concurrencyLimits { concurrencyKey claimedSlots { runId } } } }")["instance"]["concurrencyLimits"]
        assert [each for each in held if each["claimedSlots"]] == []
        assert [each["id"] for each in client.runs() if each["tags"].get("dagster/parent_run_id") == run] == [again], "once, no more"
    assert len(lake.states(PLAYS.key)) == days
    shutil.rmtree(data)
