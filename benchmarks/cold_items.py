"""Items that nobody has played: what two towers foresee of them, beside neighbours by tags and the popularity of tags.

Of all items a fifth, drawn by ``seed``, is kept from every model; of the rest another fifth chooses settings, and the models are
fitted again without it. What is ranked are the cold items alone, for everybody who played one of them; what is foreseen is which.
Settings were found by NDCG on the items for choosing and are frozen below; ``--search true`` looks for them again and reads no test.

The folder is one of two layouts. With ``LastFM.txt`` and ``LastFM_item2attributes.json`` (S3-Rec): items are described by their
tags. With ``artists.dat`` and ``user_artists.dat`` (HetRec 2011): items are artists of five listeners or more and have
nothing but names, which the text encoder embeds; who gave which tag is not in that folder, so that neighbours are by names and there
is no popularity of tags. Nothing is tuned on names, and the towers are trained there for fewer steps, of shorter histories.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import main
from spotify_ai_assets.catalog.encoding import find_encoder
from spotify_ai_assets.recommendations.evaluation.metrics import Measured
from spotify_ai_assets.recommendations.evaluation.metrics import measure as measure_shelves
from spotify_ai_assets.recommendations.models.contract import Facts
from spotify_ai_assets.recommendations.models.kernels import top_of
from spotify_ai_assets.recommendations.models.two_tower import TwoTower
from spotify_ai_assets.recommendations.public_sets import read_hetrec, read_sequences
from spotify_ai_assets.training.metrics import Interval, bootstrap_interval, paired_difference

TOWERS: Mapping[str, Mapping[str, Any]] = {
    "tags": {"is_counted": True, "rarity": 0.5, "steps": 1000, "temperature": 0.05},
    "names": {"is_counted": False, "rarity": 0.0, "steps": 300, "longest": 20},
}
TOWER_TRIALS: tuple[Mapping[str, Any], ...] = (
    {"is_counted": True, "rarity": 0.5, "steps": 300},
    {"is_counted": True, "rarity": 0.5, "steps": 1000},
    {"is_counted": True, "rarity": 0.5, "steps": 1000, "dropout": 0.3},
    {"is_counted": True, "rarity": 0.5, "steps": 1000, "temperature": 0.05},
    {"is_counted": True, "rarity": 0.5, "steps": 1000, "temperature": 0.2, "dropout": 0.3, "weight_decay": 0.1},
    {"is_counted": False, "rarity": 1.0, "steps": 600, "dropout": 0.3},
)
NEIGHBOURS: Mapping[str, Mapping[str, Any]] = {
    "tags": {"is_counted": False, "rarity": 1.0, "keep": 0},
    "names": {"is_counted": False, "rarity": 0.0, "keep": 0},
}
NEIGHBOUR_TRIALS: tuple[Mapping[str, Any], ...] = tuple(
    {"is_counted": counted, "rarity": rarity, "keep": keep}
    for counted in (False, True)
    for rarity in (0.0, 0.5, 1.0)
    for keep in (0, 20, 100)
)
LEAST_LISTENERS = 5
"""Of an artist of the HetRec layout; the others are left out."""

SELECTION = "NDCG at k of the items for choosing, which were kept from the fit"
TIES = "of equal scores, the item with the lower number"


@dataclass(frozen=True, slots=True)
class Described:
    """Who played which items, and what is known of the items.

    Attributes:
        kind: What items are described by: ``tags`` or ``names``.
        matrix: Ones, float32, shape (listeners, items).
        counts: How often each tag was given, or the numbers of a name's vector: float32, shape (items, d).
    """

    kind: str
    matrix: csr_matrix
    counts: np.ndarray

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.counts)

    @property
    def listeners(self) -> int:
        """How many listeners there are."""
        return len(self.matrix.indptr) - 1

    def content(self, *, is_counted: bool, rarity: float) -> np.ndarray:
        """Rows of length 1; tags count once or by the logarithm of how often they were given, and by their rarity to this power."""
        if self.kind == "names":
            return self.counts
        is_given = self.counts > 0
        rare = np.log(len(self.counts) / np.maximum(is_given.sum(axis=0), 1)) ** rarity
        weighed = (np.log1p(self.counts) if is_counted else is_given) * rare
        return (weighed / np.maximum(np.linalg.norm(weighed, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def read_described(folder: Path) -> Described:
    """Read a folder of either layout."""
    if (folder / "artists.dat").is_file():
        plays = read_hetrec(folder)
        kept = np.flatnonzero(np.bincount(plays.matrix.indices, minlength=len(plays.artists)) >= LEAST_LISTENERS)
        names = [plays.names[number] for number in plays.artists[kept].tolist()]
        return Described("names", _ones(csr_matrix(plays.matrix[:, kept])), find_encoder().encode(names))
    sequences = list(read_sequences(folder / "LastFM.txt").values())
    lengths = [len(each) for each in sequences]
    numbers, items = np.unique(np.concatenate(sequences), return_inverse=True)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    matrix = csr_matrix((np.ones(len(items), np.float32), (rows, items)), shape=(len(lengths), len(numbers)))
    given = json.loads((folder / "LastFM_item2attributes.json").read_text())
    tags = {tag: place for place, tag in enumerate(sorted({tag for each in given.values() for tag in each}))}
    counts = np.zeros((len(numbers), len(tags)), np.float32)
    for row, number in enumerate(numbers.tolist()):
        for tag in given.get(str(number), ()):
            counts[row, tags[tag]] += 1
    return Described("tags", _ones(matrix), counts)


def _ones(matrix: csr_matrix) -> csr_matrix:
    matrix.sum_duplicates()
    matrix.data = np.ones(matrix.nnz, np.float32)
    return matrix


def measure(data: Path, k: int = 20, seed: int = 0, search: bool = False) -> dict[str, object]:
    """Rank cold items by every method; or, with ``search``, choose settings and read no test."""
    described = read_described(data)
    order = np.random.default_rng(seed).permutation(described.items)
    fifth = len(order) // 5
    cold, warm = np.sort(order[:fifth]), np.sort(order[fifth:])
    if search:
        chosen = np.sort(order[fifth : fifth + len(warm) // 5])
        return _search(described, np.setdiff1d(warm, chosen), chosen, k)
    settings = {
        "two_tower": dict(TOWERS[described.kind]),
        "neighbours": dict(NEIGHBOURS[described.kind]),
        "k": k,
        "seed": seed,
        "kind": described.kind,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    _tell(f"settings {digest} are frozen; the test is read now: {settings}")
    found: dict[str, Measured] = {}
    costs: dict[str, float] = {}
    started = time.process_time()
    for name, scores in _methods(described, warm, cold, seed):
        costs[name] = round(time.process_time() - started, 1)
        found[name] = _judge(scores, described.matrix[:, cold], k)
        started = time.process_time()
    return _report(found, costs, described.kind, digest, (len(warm), len(cold)))


def _methods(described: Described, warm: np.ndarray, cold: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each method's name and its scores of the cold items, shape (listeners, cold items)."""
    yield "two_tower", _by_towers(described, warm, cold, TOWERS[described.kind])
    yield "neighbours", _by_neighbours(described, warm, cold, **NEIGHBOURS[described.kind])
    if described.kind == "tags":
        yield "tag_popularity", _by_popularity(described, warm, cold)
    yield "random", np.random.default_rng(seed).random((described.listeners, len(cold)), np.float32)


def _by_towers(described: Described, warm: np.ndarray, cold: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    fitting = dict(settings)
    content = described.content(is_counted=fitting.pop("is_counted"), rarity=fitting.pop("rarity"))
    histories = described.matrix[:, warm]
    model = TwoTower.fit(histories, fitting, Facts(content=content[warm]))
    return model.fold_in(histories) @ model.item_vectors_of(content[cold]).T


def _by_neighbours(described: Described, warm: np.ndarray, cold: np.ndarray, *, is_counted: bool, rarity: float, keep: int) -> np.ndarray:
    """Sums of the cosines of each cold item to the items of a history, of its nearest ``keep`` items or, for 0, of all."""
    content = described.content(is_counted=is_counted, rarity=rarity)
    cosines = content[cold] @ content[warm].T
    if keep:
        least = -np.partition(-cosines, keep - 1, axis=1)[:, keep - 1 : keep]
        cosines[cosines < least] = 0
    return described.matrix[:, warm] @ cosines.T


def _by_popularity(described: Described, warm: np.ndarray, cold: np.ndarray) -> np.ndarray:
    """How much the tags of each cold item are played: the same for everybody."""
    has_tag = (described.counts > 0).astype(np.float32)
    plays = np.asarray(described.matrix[:, warm].sum(axis=0)).ravel() @ has_tag[warm]
    return np.tile(has_tag[cold] @ plays, (described.listeners, 1))


def _judge(scores: np.ndarray, truth: csr_matrix, k: int) -> Measured:
    tops, _scores = top_of(scores.astype(np.float32), None, k)
    return measure_shelves(tops, csr_matrix(truth))


def _counted(measured: Measured, metric: str) -> np.ndarray:
    """Figures of the listeners who played a cold item."""
    values = measured.by_listener[metric]
    return values[np.isfinite(values)]


def _search(described: Described, warm: np.ndarray, cold: np.ndarray, k: int) -> dict[str, object]:
    truth, rows = described.matrix[:, cold], []
    for name, answer, trials in (
        ("neighbours", lambda one: _by_neighbours(described, warm, cold, **one), NEIGHBOUR_TRIALS),
        ("two_tower", lambda one: _by_towers(described, warm, cold, one), TOWER_TRIALS),
    ):
        for one in trials:
            measured = _judge(answer(one), truth, k)
            rows.append({"method": name, **one, "ndcg": round(measured.value("ndcg"), 4), "recall": round(measured.value("recall"), 4)})
            _tell(json.dumps(rows[-1]))
    best = {name: max((row for row in rows if row["method"] == name), key=lambda row: row["ndcg"]) for name in ("neighbours", "two_tower")}
    return {"name": "cold_items_choice", "best": best, "trials": rows, "selection": SELECTION, "test_reads": 0}


def _report(found: Mapping[str, Measured], costs: Mapping[str, float], kind: str, digest: str, items: tuple[int, int]) -> dict[str, object]:
    ours, peer = found["two_tower"], found["neighbours"]
    for name, each in found.items():
        figures = {metric: bootstrap_interval(_counted(each, metric)) for metric in ("recall", "ndcg")}
        _tell(f"{name:15s} " + "  ".join(f"{metric}@{each.k} {_shown(interval)}" for metric, interval in figures.items()))
    gains = {metric: paired_difference(_counted(ours, metric), _counted(peer, metric)) for metric in ("recall", "ndcg")}
    return {
        "name": "cold_items",
        "ours": round(ours.value("ndcg"), 4),
        "peer": round(peer.value("ndcg"), 4),
        "ratio": round(ours.value("ndcg") / peer.value("ndcg"), 3),
        "better": "higher",
        "unit": f"NDCG at {ours.k} of items that nobody played in training",
        "recall": {name: round(each.value("recall"), 4) for name, each in found.items()},
        "ndcg": {name: round(each.value("ndcg"), 4) for name, each in found.items()},
        "gain_recall": _ends(gains["recall"]),
        "gain_ndcg": _ends(gains["ndcg"]),
        "described_by": kind,
        "warm_items": items[0],
        "cold_items": items[1],
        "listeners": ours.cases("ndcg"),
        "trials": {"two_tower": len(TOWER_TRIALS), "neighbours": len(NEIGHBOUR_TRIALS)} if kind == "tags" else {},
        "selection": SELECTION if kind == "tags" else "nothing was chosen on these items",
        "settings": digest,
        "test_reads": 1,
        "ties": TIES,
        "cpu_s": dict(costs),
    }


def _shown(interval: Interval) -> str:
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _ends(interval: Interval) -> list[float]:
    return [round(each, 4) for each in (interval.value, interval.low, interval.high)]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(measure, __doc__, data=Path("../shared/data/reco-lastfm-s3rec"), k=20, seed=0, search=False)
