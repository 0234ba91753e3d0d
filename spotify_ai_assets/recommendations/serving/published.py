"""The rows of the published tables: shelves of listeners, similar tracks and artists, radio, all from one release."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from spotify_ai_assets.contracts import Table, shard_of
from spotify_ai_assets.recommendations.contracts import FOR_LISTENERS, RADIO, SHELVES, SIMILAR_ARTISTS, SIMILAR_TRACKS
from spotify_ai_assets.recommendations.serving.answers import Ask, Recommended
from spotify_ai_assets.recommendations.serving.filters import Blocks
from spotify_ai_assets.recommendations.serving.likeness import find_similar_artists, find_similar_tracks, play_radio
from spotify_ai_assets.recommendations.serving.reasons import Reason
from spotify_ai_assets.recommendations.serving.shelving import fill_shelves
from spotify_ai_assets.recommendations.serving.stock import Stock
from spotify_ai_assets.settings import LANGUAGES

if TYPE_CHECKING:
    import pyarrow as pa

PLACES, NEIGHBOURS = 20, 10

_AT_ONCE = 256
"""Listeners or tracks asked for at once: their scores of all items are in memory together."""

Watch = Callable[[int, int], None]
"""Told how many listeners or tracks are done, and of how many."""


def shelf_rows(stock: Stock, shard: str, blocks: Blocks, k: int = PLACES, watch: Watch | None = None) -> pl.DataFrame:
    """The shelves of a shard's listeners.

    Args:
        stock: What the release knows.
        shard: Of the listeners' pseudonyms.
        blocks: What is blocked.
        k: Places of each shelf.
        watch: Told how far it is.

    Returns:
        Rows of ``recommendations/for_listeners``.
    """
    listeners = [str(each) for each in stock.histories.histories.listeners if shard_of(str(each)) == shard]
    rows: list[dict[str, Any]] = []
    for some in _batches(listeners, watch):
        asks = [Ask(stock.history_of(listener), listener) for listener in some]
        for shelf, answers in fill_shelves(stock, asks, SHELVES, k, blocks, explain=True).items():
            for listener, tracks in zip(some, answers, strict=True):
                rows.extend(_shelf_row(shard, listener, shelf, track, stock.version) for track in tracks)
    return _frame(FOR_LISTENERS, rows)


def similar_track_rows(stock: Stock, shard: str, blocks: Blocks, k: int = NEIGHBOURS, watch: Watch | None = None) -> pl.DataFrame:
    """What is like a shard's tracks; arguments as of ``shelf_rows``.

    Returns:
        Rows of ``recommendations/similar_tracks``.
    """
    rows: list[dict[str, Any]] = []
    for some in _batches(_tracks_of(stock, shard), watch):
        rows.extend(_track_rows(shard, some, find_similar_tracks(stock, some, k, blocks), stock.version))
    return _frame(SIMILAR_TRACKS, rows)


def radio_rows(stock: Stock, shard: str, blocks: Blocks, k: int = PLACES, watch: Watch | None = None) -> pl.DataFrame:
    """What follows a shard's tracks on the radio; arguments as of ``shelf_rows``.

    Returns:
        Rows of ``recommendations/radio``.
    """
    rows: list[dict[str, Any]] = []
    for some in _batches(_tracks_of(stock, shard), watch):
        rows.extend(_track_rows(shard, some, play_radio(stock, [[track] for track in some], k, blocks), stock.version))
    return _frame(RADIO, rows)


def similar_artist_rows(stock: Stock, blocks: Blocks, k: int = NEIGHBOURS, watch: Watch | None = None) -> pl.DataFrame:
    """What is like each artist; arguments as of ``shelf_rows``.

    Returns:
        Rows of ``recommendations/similar_artists``.
    """
    rows: list[dict[str, Any]] = []
    for some in _batches([str(each) for each in stock.items.artist_ids if each], watch):
        for artist_id, near in zip(some, find_similar_artists(stock, some, k, blocks), strict=True):
            rows.extend(
                {
                    "artist_id": artist_id,
                    "rank": each.rank,
                    "similar_artist_id": each.artist_id,
                    "score": each.score,
                    **_told(each.reason),
                    "release": stock.version,
                }
                for each in near
            )
    return _frame(SIMILAR_ARTISTS, rows)


def _tracks_of(stock: Stock, shard: str) -> list[str]:
    kept = stock.items.tracks[~stock.items.is_removed]
    return [str(each) for each in kept if shard_of(str(each)) == shard]


def _batches(ids: list[str], watch: Watch | None) -> Iterator[list[str]]:
    for first in range(0, len(ids), _AT_ONCE):
        yield ids[first : first + _AT_ONCE]
        if watch:
            watch(min(first + _AT_ONCE, len(ids)), len(ids))


def _shelf_row(shard: str, listener: str, shelf: str, track: Recommended, release: str) -> dict[str, Any]:
    return {
        "shard": shard,
        "listener_id": listener,
        "shelf": shelf,
        "rank": track.rank,
        "track_id": track.track_id,
        "artist_id": track.artist_id,
        "score": track.score,
        "propensity": track.propensity,
        "because": list(track.reason.because) if track.reason else [],
        "shares": list(track.reason.shares) if track.reason else [],
        **_told(track.reason),
        "release": release,
    }


def _track_rows(shard: str, tracks: Sequence[str], answers: Iterable[list[Recommended]], release: str) -> Iterator[dict[str, Any]]:
    for track_id, near in zip(tracks, answers, strict=True):
        for each in near:
            yield {
                "shard": shard,
                "track_id": track_id,
                "rank": each.rank,
                "similar_track_id": each.track_id,
                "score": each.score,
                **_told(each.reason),
                "release": release,
            }


def _told(reason: Reason | None) -> dict[str, str]:
    assert reason is not None, "what is published has its reason"
    return {"reason": reason.kind, **{f"reason_{language}": reason.say(language) for language in LANGUAGES}}


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    import pyarrow as pa

    # By way of Arrow: polars makes a series of its own for every list in a column.
    columns = {
        name: pl.Series(name, pa.array([row[name] for row in rows], _arrow(dtype)), dtype=dtype) for name, dtype in table.schema.items()
    }
    return pl.DataFrame(columns).sort(table.primary_key)


def _arrow(dtype: pl.DataType) -> "pa.DataType":
    return pl.Series([], dtype=dtype).to_arrow().type
