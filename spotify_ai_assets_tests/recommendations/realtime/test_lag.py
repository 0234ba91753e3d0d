"""Figures of the last minute."""

from datetime import timedelta

import numpy as np
import pytest
from stream_rows import NOW

from spotify_ai_assets.recommendations.realtime.lag import Lag, LagMeter


def test_nothing_seen_has_no_lag():
    assert LagMeter().measure(NOW) == Lag()


def test_quantiles_and_rate_are_those_of_the_window():
    meter = LagMeter()
    for second in range(10):
        moment = NOW + timedelta(seconds=second)
        meter.note([moment - timedelta(seconds=each / 100) for each in range(100)], moment)
    found = meter.measure(NOW + timedelta(seconds=10))
    assert found.messages == 1000 and found.per_second == pytest.approx(100)
    assert (found.p50_s, found.p95_s) == pytest.approx(np.quantile(np.arange(100) / 100, (0.5, 0.95)), abs=0.01)


def test_what_is_older_than_the_window_counts_no_more():
    meter = LagMeter(timedelta(seconds=10))
    meter.note([NOW - timedelta(seconds=9)], NOW)
    meter.note([NOW], NOW + timedelta(seconds=9))
    assert meter.measure(NOW + timedelta(seconds=9)).p99_s > 8
    assert meter.measure(NOW + timedelta(seconds=10)).messages == 1
    assert meter.measure(NOW + timedelta(seconds=30)) == Lag()


def test_a_clock_that_runs_behind_makes_no_lag_negative():
    meter = LagMeter()
    meter.note([NOW + timedelta(seconds=5)], NOW)
    assert meter.measure(NOW).p50_s == 0.0
