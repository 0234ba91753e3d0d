import multiprocessing
import sqlite3
import subprocess
import sys
import warnings

import dagster as dg
import pytest

from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.resources.tracking import MLFLOW_RUN, Tracking, mlflow_resource

SPAWN = multiprocessing.get_context("spawn")


def tracking_in(folder):
    return Tracking(f"sqlite:///{folder}/mlflow/mlflow.db", folder / "mlflow" / "files", FileLocks(folder / "locks"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture(scope="module")
def tracking(folder):
    return tracking_in(folder)


def seen(tracking, run_id):
    return tracking._client().get_run(run_id)


def test_a_run_has_its_settings_figures_files_and_tags_and_nothing_of_the_machine(tracking, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with tracking.run("audio/model", "small", {"digest": "d1"}) as run:
            run.log_parameters({f"p{n}": n for n in range(130)} | {"long": "x" * 900})
            run.log_metrics({"accuracy": 0.8})
            run.log_curves({"loss": {step: 1 / (step + 1) for step in range(1200)}})
            run.log_text("# card", "card.md")
            (folder / "note.txt").write_text("note")
            run.log_file(folder / "note.txt", "notes")
            run.tag({"later": "yes"})
    found = seen(tracking, run.run_id)
    assert found.info.status == "FINISHED" and found.info.user_id == "unknown"
    assert found.data.tags == {"mlflow.runName": "small", "digest": "d1", "later": "yes"}
    assert len(found.data.params) == 131 and len(found.data.params["long"]) == 500
    assert found.data.metrics == {"accuracy": 0.8, "loss": pytest.approx(1 / 1200)}
    assert len(tracking._client().get_metric_history(run.run_id, "loss")) == 1200
    files = {path.name: path.read_text() for path in (folder / "mlflow" / "files").rglob("*") if path.is_file()}
    assert files == {"card.md": "# card", "note.txt": "note"}


def test_a_run_that_raises_has_failed_and_one_that_is_stopped_was_killed(tracking):
    for error, status in ((ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")):
        with pytest.raises(error), tracking.run("audio/model", "bad") as run:
            raise error
        assert seen(tracking, run.run_id).info.status == status


def test_runs_are_found_by_a_tag(tracking):
    ids = []
    for digest in ("a", "b", "a"):
        with tracking.run("search", "trial", {"digest": digest}) as run:
            ids.append(run.run_id)
    assert sorted(tracking.find("search", "digest", "a")) == sorted([ids[0], ids[2]])
    assert tracking.find("search", "digest", "c") == tracking.find("nowhere", "digest", "a") == []


def test_two_models_of_one_dagster_run_lie_under_its_run_in_dagster_mlflow(tracking, instance):
    @dg.op(required_resource_keys={"mlflow"})
    def train(context: dg.OpExecutionContext) -> None:
        parent = context.resources.mlflow.mlflow_run_id
        for name in ("one", "two"):
            with tracking.run_of(context, "audio/model", name, parent=parent) as run:
                run.log_metrics({"accuracy": 0.5})
        context.resources.mlflow.log_metric("models", 2)  # MLflow's own call, on the run of the whole

    @dg.job(resource_defs={"mlflow": mlflow_resource(tracking)})
    def training():
        train()

    result = training.execute_in_process(instance=instance)
    [whole] = tracking.find("dagster", "dagster_run_id", result.run_id)
    found = seen(tracking, whole)
    assert found.info.status == "FINISHED" and found.data.metrics == {"models": 2.0}
    assert set(found.data.tags) == {"mlflow.runName", "dagster_run_id"}  # no user, no script, no commit
    parts = tracking.find("audio/model", "mlflow.parentRunId", whole)
    assert {seen(tracking, each).data.tags["dagster_run_id"] for each in parts} == {result.run_id}
    tags = instance.get_run_by_id(result.run_id).tags
    assert {tags[f"{MLFLOW_RUN}/one"], tags[f"{MLFLOW_RUN}/two"]} == set(parts) and len(parts) == 2


def test_a_dagster_run_that_fails_has_a_failed_run_in_mlflow(tracking, instance):
    @dg.op(required_resource_keys={"mlflow"})
    def fail() -> None:
        raise ValueError("no")

    @dg.job(resource_defs={"mlflow": mlflow_resource(tracking)})
    def failing():
        fail()

    result = failing.execute_in_process(instance=instance, raise_on_error=False)
    [whole] = tracking.find("dagster", "dagster_run_id", result.run_id)
    assert seen(tracking, whole).info.status == "FAILED"


def begin(folder, name):
    with tracking_in(folder).run("race", name):
        pass


@pytest.mark.slow
def test_two_processes_may_create_the_store_at_once(tmp_path):
    workers = [SPAWN.Process(target=begin, args=(tmp_path, name)) for name in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    runs = tracking_in(tmp_path).find("race", "mlflow.runName", "one") + tracking_in(tmp_path).find("race", "mlflow.runName", "two")
    assert len(runs) == 2


def test_nothing_is_imported_said_or_sent_before_or_while_it_tracks(folder):
    """A tracked run in a process without a network; MLflow's own telemetry and its look for Git are off."""
    code = (
        "import sys, socket\n"
        "from pathlib import Path\n"
        "def refuse(*a, **k): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from spotify_ai_assets.resources.locks import FileLocks\n"
        "from spotify_ai_assets.resources.tracking import Tracking\n"
        f"folder = Path({str(folder)!r})\n"
        "tracking = Tracking(f'sqlite:///{folder}/mlflow/mlflow.db', folder / 'mlflow' / 'files', FileLocks(folder / 'locks'))\n"
        "assert 'mlflow' not in sys.modules and 'dagster_mlflow' not in sys.modules\n"
        "with tracking.run('quiet', 'quiet') as run: run.log_metrics({'a': 1})\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (folder / "mlruns").exists()


def test_runs_are_removed_for_good_but_for_those_still_wanted_and_no_file_of_another_folder(tracking, folder):
    ids = []
    for number in range(3):
        with tracking.run("to/forget", f"run {number}") as run:
            run.log_text("what was learnt", "card.md")
            run.tag({"number": str(number)})
        ids.append(run.run_id)
    elsewhere = folder / "elsewhere" / ids[0] / "artifacts"
    elsewhere.mkdir(parents=True)
    database = sqlite3.connect(folder / "mlflow" / "mlflow.db")
    database.execute("update runs set artifact_uri = ? where run_uuid = ?", (elsewhere.as_uri(), ids[0]))
    database.commit()
    database.close()
    assert tracking.remove("to/forget", [ids[2]]) == 2 and tracking.remove("to/forget", [ids[2]]) == 0 == tracking.remove("nothing")
    assert elsewhere.exists(), "a copied store names the folder that it was copied from"
    assert [path.name for path in (folder / "mlflow" / "files" / "to" / "forget").iterdir()] == [ids[2]]
    assert tracking.find("to/forget", "number", "2") == [ids[2]] and tracking.find("to/forget", "number", "1") == []
