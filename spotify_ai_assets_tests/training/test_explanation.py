import numpy as np
import pytest
import torch
from tiny_models import Net

from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.explanation import Curve, attribute, delete, insert, measure_faithfulness, measure_sanity, randomised
from spotify_ai_assets.training.fit import FitConfig, fit

LOUD = (2, 7)
"""The two cells of a clip that decide its class."""


class Clips:
    """Noise of 4 x 10 cells; class 1 has something in two of them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.y = torch.arange(256) % 2
        self.x = rng.normal(0, 1, (256, 4, 10)).astype(np.float32)
        self.x[:, LOUD[0], LOUD[1]] += 3 * self.y.numpy()
        self.x[:, 1, 3] -= 3 * self.y.numpy()

    def __len__(self):
        return 256

    def batch(self, indices, rng):
        return torch.from_numpy(self.x[indices]), self.y[indices]


@pytest.fixture(scope="module")
def trained():
    with steady(0):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    config = FitConfig(steps=150, batch_size=32, learning_rate=0.01, device="cpu")
    fit(net, Clips(), lambda n, batch: torch.nn.functional.cross_entropy(n(batch[0]), batch[1]), config)
    return net


CASES = Clips().x[:8]
TARGETS = np.arange(8) % 2
NOTHING = np.zeros((4, 10), np.float32)


def score_of(net):
    def score(cases):
        with torch.inference_mode():
            return torch.softmax(net(torch.from_numpy(cases)), 1)[:, 1].numpy()

    return score


def test_shares_add_up_to_the_difference_within_one_per_cent(trained):
    found = attribute(trained, CASES, TARGETS, NOTHING)
    assert found.values.shape == CASES.shape and (found.gap <= 0.01).all()
    with torch.inference_mode():
        raw = trained(torch.from_numpy(np.concatenate([CASES, NOTHING[None]]))).numpy()
    expected = raw[np.arange(8), TARGETS] - raw[8, TARGETS]
    assert np.allclose(found.difference, expected, atol=1e-5)
    assert np.allclose(found.values.sum((1, 2)), expected, rtol=0.011, atol=1e-4)


def test_of_a_linear_network_the_shares_are_exact():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 2))
    found = attribute(net, CASES, TARGETS, NOTHING, steps=2)
    weights = net[1].weight.detach().numpy().reshape(2, 4, 10)
    assert found.steps == 2 and np.allclose(found.values, weights[TARGETS] * CASES, atol=1e-5)


def test_a_gap_that_does_not_close_is_told(trained):
    found = attribute(trained, CASES * 50, TARGETS, NOTHING, steps=2, most_steps=2)
    assert found.steps == 2 and found.gap.max() > 0.01
    closer = attribute(trained, CASES * 50, TARGETS, NOTHING, steps=2, most_steps=256)
    assert closer.steps > 2 and closer.gap.max() < found.gap.max()


def test_what_decides_gets_the_largest_share(trained):
    loud = CASES[TARGETS == 1]
    found = np.abs(attribute(trained, loud, np.ones(len(loud), int), NOTHING).values).mean(0)
    assert set(np.argsort(found.ravel())[-2:]) == {LOUD[0] * 10 + LOUD[1], 13}


def test_explaining_changes_neither_the_network_nor_torch(trained):
    trained.train()
    before = torch.get_rng_state()
    attribute(trained, CASES, TARGETS, NOTHING)
    assert trained.training and torch.equal(before, torch.get_rng_state())
    trained.eval()


def test_deletion_and_insertion_beat_random_orders(trained):
    gains = []
    for case in CASES[TARGETS == 1]:
        shares = attribute(trained, case[None], np.array([1]), NOTHING).values[0]
        found = measure_faithfulness(score_of(trained), case, shares, NOTHING)
        gains.append(found.gain)
        upside_down = measure_faithfulness(score_of(trained), case, -shares, NOTHING)
        assert found.gain > upside_down.gain
    assert min(gains) > 0


def test_curves_begin_and_end_where_they_must(trained):
    case, score = CASES[1], score_of(trained)
    order = np.random.default_rng(0).random((4, 10))
    for patch in (1, 3):
        down, up = delete(score, case, order, NOTHING, 10, patch), insert(score, case, order, NOTHING, 10, patch)
        assert down.scores[0] == up.scores[-1] == pytest.approx(float(score(case[None])[0]), abs=1e-6)
        assert down.scores[-1] == up.scores[0] == pytest.approx(float(score(NOTHING[None])[0]), abs=1e-6)
        assert len(down.shares) == 11


def test_the_area_of_a_curve_is_that_of_trapezes():
    assert Curve(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0])).area == pytest.approx(0.5)


def test_blocks_are_replaced_together():
    seen = []

    def score(cases):
        seen.append(cases)
        return cases.sum((1, 2))

    shares = np.zeros((4, 10))
    shares[2, 5] = 1.0
    delete(score, np.ones((4, 10)), shares, np.zeros((4, 10)), points=10, patch=2)
    first = seen[0][1]
    assert (first == 0).sum() == 4 and (first[2:4, 4:6] == 0).all()


def test_random_weights_change_the_map_and_a_map_of_the_input_alone_is_found_out(trained):
    honest = measure_sanity(trained, lambda net: attribute(net, CASES, TARGETS, NOTHING).values)
    blind = measure_sanity(trained, lambda net: CASES)
    assert blind == pytest.approx(1) and honest < 0.8 * blind
    assert measure_sanity(trained, lambda net: np.zeros_like(CASES)) == 0.0


def test_a_randomised_network_is_another_and_seeded():
    net = Net()
    first, second = randomised(net, 1), randomised(net, 1)
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, net.layers[0].weight)
    odd = torch.nn.Module()
    odd.scale = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    assert not torch.equal(randomised(odd).scale, odd.scale)
