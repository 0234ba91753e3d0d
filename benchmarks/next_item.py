"""What a listener plays next: our sequence model beside a tuned peer and popularity, on sequences with a fixed split.

The folder holds ``NAME.txt``, a line a listener with their items in time order, and ``NAME_sample.txt``, for each the items among which
the hidden one is ranked. The last item is the test, the one before it the validation, the rest trains. A ranks the hidden item among
the listener's sample, B among all items but those of their history.

``ours`` is fitted on the training items alone, as the published rows are, and has the validation item in the history that it is asked
with; with ``--refit 1``, ``refitted`` is the same recipe fitted with the validation items too.

How the recipe was found: on B's NDCG@10 over two cuts that both lie before the test, the validation item and the one before that, each
by what was learnt from the items before it. ``--choose 1`` repeats the last round of that choice, for us and for the peer, and opens no
test. The peer is ``implicit``'s ALS with an exact fold-in; it knows no order.
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import main
from spotify_ai_assets.recommendations.models.als import ALS
from spotify_ai_assets.recommendations.models.ordering import line_up
from spotify_ai_assets.recommendations.models.sequence import Config
from spotify_ai_assets.recommendations.models.sequence import Sequence as SequenceModel
from spotify_ai_assets.recommendations.public_sets import read_sequences
from spotify_ai_assets.training.metrics import Interval, bootstrap_interval, paired_difference

ATTENTION: dict[str, Any] = {"epochs": 30, "learning_rate": 4e-3}
"""Of the network, beside its defaults."""

OURS: dict[str, Any] = {
    "members": {**Config().members, "attention": ATTENTION},
    "weights": {**Config().weights, "attention": 2.0},
}
"""The frozen recipe: the model's linear defaults, which were found here, and attention, which earned its weight by a paired interval."""

PEER: dict[str, Any] = {"factors": 256, "alpha": 50.0, "regularization": 30.0}
"""The best of ``PEER_GRID`` on the same two cuts."""

PEER_GRID = {"factors": (32, 64, 128, 256), "alpha": (1.0, 5.0, 20.0, 50.0), "regularization": (3.0, 30.0, 100.0)}
TRIALS = 40
"""Fits of our members on both cuts before the recipe was frozen; fades and weights were then chosen one at a time from the same fits."""

CUTS = (2, 3)
"""How many items from the end the hidden one is in the choice; 1 is the test."""

TIES = "an item with the hidden one's score ranks before it"
PUBLISHED = {
    "LastFM": {
        "A": {"SASRec": (0.4706, 0.2755), "BERT4Rec": (0.4991, 0.2871), "S3-Rec": (0.5835, 0.3583), "PopRec": (0.3037, 0.1687)},
        "B": {"SASRec": (0.0688, 0.0390), "BERT4Rec": (0.0633, 0.0337), "S3-Rec": (0.0743, 0.0427), "PopRec": (0.0440, 0.0203)},
    }
}
"""HR@10 and NDCG@10 by data set in the tables of S3-Rec's repository. S3-Rec learns from tags too; PopRec counts the test items."""


@dataclass(frozen=True, slots=True)
class Split:
    """Histories and the item that each of them hides.

    Attributes:
        histories: The items before it, the oldest first.
        hidden: It, int64, shape (listeners,).
    """

    histories: list[np.ndarray]
    hidden: np.ndarray


class Corpus:
    """A folder's sequences, whose last items are read once.

    Args:
        folder: As the module says.
    """

    def __init__(self, folder: Path) -> None:
        sample = next(iter(sorted(folder.glob("*_sample.txt"))), None)
        if sample is None:
            raise SystemExit(f"{folder.name} has no NAME_sample.txt")
        sequences = read_sequences(sample.with_name(sample.name.replace("_sample", "")))
        samples = read_sequences(sample)
        numbers, places = np.unique(np.concatenate([*sequences.values(), *samples.values()]), return_inverse=True)
        parts = np.split(places, np.cumsum([len(each) for each in (*sequences.values(), *samples.values())])[:-1])
        self.name, self.items = sample.name.removesuffix("_sample.txt"), len(numbers)
        self.test_reads = 0
        self._sequences = parts[: len(sequences)]
        among = dict(zip(samples, parts[len(sequences) :], strict=True))
        self.samples = [among[listener] for listener in sequences]

    def cut(self, back: int) -> Split:
        """Hide the item so many places from the end, and forget what follows it."""
        return Split([each[:-back] for each in self._sequences], np.array([each[-back] for each in self._sequences]))

    def open_test(self) -> Split:
        """Hide the last item."""
        self.test_reads += 1
        return self.cut(1)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Where hidden items came, counted from 0.

    Attributes:
        sampled: Among the listener's sample, shape (listeners,).
        all: Among all items but those of the history, shape (listeners,).
    """

    sampled: np.ndarray
    all: np.ndarray


def rank(scores: np.ndarray, split: Split, samples: Sequence[np.ndarray]) -> Ranked:
    """Find where the hidden items come.

    Args:
        scores: Shape (listeners, items).
        split: What was hidden.
        samples: The items that A ranks it among.
    """
    own = scores[np.arange(len(scores)), split.hidden]
    before = scores >= own[:, None]
    before[np.arange(len(scores)), split.hidden] = False
    sampled = np.array([before[row, sample].sum() for row, sample in enumerate(samples)])
    for row, history in enumerate(split.histories):
        before[row, history] = False
    return Ranked(sampled, before.sum(1))


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """HR@k of each listener: whether the one hidden item is among the first k."""
    return (ranks < k).astype(float)


def gains(ranks: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of each listener: with one relevant item the ideal is 1."""
    return np.where(ranks < k, 1 / np.log2(ranks + 2.0), 0.0)


def measure(data: Path, choose: int = 0, refit: int = 0) -> dict[str, object]:
    """Test the frozen recipe, or repeat the last round of its choice.

    Args:
        data: The folder.
        choose: 1 for the choice, which tests nothing.
        refit: 1 for a second fit of ours that includes the validation items.
    """
    corpus = Corpus(data)
    digest = hashlib.sha256(json.dumps([OURS, PEER, CUTS], sort_keys=True).encode()).hexdigest()[:16]
    _tell(f"settings {digest}, frozen on cuts {CUTS} by B's NDCG@10; {TRIALS} trials of ours, {len(list(_grid()))} of the peer's")
    return _choose(corpus) if choose else _test(corpus, digest, bool(refit))


def fit_all(learnt: Sequence[np.ndarray], items: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Fit every model on the same items; gives scorers of histories, and CPU seconds."""
    matrix = line_up(learnt, items)
    matrix.data[:] = 1
    counts = np.bincount(matrix.indices, minlength=items).astype(np.float32)
    found, seconds = {}, {}
    for name, make in {
        "ours": lambda: SequenceModel.fit_sequences(learnt, items, OURS).score,
        "implicit": lambda: ALS.fit(matrix, PEER).score,
        "popularity": lambda: lambda histories: np.tile(counts, (len(histories.indptr) - 1, 1)),
    }.items():
        began = time.process_time()
        found[name] = make()
        seconds[name] = time.process_time() - began
    return found, seconds


def _test(corpus: Corpus, digest: str, refit: bool) -> dict[str, object]:
    train, asked = corpus.cut(2), _histories_of_test(corpus)
    scorers, seconds = fit_all(train.histories, corpus.items)
    if refit:
        scorers["refitted"] = SequenceModel.fit_sequences(asked, corpus.items, OURS).score
    histories = line_up(asked, corpus.items)
    flat = histories.copy()
    flat.data[:] = 1
    scores = {name: scorer(flat if name in ("implicit", "popularity") else histories) for name, scorer in scorers.items()}
    test = corpus.open_test()
    ranked = {name: rank(each, test, corpus.samples) for name, each in scores.items()}
    for protocol, places in (("A", "sampled"), ("B", "all")):
        _tell(f"{protocol}: model, HR@1, HR@5, HR@10, HR@20, NDCG@5, NDCG@10, NDCG@20, MRR")
        for name, each in ranked.items():
            _tell(f"  {name:12} " + " ".join(f"{value:.4f}" for value in _row(getattr(each, places))))
        for name, (hit, gain) in PUBLISHED.get(corpus.name, {}).get(protocol, {}).items():
            _tell(f"  {name}: published HR@10 {hit:.4f}, NDCG@10 {gain:.4f}")
    ours, peer = ranked["ours"], ranked["implicit"]
    return {
        "name": "next_item",
        "ours": round(float(hits(ours.all, 10).mean()), 4),
        "peer": round(float(hits(peer.all, 10).mean()), 4),
        "ratio": round(float(hits(ours.all, 10).mean() / hits(peer.all, 10).mean()), 3),
        "unit": "HR@10 among all items",
        "better": "higher",
        "recall": round(float(hits(ours.all, 10).mean()), 4),
        "ndcg": round(float(gains(ours.all, 10).mean()), 4),
        "recall_interval": _ends(bootstrap_interval(hits(ours.all, 10))),
        "ndcg_interval": _ends(bootstrap_interval(gains(ours.all, 10))),
        "ndcg_over_peer": _ends(paired_difference(gains(ours.all, 10), gains(peer.all, 10))),
        "all_items": {name: _figures(each.all) for name, each in ranked.items()},
        "sampled": {name: _figures(each.sampled) for name, each in ranked.items()},
        "fit_includes_valid": {name: name == "refitted" for name in ranked},
        "train_cpu_s": round(seconds["ours"], 1),
        "peer_train_cpu_s": round(seconds["implicit"], 1),
        "settings": digest,
        "trials": TRIALS,
        "peer_trials": len(list(_grid())),
        "selection": f"NDCG@10 among all items over cuts {CUTS}",
        "cases": len(test.hidden),
        "seeds": [0],
        "ties": TIES,
        "test_reads": corpus.test_reads,
        "published": PUBLISHED.get(corpus.name, {}),
    }


def _choose(corpus: Corpus) -> dict[str, object]:
    """Tables of what differs from the frozen recipes in one thing."""
    splits = [corpus.cut(back) for back in CUTS]
    kept = [{} for _ in splits]

    def judge(recipe: Mapping[str, Any]) -> np.ndarray:
        scores = [_blend(recipe, split, corpus.items, cache) for split, cache in zip(splits, kept, strict=True)]
        return np.concatenate([gains(rank(each, split, corpus.samples).all, 10) for each, split in zip(scores, splits, strict=True)])

    frozen = judge(OURS)
    _tell(f"ours: NDCG@10 {frozen.mean():.4f} over {len(frozen)} cases")
    rows: dict[str, dict[str, object]] = {"frozen": {"ndcg": round(float(frozen.mean()), 4)}}
    for name, recipe in candidates().items():
        found = judge(recipe)
        interval = paired_difference(found, frozen)
        rows[name] = {"ndcg": round(float(found.mean()), 4), "over_frozen": _ends(interval)}
        _tell(f"{name}: {found.mean():.4f}, over the frozen one {interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]")
    peers = {json.dumps(settings): _judge_peer(settings, splits, corpus) for settings in _grid()}
    best = max(peers, key=lambda name: peers[name])
    _tell(f"peer: best {best} with {peers[best]:.4f}")
    return {
        "name": "next_item_choice",
        "ours": rows,
        "peer": {"settings": json.loads(best), "ndcg": round(peers[best], 4)},
        "test_reads": corpus.test_reads,
    }


def candidates() -> dict[str, dict[str, Any]]:
    """The last round of the choice: what differs from the frozen recipe in one thing."""
    weights, found = OURS["weights"], dict[str, dict[str, Any]]()
    for name in weights:
        for factor in (0.0, 0.5, 2.0):
            found[f"{name} times {factor:g}"] = {**OURS, "weights": {**weights, name: weights[name] * factor}}
    return found


def _blend(recipe: Mapping[str, Any], split: Split, items: int, cache: dict[str, np.ndarray]) -> np.ndarray:
    """Scores of a recipe, of members that are fitted once; each over its spread, as the model does."""
    histories = line_up(split.histories, items)
    total = np.zeros((len(split.hidden), items), np.float32)
    for name, weight in recipe["weights"].items():
        if weight and name not in cache:
            alone = {"members": {name: recipe["members"][name]}, "weights": {name: 1.0}}
            cache[name] = SequenceModel.fit_sequences(split.histories, items, alone).score(histories)
        if weight:
            total += weight * cache[name]
    return total


def _judge_peer(settings: Mapping[str, Any], splits: Sequence[Split], corpus: Corpus) -> float:
    found = []
    for split in splits:
        matrix = line_up(split.histories, corpus.items)
        matrix.data[:] = 1
        found.append(gains(rank(ALS.fit(matrix, settings).score(matrix), split, corpus.samples).all, 10))
    return float(np.concatenate(found).mean())


def _grid() -> list[dict[str, Any]]:
    return [dict(zip(PEER_GRID, values, strict=True)) for values in product(*PEER_GRID.values())]


def _histories_of_test(corpus: Corpus) -> list[np.ndarray]:
    """What the test is asked with: training items and, after them, the validation item."""
    valid = corpus.cut(2)
    return [np.append(history, item) for history, item in zip(valid.histories, valid.hidden, strict=True)]


def _row(ranks: np.ndarray) -> list[float]:
    return [
        *(float(hits(ranks, k).mean()) for k in (1, 5, 10, 20)),
        *(float(gains(ranks, k).mean()) for k in (5, 10, 20)),
        float((1 / (ranks + 1)).mean()),
    ]


def _figures(ranks: np.ndarray) -> dict[str, object]:
    hit, gain = bootstrap_interval(hits(ranks, 10)), bootstrap_interval(gains(ranks, 10))
    return {"hr10": round(hit.value, 4), "hr10_interval": _ends(hit), "ndcg10": round(gain.value, 4), "ndcg10_interval": _ends(gain)}


def _ends(interval: Interval) -> list[float]:
    return [round(interval.low, 4), round(interval.high, 4)]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(measure, __doc__, data=Path("../shared/data/reco-lastfm-s3rec"), choose=0, refit=0)
