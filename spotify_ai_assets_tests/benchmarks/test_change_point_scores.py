"""The scores of change points are those of the paper, and the baselines those that its authors published."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.change_points import METHODS, bocpd, covering, f1, load, measure

REPO = Path(__file__).resolve().parents[2]
TCPD = REPO / "../shared/data/tcpd"

needs_data = pytest.mark.skipif(not TCPD.is_dir(), reason="the change-point data set is not beside the checkout")

# van den Burg and Williams, TCPDBench, default settings: F1 / covering.
PUBLISHED = {
    "zero": {"bank": (1, 1), "co2_canada": (0.361, 0.278), "jfk_passengers": (0.723, 0.630), "well_log": (0.237, 0.225)},
    "pelt": {"bank": (0.400, 0.509), "co2_canada": (0.661, 0.611), "ozone": (1.000, 0.635), "well_log": (0.555, 0.679)},
    "binseg": {"co2_canada": (0.691, 0.608), "ozone": (0.650, 0.600), "shanghai_license": (0.868, 0.920), "well_log": (0.534, 0.695)},
    "amoc": {"bank": (0.667, 0.967), "ozone": (0.531, 0.701), "rail_lines": (0.846, 0.786), "well_log": (0.279, 0.453)},
    "bocpd": {"bank": (0.047, 0.048), "gdp_croatia": (1.000, 0.642), "run_log": (1.000, 0.815), "well_log": (0.796, 0.776)},
}


@pytest.fixture(scope="module")
def told():
    return measure(TCPD)


@needs_data
@pytest.mark.parametrize("method", PUBLISHED)
def test_baselines_score_what_was_published(told, method):
    for name, (score, cover) in PUBLISHED[method].items():
        assert told["per_series"][name][method] == {"f1": pytest.approx(score, abs=1e-9), "covering": pytest.approx(cover, abs=1e-9)}


@needs_data
def test_ours_beats_every_baseline_and_equals_the_annotators(told):
    scores = told["univariate"]
    ours = scores["ours"]
    assert (told["ours"], told["ours_f1"]) == (ours["covering"], ours["f1"])
    assert ours["covering"] >= 0.75
    assert ours["f1"] >= 0.76
    assert all(ours[score] > scores[method][score] for method in METHODS if method != "ours" for score in ours)
    assert all(ours[score] == pytest.approx(scores["annotators"][score], abs=0.02) for score in ours)


def test_a_perfect_answer_scores_one_and_a_far_one_little():
    annotations = {"1": [40], "2": [40]}
    assert f1(annotations, [40]) == covering(annotations, [40], 100) == 1
    assert f1(annotations, [45]) == 1
    assert f1(annotations, [46]) == pytest.approx(0.5)
    assert covering(annotations, [50], 100) == pytest.approx(0.4 * 0.8 + 0.6 * 50 / 60)


def test_one_found_point_matches_one_marked_point():
    assert f1({"1": [40, 42]}, [41]) == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))


def test_a_jump_is_seen_by_the_online_baseline():
    rng = np.random.default_rng(0)
    series = np.concatenate([rng.normal(-3, 0.3, (60, 1)), rng.normal(3, 0.3, (60, 1))])
    assert bocpd(series) == [60]


def test_missing_values_and_two_dimensions_are_read_from_a_folder(tmp_path):
    low, high = [0.0, 0.1] * 20, [5.0, 5.1] * 20
    columns = [[*low, *high], [*high, *low]]
    columns[0][3] = None
    document = {"name": "two", "series": [{"raw": column} for column in columns]}
    (tmp_path / "two.json").write_text(json.dumps(document))
    (tmp_path / "annotations.json").write_text(json.dumps({"two": {"1": [40], "2": []}}))
    series, annotations = load(tmp_path)["two"]
    assert series.shape == (80, 2)
    assert np.isnan(series[3, 0])
    assert annotations == {"1": [40], "2": []}
    done = subprocess.run(
        [sys.executable, REPO / "benchmarks/change_points.py", "--data", tmp_path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["per_series"]["two"]["ours"]["f1"] == pytest.approx(f1(annotations, [40]), abs=1e-3)
    assert (told["series"], told["all_series"]["series"]) == (0, 1)
