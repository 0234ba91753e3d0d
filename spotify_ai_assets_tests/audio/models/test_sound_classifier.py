import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from model_sounds import LABELS, TINY, make_clips
from safetensors.numpy import save_file

from spotify_ai_assets.audio.models.mels import BANDS
from spotify_ai_assets.audio.models.sound_classifier import (
    DEMO,
    FULL,
    ClassifierConfig,
    Trained,
    describe_input,
    describe_make,
    fit_weights,
    predict,
    read_config,
    reseed,
    score,
    take_pieces,
    train,
)
from spotify_ai_assets.audio.models.validation import deal_groups, judge
from spotify_ai_assets.training.adapters.torch_model import TorchModel


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(*make_clips(36), TINY)


def test_a_validated_model_names_clips_of_artists_it_never_heard(trained: Trained) -> None:
    found = trained.validation
    assert found is not None
    assert found.accuracy.low > found.majority
    assert found.confusion.sum() == 36
    assert found.confusion.trace() == round(found.accuracy.value * 36)


def test_the_evidence_is_in_the_document_of_the_model(trained: Trained) -> None:
    meta = json.loads(json.dumps(trained.model.meta))
    found = trained.validation
    assert found is not None
    assert meta["classes"] == list(LABELS)
    assert meta["validation"]["accuracy"] == asdict(found.accuracy)
    assert meta["temperature"] == found.temperature
    assert meta["is_calibrated"] and meta["no_claim"] is None


def test_probabilities_add_up_to_one_and_follow_the_temperature(trained: Trained) -> None:
    mels = make_clips(6)[0]
    asked = predict(trained.model, mels)
    assert asked.shape == (6, 3)
    assert np.allclose(asked.sum(1), 1)
    hotter = replace(trained.model, meta={**trained.model.meta, "temperature": trained.model.meta["temperature"] * 4})
    assert (predict(hotter, mels).max(1) < asked.max(1)).all()
    assert (predict(hotter, mels).argmax(1) == asked.argmax(1)).all()


def test_an_answer_does_not_depend_on_the_clips_asked_beside_it(trained: Trained) -> None:
    mels = make_clips(11)[0]
    together = predict(trained.model, mels)
    alone = np.concatenate([predict(trained.model, [mel]) for mel in mels])
    assert np.abs(together - alone).max() < 1e-5


def test_the_registrys_adapter_answers_as_prediction_does(trained: Trained, tmp_path: Path) -> None:
    mels = make_clips(5)[0]
    save_file(trained.model.tensors, tmp_path / "model.safetensors")
    served = TorchModel.open(tmp_path, json.loads(json.dumps(describe_make(trained.model))), describe_input(trained.model))
    config = read_config(trained.model.meta["config"])
    assert np.abs(served.predict(take_pieces(mels, config)) - predict(trained.model, mels)).max() < 1e-5


def test_equal_seeds_give_equal_bytes_and_another_seed_others() -> None:
    mels, labels, _ = make_clips(9)
    numbers = np.array([LABELS.index(label) for label in labels])
    short = replace(TINY, fit=replace(TINY.fit, steps=3))
    first, second, other = (fit_weights(mels, numbers, 3, config) for config in (short, short, reseed(short, 1)))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_without_groups_there_is_a_model_but_no_claim() -> None:
    mels, labels, _ = make_clips(9)
    short = replace(TINY, fit=replace(TINY.fit, steps=2))
    found = train(mels, labels, None, short)
    assert found.validation is None
    assert found.model.meta["validation"] is None
    assert found.model.meta["no_claim"] == "no_groups"
    assert not found.model.meta["is_calibrated"]
    assert train(mels, labels, ["one"] * 9, short).model.meta["no_claim"] == "one_group"


def test_a_single_class_or_lengths_that_differ_are_refused() -> None:
    mels, labels, artists = make_clips(6)
    with pytest.raises(ValueError, match="two classes"):
        train(mels, ["low"] * 6, artists, TINY)
    with pytest.raises(ValueError, match="each clip"):
        train(mels, labels[:5], artists, TINY)


def test_clips_of_any_length_are_answered(trained: Trained) -> None:
    short, long = make_clips(1, frames=5)[0][0], make_clips(1, frames=1_292)[0][0]
    silent = np.zeros((BANDS, 30), np.uint8)
    assert np.isfinite(predict(trained.model, [short, long, silent])).all()


def test_padding_with_digital_silence_changes_no_answer(trained: Trained) -> None:
    mel = make_clips(1)[0][0]
    padded = np.concatenate([np.zeros((BANDS, 40), np.uint8), mel, np.zeros((BANDS, 70), np.uint8)], axis=1)
    assert np.array_equal(predict(trained.model, [mel]), predict(trained.model, [padded]))


def test_parts_hold_whole_groups_and_official_folds_are_parts() -> None:
    numbers = np.arange(40) % 5
    folds = [f"fold {index % 4}" for index in range(40)]
    part = deal_groups(folds, numbers, 4)
    assert [len({part[index] for index in range(40) if folds[index] == fold}) for fold in set(folds)] == [1] * 4
    assert sorted(np.bincount(part).tolist()) == [10] * 4
    artists = [index // 3 for index in range(40)]
    assert all(len(set(deal_groups(artists, numbers, 3)[np.array(artists) == artist])) == 1 for artist in set(artists))


def test_calibration_is_judged_at_a_temperature_that_its_clips_did_not_fit() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 3, 400)
    logits = 8 * (np.eye(3)[np.where(rng.random(400) < 0.7, numbers, rng.integers(0, 3, 400))])
    found = judge(logits, numbers, [f"artist {index // 4}" for index in range(400)], np.zeros(400, int))
    assert found.log_loss < found.log_loss_uncalibrated
    assert found.temperature > 1.5
    assert found.reliability.error < 0.06


def test_a_training_that_was_cut_off_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    mels, labels, _ = make_clips(9)
    numbers = np.array([LABELS.index(label) for label in labels])
    config = replace(TINY, fit=replace(TINY.fit, steps=6, checkpoint_every=2))

    class Killed(Exception):
        pass

    def die(step: int, _: float) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        fit_weights(mels, numbers, 3, config, checkpoint=tmp_path / "place.safetensors", watch=die)
    resumed = fit_weights(mels, numbers, 3, config, checkpoint=tmp_path / "place.safetensors")
    undisturbed = fit_weights(mels, numbers, 3, config)
    assert all(np.array_equal(resumed[name], undisturbed[name]) for name in resumed)


@pytest.mark.parametrize("config", [FULL, DEMO])
def test_a_recipe_survives_its_document_and_its_digest_ignores_the_name(config: ClassifierConfig) -> None:
    assert read_config(json.loads(json.dumps(asdict(config)))) == config
    assert replace(config, name="other").digest == config.digest
    assert replace(config, width=config.width + 1).digest != config.digest


def test_averaging_over_more_pieces_moves_a_rolled_clip_less(trained: Trained) -> None:
    config = read_config(trained.model.meta["config"])
    mels = make_clips(12)[0]
    rolled = [np.roll(mel, 37, axis=1) for mel in mels]

    def spread(shifts: int) -> float:
        how = replace(config, shifts=shifts)
        return float(np.abs(score(trained.model.tensors, mels, 3, how) - score(trained.model.tensors, rolled, 3, how)).mean())

    assert spread(8) < spread(1)
