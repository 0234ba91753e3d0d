"""What runs carry and leave behind: traces, log lines, and what happens when their process is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from invented import day, land, numbers_of
from processes import BIN, environment, run, spotify_ai, wait

from spotify_ai_assets.listening.contracts import CHARTS, PLAYS
from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.maintenance.jobs import MADE, dead_runs, settle_dead_runs
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import TRACE, bury_dead_runs, launch_tags, process_tags, trace_of
from spotify_ai_assets.settings import ROOT, Settings
from spotify_ai_assets.tables import TABLES

DAYS = 12


def lake_of(data: Path) -> Lake:
    return open_lake(Settings.from_environment({"SPOTIFY_AI_DATA": str(data)}), TABLES)


@contextmanager
def instance_of(data: Path) -> Iterator[dg.DagsterInstance]:
    """The embedded instance of a data folder, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOTIFY_AI_DATA", str(data))
        patch.setenv("DAGSTER_HOME", str(ROOT))
        with dg.DagsterInstance.get() as instance:
            yield instance


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with some days of many listens and nothing made of them."""
    data = tmp_path_factory.mktemp("runs") / "landed"
    land(lake_of(data), range(DAYS), count=4_000, listeners=200, tracks=500)
    return data


@pytest.fixture
def data(landed: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(landed, tmp_path / "data"))


def log_lines(data: Path, run_id: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (data / "logs" / "platform.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("run_id") == run_id]


def commit_traces(lake: Lake, key: str) -> set[tuple[str, str]]:
    """Run and trace of every commit of a table after the one that made it."""
    from deltalake import DeltaTable

    return {(each["run_id"], each["trace_id"]) for each in DeltaTable(lake.storage.uri(key)).history() if each.get("run_id")}


def last_run(data: Path) -> dg.DagsterRun:
    with instance_of(data) as instance:
        return instance.get_runs(limit=1)[0]


def follow_trace(data: Path, run_id: str, tags: dict[str, str], partition: str) -> None:
    """The run's tags, its log lines and its commits name the same trace."""
    trace = tags[TRACE]
    assert len(trace) == 32
    assert int(trace, 16) >= 0
    lines = log_lines(data, run_id)
    assert {line["step_key"] for line in lines} >= {"listening__plays"}
    assert {(line["trace_id"], line["partition"]) for line in lines} == {(trace, partition)}
    assert commit_traces(lake_of(data), PLAYS.key) == {(run_id, trace)}
    state = lake_of(data).state(PLAYS.key, day(0))
    assert state is not None
    assert (state.origin.run_id, state.origin.trace_id) == (run_id, trace)


def test_a_trace_leads_from_a_run_of_the_command_line_to_its_lines_and_commits(data: Path) -> None:
    spotify_ai(data, "backfill", "run", "--select", "listening/plays", "--to", str(day(1)))
    made = last_run(data)
    follow_trace(data, made.run_id, dict(made.tags), f"{day(0)}...{day(1)}")


def test_a_trace_leads_from_a_run_of_dg_launch_to_its_lines_and_commits(data: Path) -> None:
    run("dg", "launch", "--assets", "listening/plays", "--partition", str(day(0)), data=data, home=None)
    made = last_run(data)
    follow_trace(data, made.run_id, dict(made.tags), str(day(0)))
    assert made.tags[TRACE] == made.run_id.replace("-", ""), "its launcher gave it none"


@pytest.mark.slow
def test_the_steps_of_a_run_may_have_processes_of_their_own(data: Path) -> None:
    """The run is claimed for its worker and not for a step, whose process ends while the run goes on."""
    run("dg", "launch", "--job", "daily_listening", "--partition", str(day(0)), data=data, home=None, SPOTIFY_AI_EXECUTOR="multiprocess")
    made = last_run(data)
    assert made.status == dg.DagsterRunStatus.SUCCESS
    with instance_of(data) as instance:
        worker = instance.all_logs(made.run_id, of_type=dg.DagsterEventType.RUN_START)[0].get_dagster_event().pid
        steps = {entry.get_dagster_event().pid for entry in instance.all_logs(made.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)}
    assert worker not in steps
    assert len(steps) > 1
    assert made.tags["spotify_ai/pid"] == str(worker)
    assert set(lake_of(data).states(CHARTS.key)) == {str(day(0))}
    assert {line["process"] for line in log_lines(data, made.run_id)} <= steps


def kill_in_the_middle(data: Path, table: str = PLAYS.key) -> str:
    """Kill a real backfill once it has committed some days of a table.

    Returns:
        The run.
    """
    lake = lake_of(data)
    backfill = subprocess.Popen(
        [str(BIN / "spotify-ai"), "backfill", "run", "--json"],
        env=environment(data),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait(lambda: len(lake.states(table)) >= 3 or backfill.poll() is not None, 60)
        assert backfill.poll() is None
    finally:
        os.killpg(backfill.pid, signal.SIGKILL)
        backfill.wait()
    return last_run(data).run_id


def recorded(instance: dg.DagsterInstance, key: str) -> list[str]:
    """The day of every materialisation of a table."""
    records = instance.fetch_materializations(asset_key(TABLES[key]), limit=1000).records
    return [record.partition_key or "" for record in records]


@pytest.mark.slow
def test_a_killed_run_is_failed_by_the_next_command_which_records_its_commits_once(data: Path) -> None:
    run_id = kill_in_the_middle(data)
    committed = sorted(lake_of(data).states(PLAYS.key))
    assert 3 <= len(committed) <= DAYS
    with instance_of(data) as instance:
        left = instance.get_run_by_id(run_id)
        assert left is not None
        assert left.status == dg.DagsterRunStatus.STARTED, "nothing tells Dagster"
        assert run_id in instance.event_log_storage.get_concurrency_run_ids(), "its pool slot is held"
    for _ in range(2):
        shown = spotify_ai(data, "status")
        assert next(each for each in shown["runs"] if each["run"] == run_id)["status"] == "FAILURE"
        with instance_of(data) as instance:
            assert instance.event_log_storage.get_concurrency_run_ids() == set()
            for table in MADE:
                assert sorted(recorded(instance, table.key)) == sorted(lake_of(data).states(table.key)), "one event each"
    outcome = spotify_ai(data, "backfill", "run")
    assert outcome["refused"] == {}
    assert all(len(lake_of(data).states(table.key)) == len(numbers_of(table, range(DAYS))) for table in MADE)


def test_the_sensor_fails_a_killed_run_and_records_its_commits(data: Path) -> None:
    run_id = kill_in_the_middle(data)
    with instance_of(data) as instance:
        lake = lake_of(data)
        for told in ("1 dead runs were failed", "no dead runs"):
            tick = dead_runs.evaluate_tick(dg.build_sensor_context(instance=instance, resources={"lake": lake}))
            assert tick.skip_message is not None
            assert tick.skip_message.startswith(told)
        ended = instance.get_run_by_id(run_id)
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_run_ids() == set()
        assert sorted(recorded(instance, PLAYS.key)) == sorted(lake.states(PLAYS.key))


@pytest.fixture
def made(instance: dg.DagsterInstance) -> Iterator[Any]:
    """Makes runs that say they live in some process."""
    job = dg.GraphDefinition(name="nothing").to_job()

    def make(tags: dict[str, str], pid: int | None = None) -> str:
        told = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        if pid:
            start = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "nothing", message="", pid=pid)
            instance.report_dagster_event(start, told.run_id)
        return told.run_id

    yield make


def test_a_living_run_is_left_alone(instance: dg.DagsterInstance, made: Any) -> None:
    made(process_tags(), os.getpid())
    assert bury_dead_runs(instance) == []


def test_a_run_whose_process_id_was_given_to_another_process_is_dead(instance: dg.DagsterInstance, made: Any) -> None:
    run_id = made({**process_tags(), "spotify_ai/process_start": "1"}, os.getpid())
    assert bury_dead_runs(instance) == [run_id]


def test_a_run_of_an_earlier_boot_is_dead(instance: dg.DagsterInstance, made: Any) -> None:
    run_id = made({**process_tags(), "spotify_ai/boot_id": "another"}, os.getpid())
    assert bury_dead_runs(instance) == [run_id]


def test_a_run_of_another_host_is_not_ours_to_judge(instance: dg.DagsterInstance, made: Any) -> None:
    made({**process_tags(), "spotify_ai/host": "elsewhere", "spotify_ai/boot_id": "another"}, os.getpid())
    assert bury_dead_runs(instance) == []


def test_a_second_try_is_not_judged_by_the_tags_of_the_first(instance: dg.DagsterInstance, made: Any) -> None:
    """Dagster copies the tags of a crashed run to the run that tries again, before that has a process of its own."""
    dead = int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True).stdout)
    tags = {**process_tags(dead), "spotify_ai/process_start": "1"}
    first, waiting, claiming = made(tags, dead), made(tags), made(tags, os.getpid())
    assert bury_dead_runs(instance) == [first]
    assert {instance.get_run_by_id(each).status for each in (waiting, claiming)} == {dg.DagsterRunStatus.STARTED}  # type: ignore[union-attr]


def test_a_failed_run_of_anybody_is_settled_once(lake: Lake, instance: dg.DagsterInstance, made: Any) -> None:
    from spotify_ai_assets.resources.lake import Origin

    run_id = made({})
    rows = TABLES[PLAYS.key].empty()
    lake.write(PLAYS.key, rows, day(0), origin=Origin(run_id, "0" * 32))
    lake.write(PLAYS.key, rows, day(1), origin=Origin("another", "0" * 32))
    instance.report_run_failed(instance.get_run_by_id(run_id))  # type: ignore[arg-type]
    assert settle_dead_runs(instance, lake) == (0, 1)
    assert recorded(instance, PLAYS.key) == [str(day(0))]
    assert settle_dead_runs(instance, lake) == (0, 0)


def test_a_run_without_a_trace_is_its_own() -> None:
    run_id = "01234567-89ab-cdef-0123-456789abcdef"
    assert trace_of(run_id, {}) == "0123456789abcdef0123456789abcdef"
    assert trace_of(run_id, {TRACE: "given"}) == "given"
    assert launch_tags()[TRACE] != launch_tags()[TRACE]


@pytest.mark.slow
def test_two_backfills_at_once_end_well(data: Path) -> None:
    command = [str(BIN / "spotify-ai"), "backfill", "run", "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, env=environment(data), **pipes) for _ in range(2)]
    try:
        ended = [(process.communicate(timeout=200), process.returncode) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [status for _, status in ended] == [0, 0], [errors[-2000:] for (_, errors), _ in ended]
    outcomes = [json.loads(out) for (out, _), _ in ended]
    assert [outcome["refused"] for outcome in outcomes] == [{}, {}]
    verified = spotify_ai(data, "backfill", "verify", status=1)
    assert (verified["differing"], verified["stale"]) == ([], [])
    assert verified["failed"] == ["listening/events:pseudonyms_only"], "invented listeners are not in the vault"
    assert all(len(lake_of(data).states(table.key)) == len(numbers_of(table, range(DAYS))) for table in MADE)


def test_range_tags_name_both_ends() -> None:
    assert set(range_tags(day(0), day(0) + timedelta(days=2)).values()) == {str(day(0)), str(day(2))}
