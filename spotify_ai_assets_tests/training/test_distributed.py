import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import rank_steps
import torch
from rank_steps import CONFIG, Noted, contrast, network, run

from spotify_ai_assets.settings import ROOT
from spotify_ai_assets.training.distributed import ALONE, Ranks, first_row, gather_with_gradient, joined
from spotify_ai_assets.training.fit import choose_samples, fit


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """What the ranks of a fit had in the end, by the fit's name."""
    folder = tmp_path_factory.mktemp("ranks")
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, rank_steps.__file__, str(folder)], check=True, env=variables, timeout=240)

    def load(name: str) -> list[dict[str, np.ndarray]]:
        return [dict(np.load(path)) for path in sorted(folder.glob(f"{name}.*.npz"))]

    load.folder = folder
    return load


@pytest.fixture(scope="module")
def alone():
    return run()


@pytest.mark.parametrize(
    ("name", "loss"), [("first_step", rank_steps.classify), ("first_step_uneven", rank_steps.classify), ("first_step_contrast", contrast)]
)
def test_gradients_of_the_first_step_are_those_of_one_process(ranked, name, loss):
    expected = run(loss=loss, config=replace(CONFIG, steps=1))
    for rank in ranked(name):
        np.testing.assert_allclose(rank["gradients"], expected["gradients"], atol=1e-5 * np.abs(expected["gradients"]).max())
        assert rank["losses"] == pytest.approx(expected["losses"], rel=1e-6)


def test_negatives_without_their_gradient_would_be_noticed(ranked):
    expected = run(loss=contrast, config=replace(CONFIG, steps=1))["gradients"]
    (rank, _) = ranked("first_step_detached")
    assert np.abs(rank["gradients"] - expected).max() > 1e-2 * np.abs(expected).max()


def test_all_ranks_follow_the_loss_curve_of_one_process(ranked, alone):
    first, second = ranked("whole")
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-4)
    assert first["losses"].tobytes() == second["losses"].tobytes()
    assert first["weights"].tobytes() == second["weights"].tobytes()


def test_ranks_see_each_sample_once_an_epoch(ranked):
    first, second = ranked("whole")
    halves = [each["seen"].reshape(CONFIG.steps, -1) for each in (first, second)]
    steps = np.concatenate(halves, axis=1)
    epochs = steps.reshape(-1, len(Noted()))
    assert (np.sort(epochs, axis=1) == np.arange(len(Noted()))).all()
    assert (steps[5] == choose_samples(len(Noted()), CONFIG.batch_size, 5, CONFIG.seed)).all()


def test_a_stopped_fit_on_ranks_goes_on_as_if_nothing_had_happened(ranked):
    for stopped, undisturbed in zip(ranked("stopped"), ranked("dropout"), strict=True):
        assert stopped["resumed_at"] == 12
        assert stopped["losses"].tobytes() == undisturbed["losses"].tobytes()
        assert stopped["weights"].tobytes() == undisturbed["weights"].tobytes()


def test_dropout_of_ranks_is_drawn_apart(ranked):
    assert ranked("dropout")[0]["losses"] != pytest.approx(run(dropout=0.3)["losses"], rel=1e-4)
    seeds = {Ranks(number, 3).seed(5) for number in range(3)}
    assert len(seeds) == 3 and 5 in seeds
    assert Ranks(0, 3).stream(1, 2) == ALONE.stream(1, 2) != Ranks(1, 3).stream(1, 2)


def test_another_number_of_ranks_goes_on_along_the_same_losses(ranked, alone, tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes((ranked.folder / "left.safetensors").read_bytes())
    fitted = run(checkpoint=path)
    assert fitted["resumed_at"] == 12
    np.testing.assert_allclose(fitted["losses"], alone["losses"], rtol=1e-4)


def test_ranks_that_begin_different_fits_are_refused(ranked):
    for rank in ranked("disagreeing"):
        assert "begins another fit than the others" in str(rank["message"])


def test_a_process_alone_gathers_its_own_rows():
    rows = torch.ones(3, 2, requires_grad=True)
    assert gather_with_gradient(rows) is rows and first_row(rows) == 0
    with joined() as ranks:
        assert ranks is ALONE


def test_a_batch_smaller_than_the_ranks_is_refused():
    with pytest.raises(ValueError, match="cannot be cut into 3 slices"):
        Ranks(0, 3).take(np.arange(2))


def test_batch_normalisation_is_refused_on_ranks():
    normalised = torch.nn.Sequential(network(), torch.nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="batch normalisation"):
        fit(normalised, Noted(), rank_steps.classify, CONFIG, ranks=Ranks(0, 2))
