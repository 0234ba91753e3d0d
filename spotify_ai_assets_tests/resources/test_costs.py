"""The meter counts what a block spends, also by children, and the memory that it holds."""

import subprocess
import sys
import time

import numpy as np

from spotify_ai_assets.resources.costs import Meter


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_core_seconds_are_counted_and_waiting_is_not():
    with Meter() as meter:
        spin(0.2)
        time.sleep(0.2)
    assert 0.19 <= meter.figures()["cpu_seconds"] < 0.39


def test_children_that_ended_count():
    with Meter() as meter:
        subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert meter.figures()["cpu_seconds"] >= 0.29


def test_the_peak_of_a_block_is_its_own_and_not_that_of_one_before():
    with Meter() as large:
        block = np.ones(30_000_000)  # 240 MB
        del block
    with Meter() as small:
        pass
    assert large.figures()["peak_memory_bytes"] > small.figures()["peak_memory_bytes"] + 150e6


def test_figures_grow_within_a_block_and_stay_after_it():
    with Meter() as meter:
        spin(0.02)
        first = meter.figures()["cpu_seconds"]
        spin(0.02)
        assert meter.figures()["cpu_seconds"] > first
    last = meter.figures()["cpu_seconds"]
    spin(0.05)
    assert meter.figures()["cpu_seconds"] == last
