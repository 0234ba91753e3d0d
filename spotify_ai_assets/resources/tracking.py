"""Experiment tracking with MLflow: on SQLite below the data folder unless an address is given, offline, importing nothing until used.

``Tracking`` speaks to MLflow's client and keeps no state of its process, so that several models of one Dagster run are several
tracked runs, each with the Dagster run's id. ``mlflow_resource`` is dagster-mlflow's resource on the same store: one tracked run
for a Dagster run, found again by every step and process of it, under which the runs of the models lie, and MLflow's own calls for
whoever wants them. What it lacks is added around it: it imports MLflow only for runs that use it, creates the store one process
after the other, and notes neither the user's name nor the script's path, as MLflow does with runs that it starts by itself.
"""

import os
import shutil
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import dagster as dg

from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.resources.locks import Locks

if TYPE_CHECKING:
    from mlflow import MlflowClient

DAGSTER_RUN, PARENT, NAME = "dagster_run_id", "mlflow.parentRunId", "mlflow.runName"
MLFLOW_RUN = "mlflow_run_id"
"""The tag of a Dagster run, and the metadata of a materialisation, that name the tracked run."""

_PARAMETERS_AT_ONCE, _METRICS_AT_ONCE = 100, 1_000
_LONGEST_VALUE = 500


class TrackedRun:
    """A run that is being tracked.

    Args:
        client: Of the store.
        run_id: Its id.
    """

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client, self.run_id = client, run_id

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Note settings, each once; values are cut to 500 characters."""
        from mlflow.entities import Param

        found = [Param(name, str(value)[:_LONGEST_VALUE]) for name, value in parameters.items()]
        for begin in range(0, len(found), _PARAMETERS_AT_ONCE):
            self._client.log_batch(self.run_id, params=found[begin : begin + _PARAMETERS_AT_ONCE])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Note figures."""
        self.log_curves({name: {step: value} for name, value in metrics.items()})

    def log_curves(self, curves: Mapping[str, Mapping[int, float]]) -> None:
        """Note figures over steps, such as losses; in as few calls as possible, since each is a transaction."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(name, float(value), now, step) for name, curve in curves.items() for step, value in curve.items()]
        for begin in range(0, len(found), _METRICS_AT_ONCE):
            self._client.log_batch(self.run_id, metrics=found[begin : begin + _METRICS_AT_ONCE])

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file with the run."""
        self._client.log_artifact(self.run_id, str(path), folder or None)

    def log_text(self, text: str, file: str) -> None:
        """Keep a text, such as a card, with the run."""
        self._client.log_text(self.run_id, text, file)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Note what is known only now."""
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(name, str(value)) for name, value in tags.items()])


class Tracking:
    """Tracks runs of experiments.

    Args:
        url: Of MLflow's store, such as ``sqlite:////data/mlflow/mlflow.db``, or of an MLflow server.
        files: Where files of runs are kept, a folder or an address that MLflow knows; a server keeps them itself.
        locks: The store is opened by one process after the other: two that create it at once leave it broken.
    """

    def __init__(self, url: str, files: Path | str, locks: Locks) -> None:
        self.url, self._locks = url, locks
        self._files = files.resolve().as_uri() if isinstance(files, Path) else files
        self._opened: MlflowClient | None = None

    @contextmanager
    def run(self, experiment: str, name: str, tags: Mapping[str, str] | None = None, parent: str | None = None) -> Iterator[TrackedRun]:
        """Track a run; it counts as finished when the block ends, as failed or killed when something is raised in it.

        Args:
            experiment: What belongs together, such as the name of a model; made when it is new.
            name: Of the run.
            tags: Such as ``dagster_run_id``.
            parent: The tracked run under which it lies.
        """
        client = self._client()
        noted = {NAME: name, **(tags or {}), **({PARENT: parent} if parent else {})}
        run_id = client.create_run(self._experiment(experiment), tags=noted, run_name=name).info.run_id
        status = "FAILED"
        try:
            yield TrackedRun(client, run_id)
            status = "FINISHED"
        except (KeyboardInterrupt, GeneratorExit, SystemExit):
            status = "KILLED"
            raise
        finally:
            client.set_terminated(run_id, status)

    @contextmanager
    def run_of(
        self,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        experiment: str,
        name: str,
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
    ) -> Iterator[TrackedRun]:
        """Track a run of a Dagster step: each names the other, in its tags. Put ``run_id`` into the materialisation.

        Args:
            context: Of the step.
            experiment: What belongs together.
            name: Of the run.
            tags: Further ones.
            parent: The tracked run under which it lies; that of ``mlflow_resource`` has the id ``mlflow_run_id``.
        """
        noted = {DAGSTER_RUN: context.run.run_id, **(tags or {})}
        with self.run(experiment, name, noted, parent) as tracked:
            context.instance.add_run_tags(context.run.run_id, {f"{MLFLOW_RUN}/{name}": tracked.run_id})
            yield tracked

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Note something of a run that has ended."""
        TrackedRun(self._client(), run_id).tag(tags)

    def find(self, experiment: str, tag: str, value: str) -> list[str]:
        """The ids of an experiment's runs that have a tag, the newest first."""
        client = self._client()
        if not (known := client.get_experiment_by_name(experiment)):
            return []
        return [run.info.run_id for run in client.search_runs([known.experiment_id], f"tags.`{tag}` = '{value}'")]

    def remove(self, experiment: str, but: Collection[str] = ()) -> int:
        """Remove an experiment's runs for good, deleted ones too: their figures, their files, and what a store keeps of deleted runs.

        Args:
            experiment: Its name; nothing happens where there is none.
            but: Ids of runs that stay.

        Returns:
            How many were removed.

        Raises:
            PermanentError: A server keeps the store: only who runs it can sweep it, with ``mlflow gc``.
        """
        client = self._client()
        if not (known := client.get_experiment_by_name(experiment)):
            return 0
        from mlflow.entities import ViewType
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        found, token = list[Any](), ""
        while token is not None:
            page = client.search_runs([known.experiment_id], run_view_type=ViewType.ALL, page_token=token or None)
            found += [run.info for run in page if run.info.run_id not in but]
            token = page.token or None
        store: Any = client._tracking_client.store
        if found and not hasattr(store, "_hard_delete_run"):
            raise PermanentError("the server of MLflow keeps deleted runs; sweep it with mlflow gc")
        for info in found:
            if info.lifecycle_stage == "active":
                client.delete_run(info.run_id)
            if info.artifact_uri.startswith("file:"):
                # A copied or restored store still names the folder that it was copied from, which is somebody else's.
                shutil.rmtree(Path(unquote(urlsplit(self._files).path)) / experiment / info.run_id, ignore_errors=True)
            else:
                get_artifact_repository(info.artifact_uri).delete_artifacts()
            store._hard_delete_run(info.run_id)
        return len(found)

    def join(self, experiment: str, name: str, dagster_run_id: str) -> str:
        """The tracked run of a whole Dagster run: found by its tag, or made."""
        with self._locks.exclusive("mlflow_runs"):
            if found := self.find(experiment, DAGSTER_RUN, dagster_run_id):
                return found[-1]
            tags = {NAME: name, DAGSTER_RUN: dagster_run_id}
            return self._client().create_run(self._experiment(experiment), tags=tags, run_name=name).info.run_id

    def _client(self) -> "MlflowClient":
        """The store, opened at the first use: a new one is created then, which takes some seconds."""
        if self._opened is None:
            _be_quiet()
            with self._locks.exclusive("mlflow"), _deaf_to_its_own_warnings():
                if self.url.startswith("sqlite:///"):
                    Path(self.url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
                from mlflow import MlflowClient

                self._opened = MlflowClient(tracking_uri=self.url)
                self._opened.search_experiments(max_results=1)  # the store itself is opened by the first question
        return self._opened

    def _experiment(self, name: str) -> str:
        client = self._client()
        if not (found := client.get_experiment_by_name(name)):
            with self._locks.exclusive("mlflow"):
                if not (found := client.get_experiment_by_name(name)):
                    is_served = self.url.startswith(("http://", "https://"))
                    return client.create_experiment(name, artifact_location=None if is_served else f"{self._files}/{name}")
        return found.experiment_id


def mlflow_resource(tracking: Tracking, experiment: str = "dagster") -> dg.ResourceDefinition:
    """dagster-mlflow's resource on the store of ``tracking``: a tracked run for the whole of a Dagster run that asks for it.

    Its ``mlflow_run_id`` is the ``parent`` of the runs of the models. It ends with each process of the run, as failed if a step
    has failed by then, which in dagster-mlflow takes a hook on each job.

    Args:
        tracking: Where it is tracked.
        experiment: Of these runs.
    """

    def start(context: dg.InitResourceContext) -> Iterator[Any]:
        run = context.run
        if run is None or context.instance is None:
            raise PermanentError("a tracked run belongs to a run of Dagster")
        joined = tracking.join(experiment, run.job_name, run.run_id)
        config = {"experiment_name": experiment, "mlflow_tracking_uri": tracking.url, "mlflow_run_id": joined, "env": {}, "extra_tags": {}}
        with _deaf_to_its_own_warnings():
            from dagster_mlflow.resources import MlFlow

            # It resumes the run that was made for it: of one that it starts itself MLflow notes the user and the script's path.
            tracked = MlFlow(context.replace_config(config))
        try:
            yield tracked
        finally:
            has_failed = context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            with _deaf_to_its_own_warnings():
                tracked.end_run("FAILED" if has_failed else "FINISHED")  # pyright: ignore[reportAttributeAccessIssue]: MLflow's, copied by its metaclass

    return dg.ResourceDefinition(contextmanager(start))


def _be_quiet() -> None:
    """No telemetry, no look for a Git that is not there, no progress on the terminal; whoever set these otherwise is heeded."""
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DO_NOT_TRACK", "true"),
        ("GIT_PYTHON_REFRESH", "quiet"),
        ("MLFLOW_LOGGING_LEVEL", "WARNING"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
    ):
        os.environ.setdefault(name, value)


@contextmanager
def _deaf_to_its_own_warnings() -> Iterator[None]:
    """MLflow's tables use what SQLAlchemy deprecates, and dagster-mlflow is marked beta: nothing that a reader could mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
