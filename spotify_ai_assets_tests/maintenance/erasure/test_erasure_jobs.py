"""Requests as files, the jobs that take them up and finish them, and the command."""

import json
from datetime import UTC, datetime

import dagster as dg
import pytest
from erasure_worlds import GROUP, ONLY, World, user_of
from typer.testing import CliRunner

from spotify_ai_assets.cli import app
from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.maintenance.erasure.cases import Case, State, open_cases, read_cases
from spotify_ai_assets.maintenance.erasure.jobs import (
    ERASURE,
    TAKE_REQUESTS,
    daily_erasure,
    erasure,
    erasure_config,
    requests_of_people,
    take_requests,
)
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.audit import open_audit, open_ledger
from spotify_ai_assets.runs import launch_tags
from spotify_ai_assets.settings import Settings

pytestmark = GROUP


def ask(settings: Settings, listener: str, name: str = "1.json", kind: str = "erasure") -> None:
    folder = settings.data / "requests"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"listener": listener, "kind": kind}))


def tick(settings: Settings) -> dg.RunRequest | None:
    """What the sensor asks for."""
    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance, resources={"settings": settings}) as context:
        return next(iter(requests_of_people.evaluate_tick(context).run_requests or ()), None)


def night(settings: Settings) -> dg.RunRequest | None:
    """What the schedule asks for."""
    at = datetime(2026, 3, 20, 3, 10, tzinfo=UTC)
    with dg.build_schedule_context(resources={"settings": settings}, scheduled_execution_time=at) as context:
        return next(iter(daily_erasure.evaluate_tick(context).run_requests or ()), None)


def test_the_sensor_asks_once_for_the_same_files_and_names_nobody(settings: Settings):
    assert tick(settings) is None and night(settings) is None
    ask(settings, "anna")
    first, second = tick(settings), tick(settings)
    assert first and second and first.run_key == second.run_key
    assert "anna" not in str(first) and "1.json" not in str(first)
    nightly = night(settings)
    assert nightly and nightly.run_config == erasure_config(dry_run=False)
    ask(settings, "bert", "2.json")
    third = tick(settings)
    assert third and third.run_key != first.run_key


def test_a_file_becomes_a_request_and_the_night_its_receipt(world: World, instance):
    ask(world.settings, user_of(ONLY))
    run_job(instance, TAKE_REQUESTS, {}, launch_tags())
    (case,) = open_cases(open_ledger(world.settings))
    assert case.state == "requested" and not list((world.settings.data / "requests").iterdir())
    assert night(world.settings)

    before = open_ledger(world.settings).head()
    run_job(instance, ERASURE, {}, launch_tags())
    assert open_ledger(world.settings).head() == before, "a dry run is the default and changes nothing"
    run_job(instance, ERASURE, {}, launch_tags(), config=erasure_config(dry_run=False))
    assert [case.state for case in read_cases(open_ledger(world.settings))] == ["receipted"]
    erased = open_audit(world.settings).newest("erased")
    assert erased is not None and erased.body["figures"]["rows"] == 6 and erased.body["run_id"] and erased.body["who"]["kind"] == "user"
    assert night(world.settings) is None
    kept = "".join(str(event) for run in instance.get_runs() for event in instance.all_logs(run.run_id)) + str(instance.get_runs())
    assert user_of(ONLY) not in kept


def test_two_runs_do_not_overlap(world: World, instance, monkeypatch):
    with open_locks(world.settings).exclusive(f"job.{ERASURE}"), pytest.raises(PlatformError, match="failed"):
        run_job(instance, ERASURE, {}, launch_tags(), config=erasure_config(dry_run=False))


class _Erasing:
    """In the place of an erasure: gives cases."""

    def __init__(self, *cases: Case) -> None:
        self.cases, self.calls = list(cases), 0

    def __call__(self, *_, **__) -> list[Case]:
        self.calls += 1
        return self.cases


def case(state: State, *left: str) -> Case:
    return Case("a" * 32, "u", (), state, datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 4, 20, tzinfo=UTC), left=left)


@pytest.mark.parametrize(
    ("cases", "outcome"),
    [([case("rewritten")], "open"), ([case("requested", "logs: found"), case("receipted")], "open"), ([case("receipted")], None)],
)
def test_a_case_that_stays_open_is_no_success_and_is_not_gone_through_again_at_once(settings: Settings, monkeypatch, cases, outcome):
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(settings.data))
    monkeypatch.setattr("spotify_ai_assets.maintenance.erasure.machine.erase", erasing := _Erasing(*cases))
    done = erasure.execute_in_process(run_config=erasure_config(dry_run=False), raise_on_error=False)
    assert (done.success, erasing.calls) == (outcome is None, 1)
    told = open_audit(settings).newest("erasing")
    assert (told.body["outcome"] if told else None) == outcome
    if told and cases[0].state == "rewritten":
        assert told.body["figures"]["left"] == ["aaaaaaaa: it was not brought any further"]


def test_who_asks_does_not_wait_for_an_erasure_at_work():
    pools = {node.name: node.definition.pool for job in (take_requests, erasure) for node in job.graph.nodes}
    assert pools == {"accept_requests": "requests", "accept_first": "requests", "erase_listeners": "erasure"}


@pytest.mark.slow
def test_the_command_forgets_tells_and_exits_by_what_became_of_it(world: World, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    def run(*arguments: str, status: int = 0) -> dict:
        done = CliRunner().invoke(app, ["erase", "--listener", user_of(ONLY), *arguments, "--json"])
        assert done.exit_code == status, done.output
        return json.loads(done.stdout.splitlines()[-1])

    assert run("--dry-run")["tables"]["listening/events"] == {"partitions": 1, "rows": 6}
    (world.settings.data / "surprise").mkdir()
    assert run(status=1)["left"] == ["1 folders below the data folder are not registered"]
    (world.settings.data / "surprise").rmdir()
    told = run()
    assert told["state"] == "receipted" and told["scanned"]["hits"] == 0 and told["receipt"].endswith(".json") and told["rounds"] == 3
