"""An index of vectors: found by their inner product, changed in place, measured against exact search, kept as files.

Small ones look at every vector. Larger ones look for candidates (``searchers``) and score those exactly on the vectors
themselves. How far they look is chosen when they are built, by their own recall.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from spotify_ai_assets.recommendations.indices.exact import find_exactly, rescore
from spotify_ai_assets.recommendations.indices.searchers import SEARCHERS, SEED, Cells, Graph

KINDS = ("flat", "ivf_sq8", "hnsw")
FLAT_BELOW = 200_000
"""Vectors up to which looking at all of them takes no more than a few milliseconds."""

RECALL = 0.98
"""Recall at 10 that the effort of an index is chosen for."""

_FACTS, _IDS, _VECTORS, _SEARCHER = "index.json", "ids.parquet", "vectors.npy", "searcher.faiss"
_UNIT = 1e-3
_LAST_BITS = 1e-6
"""What the order of a sum may change in a product."""

_PROBES = 256
"""Queries with which the effort is chosen."""

_OVERSAMPLE, _CANDIDATES = 10, 100
"""So many candidates for each result, and at least so many, are scored exactly."""

_FEW = 20_000
"""Of so few allowed vectors all are looked at."""

_CHANGED = 0.2
"""Share of changed vectors past which an index is built anew: cells and ranges were made for others."""


class VectorIndex:
    """Vectors of unit length by id.

    Any number of threads may search; nobody may while it is changed. Made by ``build`` or ``from_files``.
    """

    def __init__(self, kind: str, ids: np.ndarray, vectors: np.ndarray, searcher: Cells | Graph | None, built: int, changed: int) -> None:
        self.kind, self._searcher = kind, searcher
        self._ids, self._vectors, self._used = ids, vectors, len(ids)
        self._alive = np.array([each is not None for each in ids], bool)
        self._count = int(self._alive.sum())
        self._built, self._changed = built, changed
        self._free = np.flatnonzero(~self._alive).tolist()
        self._places: dict[str, int] | None = None

    @classmethod
    def build(cls, ids: Sequence[str], vectors: np.ndarray, kind: str = "auto", *, queries: np.ndarray | None = None) -> Self:
        """Make an index; equal vectors make equal ones on one machine, but for graphs that several threads made.

        Args:
            ids: One for each vector, each once.
            vectors: float32, shape (n, d), of unit length.
            kind: ``flat``, ``ivf_sq8`` or ``hnsw``; ``auto`` takes ``flat`` below 200,000 vectors and ``ivf_sq8`` above.
            queries: What will be asked, shape (m, d): the effort is chosen by the recall on them; on some of the vectors unless given.

        Raises:
            ValueError: Ids that are no ids of these vectors, vectors that are not of unit length, or an unknown kind.
        """
        if kind not in ("auto", *KINDS):
            raise ValueError(f"an index is one of {', '.join(KINDS)}")
        vectors = _checked(ids, vectors)
        if kind == "auto":
            kind = "flat" if len(ids) < FLAT_BELOW else "ivf_sq8"
        searcher = SEARCHERS[kind].build(vectors) if kind in SEARCHERS and len(ids) else None
        index = cls(kind if searcher or kind == "flat" else "flat", np.array(list(ids), object), vectors.copy(), searcher, len(ids), 0)
        if searcher:
            index._choose_effort(queries)
        return index

    def __len__(self) -> int:
        return self._count

    def __contains__(self, item: str) -> bool:
        return item in self._by_id

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._vectors.shape[1]

    @property
    def effort(self) -> int | None:
        """How far a search looks: cells, or candidates on the way; ``None`` where it looks everywhere."""
        return self._searcher.effort if self._searcher else None

    @property
    def ids(self) -> list[str]:
        """Ids by place; an empty string where one was removed. Masks of ``search`` are in this order."""
        return [each or "" for each in self._ids[: self._used]]

    @property
    def needs_rebuild(self) -> bool:
        """Whether more than a fifth of it has changed since it was built: up to there its recall is bounded, past it not."""
        return self._changed > _CHANGED * max(self._built, 1)

    def vectors_of(self, ids: Sequence[str]) -> np.ndarray:
        """Vectors, float32, shape (len(ids), d).

        Raises:
            KeyError: One is not in it.
        """
        return self._vectors[[self._by_id[each] for each in ids]]

    def allow(self, ids: Sequence[str]) -> np.ndarray:
        """A mask of ``search`` that lets only these be found; what is not in the index is left out."""
        mask = np.zeros(self._used, bool)
        mask[[self._by_id[each] for each in ids if each in self._by_id]] = True
        return mask

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The vectors with the largest inner products.

        A filter leaves nothing out: where it lets ``k`` pass, there are ``k`` results.

        Args:
            queries: float32, shape (n, d) or (d,).
            k: How many for each.
            allowed: Which places of ``ids`` may be found, bool; all unless given.

        Returns:
            Ids as strings, an empty one where there are no more; and scores, float32, ``-inf`` there. Both of shape (n, k), the best
            first; (k,) for one query.

        Raises:
            ValueError: The mask has another length than ``ids``.
        """
        if allowed is not None and len(allowed) != self._used:
            raise ValueError(f"a mask has one value for each of {self._used} places, this one has {len(allowed)}")
        asked = np.ascontiguousarray(np.atleast_2d(queries), np.float32)
        if not len(self) or not k:
            ids, scores = np.full((len(asked), k), "", object), np.full((len(asked), k), -np.inf, np.float32)
        else:
            rows, scores = self._find(asked, k, allowed)
            ids = np.where(rows < 0, "", self._ids[rows])
        return (ids, scores) if np.ndim(queries) > 1 else (ids[0], scores[0])

    def add(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Add vectors, in the place of those of the same ids; costs what is added.

        Raises:
            ValueError: Ids or vectors that ``build`` would refuse.
        """
        vectors = _checked(ids, vectors, self.dimensions)
        known = [each for each in ids if each in self._by_id]
        self.remove(known)
        self._changed -= len(known)
        rows = self._take_places(len(ids))
        self._ids[rows], self._vectors[rows], self._alive[rows] = np.array(list(ids), object), vectors, True
        self._by_id.update(zip(ids, rows.tolist(), strict=True))
        self._count += len(ids)
        self._changed += len(ids)
        if self._searcher:
            self._searcher.add(rows, vectors)

    def remove(self, ids: Sequence[str]) -> int:
        """Remove vectors, those in memory too; costs what is removed. Gives how many were there."""
        rows = np.array(sorted({self._by_id.pop(each) for each in set(ids) if each in self._by_id}), np.int64)
        if not len(rows):
            return 0
        if self._searcher:
            self._searcher.remove(rows, self._vectors[rows])
        self._ids[rows], self._vectors[rows], self._alive[rows] = None, 0, False
        self._free.extend(rows.tolist())
        self._count -= len(rows)
        self._changed += len(rows)
        return len(rows)

    def without(self, ids: Sequence[str]) -> "VectorIndex":
        """Another index, built as if these had never been there."""
        gone = set(ids)
        kept = np.array([row for row in np.flatnonzero(self._alive) if self._ids[row] not in gone], np.int64)
        return VectorIndex.build(self._ids[kept].tolist(), self._vectors[kept], self.kind)

    def measure_recall(self, queries: np.ndarray, k: int = 10) -> float:
        """The share of the exact ``k`` best that a search finds; one that scores as well as the last of them counts for it.

        Args:
            queries: float32, shape (n, d).
            k: How many.

        Raises:
            ValueError: There are no queries or no vectors.
        """
        if not len(queries) or not len(self):
            raise ValueError("recall needs queries and vectors")
        asked = np.ascontiguousarray(queries, np.float32)
        many = min(k, len(self))
        exact = self._look_at_all(asked, many, self._alive[: self._used], self._count)[1]
        return float((self._find(asked, many, None)[1] >= exact[:, -1:] - _LAST_BITS).mean())

    def files(self) -> dict[str, bytes]:
        """Everything as files, without a byte of what was removed."""
        if self._searcher and self._searcher.is_littered:
            return self.without(()).files()
        facts = {"kind": self.kind, "dimensions": self.dimensions, "built": self._built, "changed": self._changed}
        packed, ids = io.BytesIO(), io.BytesIO()
        np.save(packed, self._vectors[: self._used], allow_pickle=False)
        pl.DataFrame({"id": pl.Series("id", self._ids[: self._used].tolist(), dtype=pl.String)}).write_parquet(ids)
        found = {_FACTS: json.dumps(facts, sort_keys=True).encode(), _IDS: ids.getvalue(), _VECTORS: packed.getvalue()}
        return {**found, _SEARCHER: self._searcher.dump()} if self._searcher else found

    @classmethod
    def from_files(cls, source: Path | Mapping[str, bytes]) -> Self:
        """Read what ``files`` gave, from a folder or from the files themselves."""

        def read(name: str) -> bytes:
            return source[name] if isinstance(source, Mapping) else (source / name).read_bytes()

        facts = json.loads(read(_FACTS))
        ids = pl.read_parquet(io.BytesIO(read(_IDS)))["id"].to_numpy()
        vectors = np.load(io.BytesIO(read(_VECTORS)), allow_pickle=False)
        searcher = SEARCHERS[facts["kind"]].load(read(_SEARCHER)) if facts["kind"] in SEARCHERS else None
        return cls(facts["kind"], np.array(ids, object), vectors, searcher, facts["built"], facts["changed"])

    @property
    def _by_id(self) -> dict[str, int]:
        if self._places is None:
            alive = np.flatnonzero(self._alive)
            self._places = dict(zip(self._ids[alive].tolist(), alive.tolist(), strict=True))
        return self._places

    def _find(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Rows, -1 where there are no more, and scores."""
        mask = self._alive[: self._used] if allowed is None else self._alive[: self._used] & allowed
        passing = self._count if allowed is None else int(np.count_nonzero(mask))
        if self._searcher is None or passing <= max(k, 0 if allowed is None else _FEW):
            return self._look_at_all(queries, k, mask, passing)
        rows, scores = self._look_around(queries, k, None if allowed is None else mask, 1.0 if allowed is None else self._used / passing)
        short = np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            rows[short], scores[short] = self._look_at_all(queries[short], k, mask, passing)
        return rows, scores

    def _look_at_all(self, queries: np.ndarray, k: int, mask: np.ndarray, passing: int) -> tuple[np.ndarray, np.ndarray]:
        return find_exactly(queries, self._vectors[: self._used], k, None if passing == self._used else mask)

    def _look_around(self, queries: np.ndarray, k: int, mask: np.ndarray | None, scale: float) -> tuple[np.ndarray, np.ndarray]:
        assert self._searcher
        candidates = self._searcher.find(queries, max(_OVERSAMPLE * k, _CANDIDATES), scale, mask)
        return rescore(queries, self._vectors, candidates, k)

    def _choose_effort(self, queries: np.ndarray | None) -> None:
        """Take the least effort that reaches the recall which is wanted, or the largest."""
        assert self._searcher
        source = self._vectors if queries is None else np.ascontiguousarray(queries, np.float32)
        asked = source[np.sort(np.random.default_rng(SEED).permutation(len(source))[:_PROBES])]
        own = int(queries is None)  # a vector that is in the index finds itself, which says nothing
        k = min(10 + own, len(self))
        worst = find_exactly(asked, self._vectors, k)[1][:, -1:] - _LAST_BITS
        for effort in self._searcher.efforts:
            self._searcher.effort = effort
            if (self._look_around(asked, k, None, 1.0)[1][:, own:] >= worst).mean() >= RECALL:
                break

    def _take_places(self, count: int) -> np.ndarray:
        """Rows for new vectors: those of removed ones first, then new ones."""
        reused = [self._free.pop() for _ in range(min(count, len(self._free)))]
        fresh, self._used = range(self._used, self._used + count - len(reused)), self._used + count - len(reused)
        if self._used > len(self._ids):
            room = max(self._used, 2 * len(self._ids))
            self._ids = np.concatenate([self._ids, np.full(room - len(self._ids), None, object)])
            self._alive = np.concatenate([self._alive, np.zeros(room - len(self._alive), bool)])
            self._vectors = np.concatenate([self._vectors, np.zeros((room - len(self._vectors), self.dimensions), np.float32)])
        return np.array([*reused, *fresh], np.int64)


def _checked(ids: Sequence[str], vectors: np.ndarray, dimensions: int | None = None) -> np.ndarray:
    """The vectors as float32, if these are ids and vectors of an index."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(ids) or dimensions not in (None, vectors.shape[1]):
        raise ValueError("each id has one vector, all of one length")
    if len(set(ids)) != len(ids) or not all(ids):
        raise ValueError("each id comes once and is not empty")
    # Of no vectors the largest deviation is none; what is no number is no deviation that is small.
    if not (np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < _UNIT).all():
        raise ValueError("vectors have unit length")
    return vectors
