"""What is like a track or an artist, and what follows on the radio."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.recommendations.serving.answers import Ask, Recommended, SimilarArtist
from spotify_ai_assets.recommendations.serving.filters import NO_FILTERS, Blocks, Filters, allow
from spotify_ai_assets.recommendations.serving.merging import History, make_history, stack_histories
from spotify_ai_assets.recommendations.serving.reasons import continue_from, liken
from spotify_ai_assets.recommendations.serving.shelves import MOST_OF_AN_ARTIST, RADIO, fill
from spotify_ai_assets.recommendations.serving.stock import Stock, find_vectors

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

Neighbour = tuple[str, float]
"""An id and how near it is."""

SHARED_LISTENERS = 3
"""So many must have played both before it is said that people play both: fewer could be told apart."""

_SEED_WEIGHT = float(np.log(2))
"""Of a track that was played once to its end; the last of several has it."""
_LOOKED_AT = 4
"""Neighbours looked at for each place at first, and the factor by which they grow while rules leave too few."""


def find_similar_tracks(
    stock: Stock, track_ids: Sequence[str], k: int, blocks: Blocks, filters: Filters = NO_FILTERS
) -> list[list[Recommended]]:
    """The tracks nearest to each of several tracks, at most two of an artist; none for a track that has no vector.

    Args:
        stock: What the release knows.
        track_ids: The tracks.
        k: How many for each.
        blocks: What is blocked; blocks of single listeners do not count.
        filters: What to leave out besides.

    Raises:
        MissingInputError: A track is none of the release.
    """
    rows = np.array([_row_of(stock, each) for each in track_ids], np.int64)
    allowed = allow(stock.items, _barred(blocks, filters), allow_explicit=filters.allow_explicit)
    walks = _walk(stock.tracks, stock.vectors_of(rows), k)
    return [_show_tracks(stock, int(row), _take_tracks(stock, int(row), near, k, allowed)) for row, near in zip(rows, walks, strict=True)]


def _take_tracks(stock: Stock, row: int, near: Iterable[Neighbour], k: int, allowed: np.ndarray) -> list[tuple[int, float]]:
    taken: list[tuple[int, float]] = []
    of_artist: dict[int, int] = {}
    for track_id, score in near:
        other = stock.items.numbers.get(track_id)
        if other is None or other == row or not allowed[other]:
            continue
        artist = int(stock.items.artists[other])
        of_artist[artist] = of_artist.get(artist, 0) + 1
        if of_artist[artist] <= MOST_OF_AN_ARTIST:
            taken.append((other, score))
        if len(taken) == k:
            break
    return taken


def _show_tracks(stock: Stock, row: int, near: list[tuple[int, float]]) -> list[Recommended]:
    others = np.array([other for other, _ in near], np.int64)
    shared = stock.count_shared(np.full(len(others), row), others)
    name, known = str(stock.items.names[row]), stock.items.known
    return [
        stock.show(
            place,
            other,
            score,
            reason=liken("plays" if max(row, other) < known else "content", name, is_shared=count >= SHARED_LISTENERS),
        )
        for place, ((other, score), count) in enumerate(zip(near, shared, strict=True))
    ]


def find_similar_artists(
    stock: Stock, artist_ids: Sequence[str], k: int, blocks: Blocks, filters: Filters = NO_FILTERS
) -> list[list[SimilarArtist]]:
    """The artists nearest to each of several artists; none for an artist that has no vector.

    Args:
        stock: What the release knows.
        artist_ids: The artists.
        k: How many for each.
        blocks: What is blocked; blocks of single listeners do not count.
        filters: What to leave out besides.

    Raises:
        MissingInputError: An artist has no track in the release.
    """
    numbers = []
    for artist_id in artist_ids:
        if (number := stock.items.artist_number(artist_id)) is None:
            raise MissingInputError(f"no track of {artist_id} is in the release")
        numbers.append(number)
    barred = _barred(blocks, filters)
    walks = _walk(stock.artists, find_vectors(stock.artists, artist_ids), k)
    return [
        _show_artists(stock, number, _take_artists(stock, artist_id, near, k, barred))
        for artist_id, number, near in zip(artist_ids, numbers, walks, strict=True)
    ]


def _take_artists(stock: Stock, artist_id: str, near: Iterable[Neighbour], k: int, barred: frozenset[str]) -> list[tuple[int, float]]:
    taken: list[tuple[int, float]] = []
    for other, score in near:
        number = stock.items.artist_number(other)
        if number is not None and other != artist_id and other not in barred:
            taken.append((number, score))
        if len(taken) == k:
            break
    return taken


def _show_artists(stock: Stock, artist: int, near: list[tuple[int, float]]) -> list[SimilarArtist]:
    others = np.array([other for other, _ in near], np.int64)
    shared = stock.count_shared_artists(artist, others)
    name, is_played = str(stock.items.artist_names[artist]), stock.is_played
    return [
        SimilarArtist(
            place + 1,
            str(stock.items.artist_ids[other]),
            str(stock.items.artist_names[other]),
            float(score),
            liken("plays" if is_played[other] and is_played[artist] else "content", name, is_shared=count >= SHARED_LISTENERS),
        )
        for place, ((other, score), count) in enumerate(zip(near, shared, strict=True))
    ]


def play_radio(
    stock: Stock, seeds: Sequence[Sequence[str]], k: int, blocks: Blocks, filters: Filters = NO_FILTERS
) -> list[list[Recommended]]:
    """What follows some tracks, at most two of an artist and none of those tracks; the next-item model says so where there is one.

    Where the model knows none of the tracks, as when they have just come out, it is what is like the last of them.

    Args:
        stock: What the release knows.
        seeds: Tracks in the order in which they were played, once for each answer.
        k: How many for each.
        blocks: What is blocked; blocks of single listeners do not count.
        filters: What to leave out besides.

    Raises:
        MissingInputError: A track is none of the release, or there is none.
    """
    if not all(seeds):
        raise MissingInputError("a radio begins with a track")
    rows = [[_row_of(stock, each) for each in played] for played in seeds]
    asks = [Ask(_line_up(played, filters.country or ""), "", filters) for played in rows]
    heard = stack_histories([ask.history for ask in asks], len(stock.items))
    allowed = allow(stock.items, _barred(blocks, filters), allow_explicit=filters.allow_explicit)
    filled = fill(RADIO, stock.score(asks, is_radio=True), heard, stock.items, k, ends_on=stock.ends_on, allowed=allowed[None, :])
    answers = []
    for place, (ask, played) in enumerate(zip(asks, seeds, strict=True)):
        if not len(known := stock.known_of(ask.history)):
            answers.extend(find_similar_tracks(stock, [played[-1]], k, blocks, filters))
            continue
        chosen = filled.items[place][filled.items[place] >= 0]
        weighed = stock.weigh(ask, chosen, is_radio=True)
        answers.append(
            [
                stock.show(
                    at,
                    int(item),
                    filled.scores[place, at],
                    reason=continue_from(each, str(stock.items.names[known[each.plays[0]] if len(each.plays) else rows[place][-1]])),
                )
                for at, (item, each) in enumerate(zip(chosen, weighed, strict=True))
            ]
        )
    return answers


def _line_up(rows: Sequence[int], country: str) -> History:
    """Tracks as a history in which the later weigh more, as a model of the next item reads it."""
    return make_history({row: _SEED_WEIGHT * (place + 1) / len(rows) for place, row in enumerate(rows)}, country)


def _walk(index: "VectorIndex", vectors: np.ndarray, k: int) -> Iterator[Iterator[Neighbour]]:
    """For each vector its neighbours, the nearest first: a few times as many as are wanted, found for all at once, then more if asked for.

    A vector of zeros has none.
    """
    count = min(k * _LOOKED_AT + 1, len(index))
    ids, scores = index.search(vectors, count)
    for row, vector in enumerate(vectors):
        yield _go_on(index, vector, ids[row], scores[row]) if np.any(vector) else iter(())


def _go_on(index: "VectorIndex", vector: np.ndarray, ids: Sequence[str], scores: np.ndarray) -> Iterator[Neighbour]:
    told = set[str]()
    while True:
        for other, score in zip(ids, scores, strict=True):
            if other and other not in told:
                told.add(other)
                yield other, float(score)
        if len(ids) >= len(index):
            return
        found = index.search(vector[None], min(len(ids) * _LOOKED_AT, len(index)))
        ids, scores = found[0][0], found[1][0]


def _row_of(stock: Stock, track_id: str) -> int:
    row = stock.items.numbers.get(track_id)
    if row is None:
        raise MissingInputError(f"there is no track {track_id} in the release")
    return row


def _barred(blocks: Blocks, filters: Filters) -> frozenset[str]:
    return blocks.ids_for("", filters.country or "") | filters.hidden
