"""What the assets of audio work with beside the lake: the store of originals, the pool that measures them, models and their tracking.

One resource, opened by what needs it: a step that reads cached analyses starts no process, one that trains nothing opens no registry.
"""

import logging
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from spotify_ai_assets.listening.landing import AUDIO
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.training.workplace import Workplace

if TYPE_CHECKING:
    import numpy as np

    from spotify_ai_assets.audio.analysis import Analysis
    from spotify_ai_assets.audio.intake.landing import LandedAudio
    from spotify_ai_assets.audio.intake.sandbox import Pool
    from spotify_ai_assets.audio.intake.store import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Studio(Workplace):
    """The workplace of one step of audio."""

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
            self.tell(_("files measured"), done, len(wanted))

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


def open_audio_landing(settings: Settings) -> "LandedAudio":
    """What lies in audio's folder of the landing spool now."""
    import time

    from spotify_ai_assets.audio.intake.landing import LandedAudio

    return LandedAudio(settings.landing / AUDIO, time.time())
