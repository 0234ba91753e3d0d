"""How well the perceptual estimator does on artists that it has not heard, beside controls that should lose."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES, RANK_RESAMPLES = 1_000, 200
BINS = 10


def collect_evidence(
    label: str, values: "Floats", predictions: "Floats", artists: "NDArray[np.intp]", controls: "Mapping[str, Floats]", seed: int
) -> pl.DataFrame:
    """Errors of one label with 95 % intervals from a bootstrap over artists.

    Args:
        label: Its name.
        values: Shape (tracks,): the labels.
        predictions: The same shape, of a model that has not heard the track's artist.
        artists: Number of each track's artist.
        controls: Predictions of the same tracks by ``mean`` (the training labels' mean) and ``shuffled`` (the same recipe, trained on
            labels in random order).
        seed: Seed of the resampling.

    Returns:
        One row: ``label, tracks, artists, mae, mae_low, mae_high, r2, r2_low, r2_high, spearman, spearman_low, spearman_high,
        calibration_error`` (mean distance of prediction and label over ten parts of equal size), for each control its ``mae_*``, and
        ``gain, gain_low, gain_high``: by how much the better control's error is larger, paired. ``is_better`` is whether the whole
        interval lies above zero.
    """
    rng = np.random.default_rng([seed, 4])
    names, places = np.unique(artists, return_inverse=True)
    wrong = np.abs(predictions - values)
    losses = {name: np.abs(guess - values) for name, guess in controls.items()}
    rival = losses[min(losses, key=lambda name: float(losses[name].mean()))]
    parts = np.stack([np.ones(len(values)), wrong, (predictions - values) ** 2, values, values**2, rival - wrong])
    sums = np.stack([np.bincount(places, part, len(names)) for part in parts], axis=1)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES).astype(np.float64) @ sums
    ranked = [_resample_ranks(values, predictions, places, len(names), rng) for _ in range(RANK_RESAMPLES)]
    row: dict[str, object] = {"label": label, "tracks": len(values), "artists": len(names)}
    row |= _spread("mae", float(wrong.mean()), drawn[:, 1] / drawn[:, 0])
    row |= _spread("r2", float(_explained(sums.sum(axis=0)[None])[0]), _explained(drawn))
    row |= _spread("spearman", correlate_ranks(values, predictions), np.array(ranked))
    table = collect_reliability(label, values, predictions)
    off = (table["predicted"] - table["observed"]).abs()
    row["calibration_error"] = float((off * table["tracks"]).sum() / len(values))
    row |= {f"mae_{name}": float(loss.mean()) for name, loss in losses.items()}
    row |= _spread("gain", float((rival - wrong).mean()), drawn[:, 5] / drawn[:, 0])
    return pl.DataFrame([row]).with_columns((pl.col("gain_low") > 0).alias("is_better"))


def collect_reliability(label: str, values: "Floats", predictions: "Floats") -> pl.DataFrame:
    """Mean prediction and mean label in ten parts of equal size, from the lowest predictions to the highest.

    Args:
        label: Its name.
        values: Shape (tracks,): the labels.
        predictions: The same shape.

    Returns:
        Columns ``label, bin, predicted, observed, tracks``.
    """
    order = np.argsort(predictions, kind="stable")
    rows = [
        {
            "label": label,
            "bin": number,
            "predicted": float(predictions[part].mean()),
            "observed": float(values[part].mean()),
            "tracks": len(part),
        }
        for number, part in enumerate(np.array_split(order, BINS))
        if len(part)
    ]
    return pl.DataFrame(rows)


def correlate_ranks(left: "Floats", right: "Floats") -> float:
    """Spearman's rank correlation with mean ranks for ties, 0 where one side does not vary."""
    from scipy.stats import rankdata

    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def _resample_ranks(values: "Floats", predictions: "Floats", places: "NDArray[np.intp]", count: int, rng: np.random.Generator) -> float:
    times = np.bincount(rng.integers(count, size=count), minlength=count)[places]
    return correlate_ranks(np.repeat(values, times), np.repeat(predictions, times))


def _explained(sums: "Floats") -> "Floats":
    """R squared from sums of one, absolute error, squared error, value and squared value."""
    total = sums[:, 4] - sums[:, 3] ** 2 / sums[:, 0]
    return np.where(total > 1e-12, 1 - sums[:, 2] / np.maximum(total, 1e-12), 0.0)


def _spread(name: str, value: float, drawn: "Floats") -> dict[str, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}
