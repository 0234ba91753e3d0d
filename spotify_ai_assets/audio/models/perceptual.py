"""Perceptual estimator: valence, acousticness, speechiness, liveness, instrumentalness and the like from the features of a track.

What people hear in music has no formula; it is learned from labelled tracks (:mod:`~spotify_ai_assets.audio.models.perceptual_labels`).
The model is ridge regression on standardised features, alone or with a radial kernel of at most 256 landmarks beside them (the Nystroem
method: C. Williams and M. Seeger, NIPS 2000), then a monotone calibration. Its state is a handful of arrays and a JSON object.

Accuracy is claimed only over artists that the model has not heard: each artist's tracks fall into one fold. All choices (kernel or not,
link, strength of the penalty) are made inside the training part of a fold, which leaves one look at each held-out track.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.audio.models.perceptual_evidence import collect_evidence, collect_reliability
from spotify_ai_assets.errors import ContractError, MissingInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FORMAT = 1
FOLDS = 5
LEAST_TRACKS, LEAST_ARTISTS = 40, 10
LANDMARKS = 256
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-5, 1, 9))
LINKS = ("identity", "logit")
MARGIN = 0.01  # a logit is taken of values moved this far from 0 and 1
FARTHEST = 6.0  # standard deviations: what lies farther off is set there, for a straight line has no end
LEFT_OUT = ("key",)  # a pitch class is no quantity
SMOOTH_FROM = 200  # tracks from which the calibration may bend freely


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained estimator.

    Attributes:
        arrays: Its numbers, by name.
        meta: JSON object: ``format``, ``inputs``, ``seed``, ``has_evidence`` and for each of ``labels`` its recipe and number of tracks.
        evidence: One row for each label, measured over artists that were held out (see ``perceptual_evidence.collect_evidence``);
            ``None`` where the artists are not known: then nothing is claimed.
        reliability: Mean prediction and mean label in ten parts of equal size for each label; ``None`` with the evidence.
    """

    arrays: dict[str, "NDArray[np.floating]"]
    meta: dict[str, Any]
    evidence: pl.DataFrame | None
    reliability: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class _Basis:
    """From standardised features to what the ridge regression sees."""

    middle: "Floats"
    mean: "Floats"
    scale: "Floats"
    landmarks: "Floats"
    whitening: "Floats"


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What was chosen for one label: penalty over the number of tracks, link, and whether the kernel is used."""

    penalty: float
    link: str
    has_kernel: bool


@dataclass(frozen=True, slots=True)
class _Fitted:
    recipe: _Recipe
    weights: "Floats"
    offset: float


def train(features: pl.DataFrame, labels: pl.DataFrame, groups: Sequence[str | None] | None, seed: int) -> Trained:
    """Train on labelled tracks, and measure the error where artists are known.

    Args:
        features: One row for each track: columns of numbers, or lists of numbers of one length each; other columns and
            ``key`` are left out.
        labels: The same rows: columns with values from 0 to 1 or ``null``. A label with fewer than 40 values is left out.
        groups: Artist of each row, or ``None`` where unknown. Rows without artist are trained on but never scored.
        seed: Decides folds, landmarks and the resampling of intervals.

    Returns:
        The estimator. It has evidence for a label where at least ten artists have labelled tracks.

    Raises:
        ContractError: The frames differ in height, or no column of features is numeric.
        MissingInputError: No label has enough tracks.
    """
    if features.height != labels.height or (groups is not None and len(groups) != labels.height):
        raise ContractError("features, labels and artists must be the same rows")
    inputs = _find_inputs(features)
    matrix = to_matrix(features, inputs)
    names = [name for name in labels.columns if labels[name].is_not_null().sum() >= LEAST_TRACKS]
    if not names:
        raise MissingInputError(f"no label has {LEAST_TRACKS} tracks with features")
    artists = _number_artists(groups, labels.height)
    arrays: dict[str, NDArray[np.floating]] = {}
    told: dict[str, Any] = {}
    evidence, reliability = [], []
    for name in names:
        known = labels[name].is_not_null().to_numpy()
        values, rows, artist = labels[name].drop_nulls().to_numpy().astype(np.float64), matrix[known], artists[known]
        scored = artist >= 0
        has_evidence = groups is not None and len(np.unique(artist[scored])) >= LEAST_ARTISTS
        basis, fitted, calibration, measured = _train_label(rows, values, artist, has_evidence, seed)
        told[name] = {
            "tracks": len(values),
            "penalty": fitted.recipe.penalty,
            "link": fitted.recipe.link,
            "has_kernel": fitted.recipe.has_kernel,
            "offset": fitted.offset,
            "trials": len(PENALTIES) * len(LINKS) * 2,
            "selection": "mean squared error over a quarter of the training artists",
        }
        for part in ("middle", "mean", "scale", "landmarks", "whitening"):
            arrays[f"{name}.{part}"] = getattr(basis, part).astype(np.float32)
        arrays |= {f"{name}.weights": fitted.weights, f"{name}.calibration": calibration}
        if measured is not None:
            calibrated, controls = measured
            evidence.append(
                collect_evidence(
                    name, values[scored], calibrated[scored], artist[scored], {k: v[scored] for k, v in controls.items()}, seed
                )
            )
            reliability.append(collect_reliability(name, values[scored], calibrated[scored]))
    meta = {"format": FORMAT, "inputs": inputs, "seed": seed, "has_evidence": bool(evidence), "labels": told}
    return Trained(arrays, meta, pl.concat(evidence) if evidence else None, pl.concat(reliability) if reliability else None)


def predict(arrays: Mapping[str, "NDArray[np.floating]"], meta: Mapping[str, Any], features: pl.DataFrame) -> pl.DataFrame:
    """Estimate the labels of tracks.

    Args:
        arrays: Arrays of :class:`Trained`.
        meta: Its JSON object.
        features: Columns as in training; ``null`` and values that are not finite count as the training tracks' median.

    Returns:
        One row for each track, one Float64 column from 0 to 1 for each label.

    Raises:
        ContractError: A column is missing or has another length, or the state is of another format.
    """
    if meta.get("format") != FORMAT:
        raise ContractError(f"a perceptual estimator of format {meta.get('format')} cannot be used, only {FORMAT}")
    matrix = to_matrix(features, meta["inputs"])
    columns = []
    for name, told in meta["labels"].items():
        parts = (arrays[f"{name}.{part}"].astype(np.float64) for part in ("middle", "mean", "scale", "landmarks", "whitening"))
        recipe = _Recipe(told["penalty"], told["link"], told["has_kernel"])
        raw = _answer(_Fitted(recipe, arrays[f"{name}.weights"].astype(np.float64), told["offset"]), _expand(_Basis(*parts), matrix))
        columns.append(pl.Series(name, _calibrate(arrays[f"{name}.calibration"], raw), pl.Float64))
    return pl.DataFrame(columns)


def _find_inputs(features: pl.DataFrame) -> list[list[Any]]:
    """Numeric columns as pairs of name and length; length 0 is a plain number."""
    inputs: list[list[Any]] = []
    for name, dtype in features.schema.items():
        if name in LEFT_OUT:
            continue
        if dtype.is_numeric() or dtype == pl.Boolean:
            inputs.append([name, 0])
        # pyright does not know that only a type without an inner one lacks the method.
        elif isinstance(dtype, pl.List | pl.Array) and dtype.inner is not None and dtype.inner.is_numeric():  # pyright: ignore[reportAttributeAccessIssue]
            lengths = features[name].cast(pl.List(pl.Float64)).list.len().drop_nulls().unique()
            if len(lengths) == 1 and lengths[0]:
                inputs.append([name, int(lengths[0])])
    if not inputs:
        raise ContractError("the features have no numeric column")
    return inputs


def to_matrix(features: pl.DataFrame, inputs: Sequence[Sequence[Any]]) -> "Floats":
    """Shape (rows, values); what is missing or not finite is NaN."""
    missing = [name for name, _ in inputs if name not in features.columns]
    if missing:
        raise ContractError(f"the features lack {', '.join(missing)}")
    parts = []
    for name, length in inputs:
        if not length:
            parts.append(features[name].cast(pl.Float64).to_numpy()[:, None])
            continue
        lists = features[name].cast(pl.List(pl.Float64))
        if lists.list.len().drop_nulls().ne(length).any():
            raise ContractError(f"{name} has another length than {length}")
        parts.append(np.array([[np.nan] * length if row is None else row for row in lists.to_list()], np.float64).reshape(-1, length))
    matrix = np.hstack(parts).astype(np.float64)
    return np.where(np.isfinite(matrix), matrix, np.nan)


def _number_artists(groups: Sequence[str | None] | None, rows: int) -> "NDArray[np.intp]":
    """A number for each artist, -1 where none is known."""
    if groups is None:
        return np.full(rows, -1, np.intp)
    order = {name: number for number, name in enumerate(sorted({name for name in groups if name is not None}))}
    return np.array([-1 if name is None else order[name] for name in groups], np.intp)


def _split(artists: "NDArray[np.intp]", parts: int, rng: np.random.Generator) -> "NDArray[np.intp]":
    """Part of each row. An artist is never split; rows without artist stand for themselves; parts are about equally large."""
    own = np.where(artists >= 0, artists, artists.max(initial=0) + 1 + np.arange(len(artists)))
    names, places, sizes = np.unique(own, return_inverse=True, return_counts=True)
    part_of, filled = np.zeros(len(names), np.intp), np.zeros(parts)
    shuffled = rng.permutation(len(names))
    for name in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part_of[name] = filled.argmin()
        filled[part_of[name]] += sizes[name]
    return part_of[places]


def _train_label(
    rows: "Floats", values: "Floats", artists: "NDArray[np.intp]", has_evidence: bool, seed: int
) -> "tuple[_Basis, _Fitted, Floats, tuple[Floats, dict[str, Floats]] | None]":
    """Model, calibration (2, knots), and where wanted predictions of held-out artists with those of the controls."""
    basis, fitted, (held_raw, held_values) = _fit(rows, values, artists, seed)
    if not has_evidence:
        return basis, fitted, _learn_calibration(held_raw, held_values), None
    rng = np.random.default_rng([seed, 1])
    fold = _split(artists, FOLDS, rng)
    raw, calibrated, mean, shuffled = (np.zeros(len(values)) for _ in range(4))
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        for target, order in ((calibrated, None), (shuffled, rng.permutation(int(inside.sum())))):
            learned = values[inside] if order is None else values[inside][order]
            part_basis, part, (part_raw, part_values) = _fit(rows[inside], learned, artists[inside], seed)
            answer = _answer(part, _expand(part_basis, rows[outside]))
            target[outside] = _calibrate(_learn_calibration(part_raw, part_values), answer)
            if order is None:
                raw[outside] = answer
        mean[outside] = values[inside].mean()
    # The published calibration learns from every held-out prediction; the published figures are those of the folds' own calibrations.
    return basis, fitted, _learn_calibration(raw, values), (calibrated, {"mean": mean, "shuffled": shuffled})


def _fit(rows: "Floats", values: "Floats", artists: "NDArray[np.intp]", seed: int) -> "tuple[_Basis, _Fitted, tuple[Floats, Floats]]":
    """Choose a recipe on a quarter of the artists, then fit it to all. Also returns that quarter's predictions and values."""
    rng = np.random.default_rng([seed, 2])
    held = _split(artists, 4, rng) == 0
    basis = _make_basis(rows[~held], rng)
    inside, outside = _expand(basis, rows[~held]), _expand(basis, rows[held])
    best, least, answer = None, np.inf, np.zeros(0)
    for has_kernel in (False, True):
        for link in LINKS:
            for fitted in _solve(inside, values[~held], link, has_kernel, rows.shape[1], PENALTIES):
                guess = _answer(fitted, outside)
                error = float(((guess - values[held]) ** 2).mean())
                if error < least:
                    best, least, answer = fitted.recipe, error, guess
    assert best is not None  # errors are finite, so the first trial is already a best one
    whole = _make_basis(rows, np.random.default_rng([seed, 3]))
    fitted = _solve(_expand(whole, rows), values, best.link, best.has_kernel, rows.shape[1], (best.penalty,))[0]
    return whole, fitted, (answer, values[held])


def _make_basis(rows: "Floats", rng: np.random.Generator) -> _Basis:
    known = np.isfinite(rows)
    middle = np.array([np.median(column[is_known]) if is_known.any() else 0.0 for column, is_known in zip(rows.T, known.T, strict=True)])
    filled = np.where(known, rows, middle)
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    scale = np.where(scale > 1e-9 * np.maximum(1e-9, np.abs(mean)), scale, np.inf)  # what never changes says nothing
    plain = _Basis(middle, mean, scale, np.zeros((0, rows.shape[1])), np.zeros((0, 0)))
    chosen = _standardise(plain, rows[rng.permutation(len(rows))[:LANDMARKS]])
    strengths, directions = np.linalg.eigh(_radial(chosen, chosen))
    kept = strengths > 1e-6 * strengths[-1]
    return _Basis(middle, mean, scale, chosen, directions[:, kept] / np.sqrt(strengths[kept]))


def _standardise(basis: _Basis, rows: "Floats") -> "Floats":
    filled = np.where(np.isfinite(rows), rows, basis.middle)
    return np.clip((filled - basis.mean) / basis.scale, -FARTHEST, FARTHEST)


def _radial(left: "Floats", right: "Floats") -> "Floats":
    """Radial kernel exp(-d^2 / 2 p) of rows with p values: e^-1 at the usual distance of standardised rows."""
    square = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.exp(-np.clip(square, 0, None) / (2 * left.shape[1]))


def _expand(basis: _Basis, rows: "Floats") -> "Floats":
    """Standardised features over the root of their number, then the kernel's; both parts have about unit length."""
    standard = _standardise(basis, rows)
    return np.hstack([standard / np.sqrt(rows.shape[1]), _radial(standard, basis.landmarks) @ basis.whitening])


def _solve(expanded: "Floats", values: "Floats", link: str, has_kernel: bool, plain: int, penalties: Sequence[float]) -> list[_Fitted]:
    """Ridge regressions with several penalties from one decomposition."""
    used = expanded if has_kernel else expanded[:, :plain]
    squeezed = np.clip(values, MARGIN, 1 - MARGIN)
    targets = values if link == "identity" else np.log(squeezed / (1 - squeezed))
    centre, level = used.mean(axis=0), float(targets.mean())
    centred = used - centre
    strengths, directions = np.linalg.eigh(centred.T @ centred)
    turned = directions.T @ (centred.T @ (targets - level))
    fitted = []
    for penalty in penalties:
        weights = directions @ (turned / (np.clip(strengths, 0, None) + penalty * len(values)))
        fitted.append(_Fitted(_Recipe(penalty, link, has_kernel), weights, level - float(centre @ weights)))
    return fitted


def _answer(fitted: _Fitted, expanded: "Floats") -> "Floats":
    """Predictions before calibration, from 0 to 1."""
    straight = expanded[:, : len(fitted.weights)] @ fitted.weights + fitted.offset
    return np.clip(straight, 0, 1) if fitted.recipe.link == "identity" else 1 / (1 + np.exp(-np.clip(straight, -30, 30)))


def _learn_calibration(raw: "Floats", values: "Floats") -> "Floats":
    """Knots (2, n) of a rising line from predictions to what they are on average: isotonic from 200 tracks, else straight."""
    if len(raw) < SMOOTH_FROM:
        spread = float(raw.var())
        slope = max(0.0, float(((raw - raw.mean()) * (values - values.mean())).mean()) / spread) if spread > 1e-12 else 0.0
        ends = np.array([0.0, 1.0])
        return np.array([ends, values.mean() + slope * (ends - raw.mean())])
    from scipy.optimize import isotonic_regression

    order = np.argsort(raw, kind="stable")
    result = isotonic_regression(values[order])
    edges = result.blocks
    places = np.add.reduceat(raw[order], edges[:-1]) / np.diff(edges)
    return np.array([places, result.x[edges[:-1]]])


def _calibrate(knots: "NDArray[np.floating]", raw: "Floats") -> "Floats":
    return np.clip(np.interp(raw, knots[0], knots[1]), 0, 1)
