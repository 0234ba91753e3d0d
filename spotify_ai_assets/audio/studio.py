"""What the assets of audio work with beside the lake: the store of originals, the pool that measures them, models and their tracking.

One resource, opened by what needs it: a step that reads cached analyses starts no process, one that trains nothing opens no registry.
"""

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from spotify_ai_assets.audio.analysis import Analysis
    from spotify_ai_assets.audio.intake.landing import LandedAudio
    from spotify_ai_assets.audio.intake.sandbox import Pool
    from spotify_ai_assets.audio.intake.store import Store
    from spotify_ai_assets.resources.artifacts import Artifacts
    from spotify_ai_assets.resources.tracking import TrackedRun, Tracking
    from spotify_ai_assets.training.registry import Registry

_LOG = logging.getLogger(__name__)
_TOLD_EVERY = 50

Progress = Callable[[str, int, int], None]
"""Told what is done, how many of it, and of how many; 0 where that is not known."""


@dataclass(frozen=True)
class Studio:
    """The workplace of one step.

    Attributes:
        settings: Where everything lies, and how large models are.
        context: The Dagster step that works in it; ``None`` outside of one.
        watch: Told how far the work is, beside the log.
    """

    settings: Settings
    context: Any = None
    watch: Progress = lambda what, done, total: None

    def at(self, context: Any) -> "Studio":
        """The same workplace for a step."""
        return replace(self, context=context)

    @property
    def model(self) -> str:
        """The key of the asset that is being made, by which the registry knows its model."""
        return self.context.asset_key.to_user_string()

    @cached_property
    def store(self) -> "Store":
        """Originals and analyses."""
        from spotify_ai_assets.audio.intake.store import Store

        return Store(self.settings.data)

    @cached_property
    def pool(self) -> "Pool":
        """The pool of confined processes; it starts with its first file and ends with the step."""
        from spotify_ai_assets.audio.intake.sandbox import Pool

        pool = Pool(self.settings.audio_workers)
        weakref.finalize(self, pool.close)
        return pool

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

    def origin(self, run: "TrackedRun") -> dict[str, str]:
        """Who made a version: the tracked run, and the Dagster run."""
        dagster = {"dagster_run_id": self.context.run.run_id} if self.context is not None else {}
        return {"mlflow_run_id": run.run_id, **dagster}

    def analyses(self, file_ids: Iterable[str]) -> "Iterator[tuple[str, Analysis]]":
        """The analyses of files in the store: from the cache, measured only where they are missing.

        A file that this extractor refuses, though an earlier one took it, is told and left out.
        """
        from spotify_ai_assets.audio.analysis import Analysis
        from spotify_ai_assets.audio.intake.taking import measure

        wanted = sorted(file_ids)
        for done, (file_id, found) in enumerate(measure(wanted, self.store, self.pool), 1):
            if isinstance(found, Analysis):
                yield file_id, found
            else:
                _LOG.warning("%s: not measured, %s: %s", file_id[:12], found.rule, found.reason)
            self.tell("measured", done, len(wanted))

    def draw(self, file_id: str, fault: str) -> bytes | None:
        """A picture of a fault of a file, as PNG, drawn where the file is decoded; ``None`` where the fault has none."""
        from spotify_ai_assets.audio.faults.judgement import FAULTS
        from spotify_ai_assets.audio.intake.sandbox import Answer

        if fault not in FAULTS or not self.store.has(file_id):
            return None
        answer = self.pool.ask(f"draw {fault}", self.store.original(file_id))
        return bytes(answer.payload) if isinstance(answer, Answer) else None

    def mono(self, file_ids: Iterable[str]) -> "dict[str, np.ndarray]":
        """At most 30 seconds from the middle of files, decoded in the pool: mono, float32, 22,050 Hz."""
        import numpy as np

        from spotify_ai_assets.audio.intake.sandbox import Answer

        found = self.pool.each(sorted(file_ids), lambda file_id: self.pool.ask("mono", self.store.original(file_id)))
        return {file_id: np.frombuffer(answer.payload, np.float32).copy() for file_id, answer in found if isinstance(answer, Answer)}

    def tell(self, what: str, done: int, total: int = 0) -> None:
        """Tell how far the work is: the command line each step, the log every so many."""
        self.watch(what, done, total)
        if done % _TOLD_EVERY == 0:
            _LOG.info("%s: %d%s", what, done, f" of {total}" if total else "")


def open_audio_landing(settings: Settings) -> "LandedAudio":
    """What lies in audio's folder of the landing spool now."""
    import time

    from spotify_ai_assets.audio.intake.landing import FOLDER, LandedAudio

    return LandedAudio(settings.landing / FOLDER, time.time())
