"""The population stability index."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.audio.drift import MAJOR, MODERATE, SCHEMA, compare_frames, compare_groups, measure_drift


def test_two_halves_of_one_distribution_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    told = [measure_drift(rng.normal(0, 1, 400), rng.normal(0, 1, 200)) for _ in range(200)]
    assert sum(drift.change != "none" for drift in told) <= 1
    assert all(drift.psi < drift.by_chance for drift in told) or sum(drift.psi >= drift.by_chance for drift in told) <= 2


def test_a_shifted_mean_is_a_major_change_and_a_small_shift_a_moderate_one() -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(0, 1, 5_000)
    assert measure_drift(reference, rng.normal(1, 1, 5_000)).change == "major"
    assert measure_drift(reference, rng.normal(0.4, 1, 5_000)).change == "moderate"
    assert measure_drift(reference, rng.normal(0.1, 1, 5_000)).change == "none"


def test_the_index_is_that_of_the_formula_by_hand() -> None:
    # Two bins that hold half of the reference each, and a quarter and three quarters of the values; half a value more in each.
    reference, values = np.repeat([0.0, 1.0], 100), np.repeat([0.0, 1.0], [50, 150])
    r, c = np.array([100.5, 100.5]) / 201, np.array([50.5, 150.5]) / 201
    assert measure_drift(reference, values, bins=2).psi == pytest.approx(float(((c - r) * np.log(c / r)).sum()))


def test_few_values_tell_nothing() -> None:
    assert measure_drift(np.zeros(49), np.ones(500)).change == "unknown"
    assert measure_drift(np.zeros(500), np.full(500, np.nan)).change == "unknown"


def test_a_feature_of_one_value_changes_when_the_value_does() -> None:
    assert measure_drift(np.zeros(100), np.zeros(100)).change == "none"
    assert measure_drift(np.zeros(100), np.ones(100)).change == "major"


def test_a_shard_unlike_the_others_is_told_by_its_name() -> None:
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"shard": np.repeat(["a", "b", "c"], 300), "tempo": rng.normal(120, 20, 900), "energy": rng.uniform(0, 1, 900)})
    frame = frame.with_columns(tempo=pl.when(pl.col("shard") == "b").then(pl.col("tempo") + 40).otherwise(pl.col("tempo")))
    told = compare_groups(frame, "shard", ["tempo", "energy"])
    assert dict(told.schema) == SCHEMA
    assert len(told) == 6
    worst = told.sort("psi").row(-1, named=True)
    assert (worst["group"], worst["feature"], worst["change"]) == ("b", "tempo", "major")
    assert worst["median"] > worst["reference_median"] + 30
    assert set(told.filter(pl.col("feature") == "energy")["change"]) == {"none"}


def test_months_are_compared_with_earlier_ones() -> None:
    rng = np.random.default_rng(3)
    before = pl.DataFrame({"loudness": rng.normal(-14, 3, 1_000)})
    after = pl.DataFrame({"loudness": rng.normal(-9, 3, 200)})
    told = compare_frames(before, after, ["loudness"], group="2026-05")
    assert told.select("group", "change").rows() == [("2026-05", "major")]


def test_nulls_are_left_out_and_empty_frames_tell_nothing() -> None:
    frame = pl.DataFrame({"x": [None] * 60 + [1.0] * 60}, schema={"x": pl.Float64})
    assert compare_frames(frame, frame, ["x"])["values"].to_list() == [60]
    told = compare_frames(frame, frame.head(0), ["x"]).row(0, named=True)
    assert (told["change"], told["median"]) == ("unknown", None)


def test_fewer_than_two_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="two bins"):
        measure_drift(np.zeros(100), np.zeros(100), bins=1)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-9, 1.0, 1e9]), st.integers(0, 5))
def test_the_index_is_never_negative_and_does_not_depend_on_the_unit(seed: int, unit: float, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    reference, values = np.round(rng.normal(0, 2, 150), decimals), np.round(rng.normal(0.5, 1, 80), decimals)
    drift = measure_drift(reference, values)
    assert drift.psi >= 0
    assert measure_drift(reference * unit, values * unit).psi == pytest.approx(drift.psi)
    assert (drift.change == "major") == (drift.psi >= MAJOR and drift.psi > drift.by_chance)
    assert drift.change != "moderate" or MODERATE <= drift.psi < MAJOR
