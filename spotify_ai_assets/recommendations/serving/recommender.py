"""The object that a service holds: it answers from the release that serves, sees at once when another does, and counts live plays."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from spotify_ai_assets.errors import PermanentError, TransientError
from spotify_ai_assets.recommendations.contracts import BLOCKS
from spotify_ai_assets.recommendations.serving.answers import Ask, Recommended, SimilarArtist
from spotify_ai_assets.recommendations.serving.filters import NO_FILTERS, Blocks, Filters
from spotify_ai_assets.recommendations.serving.likeness import find_similar_artists, find_similar_tracks, play_radio
from spotify_ai_assets.recommendations.serving.merging import History, LivePlay
from spotify_ai_assets.recommendations.serving.shelves import POLICIES
from spotify_ai_assets.recommendations.serving.shelving import fill_shelves
from spotify_ai_assets.recommendations.serving.stock import Stock
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.releases import OpenedRelease, Releases

_LOG = logging.getLogger(__name__)

LOOK_S = 0.05
"""How often at most it looks which release serves."""

BLOCKS_S = 2.0
"""How often at most it looks what is blocked."""


class Live(Protocol):
    """Where plays are that came in since."""

    def plays(self, listener: str) -> Sequence[LivePlay]:
        """The plays of a listener, by their pseudonym."""
        ...


class Recommender:
    """Answers for services, in milliseconds; threads may share one.

    It opens what serves now, so that the first answer is as fast as the others. Whoever is the first to ask after another release has
    begun to serve waits until that is open; all others get answers from the one before meanwhile.

    Args:
        settings: Where everything lies.
        live: Plays that came in since the release was made; none unless given.
        releases: Instead of those of the settings.
        blocks: What is blocked, asked every few seconds, instead of ``recommendations/blocks`` in the lake.
        clock: Seconds that only rise.

    Raises:
        UnknownReleaseError: None serves yet.
        MismatchedReleaseError: Versions that do not belong together.
    """

    def __init__(
        self,
        settings: Settings,
        live: Live | None = None,
        *,
        releases: "Releases | None" = None,
        blocks: Callable[[], Blocks] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from spotify_ai_assets.recommendations.releases import open_releases

        self._live, self._clock = live, clock
        self._releases = releases or open_releases(settings)
        self._read_blocks = blocks or _BlocksOfLake(settings)
        self._swapping, self._looking = threading.Lock(), threading.Lock()
        self._stock = self._releases.read_current(_prepare)
        self._refused: str | None = None
        self._blocks = self._read_blocks()
        self._looked_at = self._blocks_at = clock()

    @property
    def version(self) -> str:
        """The release that answers now."""
        return self._current().version

    def recommend(
        self, listener: str, shelf: str = "daily_mix", k: int = 20, filters: Filters = NO_FILTERS, *, explain: bool = False
    ) -> list[Recommended]:
        """A shelf of a listener; of somebody without a history what is popular in their country.

        Args:
            listener: Pseudonym; an empty text for nobody in particular.
            shelf: One of ``shelves.POLICIES``.
            k: Places; fewer come only where the rules leave no more.
            filters: What to leave out, and the country.
            explain: Whether each track comes with its reason.
        """
        stock = self._current()
        ask = Ask(self._history(stock, listener), listener, filters)
        return fill_shelves(stock, [ask], [shelf], k, self._blocked(), explain=explain)[shelf][0]

    def history(self, listener: str) -> History:
        """What a listener has heard: what the release knows, and live plays, each counted once."""
        return self._history(self._current(), listener)

    def similar_tracks(self, track_id: str, k: int = 10, filters: Filters = NO_FILTERS) -> list[Recommended]:
        """The tracks nearest to one.

        Raises:
            MissingInputError: It is none of the release.
        """
        return find_similar_tracks(self._current(), [track_id], k, self._blocked(), filters)[0]

    def similar_artists(self, artist_id: str, k: int = 10, filters: Filters = NO_FILTERS) -> list[SimilarArtist]:
        """The artists nearest to one.

        Raises:
            MissingInputError: They have no track in the release.
        """
        return find_similar_artists(self._current(), [artist_id], k, self._blocked(), filters)[0]

    def radio(self, seeds: Sequence[str], k: int = 20, filters: Filters = NO_FILTERS) -> list[Recommended]:
        """What follows some tracks, which are given in the order in which they were played.

        Raises:
            MissingInputError: One of them is none of the release, or there is none.
        """
        return play_radio(self._current(), [seeds], k, self._blocked(), filters)[0]

    def _history(self, stock: Stock, listener: str) -> History:
        return stock.history_of(listener, self._plays(listener))

    def _plays(self, listener: str) -> Sequence[LivePlay]:
        if self._live is None or not listener:
            return ()
        try:
            return self._live.plays(listener)
        except TransientError as error:  # what the release knows is an answer too
            _LOG.warning("live plays are left out: %s", error)
            return ()

    def _current(self) -> Stock:
        """What answers now: the release that serves, which is looked up once in a while."""
        if self._clock() - self._looked_at < LOOK_S or not self._swapping.acquire(blocking=False):
            return self._stock
        try:
            self._looked_at = self._clock()
            if (version := self._releases.current()) not in (None, self._stock.version, self._refused):
                self._swap(version)
            return self._stock
        finally:
            self._swapping.release()

    def _swap(self, version: str | None) -> None:
        try:
            self._stock = self._releases.read_current(_prepare)
        except PermanentError as error:  # a release that cannot be opened is no reason to stop answering from a good one
            self._refused = version
            _LOG.error("release %s cannot be opened, %s goes on: %s", version, self._stock.version, error)

    def _blocked(self) -> Blocks:
        if self._clock() - self._blocks_at >= BLOCKS_S and self._looking.acquire(blocking=False):
            try:
                self._blocks, self._blocks_at = self._read_blocks(), self._clock()
            finally:
                self._looking.release()
        return self._blocks


def _prepare(opened: "OpenedRelease") -> Stock:
    """A release that has answered one question of each kind, so that nobody waits for what is made once."""
    stock = Stock(opened)
    somebody = [str(each) for each in stock.histories.histories.listeners[:1]]
    asks = [Ask(stock.history_of(listener), listener) for listener in ("", *somebody)]
    fill_shelves(stock, asks, list(POLICIES), 1, Blocks(), explain=True)
    for track in np.flatnonzero(~stock.items.is_removed)[:1]:
        play_radio(stock, [[str(stock.items.tracks[track])]], 1, Blocks())
        find_similar_tracks(stock, [str(stock.items.tracks[track])], 1, Blocks())
        find_similar_artists(stock, [stock.items.artist_of(track)[0]], 1, Blocks())
    return stock


class _BlocksOfLake:
    """What ``recommendations/blocks`` holds, read again only when another version of the table was committed."""

    def __init__(self, settings: Settings) -> None:
        from spotify_ai_assets.resources import open_lake

        self._lake = open_lake(settings, {BLOCKS.key: BLOCKS})
        self._digest: str | None = None
        self._found = Blocks()

    def __call__(self) -> Blocks:
        """The blocks of now."""
        state = self._lake.state(BLOCKS.key, None)
        if state is not None and state.digest != self._digest:
            self._found, self._digest = Blocks.from_frame(self._lake.open(BLOCKS.key, [state]).collect()), state.digest
        return self._found
