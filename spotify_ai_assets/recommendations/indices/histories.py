"""What each listener has heard, as it is served: the histories of batch, and which recent plays they already hold.

It belongs to the listener index and is kept with it. Live plays come in beside it; a play is counted once, since its key tells
whether the batch has it already.
"""

import hashlib
import io
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.interactions import Histories
from spotify_ai_assets.recommendations.models.parts import shape_of

RECENT = timedelta(days=7)
"""How far back the keys of plays are kept: no live play that is older comes twice."""

_MATRIX, _LISTENERS, _ITEMS, _FACTS = "histories.npz", "history_listeners.parquet", "history_items.parquet", "histories.json"
_LISTENER_BITS = 28
_PLAY_BITS = 64 - _LISTENER_BITS
_REMOVED = "\x01"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def play_key(listener: str, started_at: datetime, track_id: str) -> int:
    """The key of a play: 64 bits, the first 28 of them the listener's, so that the keys of one listener lie side by side.

    Two plays of one listener share a key with probability 2^-36.

    Args:
        listener: Pseudonym.
        started_at: Aware; two zones of one moment are the same play.
        track_id: The track.
    """
    moment = (started_at - _EPOCH) // timedelta(microseconds=1)
    return _listener_part(listener) | _hash(f"{moment}\0{track_id}\0{listener}") >> _LISTENER_BITS


def play_keys(plays: pl.DataFrame) -> np.ndarray:
    """The keys of plays, sorted, each once.

    Args:
        plays: Columns ``listener_id``, ``started_at`` and ``track_id``.
    """
    columns = plays.select("listener_id", "started_at", "track_id").sort("listener_id")
    keys = (play_key(*row) for row in columns.iter_rows())
    return np.unique(np.fromiter(keys, np.uint64, columns.height))


def mark_removed(ids: np.ndarray, removed: Collection[str]) -> np.ndarray:
    """Ids with those removed replaced, each by what is before it with a mark: the order stays, and so does that each comes once.

    Earlier marks are made anew, since the id before them may be what is removed now.

    Args:
        ids: Strings; those of a sorted array stay sorted.
        removed: Ids that must not be seen any more; unknown ones are no error.
    """
    marked = np.array(ids, dtype=object)
    gone = np.isin(marked, np.array(list(removed), dtype=object)) | np.array([is_mark(each) for each in marked], bool)
    for place in np.flatnonzero(gone):
        marked[place] = (marked[place - 1] if place else "") + _REMOVED
    return marked


def is_mark(track_id: str) -> bool:
    """Whether an id only holds the place of a removed one."""
    return track_id.endswith(_REMOVED)


@dataclass(frozen=True, slots=True)
class ServedHistories:
    """Histories of all listeners at one moment.

    Attributes:
        histories: Weights, listeners, items, countries and what has no weight; the columns are the model's.
        recent: Keys of the plays of the last seven days that the weights count, uint64, sorted.
        as_of: The moment up to which plays are in it.
    """

    histories: Histories
    recent: np.ndarray
    as_of: datetime

    def number(self, listener: str) -> int | None:
        """The row of a listener; ``None`` of one without a history."""
        known = self.histories.listeners
        place = int(np.searchsorted(known, listener)) if len(known) else 0
        return place if place < len(known) and known[place] == listener else None

    def row(self, listener: str) -> csr_matrix | None:
        """The history of a listener, shape (1, items); ``None`` where there is none."""
        number = self.number(listener)
        if number is None:
            return None
        matrix = self.histories.matrix
        span = slice(matrix.indptr[number], matrix.indptr[number + 1])
        return csr_matrix((matrix.data[span], matrix.indices[span], np.array([0, span.stop - span.start])), shape=(1, shape_of(matrix)[1]))

    def weightless_of(self, listener: str) -> list[str]:
        """The tracks that a listener heard and that have no weight."""
        number = self.number(listener)
        if number is None:
            return []
        rows, tracks = self.histories.weightless
        # By a number of the rows' own type, lest all of them are converted for each listener.
        low, high = np.searchsorted(rows, np.int32(number), "left"), np.searchsorted(rows, np.int32(number), "right")
        columns = len(self.histories.items)
        return [
            str(self.histories.items[each] if each < columns else self.histories.others[each - columns])
            for each in tracks[low:high].tolist()
        ]

    def country(self, listener: str) -> str | None:
        """The last country of a listener; ``None`` where there is no history."""
        number = self.number(listener)
        return None if number is None else str(self.histories.countries[number])

    def recent_of(self, listener: str) -> np.ndarray:
        """The keys of a listener's recent plays, sorted."""
        first = _listener_part(listener)
        low = np.searchsorted(self.recent, np.uint64(first), "left")
        high = np.searchsorted(self.recent, np.uint64(first + (1 << _PLAY_BITS) - 1), "right")
        return self.recent[low:high]

    def holds(self, key: int) -> bool:
        """Whether the weights count the recent play with this key."""
        place = int(np.searchsorted(self.recent, np.uint64(key)))
        return place < len(self.recent) and int(self.recent[place]) == key

    def without(self, listeners: Collection[str] = (), tracks: Collection[str] = ()) -> "ServedHistories":
        """The same but for what is removed: rows of listeners with the keys of their plays, and the entries of tracks.

        Tracks keep their columns, since those are the model's; a mark stands for the id. Two listeners share the first bits of
        their keys with probability 2^-28, and then the recent keys of both are dropped.
        """
        gone = np.isin(self.histories.listeners, np.array(list(listeners), dtype=object))
        columns = np.isin(_tracks(self.histories), np.array(list(tracks), dtype=object))
        recent = np.zeros(len(self.recent), bool)
        for listener in listeners:
            recent |= np.isin(self.recent, self.recent_of(listener))
        return replace(self, histories=_cut(self.histories, ~gone, columns, tracks), recent=self.recent[~recent])

    def mentions(self, listeners: Collection[str] = (), tracks: Collection[str] = ()) -> bool:
        """Whether any of them is in it."""
        return any(self.number(each) is not None or len(self.recent_of(each)) for each in listeners) or bool(
            np.isin(_tracks(self.histories), np.array(list(tracks), dtype=object)).any()
        )

    def files(self) -> dict[str, bytes]:
        """Everything as files; equal histories give equal bytes."""
        matrix = self.histories.matrix
        arrays = {
            "indptr": matrix.indptr.astype(np.int64),
            "indices": matrix.indices.astype(np.int32),
            "data": matrix.data.astype(np.float32),
            "ages": self.histories.ages.astype(np.float32),
            "weightless": np.ascontiguousarray(self.histories.weightless, np.int32),
            "recent": self.recent.astype(np.uint64),
        }
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        facts = {"as_of": self.as_of.isoformat(), "items": len(self.histories.items), "listeners": len(self.histories.listeners)}
        return {
            _MATRIX: packed.getvalue(),
            _LISTENERS: _parquet(listener_id=self.histories.listeners, country=self.histories.countries),
            _ITEMS: _parquet(track_id=_tracks(self.histories)),
            _FACTS: json.dumps(facts, sort_keys=True).encode(),
        }

    @classmethod
    def from_files(cls, source: Path | Mapping[str, bytes]) -> "ServedHistories":
        """Read what ``files`` gave, from a folder or from the files themselves."""

        def read(name: str) -> io.BytesIO:
            return io.BytesIO(source[name] if isinstance(source, Mapping) else (source / name).read_bytes())

        facts = json.load(read(_FACTS))
        with np.load(read(_MATRIX), allow_pickle=False) as arrays:
            shape = facts["listeners"], facts["items"]
            matrix = csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
            ages, recent, weightless = arrays["ages"], arrays["recent"], arrays["weightless"]
        people = pl.read_parquet(read(_LISTENERS))
        tracks = pl.read_parquet(read(_ITEMS))["track_id"].to_numpy()
        items, others = tracks[: facts["items"]], tracks[facts["items"] :]
        histories = Histories(matrix, people["listener_id"].to_numpy(), items, people["country"].to_numpy(), ages, weightless, others)
        return cls(histories, recent, datetime.fromisoformat(facts["as_of"]))


def _tracks(histories: Histories) -> np.ndarray:
    """All tracks by their numbers: those of the columns, then the others."""
    return np.concatenate([histories.items, histories.others])


def _cut(histories: Histories, rows: np.ndarray, columns: np.ndarray, tracks: Collection[str]) -> Histories:
    """Histories of some rows, without the entries of some tracks, which are told by all tracks' numbers as well."""
    matrix = histories.matrix
    lengths = np.diff(matrix.indptr)
    kept = np.repeat(rows, lengths) & ~columns[matrix.indices]
    owner = np.repeat(np.arange(len(lengths)), lengths)[kept]
    counts = np.bincount(owner, minlength=len(lengths))[rows]
    pointers = np.concatenate([[0], np.cumsum(counts)])
    left = csr_matrix((matrix.data[kept], matrix.indices[kept], pointers), shape=(int(rows.sum()), len(histories.items)))
    items, others = histories.items, histories.others
    if columns.any():
        items, others = mark_removed(items, tracks), mark_removed(others, tracks)
    person, item = histories.weightless[:, rows[histories.weightless[0]] & ~columns[histories.weightless[1]]]
    weightless = np.stack([np.cumsum(rows, dtype=np.int32)[person] - 1, item]).astype(np.int32)
    return Histories(left, histories.listeners[rows], items, histories.countries[rows], histories.ages[kept], weightless, others)


def _listener_part(listener: str) -> int:
    return _hash(listener) >> _PLAY_BITS << _PLAY_BITS


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _parquet(**columns: Iterable[str]) -> bytes:
    """Columns of strings as a parquet file."""
    written = io.BytesIO()
    pl.DataFrame({name: pl.Series(name, list(values), dtype=pl.String) for name, values in columns.items()}).write_parquet(written)
    return written.getvalue()
