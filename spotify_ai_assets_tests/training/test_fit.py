import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fit_steps
import numpy as np
import pytest
import torch
from fit_steps import CONFIG, Points, loss, network, run

from spotify_ai_assets.settings import ROOT
from spotify_ai_assets.training.adapters.torch_model import pack_weights
from spotify_ai_assets.training.checkpoints import load_checkpoint
from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.errors import DivergedError
from spotify_ai_assets.training.fit import FitConfig, choose_samples, fit, rate_at


@pytest.fixture(scope="module")
def undisturbed():
    net = network()
    return run(net), pack_weights(net)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Checkpoints of fits that died by SIGKILL."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, fit_steps.__file__, str(folder)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, timeout=240)
    return folder


def test_it_learns_and_ends_at_the_step_count(undisturbed):
    fitted, _ = undisturbed
    assert fitted.steps == len(fitted.losses) == 60
    assert fitted.losses[-10:].mean() < 0.8 * fitted.losses[:10].mean()
    assert fitted.resumed_at == 0 and fitted.seconds > 0 and fitted.device == "cpu"


def test_the_same_recipe_gives_the_same_bytes(undisturbed):
    net = network()
    again = run(net)
    assert pack_weights(net) == undisturbed[1]
    assert again.losses.tobytes() == undisturbed[0].losses.tobytes()


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 2e-3}, {"ema_decay": None}, {"weight_decay": 0.5}, {"clip_norm": 0.1}])
def test_each_setting_decides_the_result(undisturbed, change):
    net = network()
    run(net, replace(CONFIG, **change))
    assert pack_weights(net) != undisturbed[1]


@pytest.mark.parametrize(("way", "resumed_at"), [("between", 30), ("unsynced", 20), ("renamed", 30)])
def test_a_fit_killed_by_force_goes_on_as_if_nothing_had_happened(undisturbed, killed, way, resumed_at):
    net = network()
    fitted = run(net, checkpoint=killed / f"{way}.safetensors")
    assert fitted.resumed_at == resumed_at
    assert fitted.losses.tobytes() == undisturbed[0].losses.tobytes()
    assert pack_weights(net) == undisturbed[1]


def test_a_finished_fit_is_not_done_again(undisturbed, tmp_path):
    path = tmp_path / "whole.safetensors"
    run(network(), checkpoint=path)
    seen, net = [], network()
    fitted = run(net, checkpoint=path, watch=lambda step, _: seen.append(step))
    assert (fitted.resumed_at, seen) == (60, [])
    assert pack_weights(net) == undisturbed[1]


def test_a_checkpoint_of_another_recipe_is_none(tmp_path):
    path = tmp_path / "other.safetensors"
    run(network(), checkpoint=path, identity="some data")
    assert run(network(), checkpoint=path, identity="other data").resumed_at == 0
    other = network()
    with torch.no_grad():
        other[0].weight += 1
    assert run(other, checkpoint=path, identity="other data").resumed_at == 0


def test_a_broken_checkpoint_is_none(tmp_path, undisturbed):
    path = tmp_path / "torn.safetensors"
    run(network(), checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    assert load_checkpoint(path, "any") is None
    net = network()
    assert run(net, checkpoint=path).resumed_at == 0
    assert pack_weights(net) == undisturbed[1]


def test_what_the_watcher_raises_ends_the_fit_and_torch_is_as_it_was():
    class Enough(Exception):
        pass

    def watch(step, _loss):
        assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 2
        if step == 3:
            raise Enough

    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with pytest.raises(Enough):
        run(network(), replace(CONFIG, threads=2), watch=watch)
    after = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_a_loss_that_is_no_number_ends_the_fit():
    with pytest.raises(DivergedError, match="the loss of step 1 is nan"):
        fit(network(), Points(), lambda net, batch: loss(net, batch) * float("nan"), CONFIG)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        fit(network(), Points(0), loss, CONFIG)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 0}, {"warmup_share": 2}, {"schedule": "stairs"}])
def test_a_configuration_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        FitConfig(**{"steps": 5, **wrong})


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (7, 7), (3, 8), (5, 1)])
def test_each_sample_is_seen_once_an_epoch(count, batch):
    row = np.concatenate([choose_samples(count, batch, step, seed=3) for step in range(3 * count)])
    epochs = row[: len(row) // count * count].reshape(-1, count)
    assert (np.sort(epochs, axis=1) == np.arange(count)).all()
    assert count < 5 or (epochs[0] != epochs[1]).any()


def test_the_rate_rises_and_falls_as_stated():
    config = FitConfig(steps=100, learning_rate=1.0, warmup_share=0.1)
    rates = [rate_at(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5) and rates[99] < 0.001
    assert rate_at(replace(config, schedule="constant"), 99) == 1.0


def test_the_average_of_the_weights_is_what_its_formula_says():
    """A network of one number with a gradient of 1: the average can be followed by hand."""

    class One:
        def __len__(self):
            return 1

        def batch(self, indices, rng):
            return (torch.ones(1),)

    net, weights = torch.nn.Linear(1, 1, bias=False), []
    with torch.no_grad():
        net.weight.fill_(0.0)

    def pull(n, batch):
        weights.append(n.weight.item())
        return n.weight.sum() + 0 * batch[0].sum()

    fit(net, One(), pull, FitConfig(steps=20, learning_rate=0.1, weight_decay=0.0, ema_decay=0.5, device="cpu"))
    average, followed = 0.0, [*weights[1:], None]
    for step, value in enumerate(followed[:-1]):
        keep = min(0.5, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * value
    last = weights[-1] - 0.1 * 0.5 * (1 + np.cos(np.pi * 18 / 19))
    average = 0.5 * average + 0.5 * last
    assert net.weight.item() == pytest.approx(average, rel=1e-4)


def test_a_network_comes_back_in_evaluation_mode_and_draws_the_same_initial_weights_inside_steady():
    net = network()
    assert torch.equal(net[0].weight, network()[0].weight)
    run(net)
    assert not net.training
    with steady(1):
        first = torch.rand(3)
    with steady(1):
        assert torch.equal(first, torch.rand(3))


def test_no_checkpoint_is_left_beside_the_one(tmp_path: Path):
    run(network(), checkpoint=tmp_path / "one.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]
