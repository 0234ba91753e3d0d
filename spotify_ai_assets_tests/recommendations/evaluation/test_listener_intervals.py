"""Intervals of figures of listeners: as the one bootstrap of the house has them, and where the bootstrap misleads."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.evaluation.intervals import jackknife_interval, mean_intervals, paired_intervals, resample
from spotify_ai_assets.recommendations.evaluation.metrics import measure
from spotify_ai_assets.training.metrics import bootstrap_interval


def test_resamples_are_as_large_as_the_whole_and_equal_for_equal_seeds() -> None:
    first, again, other = (np.concatenate([*resample(50, seed=seed, repeats=130)]) for seed in (1, 1, 2))
    assert first.shape == (130, 50)
    assert (first.sum(1) == 50).all()
    assert (first == again).all()
    assert (first != other).any()


def test_the_interval_of_a_mean_is_that_of_the_plain_bootstrap() -> None:
    values = np.random.default_rng(0).gamma(2, size=400)
    (found,) = mean_intervals(values[:, None])
    plain = bootstrap_interval(values)
    width = plain.high - plain.low
    assert found.value == pytest.approx(plain.value)
    assert found.count == 400
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.05 * width)


def test_who_has_no_figure_does_not_count() -> None:
    values = np.random.default_rng(0).normal(size=(300, 1))
    gaps = np.r_[values, np.full((100, 1), np.nan)]
    (whole,), (gapped,) = mean_intervals(values), mean_intervals(gaps)
    assert (gapped.value, gapped.count) == (pytest.approx(whole.value), 300)
    assert gapped.high - gapped.low == pytest.approx(whole.high - whole.low, rel=0.1)


def test_a_figure_that_nobody_has_is_no_number() -> None:
    known, unknown = mean_intervals(np.column_stack([np.arange(5.0), np.full(5, np.nan)]))
    assert known.count == 5
    assert unknown.count == 0
    assert np.isnan([unknown.value, unknown.low, unknown.high]).all()
    assert mean_intervals(np.empty((0, 1)))[0].count == 0
    assert mean_intervals(np.empty((3, 0))) == []


def test_a_slice_of_one_listener_has_an_interval_of_its_value() -> None:
    column = np.full((40, 1), np.nan)
    column[7] = 0.3
    (found,) = mean_intervals(column)
    assert (found.value, found.low, found.high, found.count) == (0.3, pytest.approx(0.3), pytest.approx(0.3), 1)


def test_pairs_find_a_difference_that_two_intervals_apart_hide() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(500, 1))
    ours = theirs + 0.05 + 0.1 * rng.normal(size=(500, 1))
    (paired,), (apart,) = paired_intervals(ours, theirs), mean_intervals(ours)
    assert paired.is_gain
    assert apart.low < theirs.mean()
    with pytest.raises(ValueError, match="each listener"):
        paired_intervals(ours, theirs[1:])


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=200)
    without = (values.sum() - values) / 199
    found = jackknife_interval(values.mean(), without)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * values.std(ddof=1) / np.sqrt(200))


def test_of_one_listener_no_interval_can_be_told() -> None:
    assert np.isnan(jackknife_interval(0.5, np.array([0.0])).low)


@pytest.mark.parametrize("metric", ["coverage", "overlap"])
def test_the_jackknife_covers_what_shelves_of_other_listeners_show(metric: str) -> None:
    rng = np.random.default_rng(0)
    liking = -np.log(np.arange(1, 201))
    found = []
    for _ in range(200):
        tops = np.argsort(-(liking + rng.gumbel(size=(60, 200))), 1)[:, :5].astype(np.int32)
        total = measure(tops, csr_matrix((60, 200))).totals[metric]
        found.append(jackknife_interval(total.value, total.without))
    expected = np.mean([each.value for each in found])
    assert np.mean([each.low <= expected <= each.high for each in found]) >= 0.9
    assert np.std([each.value for each in found]) == pytest.approx(np.mean([each.high - each.low for each in found]) / 3.92, rel=0.3)
