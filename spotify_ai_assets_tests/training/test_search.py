import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import search_steps
from search_steps import CONFIG, DEFAULT, run

from spotify_ai_assets.resources.plots import PLOT_BYTES
from spotify_ai_assets.settings import ROOT
from spotify_ai_assets.training.search import (
    Choice,
    Range,
    SearchConfig,
    earns_its_keep,
    history_markdown,
    importance_markdown,
    search,
    search_digest,
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return run(folder / "s.db", folder / "log"), (folder / "log").read_text().splitlines()


def test_it_tries_the_default_first_and_finds_something_better(undisturbed):
    found, log = undisturbed
    assert len(found.tried) == len(log) == 16 and found.tried[0].parameters == DEFAULT
    assert found.value == min(each.value for each in found.tried if not each.is_pruned) < found.tried[0].value
    assert any(each.is_pruned for each in found.tried)
    assert all(-5 <= each.parameters["x"] <= 5 and isinstance(each.parameters["depth"], int) for each in found.tried)


def test_a_search_killed_by_force_loses_and_repeats_no_finished_trial(undisturbed, tmp_path):
    store, log = tmp_path / "s.db", tmp_path / "log"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, search_steps.__file__, store, log], env=environment, timeout=240)
    assert done.returncode == -signal.SIGKILL
    seen: list[int] = []
    found = run(store, log, watch=lambda number, _tried: seen.append(number))
    assert seen == list(range(10, 16))  # ten were finished
    assert found == undisturbed[0]
    lines = log.read_text().splitlines()
    assert lines[10] == lines[11] and [*lines[:10], *lines[11:]] == undisturbed[1]


def test_a_longer_search_goes_on_with_a_shorter_one(undisturbed, tmp_path):
    run(tmp_path / "s.db", tmp_path / "log", replace(CONFIG, trials=9))
    assert run(tmp_path / "s.db", tmp_path / "log").tried == undisturbed[0].tried
    assert len((tmp_path / "log").read_text().splitlines()) == 16
    assert run(tmp_path / "s.db", tmp_path / "log").tried == undisturbed[0].tried


def test_a_failure_of_the_objective_is_no_trial(tmp_path):
    space, calls = {"x": Range(0, 1)}, []

    def objective(parameters, _report):
        calls.append(parameters["x"])
        if len(calls) == 2:
            raise ZeroDivisionError
        return parameters["x"]

    config = SearchConfig(trials=3)
    with pytest.raises(ZeroDivisionError):
        search(space, objective, config, tmp_path / "s.db")
    found = search(space, objective, config, tmp_path / "s.db")
    assert calls[1] == calls[2] and [each.parameters["x"] for each in found.tried] == [calls[0], *calls[2:]]


def test_all_that_decides_a_search_is_in_its_digest():
    space, config = {"x": Range(0, 1)}, SearchConfig(trials=3)
    base = search_digest(space, config)
    assert search_digest(space, replace(config, trials=5)) == base
    others = [
        search_digest({"x": Range(0, 2)}, config),
        search_digest({"x": Choice((0, 1))}, config),
        search_digest(space, replace(config, seed=1)),
        search_digest(space, config, "other data"),
        search_digest(space, config, default={"x": 0.5}),
    ]
    assert len({base, *others}) == 6


def test_what_matters_is_told_apart_and_drawn(undisturbed):
    found, _ = undisturbed
    assert sum(found.importance.values()) == pytest.approx(1) and found.importance["depth"] < 0.3
    for picture in (history_markdown(found), importance_markdown(found)):
        assert picture.startswith("![") and len(picture) < PLOT_BYTES * 1.4


def test_a_search_is_silent(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path / "s.db", tmp_path / "log", replace(CONFIG, trials=2))
    assert capfd.readouterr() == ("", "")


def test_only_a_gain_beyond_its_interval_replaces_the_default():
    rng = np.random.default_rng(0)
    cases = rng.normal(0, 1, 400)
    default = cases + rng.normal(0, 0.05, (3, 400))
    assert earns_its_keep(default, default + 0.1 + rng.normal(0, 0.2, (3, 400))).kept == "found"
    assert earns_its_keep(default, default + rng.normal(0, 0.2, (3, 400))).kept == "default"
    assert earns_its_keep(default, default + 0.1, direction="minimize").kept == "default"
    lucky = default.copy()
    lucky[0] += 0.3  # one seed was lucky
    assert earns_its_keep(default, lucky).kept == "default"


def test_of_three_figures_the_interval_is_students():
    found = earns_its_keep(np.array([0.80, 0.81, 0.82]), np.array([0.83, 0.83, 0.86]))
    assert found.gain.value == pytest.approx(0.03) and found.gain.low == pytest.approx(0.03 - 4.3026527 * 0.01 / 3**0.5, abs=1e-6)
    assert found.kept == "found"
    assert earns_its_keep(np.array([0.80, 0.81, 0.82]), np.array([0.83, 0.80, 0.86])).kept == "default"
    with pytest.raises(ValueError, match="at least 3"):
        earns_its_keep(np.zeros(2), np.ones(2))
