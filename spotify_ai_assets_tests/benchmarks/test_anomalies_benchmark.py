"""The anomalies benchmark: that its scorer is NAB's, by what NAB published and by the formula's fixed points."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import anomalies
from benchmarks.measuring import ROOT

NAB = Path(__file__).resolve().parents[2] / "../shared/data/nab"
PROFILE = anomalies.Profile(hit=1.0, false=0.11, miss=1.0)
SERIES = anomalies.Series(np.arange(1_000.0), ((400, 499), (800, 849)))


def raw(*rows: int) -> float:
    """The raw score of detections at these rows."""
    scores = np.zeros(1_000)
    scores[list(rows)] = 1
    return anomalies.raw_score(SERIES, anomalies.weigh(SERIES, PROFILE), scores, 0.5, PROFILE)


def test_a_window_earns_once_by_its_earliest_detection():
    assert raw() == -2
    assert raw(400, 800) == pytest.approx(2)
    assert raw(430, 499, 800) == pytest.approx(raw(430, 800))
    assert raw(430, 800) < raw(410, 800)


def test_a_false_detection_costs_more_the_farther_it_is_behind_a_window():
    assert raw(300) == pytest.approx(-2.11)
    assert raw() > raw(505) > raw(540) > raw(790) == pytest.approx(-2 - 0.11, abs=1e-4)


def test_the_probation_is_not_scored():
    assert SERIES.probation == 150
    assert raw(0, 149) == raw()
    assert raw(150) < raw()


def test_the_scale_is_0_for_nothing_and_100_for_everything():
    assert anomalies.normalise(raw(), 2, PROFILE) == 0
    assert anomalies.normalise(raw(400, 800), 2, PROFILE) == pytest.approx(100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of one series with a rhythm and a value never seen, and a label of a file that is not there."""
    top = tmp_path_factory.mktemp("nab")
    for name in ("data/one", "labels", "config"):
        (top / name).mkdir(parents=True)
    times = [f"2026-01-{1 + row // 96:02d} {row // 4 % 24:02d}:{row % 4 * 15:02d}:00" for row in range(2_000)]
    values = 10 + np.sin(np.arange(2_000) / 96 * 2 * np.pi)
    values[1_500] = 30
    rows = "\n".join(f"{moment},{value}" for moment, value in zip(times, values, strict=True))
    (top / "data/one/series.csv").write_text(f"timestamp,value\n{rows}\n")
    window = [f"{times[1_480]}.000000", f"{times[1_579]}.000000"]
    (top / "labels/combined_windows.json").write_text(json.dumps({"one/series.csv": [window], "one/absent.csv": [window]}))
    costs = {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11, "tnWeight": 1.0}
    (top / "config/profiles.json").write_text(json.dumps({"standard": {"CostMatrix": costs}}))
    return top


def test_the_files_that_lie_in_the_folder_are_scored(folder):
    script = [sys.executable, "benchmarks/anomalies.py", "--data", str(folder)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout.strip().splitlines()[-1])
    assert document["files"] == document["windows"] == 1
    assert document["ours"] > 80
    assert document["optimised"] >= document["ours"]
    assert document["null"] == 0


def test_a_folder_without_a_labelled_series_is_refused(folder, tmp_path):
    for name in ("labels", "config"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(FileNotFoundError):
        anomalies.measure(tmp_path)


@pytest.mark.skipif(not NAB.exists(), reason="the shared NAB series are not there")
def test_a_detector_of_nab_made_again_has_its_published_scores():
    corpus, profile = anomalies.read(NAB)
    with (NAB / anomalies.PUBLISHED).open(newline="") as file:
        published = {row["file"]: float(row["standard_score"]) for row in csv.DictReader(file) if row["detector"] == "windowedGaussian"}
    names = [name for name, series in corpus.items() if len(series.values) < 4_100 and name in published]
    same = 0
    for name in names:
        series = corpus[name]
        scores = anomalies.windowed_gaussian(series.values)
        ours = anomalies.raw_score(series, anomalies.weigh(series, profile), scores, 1.0, profile)
        same += abs(ours - published[name]) < 1e-9
    assert same >= 0.8 * len(names) > 0
