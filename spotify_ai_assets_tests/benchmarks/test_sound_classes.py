import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import sound_classes
from spotify_ai_assets.audio.models.augmentation import Augmentation
from spotify_ai_assets.audio.models.sound_classifier import DEMO


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of tone in three folds."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = ["path,fold,class_id,class_name"]
    for fold in (1, 2, 3):
        for take in range(4):
            for number, (label, frequency) in enumerate((("high", 3_000), ("low", 300))):
                rng = np.random.default_rng([fold, take, number])
                times = np.arange(22_050) / 22_050
                tone = 0.3 * np.sin(2 * np.pi * frequency * rng.uniform(0.9, 1.1) * times) + rng.normal(0, 0.01, 22_050)
                name = f"{label}-{fold}-{take}.wav"
                soundfile.write(folder / name, tone, 22_050)
                rows.append(f"{name},{fold},{number},{label}")
    (folder / "meta.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    gentle = Augmentation(tilt_db=0, shift_bands=0, band_masks=0, time_masks=0, mix_alpha=0)
    fit = replace(DEMO.fit, steps=30, batch_size=8, learning_rate=1e-2, ema_decay=0.7)
    recipe = replace(DEMO, fit=fit, augmentation=gentle, frames=32, width=4, shifts=2)
    monkeypatch.setattr(sound_classes, "FULL", recipe)


def test_every_fold_is_tested_with_every_seed_and_pooled(corpus: Path, tiny: None) -> None:
    found = sound_classes.measure(corpus, seeds=2, workers=0)
    assert found["clips"] == 24 and found["seeds"] == 2 and found["test_reads"] == 1
    per_fold, per_seed = found["per_fold"], found["per_seed"]
    assert isinstance(per_fold, dict) and isinstance(per_seed, list)
    assert set(per_fold) == {"1", "2", "3"}
    assert found["ours"] == pytest.approx(np.mean(list(per_fold.values())), abs=1e-3) == pytest.approx(np.mean(per_seed), abs=1e-3)
    assert float(str(found["ours"])) > 0.7


def test_a_fold_that_stands_alone_is_tested_by_what_another_folder_teaches(corpus: Path, tiny: None, tmp_path: Path) -> None:
    lines = (corpus / "meta.csv").read_text().splitlines()
    (tmp_path / "meta.csv").write_text("\n".join([lines[0], *(line for line in lines if ",3," in line)]) + "\n")
    for line in lines[1:]:
        if ",3," in line:
            shutil.copy(corpus / line.split(",")[0], tmp_path)
    with pytest.raises(SystemExit, match="train-data"):
        sound_classes.measure(tmp_path, test_fold=3, seeds=1, workers=0)
    found = sound_classes.measure(tmp_path, train_data=corpus, test_fold=3, seeds=1, workers=0)
    assert found["clips"] == 8
    assert found["per_fold"] == {"3": found["ours"]}


def test_choosing_again_tests_nothing_and_compares_on_the_inner_fold(corpus: Path, tiny: None) -> None:
    found = sound_classes.measure(corpus, workers=0, choose=1)
    assert found["test_reads"] == 0 and found["inner_fold"] == 3
    trials = found["trials"]
    assert isinstance(trials, dict)
    assert set(trials) == set(sound_classes.candidates())
    assert found["best"] == min(trials, key=lambda name: trials[name]["log_loss"][0])
