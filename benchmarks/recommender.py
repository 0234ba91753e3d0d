"""Recommendation quality on public splits: our blend and its members, implicit's ALS and popularity, ranked over the whole catalogue.

DIR holds ``train.txt``, ``test.txt`` and perhaps ``valid.txt``, plain or gzipped, one line a listener: their number and those of their
items (LightGCN's layout). With ``valid.txt`` settings are chosen on it and models are fitted on train alone; without it a seeded tenth
of each listener's train items is held out for the choice, and models are fitted on all of train. Only train items are hidden from
the ranking. Recall is hits over all test items of a listener, NDCG has the ideal of min(k, test items), both are means over listeners
with test items; equal scores are ordered by the number of the item.

By default settings are those that were found on validation data before, ours and the peer's, frozen here with what their search cost;
``--search`` searches again, every member and the peer with as many trials, and then uses what it found. Either way their digest is
printed before the test part is opened, and that is opened once.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.recommender_published import PUBLISHED, Rows
from spotify_ai_assets.recommendations.public_sets import hold_out, open_lists, widen
from spotify_ai_assets.training.metrics import Interval, bootstrap_interval, paired_difference

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.models.contract import Model
    from spotify_ai_assets.recommendations.models.recipes import Recipe

HELD_OUT = 0.1
PLACES = (10, 20)
PEER = "implicit ALS"
Figures = dict[str, np.ndarray]
"""Figures of each listener by metric and places, such as ``ndcg@20``."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is fitted, and what it cost to find.

    Attributes:
        recipe: Of the blend, as ``Recipe.as_json`` has it.
        peer: Of implicit's ALS.
        found: How the search went: trials and CPU seconds, ours and the peer's.
    """

    recipe: Mapping[str, Any]
    peer: Mapping[str, Any]
    found: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of what is fitted."""
        told = json.dumps([self.recipe, self.peer], sort_keys=True, default=dict)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


FEW = Settings(
    recipe={
        "members": {
            "als": {"factors": 64, "alpha": 3.513827544566846, "regularization": 29.263257353298485},
            "cooccurrence": {
                "neighbours": 1000,
                "shrink": 7.362034331158154,
                "target_exponent": 0.5980003215186986,
                "listener_exponent": 0.4167654921045977,
            },
            "ease": {"regularization": 150.0},
            "popularity": {},
            "spectral": {
                "factors": 64,
                "item_exponent": 0.2426619173885681,
                "listener_exponent": 0.12833599612958996,
                "smoothness": 0.21893824891712477,
                "norm_exponent": 0.34775795477269655,
                "linear": 0.0,
                "ideal": 1.0,
                "rounds": 4,
            },
        },
        "weights": {"als": 0.8, "cooccurrence": 0.8, "ease": 0.6, "popularity": 0.0, "spectral": 1.0},
    },
    peer={"factors": 64, "alpha": 3.513827544566846, "regularization": 29.263257353298485, "iterations": 15},
    found={"trials": 155, "cpu_s": 500, "peer_trials": 16, "peer_cpu_s": 37},
)
"""Found on the validation part of Last.fm-2k (LightGCN++'s split): for sets of up to ``FEW_LISTENERS``.

Alone none of ALS, EASE and cooccurrence adds to the NDCG of the spectral filter by its interval there; together they add .0029
[.0001, .0057], each listener's weights chosen by the other half.
"""

MANY = Settings(
    recipe={
        "members": {
            "popularity": {},
            "spectral": {
                "factors": 1024,
                "item_exponent": 0.35,
                "listener_exponent": 0.3,
                "smoothness": 0.5,
                "norm_exponent": 0.35,
                "linear": 0.0,
                "ideal": 1.0,
                "rounds": 3,
            },
        },
        "weights": {"popularity": 0.0, "spectral": 1.0},
    },
    peer={"factors": 256, "alpha": 50.0, "regularization": 10.0, "iterations": 8},
    found={"trials": 132, "cpu_s": 520, "peer_trials": 4, "peer_cpu_s": 40},
)
"""Found on a tenth of the train part of Gowalla (LightGCN's split): for larger sets.

Cooccurrence added .0009 [-.0006, .0022] to the NDCG of the spectral filter there and ALS -.0006 [-.0017, .0004], so neither has a weight.
The tenth is no likeness of the published test part: popularity has a Recall@20 of .026 on the one and .042 on the other, and GF-CF's own
settings, .0109 of NDCG@20 below these on the tenth, have the higher published figure on the test part.
"""

FEW_LISTENERS = 10_000


@dataclass(slots=True)
class Side:
    """One model's answer for everybody.

    Attributes:
        tops: Items of each test listener, best first, int32, shape (n, places).
        train_cpu_s: CPU seconds of its fit.
        top_s: Wall seconds until everybody had their items.
        top_cpu_s: CPU seconds of the same.
    """

    tops: np.ndarray
    train_cpu_s: float
    top_s: float = 0.0
    top_cpu_s: float = 0.0


def measure(
    data: Path, k: int = 20, *, settings: Settings | None = None, searched: bool = False, trials: int = 16, seed: int = 0
) -> dict[str, Any]:
    """Run everything on one folder.

    Args:
        data: The folder.
        k: Places that the document's figures are for.
        settings: What is fitted; by default what is frozen for sets of this size.
        searched: Whether to search settings on validation data instead.
        trials: Of each member's search, and of the peer's.
        seed: Of the held-out tenth, the search and the intervals.

    Returns:
        The document.
    """
    from spotify_ai_assets.recommendations.models.recipes import Recipe

    lists = open_lists(data)
    train = lists.train
    _warm_up()
    if searched:
        settings = find_settings(train, lists.valid, trials, seed)
    elif settings is None:
        settings = FEW if _height(train) <= FEW_LISTENERS else MANY
    recipe = Recipe.from_json(settings.recipe)
    origin = "valid.txt" if lists.valid is not None else f"{HELD_OUT:.0%} of each listener's train items, seed {seed}"
    way = f"found on {origin}" if searched else "frozen, found on validation data before"
    _tell(f"settings {settings.digest}, {way}, by NDCG@20: {json.dumps(dict(settings.found))}")
    _tell(f"recipe {json.dumps(recipe.as_json())}")
    _tell(f"peer {json.dumps(dict(settings.peer))}")
    answers = _answers(recipe, settings.peer, train)
    _tell(f"fitted on {train.nnz} pairs of train alone; the test part is opened now, for the only time")
    truth = lists.read_test()
    asked = np.flatnonzero(np.diff(truth.indptr))
    histories = widen(train, (_height(truth), _width(train)))[asked]
    places = sorted({k, *PLACES})
    sides = {name: answer(histories, asked, places[-1]) for name, answer in answers.items()}
    figures = {name: _figures(side.tops, truth[asked], places) for name, side in sides.items()}
    return _document(figures, sides, settings, k, seed, train.nnz)


def find_settings(train: "csr_matrix", valid: "csr_matrix | None", trials: int, seed: int) -> Settings:
    """Search settings of members, peer and blend, starting from those that are frozen.

    Args:
        train: What models are fitted on in the end.
        valid: Validation data; ``None`` holds out a share of ``train``.
        trials: Of each.
        seed: Of all.
    """
    from spotify_ai_assets.recommendations.models.tuning import SPACES, tune

    part, wanted = hold_out(train, HELD_OUT, seed) if valid is None else (train, valid)
    spaces = {name: space for name, space in SPACES.items() if name != "popularity"}
    before = time.process_time()
    tuned = tune(
        part, wanted, trials=trials, seed=seed, k=20, spaces=spaces, watch=lambda *said: _tell("search: {} {} of {}".format(*said))
    )
    for earning in tuned.earnings:
        _tell(f"earned: {earning}")
    for name, reason in tuned.skipped.items():
        _tell(f"skipped: {name}: {reason}")
    peer = next(member.found for member in tuned.members if member.name == "als")
    found = {
        "trials": tuned.trials,
        "trials_each": trials,
        "peer_trials": trials,
        "cpu_s": round(time.process_time() - before),
        "seed": seed,
    }
    return Settings(tuned.recipe.as_json(), peer, found)


Answer = Callable[["csr_matrix", np.ndarray, int], Side]
"""Given histories, their rows and a number of places, gives everybody's items."""


def _answers(recipe: "Recipe", peer: Mapping[str, Any], train: "csr_matrix") -> dict[str, Answer]:
    """Fit all sides: the blend, popularity, each member alone and the peer."""
    from spotify_ai_assets.recommendations.models.blend import FALLBACK
    from spotify_ai_assets.recommendations.models.kernels import top_by_model
    from spotify_ai_assets.recommendations.models.recipes import fit_recipe

    costs: dict[str, float] = {}
    before = time.process_time()

    def told(name: str) -> None:
        nonlocal before
        costs[name], before = time.process_time() - before, time.process_time()
        _tell(f"fitted {name} in {costs[name]:.1f} CPU s")

    blend = fit_recipe(recipe, train, watch=told)

    def ask(model: "Model", cost: float) -> Answer:
        def answer(histories: "csr_matrix", _rows: np.ndarray, places: int) -> Side:
            return _timed(lambda: top_by_model(model, histories, places)[0], cost)

        return answer

    weighted = [name for name, weight in blend.weights.items() if weight]
    alone = [name for name in blend.members if name == FALLBACK or (name in weighted and len(weighted) > 1)]
    answers = {"blend": ask(blend, sum(costs.values()))}
    answers |= {name: ask(blend.members[name], costs[name]) for name in alone}
    return {**answers, PEER: _fit_peer(peer, train)}


def _fit_peer(settings: Mapping[str, Any], train: "csr_matrix") -> Answer:
    """Implicit's ALS as its own interface has it, with the confidence 1 + alpha for each pair."""
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    from spotify_ai_assets.recommendations.models.kernels import top_items

    told = dict(settings)
    weights = csr_matrix((1 + told.pop("alpha") * train.data, train.indices, train.indptr), shape=train.shape, dtype=np.float32)
    before = time.process_time()
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(**{"random_state": 0, "dtype": np.float32, **told})
        model.fit(weights, show_progress=False)
    cost = time.process_time() - before
    _tell(f"fitted the peer in {cost:.1f} CPU s")

    def answer(histories: "csr_matrix", rows: np.ndarray, places: int) -> Side:
        vectors = np.zeros((rows.max(initial=-1) + 1, model.user_factors.shape[1]), np.float32)
        known = min(len(vectors), len(model.user_factors))
        vectors[:known] = model.user_factors[:known]
        return _timed(lambda: top_items(vectors[rows], np.asarray(model.item_factors), histories, places)[0], cost)

    return answer


def _timed(ask: Callable[[], np.ndarray], cost: float) -> Side:
    started, before = time.perf_counter(), time.process_time()
    tops = ask()
    return Side(tops, cost, time.perf_counter() - started, time.process_time() - before)


def _figures(tops: np.ndarray, truth: "csr_matrix", places: list[int]) -> Figures:
    from spotify_ai_assets.recommendations.evaluation.metrics import relevance

    found = {place: relevance(tops[:, :place], truth) for place in places}
    return {f"{metric}@{place}": each[metric] for place, each in found.items() for metric in ("recall", "ndcg")}


def _document(
    figures: Mapping[str, Figures], sides: Mapping[str, Side], settings: Settings, k: int, seed: int, pairs: int
) -> dict[str, Any]:
    """Print the table, and say what there is to say in one document."""
    said = {name: {key: bootstrap_interval(values, seed=seed) for key, values in each.items()} for name, each in figures.items()}
    published = PUBLISHED.get(pairs, {})
    _print_table(said, sides, published)
    ours, theirs = figures["blend"], figures[PEER]
    gains = {key: paired_difference(values, theirs[key], seed=seed) for key, values in ours.items()}
    for key, gain in gains.items():
        _tell(f"blend - {PEER}, {key}: {_text(gain)}")
    own, peer = said["blend"], said[PEER]
    key = f"ndcg@{k}"
    return {
        "name": "recommender",
        "recall": round(own[f"recall@{k}"].value, 5),
        "ndcg": round(own[key].value, 5),
        "train_cpu_s": round(sides["blend"].train_cpu_s, 1),
        "ours": round(own[key].value, 5),
        "peer": round(peer[key].value, 5),
        "ratio": round(own[key].value / peer[key].value, 3) if peer[key].value else None,
        "better": "higher",
        "unit": key,
        "k": k,
        "figures": {
            name: {metric: [round(each.value, 5), round(each.low, 5), round(each.high, 5)] for metric, each in rows.items()}
            for name, rows in said.items()
        },
        "gain": {metric: [round(each.value, 5), round(each.low, 5), round(each.high, 5)] for metric, each in gains.items()},
        "published": {name: _verdicts(rows, own) for name, rows in published.items()},
        "costs": {
            name: {"train_cpu_s": round(side.train_cpu_s, 1), "top_s": round(side.top_s, 2), "top_cpu_s": round(side.top_cpu_s, 2)}
            for name, side in sides.items()
        },
        "search": dict(settings.found),
        "settings": settings.digest,
        "selection": "ndcg@20 on validation data",
        "test_reads": 1,
        "cases": own[key].count,
        "ties": "lower item number",
        "hidden": "train items",
        "seed": seed,
    }


def _verdicts(rows: Mapping[str, float], own: Mapping[str, Interval]) -> dict[str, list[object]]:
    """Each published figure, and whether ours is above, below or on par by its interval."""
    return {
        key: [value, "above" if own[key].low > value else "below" if own[key].high < value else "on par"]
        for key, value in rows.items()
        if key in own
    }


def _print_table(said: Mapping[str, Mapping[str, Interval]], sides: Mapping[str, Side], published: Rows) -> None:
    columns = list(said["blend"])
    print("model", *columns, "train CPU s", "top-k s", "top-k CPU s", sep="\t")
    for name, rows in said.items():
        side = sides[name]
        print(name, *map(_text, rows.values()), *(f"{each:.1f}" for each in (side.train_cpu_s, side.top_s, side.top_cpu_s)), sep="\t")
    for name, rows in published.items():
        print(f"published {name}", *(f"{rows[column]:.4f}" if column in rows else "" for column in columns), sep="\t")


def _text(interval: Interval) -> str:
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _warm_up() -> None:
    """Compile what is compiled on first use, so that no member's cost has it."""
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.models.kernels import top_by_model
    from spotify_ai_assets.recommendations.models.recipes import Recipe, fit_recipe

    some = csr_matrix(np.eye(40, dtype=np.float32) + np.eye(40, k=1, dtype=np.float32))
    small = {"als": {"factors": 4, "iterations": 1}, "cooccurrence": {}, "ease": {}, "popularity": {}, "spectral": {"factors": 4}}
    top_by_model(fit_recipe(Recipe(small, dict.fromkeys(small, 1.0)), some), some, 2)


def _height(matrix: "csr_matrix") -> int:
    return len(matrix.indptr) - 1


def _width(matrix: "csr_matrix") -> int:
    shape = matrix.shape
    assert shape is not None, "a matrix has a shape"
    return shape[1]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of train.txt, test.txt and perhaps valid.txt")
    parser.add_argument("--k", type=int, default=20, help="places of the document's figures")
    parser.add_argument("--search", action="store_true", help="search settings on validation data first")
    parser.add_argument("--trials", type=int, default=16, help="of each member's search and the peer's")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(measure(given.data, given.k, searched=given.search, trials=given.trials, seed=given.seed)))


if __name__ == "__main__":
    main()
