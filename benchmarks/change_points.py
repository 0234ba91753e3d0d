"""Change points of the Turing Change Point Dataset: ours and the baselines, scored against five annotators a series.

Scores are those of van den Burg and Williams (arXiv 2003.06222): F1 with a margin of 5, where 0 is a change point on both sides, a
precision is against what any annotator marked and a recall is averaged over annotators; and covering, averaged over annotators.
Every method has one setting for all series; each series is scaled to variance 1 for the baselines. `pelt`, `binseg` and `amoc`
have the defaults of R's `changepoint` (changes of the mean, MBIC, at most 5 for `binseg`), `bocpd` those of R's `ocp`. `zero`
never finds a change. `annotators` scores each annotator against the others: what people reach.

The constants of `find_change_points` were chosen on the twelve series whose licences are free, so the score on these is an
optimistic one; leaving one series out while they are chosen gives about .72 and .76.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import log, pi
from pathlib import Path

import numpy as np
import ruptures
from ruptures.base import BaseCost
from scipy.special import gammaln

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spotify_ai_assets.listening.insight.change_points import find_change_points

MARGIN = 5
MOST_BINSEG = 5
Annotations = Mapping[str, list[int]]


def f1(annotations: Annotations, found: list[int]) -> float:
    """F1 of found change points, averaged over annotators as the paper does."""
    marked = {name: {0, *points} for name, points in annotations.items()}
    ours = {0, *found}
    precision = _matches(set().union(*marked.values()), ours) / len(ours)
    recall = float(np.mean([_matches(points, ours) / len(points) for points in marked.values()]))
    return 2 * precision * recall / (precision + recall)


def _matches(marked: set[int], found: set[int]) -> int:
    """How many marked points have a found one within the margin, each found one used once."""
    free, matched = set(found), 0
    for point in sorted(marked):
        if near := [(abs(point - other), other) for other in free if abs(point - other) <= MARGIN]:
            free.discard(min(near)[1])
            matched += 1
    return matched


def covering(annotations: Annotations, found: list[int], n: int) -> float:
    """How well the pieces between found change points cover those of each annotator, averaged."""
    ours = _pieces(found, n)
    scores = []
    for points in annotations.values():
        overlaps = [
            (last - first) * max(max(0, min(last, end) - max(first, begin)) / (max(last, end) - min(first, begin)) for begin, end in ours)
            for first, last in _pieces(points, n)
        ]
        scores.append(sum(overlaps) / n)
    return float(np.mean(scores))


def _pieces(points: list[int], n: int) -> list[tuple[int, int]]:
    bounds = [0, *sorted({point for point in points if 0 < point < n}), n]
    return list(pairwise(bounds))


def _last_before(cuts: list[int]) -> list[int]:
    """The last index before each cut: what R's package gives, so that the scores are those that were published."""
    return [cut - 1 for cut in cuts]


class MeanCost(BaseCost):
    """Squared error around the mean plus the logarithm of the length: the cost of MBIC (Zhang and Siegmund 2007)."""

    model = "mean_mbic"
    min_size = 1

    def fit(self, signal: np.ndarray) -> "MeanCost":
        """Take the series, shape ``(n, dimensions)``."""
        self.signal = signal
        self._sums = np.vstack([np.zeros(signal.shape[1]), np.cumsum(signal, axis=0)])
        self._squares = np.concatenate([[0.0], np.cumsum((signal**2).sum(axis=1))])
        return self

    def error(self, start: int, end: int) -> float:
        """The cost of the piece ``[start, end)``."""
        total = self._sums[end] - self._sums[start]
        return float(self._squares[end] - self._squares[start] - (total @ total) / (end - start) + log(end - start))


def pelt(series: np.ndarray) -> list[int]:
    """The cheapest pieces, exactly (Killick et al. 2012)."""
    search = ruptures.Pelt(custom_cost=MeanCost(), min_size=1, jump=1).fit(series)
    return _last_before(search.predict(pen=3 * log(len(series)))[:-1])


def binseg(series: np.ndarray, most: int = MOST_BINSEG) -> list[int]:
    """Halve where it helps most, again and again."""
    found: list[int] = []
    search = ruptures.Binseg(custom_cost=MeanCost(), min_size=1, jump=1).fit(series)
    for count in range(1, most + 1):
        cuts = search.predict(n_bkps=count)[:-1]
        if search.cost.sum_of_costs([*found, len(series)]) - search.cost.sum_of_costs([*cuts, len(series)]) <= 3 * log(len(series)):
            break
        found = cuts
    return _last_before(found)


def amoc(series: np.ndarray) -> list[int]:
    """At most one change."""
    return binseg(series, most=1)


def bocpd(series: np.ndarray, expected_length: float = 100, prior: float = 1, least_tail: float = 1e-4) -> list[int]:
    """Bayesian online detection (Adams and MacKay 2007), and of its run lengths the likeliest chain, as in R's `ocp`.

    A run is normal of unknown mean and variance; the normal-gamma prior has mean 0 and its other parameters are all ``prior``.
    Dimensions are independent and a change comes with a constant hazard.
    """
    n, dimensions = series.shape
    means, rates = np.zeros((1, dimensions)), np.full((1, dimensions), float(prior))
    weights, shapes, runs = np.array([float(prior)]), np.array([float(prior)]), np.ones(1)
    # Chain scores and starts after each value; the two before the first are of nothing.
    scores, chains = [0.0, 0.0], [[], [0]]
    for end in range(1, n + 1):
        kept = int((np.cumsum(runs[::-1])[::-1] >= least_tail).sum())
        runs, means, rates, weights, shapes = runs[:kept], means[:kept], rates[:kept], weights[:kept], shapes[:kept]
        value = series[end - 1]
        logs = np.log(runs) + _log_student(value, means, weights, shapes, rates).sum(axis=1)
        grown = np.exp(np.maximum(logs, np.log(np.finfo(float).tiny)))
        runs = np.concatenate([[grown.sum() / expected_length], grown * (1 - 1 / expected_length)])
        runs = np.maximum(runs / runs.sum(), np.finfo(float).tiny)
        rates = np.vstack([np.full(dimensions, float(prior)), rates + (weights / (2 * (weights + 1)))[:, None] * (value - means) ** 2])
        means = np.vstack([np.zeros(dimensions), (weights[:, None] * means + value) / (weights + 1)[:, None]])
        weights, shapes = np.concatenate([[prior], weights + 1]), np.concatenate([[prior], shapes + 0.5])
        totals = np.log(runs[::-1]) + np.array(scores[end - kept : end + 1])
        start = end - kept + int(totals.argmax())
        scores.append(float(totals.max()))
        chains.append([*chains[start], start])
    return sorted({start for start in chains[-1] if 0 < start < n})


def _log_student(value: np.ndarray, means: np.ndarray, weights: np.ndarray, shapes: np.ndarray, rates: np.ndarray) -> np.ndarray:
    freedom = 2 * shapes[:, None]
    scale = rates * ((weights + 1) / (shapes * weights))[:, None]
    return (
        gammaln((freedom + 1) / 2)
        - gammaln(freedom / 2)
        - 0.5 * np.log(freedom * pi * scale)
        - (freedom + 1) / 2 * np.log1p((value - means) ** 2 / (freedom * scale))
    )


def _scaled(method: Callable[[np.ndarray], list[int]]) -> Callable[[np.ndarray], list[int]]:
    def call(series: np.ndarray) -> list[int]:
        filled = np.column_stack([_fill(column) for column in series.T])
        deviation = filled.std(axis=0, ddof=1)
        return method((filled - filled.mean(axis=0)) / np.where(deviation > 0, deviation, 1))

    return call


def _fill(values: np.ndarray) -> np.ndarray:
    here = np.flatnonzero(~np.isnan(values))
    return np.interp(np.arange(len(values)), here, values[here])


METHODS: Mapping[str, Callable[[np.ndarray], list[int]]] = {
    "ours": lambda series: [change.at for change in find_change_points(series)],
    "zero": lambda series: [],
    "pelt": _scaled(pelt),
    "binseg": _scaled(binseg),
    "bocpd": _scaled(bocpd),
    "amoc": _scaled(amoc),
}


def load(data: Path) -> dict[str, tuple[np.ndarray, dict[str, list[int]]]]:
    """The series of a folder that have annotations: values of shape ``(n, dimensions)`` with NaN where missing, and marks."""
    annotations = json.loads((data / "annotations.json").read_text())
    found = {}
    for path in sorted(data.glob("*.json")):
        document = json.loads(path.read_text())
        if isinstance(document, dict) and "series" in document and document.get("name", path.stem) in annotations:
            columns = [np.array([np.nan if value is None else value for value in one["raw"]], float) for one in document["series"]]
            found[document["name"]] = np.column_stack(columns), annotations[document["name"]]
    return found


def _annotators(annotations: Annotations, n: int) -> tuple[float, float]:
    """Each annotator against the others, averaged: F1 and covering."""
    scores = []
    for name, points in annotations.items():
        if others := {other: marks for other, marks in annotations.items() if other != name}:
            scores.append((f1(others, points), covering(others, points, n)))
    return tuple(np.mean(scores, axis=0).tolist()) if scores else (1.0, 1.0)


def measure(data: Path) -> dict[str, object]:
    """Score every method on every series; prints a table to standard error."""
    per_series: dict[str, dict[str, tuple[float, float]]] = {}
    dimensions = {}
    names = [*METHODS, "annotators"]
    print(f"{'F1 / covering':24s}" + "".join(f"{name:>14s}" for name in names), file=sys.stderr)
    for name, (series, annotations) in load(data).items():
        n, dimensions[name] = series.shape
        found = {method: detect(series) for method, detect in METHODS.items()}
        per_series[name] = {method: (f1(annotations, points), covering(annotations, points, n)) for method, points in found.items()}
        per_series[name]["annotators"] = _annotators(annotations, n)
        print(
            f"{name:24s}" + "".join("   {:.3f}/{:.3f}".format(*per_series[name][method]) for method in names), file=sys.stderr, flush=True
        )

    def mean(method: str, chosen: list[str]) -> dict[str, float]:
        if not chosen:
            return {}
        scores = np.mean([per_series[name][method] for name in chosen], axis=0)
        return {"covering": round(float(scores[1]), 3), "f1": round(float(scores[0]), 3)}

    univariate = [name for name in per_series if dimensions[name] == 1]
    return {
        "name": "change_points",
        "unit": "covering, mean over univariate series",
        "better": "higher",
        "series": len(univariate),
        "ours": mean("ours", univariate).get("covering"),
        "ours_f1": mean("ours", univariate).get("f1"),
        "univariate": {method: mean(method, univariate) for method in names},
        "all_series": {"series": len(per_series), **{method: mean(method, list(per_series)) for method in names}},
        "per_series": {
            name: {method: {"covering": round(cover, 3), "f1": round(score, 3)} for method, (score, cover) in rows.items()}
            for name, rows in per_series.items()
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tcpd"), help="folder with NAME.json files and annotations.json")
    print(json.dumps(measure(parser.parse_args().data)))
