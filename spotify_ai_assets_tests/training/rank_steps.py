"""Fits on several ranks, each rank a process; run as a script, it writes what each rank of each fit had in the end."""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fit_steps import Points
from torch.nn import functional

from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.distributed import ALONE, Ranks, first_row, gather_with_gradient, joined
from spotify_ai_assets.training.errors import RanksDisagreeError
from spotify_ai_assets.training.fit import FitConfig, fit

CONFIG = FitConfig(steps=24, batch_size=16, learning_rate=0.02, checkpoint_every=6, ema_decay=None, clip_norm=None, device="cpu")
STOPPED_AT = 15


class Noted(Points):
    """Points as they are, and which of them were asked for."""

    def __init__(self) -> None:
        super().__init__(96)
        self.seen: list[np.ndarray] = []

    def batch(self, indices, rng):
        self.seen.append(indices)
        return self.x[indices], self.y[indices]


class Stopped(Exception):
    pass


def network(seed: int = 7, dropout: float = 0.0):
    with steady(seed):
        return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(dropout), torch.nn.Tanh(), torch.nn.Linear(16, 4))


def classify(net, batch):
    return functional.cross_entropy(net(batch[0]), batch[1])


def contrast(net, batch, gather=gather_with_gradient):
    """Each point against all points of the whole batch, those of other ranks included."""
    asked, found = net(batch[0]), net(batch[0] * 0.9)
    return functional.cross_entropy(asked @ gather(found).T, torch.arange(len(asked)) + first_row(asked))


def contrast_without_gradient(net, batch):
    return contrast(net, batch, lambda rows: gather_with_gradient(rows.detach()))


def run(ranks: Ranks = ALONE, loss=classify, dropout: float = 0.0, seed: int = 7, config: FitConfig = CONFIG, **options):
    """What a rank has in the end: losses, gradients of the last step, weights, samples in their order."""
    net, samples = network(seed, dropout), Noted()
    fitted = fit(net, samples, loss, config, ranks=ranks, **options)
    gradients, weights = (torch.cat([each.reshape(-1) for each in part]) for part in ([p.grad for p in net.parameters()], net.parameters()))
    return {
        "losses": fitted.losses,
        "gradients": gradients.numpy(),
        "weights": weights.detach().numpy(),
        "seen": np.concatenate([*samples.seen, np.empty(0, np.int64)]),
        "resumed_at": np.array(fitted.resumed_at),
    }


def stop(step: int, _loss: float) -> None:
    if step == STOPPED_AT:
        raise Stopped


def disagree(ranks: Ranks):
    try:
        run(ranks, seed=ranks.number)
    except RanksDisagreeError as error:
        return {"message": np.array(str(error))}
    raise AssertionError("ranks with other weights were let begin")


def leave(ranks: Ranks, path: Path, **options):
    """Stop after a checkpoint and some steps more."""
    try:
        run(ranks, checkpoint=path, watch=stop, **options)
    except Stopped:
        return {}
    raise AssertionError("nothing stopped it")


def stop_and_go_on(ranks: Ranks, path: Path, **options):
    leave(ranks, path, **options)
    return run(ranks, checkpoint=path, **options)


def work(folder: Path) -> dict[str, tuple[int, Callable[[Ranks], dict[str, np.ndarray]]]]:
    """Each fit by its name: on how many ranks, and what a rank does."""
    once = replace(CONFIG, steps=1)
    return {
        "first_step": (2, lambda ranks: run(ranks, config=once)),
        "first_step_uneven": (3, lambda ranks: run(ranks, config=once)),
        "first_step_contrast": (3, lambda ranks: run(ranks, contrast, config=once)),
        "first_step_detached": (2, lambda ranks: run(ranks, contrast_without_gradient, config=once)),
        "whole": (2, run),
        "dropout": (2, lambda ranks: run(ranks, dropout=0.3)),
        "stopped": (2, lambda ranks: stop_and_go_on(ranks, folder / "stopped.safetensors", dropout=0.3)),
        "left": (2, lambda ranks: leave(ranks, folder / "left.safetensors")),
        "disagreeing": (2, disagree),
    }


def start(folder: Path, name: str, number: int, count: int, do) -> int:
    if child := os.fork():
        return child
    try:
        with joined("cpu", init_method=f"file://{folder / name}.store", rank=number, world_size=count) as ranks:
            np.savez(folder / f"{name}.{number}.npz", allow_pickle=False, **do(ranks))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    # What torch imports when an optimiser is made need not be imported by each child again.
    torch.optim.AdamW(network().parameters())
    for name, (count, do) in work(folder).items():
        children = [start(folder, name, number, count, do) for number in range(count)]
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * count, name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
