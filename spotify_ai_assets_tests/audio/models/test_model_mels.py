import numpy as np
import pytest

from spotify_ai_assets.audio.models.mels import (
    BANDS,
    MOST_FRAMES,
    crop,
    fit_scale,
    level,
    pack,
    spread_pieces,
    stack_pieces,
    trim_silence,
    unpack,
)


def random_mel(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-80, 47.5, (BANDS, frames)).astype(np.float32)


def test_packing_loses_at_most_a_quarter_of_a_decibel() -> None:
    mel = random_mel(300)
    assert np.abs(unpack(pack(mel)) - mel).max() <= 0.25
    assert pack(unpack(pack(mel))).tolist() == pack(mel).tolist()


def test_levels_outside_the_range_become_its_ends() -> None:
    mel = np.full((BANDS, 2), -100.0)
    mel[:, 1] = 60.0
    packed = pack(mel)
    assert packed[:, 0].tolist() == [0] * BANDS
    assert packed[:, 1].tolist() == [255] * BANDS


def test_a_long_mel_keeps_the_thirty_seconds_around_its_middle() -> None:
    mel = np.tile(np.linspace(-80, 40, 3_001), (BANDS, 1))
    packed = pack(mel)
    assert packed.shape == (BANDS, MOST_FRAMES)
    begin = (3_001 - MOST_FRAMES) // 2
    assert packed.tolist() == pack(mel[:, begin : begin + MOST_FRAMES]).tolist()


@pytest.mark.parametrize("mel", [np.zeros((63, 4)), np.zeros((BANDS, 0)), np.zeros(BANDS), np.full((BANDS, 4), np.nan)])
def test_what_is_no_mel_is_refused(mel: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a mel"):
        pack(mel)


def test_a_crop_runs_past_the_end_into_the_beginning() -> None:
    packed = pack(random_mel(50))
    piece = crop(packed, 40, 30)
    assert np.array_equal(piece[:, :10], unpack(packed[:, 40:]))
    assert np.array_equal(piece[:, 10:], unpack(packed[:, :20]))


def test_a_crop_at_double_speed_takes_every_second_frame() -> None:
    packed = pack(random_mel(60))
    assert np.array_equal(crop(packed, 0, 30, rate=2.0), unpack(packed[:, ::2]))


def test_a_crop_between_frames_interpolates() -> None:
    packed = pack(random_mel(20))
    levels = unpack(packed)
    assert np.allclose(crop(packed, 3.25, 1)[:, 0], 0.75 * levels[:, 3] + 0.25 * levels[:, 4], atol=1e-4)


def test_pieces_start_at_equal_distances_and_the_first_at_the_beginning() -> None:
    packed = pack(random_mel(80))
    pieces = spread_pieces(packed, 20, 4)
    assert pieces.shape == (4, BANDS, 20)
    assert [np.array_equal(unpack(piece), crop(packed, start, 20)) for piece, start in zip(pieces, (0, 20, 40, 60), strict=True)] == [
        True
    ] * 4


def test_pieces_of_no_clips_have_a_shape() -> None:
    assert stack_pieces([], 20, 4).shape == (0, 4, BANDS, 20)


def test_digital_silence_at_the_ends_is_dropped_and_inside_kept() -> None:
    packed = np.zeros((BANDS, 12), np.uint8)
    packed[5, [3, 8]] = 90
    assert trim_silence(packed).tolist() == packed[:, 3:9].tolist()
    assert trim_silence(np.zeros((BANDS, 4), np.uint8)).shape == (BANDS, 4)


def test_a_levelled_piece_has_the_mean_that_was_asked_for_and_its_own_shape() -> None:
    mel = random_mel(30)
    levelled = level(mel, -31.0)
    assert levelled.mean(dtype=float) == pytest.approx(-31, abs=1e-4)
    assert np.allclose(levelled - levelled[0, 0], mel - mel[0, 0], atol=1e-4)


def test_a_scale_makes_mean_nought_and_deviation_one_in_every_band() -> None:
    mels = [pack(random_mel(40, seed)) for seed in range(3)]
    scaled = fit_scale(mels).apply(unpack(np.concatenate(mels, axis=1)))
    assert np.allclose(scaled.mean(1), 0, atol=1e-4)
    assert np.allclose(scaled.std(1), 1, atol=1e-4)


def test_a_scale_does_not_depend_on_the_order_of_the_clips() -> None:
    mels = [pack(random_mel(40 + seed, seed)) for seed in range(4)]
    there, back = fit_scale(mels), fit_scale(mels[::-1])
    assert np.array_equal(there.mean, back.mean) and np.array_equal(there.spread, back.spread)


def test_a_constant_band_scales_to_finite_numbers() -> None:
    scale = fit_scale([np.full((BANDS, 5), 60, np.uint8)])
    assert np.array_equal(scale.apply(unpack(np.full((BANDS, 5), 60, np.uint8))), np.zeros((BANDS, 5)))
