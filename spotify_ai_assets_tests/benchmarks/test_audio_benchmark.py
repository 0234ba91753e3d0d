"""The audio benchmark on a clip of three seconds: that both sides make the same, and that its figures are what they are called."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks import audio
from benchmarks.measuring import ROOT


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one short clip in four formats tells."""
    folder = tmp_path_factory.mktemp("clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "SECONDS", 3)
        audio.encode([audio.synthesise(0)], folder)
    return audio.compare(str(folder), 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # librosa imports audioread, which imports what Python 3.13 drops
def test_both_sides_make_the_same_features(told):
    assert set(told["worst"]) == {*audio.FRAMED, "tempo", "beats"}
    for name, found in told["worst"].items():
        assert found["share"] >= 0.99, name
        assert found["largest"] <= 0.02, name


def test_each_file_is_timed_once_on_each_side(told):
    for suffix in audio.FORMATS:
        assert len(told["spent"][f"ours_load_{suffix}"]) == len(told["spent"][f"peer_load_{suffix}"]) == 1
    assert len(told["spent"]["ours_features"]) == len(told["spent"]["peer_features"]) == len(audio.FORMATS)


def test_ratios_are_the_medians_of_pairs(told):
    document: dict[str, Any] = audio._conclude(told["spent"], 1)
    pairs = [theirs / mine for suffix in audio.HEADLINE for mine, theirs in zip(*audio._pair(told["spent"], suffix), strict=True)]
    assert document["ratio"] == pytest.approx(sorted(pairs)[1], abs=0.01)
    assert document["ratio_default"] > document["ratio_features"] > 1
    assert set(document) >= {"name", "ours", "peer", "better", "unit", "rounds", "ratio_mp3", "decode_ms", "parts_ms", "sound_ms"}


def test_a_pair_holds_loading_features_summary_and_its_share_of_storing():
    spent = {f"{side}_{stage}": [1.0, 2.0, 3.0, 4.0] for side in ("ours", "peer") for stage in ("features", "summary")}
    spent |= {f"{side}_load_{suffix}": [10.0] for side in ("ours", "peer") for suffix in audio.FORMATS}
    spent |= {"ours_store": [0.5], "peer_store": [0.5]}
    assert audio._pair(spent, "flac")[0] == [10 + 3 + 3 + 0.5]


def test_excerpts_of_short_recordings_are_repeated_and_mixed(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", rng.normal(0, 0.1, (22_050, 1)), 22_050)
    clips = audio.cut_excerpts(tmp_path, 3)
    assert [clip.shape for clip in clips] == [(audio.RATE * audio.SECONDS, 2)] * 3
    assert not np.array_equal(clips[0], clips[1])
    with pytest.raises(FileNotFoundError, match="no recordings"):
        audio.cut_excerpts(tmp_path / "nothing", 1)


def test_differences_are_measured_against_value_and_range():
    signal = np.random.default_rng(1).normal(0, 0.1, 22_050).astype(np.float32)
    same = audio.describe(signal)
    assert all(found["share"] == 1 and found["largest"] == 0 for found in audio.compare_values(same, same).values())
    other = audio.describe(signal * np.float32(1.5))
    assert audio.compare_values(same, other)["rms"]["share"] == 0
    assert audio.compare_values(same, other)["zcr"]["share"] == 1


@pytest.mark.slow
def test_the_document_is_the_last_line(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(2).normal(0, 0.1, (44_100 * 4, 2)), 44_100)
    command = [sys.executable, "benchmarks/audio.py", "--data", str(tmp_path), "--clips", "1", "--warm", "true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["name"] == "audio"
    assert document["better"] == "higher"
    assert set(document["clips_per_second"]) == {"1", "2"}
