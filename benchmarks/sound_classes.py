"""The sound classifier on recordings with official folds (ESC-10 and its like): accuracy on folds that trained nothing.

The folder holds ``meta.csv`` (columns ``path``, ``fold``, ``class`` or ``class_name``) and the files. Each fold is the test once, with
several seeds, and the others train ``sound_classifier.FULL``: from random weights, on nothing but the training folds. ``ours`` is
the accuracy over all clips, averaged over the seeds (not of an ensemble of them); its interval is Wilson's for that many clips.

How the recipe was found: on one inner fold, ``INNER_FOLD`` of ESC-10, answered by models of the other three, and on nothing else.
Width, steps, augmentation, silence and the averaging over shifts are frozen in ``FULL``; ``--choose N`` repeats the last round of that
choice with N seeds. Since that fold was looked at then, ``ours_unseen`` leaves it out. A test fold's labels are read once, after its
answers were written down.

Each fit is one thread of a process of its own. ``seconds`` is the wall time of everything, decoding included, with ``workers`` fits
side by side.
"""

import csv
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import main
from spotify_ai_assets.audio.models.mels import pack
from spotify_ai_assets.audio.models.sound_classifier import FULL, ClassifierConfig, fit_weights, reseed, score
from spotify_ai_assets.training.calibration import negative_log_likelihood
from spotify_ai_assets.training.metrics import wilson_interval

INNER_FOLD = 3
TRIALS = 24
"""Settings that were compared on the inner fold, with one to three seeds each, before ``FULL`` was frozen."""

SELECTION = "log loss on the inner fold, accuracy on it second"
TIES = "of equal logits, the class that comes first in the alphabet"


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording of the corpus.

    Attributes:
        path: Its file.
        fold: Official fold.
        label: Its class.
    """

    path: Path
    fold: int
    label: str


def read(folder: Path) -> list[Clip]:
    """The clips that a folder's ``meta.csv`` names."""
    with (folder / "meta.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = "class_name" if rows and "class_name" in rows[0] else "class"
    return [Clip(folder / row["path"], int(row["fold"]), row[column]) for row in rows]


def listen(clip: Clip) -> np.ndarray:
    """A clip as audio analysis stores it: its packed mel."""
    from spotify_ai_assets.audio.measures.decoding import decode, downmix, resample
    from spotify_ai_assets.audio.measures.spectrum import model_mel

    decoded = decode(clip.path)
    return pack(model_mel(resample(downmix(decoded.samples), decoded.sample_rate)))


@dataclass(frozen=True, slots=True)
class Job:
    """One fit and the answers of its model.

    Attributes:
        fold: The test fold.
        seed: Of the fit.
        name: Of the recipe.
        config: The recipe.
        mels: What it trains on.
        numbers: Their classes.
        asked: What it then answers; their classes are not in here.
        classes: How many there are.
    """

    fold: int
    seed: int
    name: str
    config: ClassifierConfig
    mels: Sequence[np.ndarray]
    numbers: np.ndarray
    asked: Sequence[np.ndarray]
    classes: int


def answer(job: Job) -> tuple[np.ndarray, float]:
    """Logits of the asked clips and the CPU seconds that they took, training included."""
    started = time.process_time()
    config = reseed(job.config, job.seed)
    tensors = fit_weights(job.mels, job.numbers, job.classes, config)
    return score(tensors, job.asked, job.classes, config), time.process_time() - started


def work(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, np.ndarray, float]]:
    """Do jobs in processes of one thread each, as they end; in this one where there are no workers."""
    if workers < 1:
        for job in jobs:
            yield job, *answer(job)
        return
    # Read by the libraries of the children when they are loaded.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = {pool.submit(answer, job): job for job in jobs}
        for done in as_completed(running):
            logits, seconds = done.result()
            yield running[done], logits, seconds


def measure(
    data: Path, train_data: Path | None = None, test_fold: int = 0, seeds: int = 3, workers: int = 2, choose: int = 0
) -> dict[str, object]:
    """Test the frozen recipe, or choose one again.

    Args:
        data: The corpus.
        train_data: Another one to train on, where ``data`` has no fold but the tested one.
        test_fold: The fold to test; 0 for each in turn.
        seeds: Fits of each fold, seeded 0, 1, 2 ...
        workers: Fits side by side; 0 for one after another in this process.
        choose: With how many seeds to repeat the choice on the inner fold, which tests nothing; 0 for the test.
    """
    began = time.perf_counter()
    clips = read(data)
    folds = sorted({clip.fold for clip in clips}) if not test_fold else [test_fold]
    training = {fold: [clip for clip in clips if clip.fold != fold] or _borrow(train_data, fold) for fold in folds}
    heard = {clip.path: listen(clip) for clip in {clip.path: clip for group in (clips, *training.values()) for clip in group}.values()}
    decoding = time.perf_counter() - began
    labels = sorted({clip.label for group in training.values() for clip in group})
    recipes = {"full": FULL} if not choose else candidates()
    if choose:
        folds, seeds = [INNER_FOLD], choose
    _tell(f"recipe {FULL.digest}, trials {TRIALS} on fold {INNER_FOLD} by {SELECTION}; nothing of a test fold was read so far")
    jobs = [_prepare(name, config, fold, seed, clips, training[fold], heard, labels)
            for fold in folds for name, config in recipes.items() for seed in range(seeds)]  # fmt: skip
    found = {}
    for job, logits, seconds in work(jobs, workers):
        found[job.name, job.fold, job.seed] = logits, seconds
        _tell(f"{job.name}, fold {job.fold}, seed {job.seed}: {len(job.mels)} clips learnt in {seconds:.0f} CPU s")
    truth = {fold: np.array([_place(clip.label, labels) for clip in clips if clip.fold == fold]) for fold in folds}
    timing = {
        "seconds": time.perf_counter() - began,
        "decoding_seconds": decoding,
        "cpu_seconds_a_fit": float(np.mean([seconds for _, seconds in found.values()])),
        "workers": workers,
    }
    logits = {key: each for key, (each, _) in found.items()}
    return _report_choice(logits, truth[INNER_FOLD], timing) if choose else _report_test(logits, truth, seeds, timing)


def _place(label: str, labels: Sequence[str]) -> int:
    """The number of a class; -1, which no answer is, for one that was never learnt."""
    return labels.index(label) if label in labels else -1


def candidates() -> dict[str, ClassifierConfig]:
    """The last round of the choice: the frozen recipe and what differs from it in one thing."""
    less, more = replace(FULL.fit, steps=FULL.fit.steps // 2), replace(FULL.fit, steps=FULL.fit.steps * 2)
    still = replace(FULL.augmentation, stretch=0.0, shift_bands=0.0)
    return {
        "full": FULL,
        "half the steps": replace(FULL, fit=less),
        "twice the steps": replace(FULL, fit=more),
        "no mixing": replace(FULL, augmentation=replace(FULL.augmentation, mix_alpha=0.0)),
        "no stretch, no shift": replace(FULL, augmentation=still),
        "one piece": replace(FULL, shifts=1),
    }


def _borrow(train_data: Path | None, fold: int) -> list[Clip]:
    if train_data is None:
        raise SystemExit(f"there is no fold but {fold} to train on; --train-data names a folder that has others")
    return [clip for clip in read(train_data) if clip.fold != fold]


def _prepare(
    name: str,
    config: ClassifierConfig,
    fold: int,
    seed: int,
    clips: Sequence[Clip],
    training: Sequence[Clip],
    heard: dict[Path, np.ndarray],
    labels: Sequence[str],
) -> Job:
    numbers = np.array([labels.index(clip.label) for clip in training])
    asked = [heard[clip.path] for clip in clips if clip.fold == fold]
    return Job(fold, seed, name, config, [heard[clip.path] for clip in training], numbers, asked, len(labels))


def _report_test(
    logits: dict[tuple[str, int, int], np.ndarray], truth: dict[int, np.ndarray], seeds: int, timing: dict[str, float]
) -> dict[str, object]:
    right = {(fold, seed): (each.argmax(1) == truth[fold]).astype(float) for (_, fold, seed), each in logits.items()}
    mean = {fold: np.mean([right[fold, seed] for seed in range(seeds)], axis=0) for fold in truth}
    every = np.concatenate(list(mean.values()))
    unseen = [mean[fold] for fold in truth if fold != INNER_FOLD] if len(truth) > 1 else list(mean.values())
    interval = wilson_interval(round(float(every.sum())), len(every))
    return {
        "name": "sound_classes",
        "ours": round(float(every.mean()), 4),
        "unit": "share of clips named rightly",
        "better": "higher",
        "interval": [round(interval.low, 4), round(interval.high, 4)],
        "per_fold": {str(fold): round(float(each.mean()), 4) for fold, each in mean.items()},
        "per_seed": [round(float(np.concatenate([right[fold, seed] for fold in truth]).mean()), 4) for seed in range(seeds)],
        "ours_unseen": round(float(np.concatenate(unseen).mean()), 4),
        "clips": len(every),
        "seeds": seeds,
        "config": FULL.digest,
        "inner_fold": INNER_FOLD,
        "trials": TRIALS,
        "selection": SELECTION,
        "test_reads": 1,
        "ties": TIES,
        "pretrained": False,
        **{name: round(value, 1) for name, value in timing.items()},
        "seconds_a_fold": round(timing["seconds"] / len(truth), 1),
    }


def _report_choice(logits: dict[tuple[str, int, int], np.ndarray], truth: np.ndarray, timing: dict[str, float]) -> dict[str, object]:
    rows: dict[str, dict[str, list[float]]] = {}
    for (name, _, _), each in sorted(logits.items()):
        row = rows.setdefault(name, {"log_loss": [], "accuracy": []})
        row["log_loss"].append(round(negative_log_likelihood(each, truth), 4))
        row["accuracy"].append(round(float((each.argmax(1) == truth).mean()), 4))
    for name, row in rows.items():
        _tell(f"{name}: {json.dumps(row)}")
    best = min(rows, key=lambda name: float(np.mean(rows[name]["log_loss"])))
    return {
        "name": "sound_classes_choice",
        "best": best,
        "inner_fold": INNER_FOLD,
        "trials": rows,
        "test_reads": 0,
        **{name: round(value, 1) for name, value in timing.items()},
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(measure, __doc__, data=Path("../shared/data/audio-esc10"), train_data=None, test_fold=0, seeds=3, workers=2, choose=0)
