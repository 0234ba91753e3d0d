"""Jobs that are run in this process: what they are given, what of them is run, how a failure is told, and who hears Ctrl-C."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from processes import environment

from spotify_ai_assets import definitions
from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.runs import process_tags
from spotify_ai_assets.settings import ROOT

ONE, TWO, BAD = (dg.AssetKey(["a", name]) for name in ("one", "two", "bad"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the assets of a small code location said when they ran, which stands in for the platform's."""
    said: list[str] = []

    def declare(key: dg.AssetKey, say: Callable[[str], None]) -> dg.AssetsDefinition:
        @dg.asset(key=key, required_resource_keys={"word"}, deps=[ONE] if key != ONE else [])
        def made(context: dg.AssetExecutionContext) -> None:
            say(f"{key.path[-1]}: {context.resources.word}")

        return made

    def fail(word: str) -> None:
        raise ValueError(f"a mistake at {word}")

    location = dg.Definitions(
        assets=[declare(ONE, said.append), declare(TWO, said.append), declare(BAD, fail)],
        jobs=[dg.define_asset_job("good", dg.AssetSelection.assets(ONE, TWO)), dg.define_asset_job("all")],
        resources={"word": dg.ResourceDefinition.hardcoded_resource("the location's own")},
    )
    monkeypatch.setattr(definitions, "defs", lambda: location)
    return said


def test_a_job_runs_on_the_instance_with_what_it_is_given(said: list[str], instance: dg.DagsterInstance) -> None:
    run_id = run_job(instance, "good", {"word": "hers"}, {"asked_by": "somebody"})
    run = instance.get_run_by_id(run_id)
    assert run and run.status == dg.DagsterRunStatus.SUCCESS and run.job_name == "good"
    assert said == ["one: hers", "two: hers"]
    assert run.tags["asked_by"] == "somebody"
    assert process_tags().items() <= run.tags.items()  # so that a killed one is recognised


def test_of_a_selection_nothing_else_is_run(said: list[str], instance: dg.DagsterInstance) -> None:
    run_id = run_job(instance, "all", {"word": "hers"}, {}, [TWO])
    assert said == ["two: hers"]
    assert instance.get_latest_materialization_event(TWO) and not instance.get_latest_materialization_event(ONE)
    assert run_job(instance, "good", {"word": "his"}, {}, []) != run_id  # an empty one chooses nothing, so all is run
    assert said[1:] == ["one: his", "two: his"]


def test_a_failure_names_the_job_and_the_run_and_what_was_made_stays(said: list[str], instance: dg.DagsterInstance) -> None:
    with pytest.raises(PlatformError) as told:
        run_job(instance, "all", {"word": "hers"}, {})
    [run] = instance.get_runs()
    assert str(told.value) == f"all failed; see run {run.run_id}"
    assert run.status == dg.DagsterRunStatus.FAILURE and said == ["one: hers", "two: hers"]
    assert instance.get_latest_materialization_event(ONE) and not instance.get_latest_materialization_event(BAD)


def test_a_job_that_there_is_not_is_refused_and_leaves_no_run(said: list[str], instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.DagsterInvariantViolationError, match="nothing_such"):
        run_job(instance, "nothing_such", {"word": "hers"}, {})
    assert instance.get_runs() == [] and said == []


STOPPED = """
import os, signal, sys, threading, time
import dagster as dg
from spotify_ai_assets.launching import run_in_foreground
from spotify_ai_assets.runs import launch_tags, open_instance

@dg.op(pool="pool")
def work():
    if "while_it_works" in sys.argv:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

@dg.job
def day():
    work()

def queued(instance):
    return [each.run_id for each in instance.event_log_storage.get_concurrency_info("pool").pending_steps]

def stop(instance):
    while len(queued(instance)) < 2:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

with open_instance() as instance:
    instance.event_log_storage.set_concurrency_slots("pool", 1)
    if "while_it_waits" in sys.argv:
        instance.event_log_storage.claim_concurrency_slot("pool", "other", "step")
        threading.Thread(target=stop, args=(instance,), daemon=True).start()
    try:
        run_in_foreground(day, instance, launch_tags())
    except KeyboardInterrupt:
        print(*(run.status.value for run in instance.get_runs()), *queued(instance))
"""


@pytest.mark.parametrize(("when", "left"), [("while_it_works", ""), ("while_it_waits", " other")])
def test_who_stops_a_run_in_the_foreground_stops_what_called_it(tmp_path: Path, when: str, left: str) -> None:
    command = [sys.executable, "-c", STOPPED, when]
    done = subprocess.run(command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == f"FAILURE{left}", done.stdout + done.stderr
