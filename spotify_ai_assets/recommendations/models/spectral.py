"""A filter on the graph of listeners and items: what is heard passes where it varies slowly (GF-CF, Shen et al. 2021).

With ``R~ = diag(d_u)^-a R diag(d_i)^-b`` of the sums d of rows and columns, and V the first k right singular vectors of R~, the score
of a history r is ``r G + s r diag(d_i)^-b V V' diag(d_i)^b``: a linear filter ``G = R~'R~``, of which the largest entries of each
item are kept, and an ideal low-pass one. The authors have a = b = 0.5 and s = 0.3; the defaults, which did better on validation
data, have smaller exponents and no linear filter. Two things more may be asked for: that vectors weigh ``w = (e / e_1)^p`` by their
singular values e instead of passing whole, and that the score of an item is divided by ``(sum_k w_k v_ik^2)^g``, so that items which
pass mainly by themselves do not outshine the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.models.arithmetic import multiply
from spotify_ai_assets.recommendations.models.contract import Contributions, Facts
from spotify_ai_assets.recommendations.models.kernels import nearest_items
from spotify_ai_assets.recommendations.models.linear import explain_by, score_by
from spotify_ai_assets.recommendations.models.parts import entries_of, matrix_of, matrix_parts, read_config, refuse, shape_of

_LEAST = 1e-3
"""Of the mean: items that hardly pass at all are not divided by next to nothing."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings.

    Attributes:
        factors: k: singular vectors that pass.
        item_exponent: b.
        listener_exponent: a.
        ideal: s: what the ideal filter counts; 0 leaves it out.
        smoothness: p: 0 lets all vectors pass whole.
        norm_exponent: g: 0 divides by nothing.
        neighbours: Entries of the linear filter that each item keeps.
        linear: What the linear filter counts; 0 leaves it out.
        rounds: Of the subspace iteration.
        seed: Of the vectors to start from.
    """

    factors: int = 256
    item_exponent: float = 0.35
    listener_exponent: float = 0.3
    ideal: float = 1.0
    smoothness: float = 0.0
    norm_exponent: float = 0.0
    neighbours: int = 1000
    linear: float = 0.0
    rounds: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(
            (self.factors < 1, "factors must be at least 1"),
            (self.neighbours < 1, "neighbours must be at least 1"),
            (min(self.ideal, self.linear) < 0, "ideal and linear must not be below 0"),
            (self.ideal + self.linear <= 0, "one of ideal and linear must be above 0"),
            (min(self.smoothness, self.norm_exponent) < 0, "smoothness and norm_exponent must not be below 0"),
            (self.rounds < 1, "rounds must be at least 1"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Spectral:
    """Graph filter.

    Attributes:
        config: Settings.
        linear: The linear filter, counted as it is to be, shape (items, items).
        into: What an item of a history adds to its vector, ``sqrt(s w) d^-b v``, float32, shape (items, k).
        item_vectors: ``sqrt(s w) d^b v / (sum_k w_k v_k^2)^g``, float32, shape (items, k).
    """

    name: ClassVar[str] = "spectral"
    config: Config
    linear: csr_matrix
    into: np.ndarray
    item_vectors: np.ndarray

    @classmethod
    def fit(cls, matrix: csr_matrix, config: Mapping[str, Any] | None = None, facts: Facts | None = None) -> Self:
        """Find the neighbours and the singular vectors."""
        chosen = read_config(Config, config)
        of_listeners, of_items = (np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel() for axis in (1, 0))
        listeners = np.where(of_listeners > 0, of_listeners, 1.0) ** -chosen.listener_exponent
        degrees = np.where(of_items > 0, of_items, 1.0) ** chosen.item_exponent
        linear = csr_matrix((len(degrees),) * 2, dtype=np.float32)
        if chosen.linear:
            keep = chosen.neighbours
            linear = nearest_items(matrix, listeners**2, targets=degrees, sources=degrees, shrink=0.0, keep=keep, has_itself=True)
            linear.data *= np.float32(chosen.linear)
        rows = np.repeat(listeners, np.diff(matrix.indptr))
        scaled = csr_matrix((matrix.data * rows / degrees[matrix.indices], matrix.indices, matrix.indptr), shape=matrix.shape)
        values, vectors = singular_vectors(scaled, chosen.factors if chosen.ideal else 0, chosen.rounds, chosen.seed)
        passing = vectors * (values / values.max(initial=_LEAST)) ** (chosen.smoothness / 2)
        own = np.einsum("ik,ik->i", passing, passing, dtype=np.float64)
        norms = np.maximum(own, max(_LEAST * own.mean(), np.finfo(np.float64).tiny)) ** chosen.norm_exponent
        passing *= np.sqrt(chosen.ideal)
        into, out = passing / degrees[:, None], passing * (degrees / norms)[:, None]
        return cls(chosen, linear, into.astype(np.float32), out.astype(np.float32))

    @property
    def items(self) -> int:
        """How many items it knows."""
        return len(self.item_vectors)

    def fold_in(self, histories: csr_matrix) -> np.ndarray:
        """Vectors of histories: one sparse product. Their inner products with those of items are what the ideal filter says."""
        return multiply(histories, self.into)

    def score(self, histories: csr_matrix, countries: Sequence[str] | None = None) -> np.ndarray:
        """What passes both filters."""
        scores = self.fold_in(histories) @ self.item_vectors.T
        return scores + score_by(self.linear, histories) if self.linear.nnz else scores

    def explain(self, history: csr_matrix, items: np.ndarray, country: str | None = None) -> Contributions:
        """What passes of each item of the history."""
        heard, amounts = entries_of(history)
        smooth = self.item_vectors[items].astype(np.float64) @ self.into[heard].T.astype(np.float64) * amounts
        return Contributions(smooth + explain_by(self.linear, history, items).by_play, {})

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings, neighbours and vectors."""
        return asdict(self.config), {"into": self.into, "item_vectors": self.item_vectors, **matrix_parts("linear", self.linear)}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        return cls(read_config(Config, config), matrix_of("linear", arrays), arrays["into"], arrays["item_vectors"])


def singular_vectors(matrix: csr_matrix, k: int, rounds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The first singular values and right singular vectors, by randomised subspace iteration (Halko, Martinsson and Tropp 2011).

    Args:
        matrix: Shape (rows, columns).
        k: How many; no more than the shorter side has come.
        rounds: Products with ``M'M``.
        seed: Of the vectors to start from.

    Returns:
        Values, float32, shape (k,), the largest first, and orthonormal columns, float32, shape (columns, k); the sign of each is such
        that its largest entry is positive.
    """
    rows, columns = shape_of(matrix)
    k = min(k, rows, columns)
    if k == 0:
        return np.zeros(0, np.float32), np.zeros((columns, 0), np.float32)
    narrow = csr_matrix(matrix, dtype=np.float32)
    across = csr_matrix(narrow.T)
    width = min(k + max(k // 8, 16), rows, columns)
    basis = np.random.default_rng(seed).standard_normal((columns, width), dtype=np.float32)
    for _ in range(rounds):
        basis = multiply(across, multiply(narrow, _orthonormal(basis)))
    basis = _orthonormal(_orthonormal(basis))  # once is exact enough on the way, and not at its end
    image = multiply(narrow, basis)
    squares, rotation = eigh((image.T @ image).astype(np.float64))
    vectors = basis @ rotation[:, ::-1][:, :k].astype(np.float32)
    largest = np.abs(vectors).argmax(axis=0)
    return np.sqrt(squares[::-1][:k].clip(0)).astype(np.float32), vectors * np.sign(vectors[largest, np.arange(k)])


def _orthonormal(basis: np.ndarray) -> np.ndarray:
    """The same space by nearly orthonormal columns: Cholesky's factors of the Gram matrix, the fastest way there is."""
    gram = (basis.T @ basis).astype(np.float64)
    gram[np.diag_indices_from(gram)] += 1e-6 * np.trace(gram) / len(gram)  # columns that hardly differ leave it without a root
    root = cholesky(gram, lower=True)
    return basis @ solve_triangular(root, np.eye(len(root)), lower=True).T.astype(np.float32)
