"""A tiny fit, and the ways in which a process dies in it; run as a script, it dies."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from spotify_ai_assets.training import checkpoints
from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.fit import FitConfig, Fitted, fit

CONFIG = FitConfig(steps=60, batch_size=16, learning_rate=0.02, checkpoint_every=10, device="cpu")


class Points:
    """Points on two sides of a plane, moved a little at random."""

    def __init__(self, count: int = 100) -> None:
        rng = np.random.default_rng(0)
        self.x = torch.from_numpy(rng.normal(size=(count, 8)).astype(np.float32))
        self.y = (self.x[:, 0] + self.x[:, 1] > 0).long()

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices, rng):
        moved = torch.from_numpy(rng.normal(0, 0.1, (len(indices), 8)).astype(np.float32))
        return self.x[indices] + moved, self.y[indices]


def network():
    """Batch norm has statistics and a counter, dropout draws from torch's own random numbers."""
    with steady(7):
        return torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(16, 2)
        )


def loss(net, batch):
    return torch.nn.functional.cross_entropy(net(batch[0]), batch[1])


def run(net, config: FitConfig = CONFIG, **options) -> Fitted:
    return fit(net, Points(), loss, config, **options)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(step: int):
    def watch(done: int, _loss: float) -> None:
        if done == step:
            _die()

    return watch


def _die_while_saving(name: str, time: int) -> None:
    """Die at the n-th call of a function that the saving of a checkpoint makes."""
    calls, real = [0], getattr(os if hasattr(os, name) else checkpoints, name)

    def deadly(*arguments):
        calls[0] += 1
        if calls[0] == time:
            _die()
        return real(*arguments)

    setattr(os if hasattr(os, name) else checkpoints, name, deadly)


def main(folder: Path) -> None:
    """Die in each way, each time in a process of its own, on a checkpoint of its own."""
    for way in ("between", "unsynced", "renamed"):
        if (child := os.fork()) == 0:
            if way == "unsynced":  # the third checkpoint is written but not yet in its place
                _die_while_saving("fsync", 5)
            if way == "renamed":  # the third one is in its place, its name not yet durable
                _die_while_saving("sync_path", 3)
            run(network(), checkpoint=folder / f"{way}.safetensors", watch=_die_at(37) if way == "between" else None)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (way, status)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
