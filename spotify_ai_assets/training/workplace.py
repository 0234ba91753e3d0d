"""What a step that trains, or answers with what was trained, works with: the registry, the tracking of trainings, and its progress."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Self, TypeVar

import polars as pl

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.training.errors import GateFailedError, UnknownModelError
from spotify_ai_assets.training.images import champion_rows

if TYPE_CHECKING:
    from spotify_ai_assets.making import Inputs
    from spotify_ai_assets.resources.artifacts import Artifacts, Content
    from spotify_ai_assets.resources.tracking import TrackedRun, Tracking
    from spotify_ai_assets.training.manifests import Manifest, Metric
    from spotify_ai_assets.training.registry import Entry, Registry

_LOG = logging.getLogger(__name__)
_TOLD_EVERY = 50

Progress = Callable[[str, int, int], None]
"""Told what is done, how many of it, and of how many; 0 where that is not known."""


@dataclass(frozen=True)
class Workplace:
    """The workplace of one step; each part is opened by what needs it.

    Attributes:
        settings: Where everything lies, and how large models are.
        context: The Dagster step that works in it; ``None`` outside of one.
        watch: Told how far the work is, beside the log.
    """

    settings: Settings
    context: Any = None
    watch: Progress = lambda what, done, total: None

    def at(self, context: Any) -> Self:
        """The same workplace for a step."""
        return replace(self, context=context)

    @property
    def model(self) -> str:
        """The key of the asset that is being made, by which the registry knows its model."""
        return self.context.asset_key.to_user_string()

    @cached_property
    def tracking(self) -> "Tracking":
        """Where trainings are recorded."""
        from spotify_ai_assets.resources.locks import FileLocks
        from spotify_ai_assets.resources.tracking import Tracking

        return Tracking(self.settings.tracking_url, self.settings.data / "mlflow" / "files", FileLocks(self.settings.data / "locks"))

    @cached_property
    def artifacts(self) -> "Artifacts":
        """The files of models."""
        from spotify_ai_assets.resources.artifacts import open_artifacts

        return open_artifacts(self.settings)

    @cached_property
    def registry(self) -> "Registry":
        """Models, and who serves."""
        from spotify_ai_assets.training.registry import Registry

        return Registry(self.artifacts, self.tracking)

    @contextmanager
    def tracked(self, model: str) -> "Iterator[TrackedRun]":
        """Record a training; the tracked run and the Dagster run name each other, and the asset's metadata names it."""
        if self.context is None:
            with self.tracking.run(model, model.replace("/", " ")) as run:
                yield run
        else:
            with self.tracking.run_of(self.context, model, model.replace("/", " ")) as run:
                yield run
            self.context.add_asset_metadata({"mlflow_run_id": run.run_id}, asset_key=self.context.asset_key)

    def champion(self, model: str) -> "Entry | None":
        """The version of a model that serves, if one does."""
        try:
            return self.registry.entry(model)
        except UnknownModelError:
            return None

    def serve(self, run: "TrackedRun", model: str, files: "Mapping[str, Content]", manifest: "Manifest") -> pl.DataFrame:
        """Keep a version and promote it if its gate lets it.

        Returns:
            The rows of the model's table: of whoever serves now.
        """
        run.log_metrics({_metric_name(metric): metric.value for metric in manifest.metrics})
        entry = self.registry.add(model, files, manifest, self.origin(run))
        try:
            self.registry.promote(model, entry.version, origin=self.origin(run))
            _LOG.info("%s: version %s passed its gate and serves", model, entry.version)
        except GateFailedError as error:
            _LOG.warning("%s: version %s does not serve: %s", model, entry.version, error)
        run.log_text(self.registry.card(model, entry.version), "card.md")
        return champion_rows(self.registry, model)

    def origin(self, run: "TrackedRun") -> dict[str, str]:
        """Who made a version: the tracked run, and the Dagster run."""
        dagster = {"dagster_run_id": self.context.run.run_id} if self.context is not None else {}
        return {"mlflow_run_id": run.run_id, **dagster}

    def tell(self, what: str, done: int, total: int = 0) -> None:
        """Tell how far the work is: the command line each step, the log every so many."""
        self.watch(what, done, total)
        if done % _TOLD_EVERY == 0:
            _LOG.info("%s: %d%s", what, done, f" of {total}" if total else "")


Place = TypeVar("Place", bound=Workplace)


def if_enough(learn: "Callable[[Inputs, Place], pl.DataFrame]") -> "Callable[[Inputs, Place], pl.DataFrame]":
    """A training that, where there is too little to learn from, says so and leaves the champion what it is."""

    @wraps(learn)
    def attempt(read: "Inputs", place: Place) -> pl.DataFrame:
        try:
            return learn(read, place)
        except MissingInputError as error:
            _LOG.warning("%s: nothing was trained: %s", place.model, error)
            return champion_rows(place.registry, place.model)

    return attempt


def _metric_name(metric: "Metric") -> str:
    kept = "".join(each if each.isascii() and (each.isalnum() or each in "_- ./") else "_" for each in metric.part)
    return f"{metric.name}/{kept}" if kept else metric.name
