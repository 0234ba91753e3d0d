import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from spotify_ai_assets.listening.insight.growth import DAYS, ENOUGH, WEEKS, estimate_spread, follow_growth, project, rise_p_values


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(0.01, 0.99), st.data())
def test_without_overdispersion_the_p_value_is_the_exact_binomial_one(total, share, data):
    recent = data.draw(st.integers(0, total))
    found = rise_p_values(np.array([float(recent)]), np.array([float(total)]), np.array([share]))[0]
    expected = binom.sf(recent - 1, total, share) if recent > total * share else 1.0
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_p_values_of_what_does_not_rise_are_rarely_small():
    rng = np.random.default_rng(1)
    rate = rng.pareto(1.2, 40_000) + 0.1
    recent, before = rng.poisson(rate * 7).astype(float), rng.poisson(rate * 28).astype(float)
    p_values = rise_p_values(recent, recent + before, np.full(40_000, 0.2))
    for level in (0.05, 0.01, 0.001):
        assert (p_values <= level).mean() <= level * 1.2


@pytest.mark.parametrize("wander", [0.0, 0.05, 0.3])
def test_the_estimated_spread_keeps_p_values_honest_when_rates_wander(wander):
    rng = np.random.default_rng(2)
    rate = 10 ** rng.uniform(0.5, 4, 4_000)
    drifted = rate * rng.gamma(1 / max(wander, 1e-4) ** 2, max(wander, 1e-4) ** 2, 4_000)
    recent, before = rng.poisson(drifted * 7).astype(float), rng.poisson(rate * 28).astype(float)
    total, share = recent + before, np.full(4_000, 0.2)
    spread = estimate_spread(recent, total, share)
    assert (rise_p_values(recent, total, share, spread) <= 0.01).mean() < 0.02
    naive = (rise_p_values(recent, total, share) <= 0.01).mean()
    assert naive < 0.015 if wander == 0.0 else naive > 0.1


def test_the_spread_is_told_from_enough_solid_counts_only():
    solid = np.full(ENOUGH, 100.0), np.full(ENOUGH, 200.0), np.full(ENOUGH, 0.2)
    assert estimate_spread(*solid) > 0
    assert estimate_spread(*(values[1:] for values in solid)) == 0
    assert estimate_spread(np.full(500, 4.0), np.full(500, 8.0), np.full(500, 0.2)) == 0


def test_growth_is_found_under_a_weekly_rhythm():
    rng = np.random.default_rng(3)
    rhythm = np.tile([0.8, 0.8, 0.9, 1.0, 1.3, 1.4, 0.8], 5)
    rate = np.where(np.arange(35) < 25, 5.0, 5.0 * 1.25 ** (np.arange(35) - 24))
    counts = rng.poisson(rate * rhythm, (300, 35)).astype(float)
    level, growth = follow_growth(counts, rhythm, DAYS)
    assert np.median(level[:, -1]) == pytest.approx(np.log(rate[-1]), abs=0.15)
    assert np.median(growth[:, -1]) == pytest.approx(np.log(1.25), abs=0.06)
    assert abs(np.median(growth[:, 24])) < 0.03


def test_nothing_is_known_ahead():
    counts = np.random.default_rng(4).poisson(20.0, (5, 20)).astype(float)
    level, growth = follow_growth(counts, np.ones(20), DAYS)
    earlier_level, earlier_growth = follow_growth(counts[:, :12], np.ones(12), DAYS)
    assert np.array_equal(level[:, :12], earlier_level) and np.array_equal(growth[:, :12], earlier_growth)


def test_a_series_begins_with_what_is_first_seen_and_gaps_are_bridged():
    counts = np.array([[np.nan, 1e6, 1.2e6, np.nan, 1.728e6, 2.0736e6]])
    level, growth = follow_growth(counts, np.ones(6), WEEKS)
    assert np.isnan(level[0, 0]) and growth[0, 1] == 0
    assert level[0, [1, 2, 4, 5]] == pytest.approx(np.log(counts[0, [1, 2, 4, 5]]), abs=1e-3)
    assert 0 < growth[0, 2] < growth[0, 4] < growth[0, 5] < np.log(1.2)
    assert level[0, 3] == pytest.approx(level[0, 2] + growth[0, 2])


def test_a_period_without_exposure_is_not_seen():
    seen, closed = np.array([[9.0, 12.0, 0.0, 15.0]]), np.array([1.0, 1.0, 0.0, 1.0])
    unseen = np.array([[9.0, 12.0, np.nan, 15.0]])
    for one, other in zip(follow_growth(seen, closed, DAYS), follow_growth(unseen, np.ones(4), DAYS), strict=True):
        assert np.array_equal(one, other)


@settings(deadline=None)
@given(st.lists(st.one_of(st.just(float("nan")), st.integers(0, 10**9).map(float)), min_size=1, max_size=12))
def test_any_counts_give_finite_growth_once_begun(counts):
    level, growth = follow_growth(np.array([counts]), np.ones(len(counts)), DAYS)
    begun = np.cumsum(~np.isnan(counts)) > 0
    assert np.isfinite(level[0, begun]).all() and np.isfinite(growth[0, begun]).all()
    assert np.isnan(level[0, ~begun]).all()


def test_the_projection_goes_on_with_the_growth():
    assert project(np.array([1.0]), np.array([0.5]), 4)[0] == 3.0
