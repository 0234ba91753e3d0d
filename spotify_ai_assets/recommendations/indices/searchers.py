"""What finds candidates without looking at every vector: inverted cells with 8-bit codes, and a graph of neighbours (FAISS).

Both give more candidates than are wanted, which the index scores exactly: what 8 bits lose costs candidates, not recall.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import faiss as _faiss
import numpy as np

faiss: Any = _faiss
"""Its annotations lack half of it."""

SEED = 1234
_ALIKE = 0.999
"""Cosine from which a centre as good as is the vector."""


class Searcher(Protocol):
    """Finds candidates among numbered vectors.

    Attributes:
        effort: How far it looks; more finds more and takes longer.
        efforts: The efforts to choose from, ascending.
    """

    effort: int
    efforts: tuple[int, ...]

    @property
    def is_littered(self) -> bool:
        """Whether bytes of removed vectors are left in it, so that it must be built anew before it is written."""
        ...

    def find(self, queries: np.ndarray, count: int, scale: float, allowed: np.ndarray | None) -> np.ndarray:
        """Candidates, int64, shape (n, count), -1 where it finds no more.

        Args:
            queries: float32, shape (n, d).
            count: How many.
            scale: Times the effort.
            allowed: Which numbers may be found, bool, by number; all unless given.
        """
        ...

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Take in vectors under these numbers."""
        ...

    def remove(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Give up these numbers, and what is kept of their vectors."""
        ...

    def dump(self) -> bytes:
        """Everything it is, to be loaded again."""
        ...


class Cells:
    """Vectors in cells around centres, each as one byte per dimension (FAISS ``IndexIVFScalarQuantizer``).

    Args:
        index: The FAISS index, with a hash of numbers so that removing costs what is removed.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        self._centres = faiss.downcast_index(index.quantizer)
        self.efforts = tuple(sorted({min(1 << power, index.nlist) for power in range(1, index.nlist.bit_length() + 1)}))
        self.effort = index.nprobe
        # Removing finds its entries by this table instead of walking through all cells.
        index.set_direct_map_type(faiss.DirectMap.Hashtable)

    @classmethod
    def build(cls, vectors: np.ndarray) -> Self:
        """Place centres by k-means on a sample, two per square root of the number of vectors, and fill the cells."""
        count, dimensions = vectors.shape
        cells = max(1, min(2 * math.isqrt(count), count // 39 or 1))
        centres = faiss.IndexFlatIP(dimensions)
        index = faiss.IndexIVFScalarQuantizer(centres, dimensions, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False)
        index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = 5, 64, 1
        index.cp.seed, index.cp.spherical = SEED, True
        sample = np.random.default_rng(SEED).permutation(count)[: 64 * cells]
        index.train(vectors[np.sort(sample)])
        index.add_with_ids(vectors, np.arange(count))
        index.nprobe = min(16, cells)
        return cls(index)

    @classmethod
    def load(cls, content: bytes) -> Self:
        """What ``dump`` gave."""
        return cls(_deserialize(content))

    @property
    def is_littered(self) -> bool:
        """Never."""
        return False

    def find(self, queries: np.ndarray, count: int, scale: float, allowed: np.ndarray | None) -> np.ndarray:
        """Candidates from the nearest cells."""
        if allowed is None and scale == 1:
            self._index.nprobe = self.effort
            return self._index.search(queries, count)[1]
        probes = min(math.ceil(self.effort * scale), self._index.nlist)
        with _selecting(allowed) as selector:
            return self._index.search(queries, count, params=faiss.SearchParametersIVF(nprobe=probes, sel=selector))[1]

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Into the nearest cells."""
        self._index.add_with_ids(vectors, rows)

    def remove(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Out of their cells; a centre that as good as is one of them moves to what is left of its cell."""
        self._index.remove_ids(faiss.IDSelectorArray(np.ascontiguousarray(rows)))
        likeness, cells = self._centres.search(vectors, 1)
        for cell in np.unique(cells[likeness > _ALIKE]):
            self._move_centre(int(cell))

    def _move_centre(self, cell: int) -> None:
        """Make a centre the mean of its cell, or of the other centres where nothing is left in it."""
        centres = faiss.rev_swig_ptr(self._centres.get_xb(), self._index.nlist * self._index.d).reshape(-1, self._index.d)
        lists, size = self._index.invlists, self._index.invlists.list_size(cell)
        if size:
            codes = faiss.rev_swig_ptr(lists.get_codes(cell), size * lists.code_size).reshape(size, -1)
            mean = self._index.sq.decode(np.ascontiguousarray(codes)).mean(0)
        else:
            mean = (
                centres[self._index.quantizer.search(centres[cell : cell + 1], 2)[1][0, 1]] if len(centres) > 1 else np.ones(self._index.d)
            )
        centres[cell] = mean / np.linalg.norm(mean)

    def dump(self) -> bytes:
        """The index without the table of numbers, which loading makes again."""
        self._index.nprobe = self.effort
        self._index.set_direct_map_type(faiss.DirectMap.NoMap)
        content = faiss.serialize_index(self._index).tobytes()
        self._index.set_direct_map_type(faiss.DirectMap.Hashtable)
        return content


class Graph:
    """A navigable graph of neighbours (Malkov and Yashunin, 2016) over 8-bit codes (FAISS ``IndexHNSWSQ``); it only grows.

    What was removed leads the way until the graph is built anew, and is never found.

    Args:
        index: The FAISS index.
        rows: Number of each vector in it, int64, in the order in which they came; -1 of removed ones.
    """

    efforts = (32, 64, 128, 256, 512)

    def __init__(self, index: Any, rows: np.ndarray) -> None:
        self._index, self._rows = index, rows
        self.effort = index.hnsw.efSearch

    @classmethod
    def build(cls, vectors: np.ndarray) -> Self:
        """Sixteen links for each vector, chosen among a hundred candidates."""
        index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 100, 64
        index.train(vectors)
        index.add(vectors)
        return cls(index, np.arange(len(vectors)))

    @classmethod
    def load(cls, content: bytes) -> Self:
        """What ``dump`` gave: the numbers, then the index."""
        count = int.from_bytes(content[:8], "little")
        end = 8 + 8 * count
        return cls(_deserialize(content[end:]), np.frombuffer(content[8:end], np.int64).copy())

    @property
    def is_littered(self) -> bool:
        """Whether bytes of removed vectors are left in it."""
        return bool((self._rows < 0).any())

    def find(self, queries: np.ndarray, count: int, scale: float, allowed: np.ndarray | None) -> np.ndarray:
        """Candidates on the way from the entry to the queries."""
        reached = math.ceil(max(self.effort, count) * scale)
        if allowed is None and not self.is_littered:
            self._index.hnsw.efSearch = reached
            found = self._index.search(queries, count)[1]
        else:
            alive = self._rows >= 0
            with _selecting(alive if allowed is None else alive & allowed[self._rows]) as selector:
                found = self._index.search(queries, count, params=faiss.SearchParametersHNSW(efSearch=reached, sel=selector))[1]
        return np.where(found >= 0, self._rows[found], -1)

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Link them to what is there."""
        self._index.add(vectors)
        self._rows = np.concatenate([self._rows, rows])

    def remove(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Never find them again."""
        self._rows[np.isin(self._rows, rows)] = -1

    def dump(self) -> bytes:
        """The numbers, then the index."""
        self._index.hnsw.efSearch = self.effort
        return len(self._rows).to_bytes(8, "little") + self._rows.tobytes() + faiss.serialize_index(self._index).tobytes()


SEARCHERS: dict[str, type[Cells] | type[Graph]] = {"ivf_sq8": Cells, "hnsw": Graph}


@contextmanager
def _selecting(allowed: np.ndarray | None) -> Iterator[Any]:
    """A selector of the numbers that are allowed; it does not own its bits, which live as long as it."""
    if allowed is None:
        yield None
        return
    bits = np.packbits(allowed, bitorder="little")
    yield faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))


def _deserialize(content: bytes) -> Any:
    return faiss.deserialize_index(np.frombuffer(content, np.uint8))
