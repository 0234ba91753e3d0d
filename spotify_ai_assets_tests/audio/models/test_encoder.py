import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_sounds import make_clips, make_songs
from safetensors.numpy import save_file

from spotify_ai_assets.audio.models.encoder import (
    DEMO,
    FULL,
    HAND_SCALARS,
    HAND_VECTORS,
    EncoderModel,
    combine,
    contrast,
    describe_input,
    describe_make,
    embed,
    fit_standard,
    lay_out_features,
    random_encoder,
    read_config,
    take_pieces,
    train_encoder,
)
from spotify_ai_assets.training.adapters.torch_model import TorchModel
from spotify_ai_assets.training.fit import FitConfig

TINY = replace(
    DEMO,
    fit=FitConfig(steps=40, batch_size=12, learning_rate=1e-2, warmup_share=0.1, ema_decay=0.8),
    augmentation=replace(DEMO.augmentation, time_width=12),
    frames=48,
    width=4,
    projection=8,
    shifts=2,
)


@pytest.fixture(scope="module")
def model() -> EncoderModel:
    return train_encoder(make_songs(24), TINY)


def test_embeddings_are_of_length_one_and_of_the_stated_size(model: EncoderModel) -> None:
    vectors = embed(model, make_clips(7)[0])
    assert vectors.shape == (7, model.meta["size"]) == (7, 16 * 4)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embed(model, []).shape == (0, 64)


def test_training_lowers_the_loss_below_that_of_guessing(model: EncoderModel) -> None:
    seen = []
    train_encoder(make_songs(24), TINY, watch=lambda _, loss: seen.append(loss))
    assert np.mean(seen[-5:]) < 0.85 * np.mean(seen[:5])
    assert model.meta["loss"] < np.log(2 * 12 - 1)


def test_equal_seeds_give_equal_encoders(model: EncoderModel) -> None:
    again = train_encoder(make_songs(24), TINY)
    assert all(np.array_equal(model.tensors[name], again.tensors[name]) for name in model.tensors)


def test_the_control_has_the_same_shape_and_says_that_it_is_untrained(model: EncoderModel) -> None:
    control = random_encoder(make_songs(24), TINY)
    assert {name: value.shape for name, value in control.tensors.items()} == {name: value.shape for name, value in model.tensors.items()}
    assert not control.meta["is_trained"] and model.meta["is_trained"]
    assert not np.allclose(control.tensors["network.trunk.blocks.0.1.running_mean"], 0)


def test_the_registrys_adapter_embeds_as_embedding_does(model: EncoderModel, tmp_path: Path) -> None:
    mels = make_clips(5)[0]
    save_file(model.tensors, tmp_path / "model.safetensors")
    served = TorchModel.open(tmp_path, json.loads(json.dumps(describe_make(model))), describe_input(model))
    assert np.abs(served.predict(take_pieces(mels, read_config(model.meta["config"]))) - embed(model, mels)).max() < 1e-5


def test_a_louder_recording_has_the_same_embedding(model: EncoderModel) -> None:
    mels = make_songs(6)
    louder = [mel + np.uint8(12) for mel in mels]
    assert min(int(mel.max()) for mel in louder) > 12
    assert np.abs(embed(model, mels) - embed(model, louder)).max() < 1e-4


def test_an_encoder_of_one_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="two recordings"):
        train_encoder(make_clips(1)[0], TINY)


def test_the_contrast_is_lowest_where_partners_agree_and_others_do_not() -> None:
    vectors = torch.nn.functional.normalize(torch.eye(6), dim=1)
    groups = torch.arange(6)
    partners = contrast(torch.cat([vectors, vectors]), groups, 0.2)
    strangers = contrast(torch.cat([vectors, vectors.roll(1, 0)]), groups, 0.2)
    assert float(partners) < 0.1 < float(strangers)


def test_a_recording_that_comes_twice_into_a_batch_is_no_counter_example() -> None:
    vectors = torch.nn.functional.normalize(torch.eye(4)[[0, 0, 1, 2]], dim=1)
    both = torch.cat([vectors, vectors])
    assert float(contrast(both, torch.tensor([7, 7, 1, 2]), 0.1)) < 0.01 < float(contrast(both, torch.tensor([7, 8, 1, 2]), 0.1))


def test_a_standard_fills_what_is_missing_and_bounds_what_is_wild() -> None:
    rows = np.array([[1.0, 5.0, 2.0], [3.0, 5.0, np.nan], [2.0, 5.0, 4.0]])
    standard = fit_standard(rows, ["a", "b", "c"])
    assert standard.mean.tolist() == [2.0, 5.0, 3.0]
    out = standard.apply(np.array([[np.nan, 5.0, 4.0], [1e9, 5.0, 3.0], [2.0, 5.0, 3.0]]))
    assert out[0].tolist() == [0, 0, 1]
    assert out[1].tolist() == [1, 0, 0]
    assert out[2].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="standard"):
        fit_standard(rows, ["a"])


def test_neither_part_of_a_combined_embedding_outvotes_the_other() -> None:
    first, second = np.array([[3.0, 4.0]]), np.array([[0.0, 0.1, 0.0]])
    assert np.allclose(combine(first, second), np.array([[0.6, 0.8, 0, 1, 0]]) / np.sqrt(2))


def test_hand_features_are_laid_out_by_name_without_what_follows_the_level() -> None:
    scalars = {name: float(place) for place, name in enumerate(HAND_SCALARS)} | {"tempo": None, "loudness": -9.0}
    vectors = {name: np.arange(4.0) for name in HAND_VECTORS} | {"log_mel_mean": np.zeros(128)}
    names, row = lay_out_features(scalars, vectors)
    assert len(names) == len(set(names)) == len(row)
    assert np.isnan(row[names.index("tempo")])
    assert row[names.index("mfcc_mean_3")] == 3
    assert "mfcc_mean_0" not in names and "mfcc_std_0" in names
    assert not [name for name in names if "loud" in name or "rms" in name or "log_mel" in name]


@pytest.mark.parametrize("config", [FULL, DEMO])
def test_an_encoders_recipe_survives_its_document(config) -> None:
    assert read_config(json.loads(json.dumps(asdict(config)))) == config
    assert replace(config, name="other").digest == config.digest
