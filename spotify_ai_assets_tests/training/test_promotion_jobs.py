import json
from contextlib import contextmanager

import dagster as dg
import pytest
from tiny_models import manifest, torch_parts
from typer.testing import CliRunner

from spotify_ai_assets import models_cli
from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.models_cli import models
from spotify_ai_assets.training.jobs import MODEL, VERSION, promote_model, rollback_model, run_promotion, run_rollback
from spotify_ai_assets.training.registry import open_registry

NAME = "audio/sound_model"


@pytest.fixture
def registry(settings):
    return open_registry(settings)


def add(registry, seed, low=0.7):
    return registry.add(NAME, torch_parts(seed)[1], manifest(figures={"accuracy_low": low, "ece": 0.05})).version


def run_history(instance):
    return [(run.job_name, run.status.value, run.tags.get(VERSION)) for run in reversed(instance.get_runs())]


def test_a_model_that_fails_its_gate_is_not_promoted_and_a_rollback_restores_the_one_before(instance, lake, settings, registry):
    first = add(registry, 0)
    run_promotion(instance, lake, settings, NAME)
    second = add(registry, 1)
    run_promotion(instance, lake, settings, NAME, second)
    bad = add(registry, 2, low=0.3)
    with pytest.raises(PermanentError, match=r"right more often than chance: 0\.3, needed > 0\.5"):
        run_promotion(instance, lake, settings, NAME)
    assert registry.entry(NAME).version == second
    last = run_rollback(instance, lake, settings, NAME)
    assert registry.entry(NAME).version == first
    assert run_history(instance) == [
        ("promote_model", "SUCCESS", first),
        ("promote_model", "SUCCESS", second),
        ("promote_model", "FAILURE", "challenger"),
        ("rollback_model", "SUCCESS", first),
    ]
    assert {run.tags[MODEL] for run in instance.get_runs()} == {NAME}
    runs = {event["event"]: event["origin"]["dagster_run_id"] for event in registry.history(NAME) if "origin" in event}
    assert runs["rolled back"] == last and instance.get_run_by_id(runs["refused"]).status == dg.DagsterRunStatus.FAILURE
    assert [event["version"] for event in registry.history(NAME) if event["event"] == "refused"] == [bad]


def test_what_a_promotion_judged_is_in_its_run(instance, lake, settings, registry):
    version = add(registry, 0)
    run = run_promotion(instance, lake, settings, NAME)
    [output] = instance.all_logs(run, of_type=dg.DagsterEventType.STEP_OUTPUT)
    metadata = output.get_dagster_event().step_output_data.metadata
    assert metadata["version"].value == version and metadata["gate"].value["passed"] is True


def test_what_cannot_be_promoted_or_rolled_back_fails_its_run(instance, lake, settings, registry):
    with pytest.raises(PermanentError, match="there is no challenger"):
        run_promotion(instance, lake, settings, NAME)
    with pytest.raises(PermanentError, match="no champion before"):
        run_rollback(instance, lake, settings, NAME)
    assert [status for _, status, _ in run_history(instance)] == ["FAILURE", "FAILURE"]


def test_both_jobs_say_what_they_do_and_take_the_settings_of_the_platform():
    for job in (promote_model, rollback_model):
        assert job.description
        assert all("settings" in node.definition.required_resource_keys for node in job.nodes)


@pytest.fixture
def command(tmp_path, monkeypatch, instance, lake):
    """The commands on a data folder and an instance of the test's own."""

    @contextmanager
    def platform():
        with models_cli.failing_in_words():
            yield instance, lake

    monkeypatch.setattr(models_cli, "open_platform", platform)
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(models, [*arguments])


def test_the_commands_promote_refuse_roll_back_and_list(command, registry):
    assert "No model has been trained yet" in command("list").output
    versions = [add(registry, 0)]
    done = json.loads(command("promote", NAME, "--json").output)
    assert (done["model"], done["champion"]) == (NAME, versions[0]) and done["run"]
    versions += [add(registry, 1), add(registry, 2, low=0.2)]
    assert command("promote", NAME, versions[1]).exit_code == 0
    refused = command("promote", NAME)
    assert refused.exit_code == 1 and "needed > 0.5" in refused.output and "Traceback" not in refused.output
    assert versions[0] in command("rollback", NAME).output
    assert command("rollback", NAME).exit_code == 1
    [listed] = json.loads(command("list", "--json", "--history").output)["models"]
    assert {each["version"]: each["aliases"] for each in listed["versions"]} == {
        versions[0]: ["champion"],
        versions[1]: [],
        versions[2]: ["challenger"],
    }
    assert [each["event"] for each in listed["history"]] == ["added", "promoted", "added", "added", "promoted", "refused", "rolled back"]
    assert all(each["origin"]["dagster_run_id"] for each in listed["history"] if each["event"] != "added")
    table = command("list").output
    assert "champion" in table and "failed" in table and "accuracy 0.8" in table
    assert "refused" in command("list", NAME, "--history").output
