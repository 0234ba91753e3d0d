"""Whether a feature's values are distributed as they were: the population stability index.

PSI = sum over bins of (c - r) ln(c / r), with the shares r of a reference and c of what is compared, in bins that hold equal parts of the
reference (the symmetrised Kullback-Leibler divergence; Siddiqi 2006, "Credit Risk Scorecards", chapter 8). His reading: below 0.1 no
change, from 0.1 on a moderate and from 0.25 on a major one. Those say nothing about the number of values: without any change the
index is distributed about as chi-squared with one degree of freedom less than bins, times 1/n + 1/m (Yurdakul 2018, "Statistical
properties of the population stability index"), which for a hundred values exceeds 0.1 by chance. So a change is told only where the
index is also above that distribution's 99.9 % point.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

MODERATE, MAJOR = 0.1, 0.25
BINS = 10
LEAST_VALUES = 50
CHANCE = 0.999
"""What part of unchanged comparisons stays below ``by_chance``: one in a thousand of many features and shards is a false alarm."""

Change = Literal["unknown", "none", "moderate", "major"]

SCHEMA = {
    "group": pl.String,
    "feature": pl.String,
    "psi": pl.Float64,
    "by_chance": pl.Float64,
    "change": pl.String,
    "values": pl.Int64,
    "reference_values": pl.Int64,
    "median": pl.Float64,
    "reference_median": pl.Float64,
}


class Drift(NamedTuple):
    """One comparison.

    Attributes:
        psi: The index; 0 where it cannot be told.
        by_chance: What it stays below without a change.
        change: How to read it; ``unknown`` below ``LEAST_VALUES`` on either side.
    """

    psi: float
    by_chance: float
    change: Change


def measure_drift(reference: np.ndarray, values: np.ndarray, *, bins: int = BINS) -> Drift:
    """Compare two samples of one feature.

    Args:
        reference: Shape (n,); what is not finite is left out.
        values: Shape (m,); likewise.
        bins: Parts of the reference; equal values are never parted, so there may be fewer.

    Raises:
        ValueError: Fewer than two bins.
    """
    if bins < 2:
        raise ValueError("drift needs at least two bins")
    known, new = (np.asarray(part, dtype=np.float64) for part in (reference, values))
    known, new = known[np.isfinite(known)], new[np.isfinite(new)]
    if min(len(known), len(new)) < LEAST_VALUES:
        return Drift(0.0, 0.0, "unknown")
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
    # A feature of one value has no inner edge that parts it: equal and different are its two bins.
    counts = np.stack([np.bincount(_place(part, edges), minlength=2 * len(edges) + 1) for part in (known, new)]).astype(float)
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return Drift(0.0, 0.0, "none")
    # Half a value in each bin: an empty one has a share, and a sample of any size is treated alike.
    shares = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    from scipy.stats import chi2

    by_chance = float(chi2.ppf(CHANCE, counts.shape[1] - 1)) * (1 / len(known) + 1 / len(new))
    return Drift(psi, by_chance, _read(psi, by_chance))


def compare_groups(frame: pl.DataFrame, group: str, features: Sequence[str], *, bins: int = BINS) -> pl.DataFrame:
    """Compare each group of rows, such as a shard or a month, with all the others.

    Args:
        frame: One row a file.
        group: Column that names the group.
        features: Numeric columns; nulls are left out.
        bins: As of ``measure_drift``.

    Returns:
        ``SCHEMA``, by group and feature.
    """
    rows = []
    for name in sorted(frame[group].drop_nulls().unique().to_list(), key=str):
        inside = (frame[group] == name).fill_null(False)
        rows += _compare(str(name), frame.filter(~inside), frame.filter(inside), features, bins)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def compare_frames(
    reference: pl.DataFrame, frame: pl.DataFrame, features: Sequence[str], *, group: str = "", bins: int = BINS
) -> pl.DataFrame:
    """Compare rows with earlier ones.

    Args:
        reference: Those before, one row a file.
        frame: Those to compare.
        features: Numeric columns of both; nulls are left out.
        group: What to call them.
        bins: As of ``measure_drift``.

    Returns:
        ``SCHEMA``, by feature.
    """
    return pl.DataFrame(_compare(group, reference, frame, features, bins), schema=SCHEMA, orient="row")


def _compare(group: str, reference: pl.DataFrame, frame: pl.DataFrame, features: Sequence[str], bins: int) -> list[tuple[object, ...]]:
    rows = []
    for feature in sorted(features):
        known, new = (part[feature].cast(pl.Float64).drop_nulls().drop_nans().to_numpy() for part in (reference, frame))
        drift = measure_drift(known, new, bins=bins)
        middle, before = (float(np.median(part)) if len(part) else None for part in (new, known))
        rows.append((group, feature, round(drift.psi, 6), round(drift.by_chance, 6), drift.change, len(new), len(known), middle, before))
    return rows


def _place(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each value; a value that equals an edge has its own, which only repeated values fill."""
    left, right = np.searchsorted(edges, values), np.searchsorted(edges, values, side="right")
    return left + right


def _read(psi: float, by_chance: float) -> Change:
    if psi < MODERATE or psi <= by_chance:
        return "none"
    return "major" if psi >= MAJOR else "moderate"
