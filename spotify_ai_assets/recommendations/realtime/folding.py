"""Vectors of listeners, brought up to date by what they played just now: folding in is one sparse product for many of them.

The release's index of listeners is a file that never changes. What changed since lies over it: in the live store for every process,
and in this process' own copy of the index, which can be searched.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.recommendations.realtime.live import Live
from spotify_ai_assets.recommendations.serving.items import Items
from spotify_ai_assets.recommendations.serving.merging import merge_plays, stack_histories

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.indices.histories import ServedHistories
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
    from spotify_ai_assets.recommendations.models.contract import Embeds
    from spotify_ai_assets.recommendations.releases import OpenedRelease, Releases

_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class _Space:
    """What of a release places listeners; there is no model where it has no space."""

    version: str
    items: Items
    histories: "ServedHistories"
    index: "VectorIndex"
    model: "Embeds | None"


class Folding:
    """Places listeners in the space of the release that serves.

    Args:
        releases: Tell which release serves; before the first there is nothing to do.
        live: Has the plays, and is told the vectors.
    """

    def __init__(self, releases: "Releases", live: Live) -> None:
        self._releases, self._live = releases, live
        self._space: _Space | None = None

    def __call__(self, listeners: Collection[str]) -> None:
        """Fold in the plays of listeners.

        Raises:
            PermanentError: The release cannot be opened.
            LiveError: The live store does not answer.
        """
        space = self._current()
        if space is None or space.model is None:
            return
        everybody = sorted(listeners)
        for start in range(0, len(everybody), _TOGETHER):
            some = everybody[start : start + _TOGETHER]
            plays = self._live.plays_of(some)
            heard = [merge_plays(space.histories, listener, plays[listener], space.items) for listener in some]
            vectors = space.model.fold_in(stack_histories(heard, space.items.known))
            lengths = np.linalg.norm(vectors, axis=1)
            placed = np.flatnonzero(lengths)
            ids, units = [some[place] for place in placed], (vectors[placed] / lengths[placed, None]).astype(np.float32)
            self._live.put_vectors(space.version, dict(zip(ids, units, strict=True)))
            space.index.add(ids, units)

    def nearest(self, listener: str, k: int) -> list[str]:
        """The listeners most like one by now, the nearest first; none of one who is nowhere."""
        space = self._current()
        if space is None or listener not in space.index:
            return []
        allowed = ~space.index.allow([listener])
        return [each for each in space.index.search(space.index.vectors_of([listener]), k, allowed)[0][0] if each]

    def _current(self) -> _Space | None:
        version = self._releases.current()
        if version is None:
            return None
        if self._space is None or self._space.version != version:
            self._space = self._releases.read_current(_read_space)
        return self._space


def _read_space(opened: "OpenedRelease") -> _Space:
    from spotify_ai_assets.recommendations.models.contract import Embeds
    from spotify_ai_assets.recommendations.models.recipes import unpack

    model = unpack(opened.model_folder)
    places = model if isinstance(model, Embeds) else None
    return _Space(opened.version, Items.from_frame(opened.items), opened.histories, opened.listeners, places)
