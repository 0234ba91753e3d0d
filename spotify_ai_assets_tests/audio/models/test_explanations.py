import io

import numpy as np
import pytest
from model_sounds import LABELS, TINY, make_clips, make_mel
from PIL import Image

from spotify_ai_assets.audio.models.explanations import (
    Explanation,
    check_explanation,
    check_sanity,
    draw_explanation,
    explain_clip,
    occlude_bands,
    weigh_bands,
)
from spotify_ai_assets.audio.models.mels import BANDS
from spotify_ai_assets.audio.models.sound_classifier import Model, predict, train
from spotify_ai_assets.resources.plots import PLOT_BYTES


@pytest.fixture(scope="module")
def model() -> Model:
    mels, labels, _ = make_clips(24, frames=80)
    return train(mels, labels, None, TINY).model


@pytest.fixture(scope="module")
def explained(model: Model) -> Explanation:
    return explain_clip(model, make_mel("low", 99, frames=80))


def test_the_answer_that_is_explained_is_the_one_that_serves(model: Model, explained: Explanation) -> None:
    served = predict(model, [make_mel("low", 99, frames=80)])[0]
    assert explained.label == LABELS[int(served.argmax())] == "low"
    assert explained.probability == pytest.approx(served.max(), abs=1e-5)


def test_attributions_add_up_to_the_answer_within_a_hundredth(explained: Explanation) -> None:
    assert explained.attribution.shape == explained.mel_db.shape == (BANDS, 80)
    assert explained.gap <= 0.01
    assert explained.attribution.sum() == pytest.approx(explained.difference, rel=0.01)


def test_deleting_and_inserting_in_its_order_beats_random_orders(model: Model, explained: Explanation) -> None:
    found = check_explanation(model, make_mel("low", 99, frames=80), explained)
    assert found.deletion < found.random_deletion.min()
    assert found.insertion > found.random_insertion.max()


def test_random_weights_change_the_map(model: Model) -> None:
    assert abs(check_sanity(model, [make_mel("low", seed, frames=80) for seed in range(2)])) < 0.5


def test_a_named_class_is_explained_instead_of_the_likeliest(model: Model, explained: Explanation) -> None:
    other = explain_clip(model, make_mel("low", 99, frames=80), "high", most_gap=1.0)
    assert other.label == "high"
    assert other.probability < explained.probability
    assert not np.allclose(other.attribution, explained.attribution)


def test_importance_of_bands_is_a_share_and_unknown_for_a_class_without_clips(explained: Explanation) -> None:
    shares = weigh_bands([explained, explained], LABELS)
    assert shares.shape == (3, BANDS)
    assert shares[LABELS.index("low")].sum() == pytest.approx(1)
    assert np.isnan(shares[LABELS.index("high")]).all()


def test_holding_the_bands_of_the_tone_costs_a_tonal_class_the_most(model: Model) -> None:
    losses = occlude_bands(model, [make_mel("low", seed, frames=80) for seed in range(4)])
    assert losses.shape == (4, 8)
    assert losses.mean(0).argmax() in (1, 2)  # the tone of this class lies in bands 9 to 15


@pytest.mark.parametrize("frames", [3, 80, 1_292])
def test_the_picture_is_small_whatever_the_length_and_the_label(frames: int) -> None:
    rng = np.random.default_rng(frames)
    noise = rng.normal(size=(BANDS, frames)).astype(np.float32)
    for label in ("rock", "$x_1$ <b>" + "é" * 60 + "\u202e\n"):
        picture = draw_explanation(Explanation(label, 0.5, 20 * noise - 40, noise, 1.0, 0.0))
        assert len(picture) <= PLOT_BYTES
        assert Image.open(io.BytesIO(picture)).size == (480, 200)


def test_what_spoke_for_the_answer_is_green_and_what_spoke_against_it_pink() -> None:
    attribution = np.zeros((BANDS, 100), np.float32)
    attribution[:, :30], attribution[:, 70:] = 1, -1
    picture = Image.open(io.BytesIO(draw_explanation(Explanation("rock", 0.5, np.zeros_like(attribution), attribution, 1.0, 0.0))))
    spoke_for, against = (picture.convert("RGB").getpixel((column, 140)) for column in (100, 420))
    assert isinstance(spoke_for, tuple) and spoke_for[1] > spoke_for[0] + 20
    assert isinstance(against, tuple) and against[0] > against[1] + 20


def test_a_silent_clip_is_explained_and_drawn(model: Model) -> None:
    found = explain_clip(model, np.zeros((BANDS, 40), np.uint8), most_gap=1.0)
    assert np.isfinite(found.attribution).all()
    assert draw_explanation(found)
