import numpy as np
import pytest

from spotify_ai_assets.training.calibration import calibrate, fit_temperature, negative_log_likelihood
from spotify_ai_assets.training.metrics import (
    accuracy,
    bootstrap_interval,
    confusion,
    expected_calibration_error,
    measure_reliability,
    paired_difference,
    wilson_interval,
)


def test_a_wilson_interval_is_that_of_the_textbook():
    found = wilson_interval(81, 263)  # Newcombe (1998), table I
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 20).low == 0.0 and round(wilson_interval(0, 20).high, 4) == 0.1611
    assert wilson_interval(20, 20).high == 1.0


@pytest.mark.parametrize(("right", "count"), [(0, 0), (3, 2), (-1, 5)])
def test_a_share_of_nothing_has_no_interval(right, count):
    with pytest.raises(ValueError, match="a share needs cases"):
        wilson_interval(right, count)


def test_a_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    rng = np.random.default_rng(0)
    ratios = []
    for n in range(40):
        values = rng.normal(1, 2, 100)
        found = bootstrap_interval(values, seed=n)
        ratios.append((found.high - found.low) / (2 * 1.959964 * values.std() / 10))
        assert found.low < found.value == values.mean() < found.high
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)


def test_groups_are_drawn_whole():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), 50)
    values = rng.normal(size=12)[groups] + rng.normal(0, 0.1, 600)
    alone, together = bootstrap_interval(values), bootstrap_interval(values, groups=groups)
    assert together.value == pytest.approx(alone.value)
    assert together.high - together.low > 4 * (alone.high - alone.low)
    assert (together.count, alone.count) == (12, 600)


def test_the_fast_bootstrap_of_a_mean_equals_the_general_one():
    rng = np.random.default_rng(2)
    values, groups = rng.normal(size=300), rng.integers(0, 40, 300)
    fast = bootstrap_interval(values, groups=groups)
    slow = bootstrap_interval(values, groups=groups, statistic=lambda rows: float(rows.mean()))
    assert fast.low == pytest.approx(slow.low, abs=0.02) and fast.high == pytest.approx(slow.high, abs=0.02)


def test_a_paired_difference_sees_what_an_unpaired_one_cannot():
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 1, 200)
    ours, theirs = hard + 0.1 + rng.normal(0, 0.1, 200), hard + rng.normal(0, 0.1, 200)
    assert paired_difference(ours, theirs).is_gain
    assert not paired_difference(theirs, ours).is_gain
    assert not paired_difference(ours, rng.permutation(theirs)).is_gain
    with pytest.raises(ValueError, match="two scores of each case"):
        paired_difference(ours, theirs[:-1])


def test_a_bootstrap_is_seeded():
    values = np.arange(10.0)
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)


def test_confusion_has_the_truth_in_its_rows():
    found = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert accuracy(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])).value == 0.5


def test_a_model_that_is_as_right_as_it_is_sure_has_no_calibration_error():
    sure = np.array([[0.8, 0.2]] * 10)
    assert expected_calibration_error(sure, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert expected_calibration_error(sure, np.array([0] * 3 + [1] * 7)) == pytest.approx(0.5)


def test_reliability_counts_every_case_once():
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet([0.3] * 4, 500)
    found = measure_reliability(np.vstack([probabilities, np.eye(4)]), np.r_[rng.integers(0, 4, 500), 0:4], bins=10)
    assert found.counts.sum() == 504 and found.counts[-1] >= 4
    filled = found.counts > 0
    assert (found.confidence[filled] > found.edges[:-1][filled]).all() and (found.confidence[filled] <= found.edges[1:][filled]).all()
    with pytest.raises(ValueError, match="add up to 1"):
        measure_reliability(np.array([[0.5, 0.2]]), np.array([0]))


@pytest.mark.parametrize("planted", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_found(planted):
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 2, (4000, 5))
    labels = np.array([rng.choice(5, p=row) for row in calibrate(truth)])
    found = fit_temperature(truth * planted, labels)
    assert found == pytest.approx(planted, rel=0.05)
    at = negative_log_likelihood(truth * planted, labels, found)
    assert all(at <= negative_log_likelihood(truth * planted, labels, found * factor) for factor in (0.97, 1.03))
    scaled = calibrate(truth * planted, found)
    assert expected_calibration_error(scaled, labels) < 0.03
    assert (scaled.argmax(1) == truth.argmax(1)).all()


def test_a_temperature_without_a_finite_best_stays_in_its_range():
    logits = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(0.02, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(50, rel=1e-3)
    with pytest.raises(ValueError, match="above 0"):
        calibrate(logits, 0)


def test_huge_logits_stay_numbers():
    assert np.allclose(calibrate(np.array([[1e5, 0.0, -1e5]])), [[1, 0, 0]])
