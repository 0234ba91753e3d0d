import numpy as np
import pytest

from spotify_ai_assets.audio.models.augmentation import Augmentation, mask, mix, shift_bands, vary
from spotify_ai_assets.audio.models.mels import BANDS, FLOOR_DB, crop, unpack

NONE = Augmentation(gain_db=0, tilt_db=0, stretch=0, shift_bands=0, band_masks=0, time_masks=0, mix_alpha=0)


@pytest.fixture
def packed() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 160, (BANDS, 90)).astype(np.uint8)


def test_equal_seeds_give_equal_pieces(packed: np.ndarray) -> None:
    first, second, other = (vary(packed, 60, Augmentation(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_without_changes_a_piece_is_a_crop_from_somewhere(packed: np.ndarray) -> None:
    piece = vary(packed, 60, NONE, np.random.default_rng(3))
    assert any(np.array_equal(piece, crop(packed, start, 60)) for start in range(90))


def test_no_piece_lies_below_the_floor() -> None:
    quiet = np.zeros((BANDS, 30), np.uint8)
    assert vary(quiet, 30, Augmentation(gain_db=20), np.random.default_rng(0)).min() >= FLOOR_DB


def test_gain_alone_moves_every_level_by_the_same_amount(packed: np.ndarray) -> None:
    piece = vary(packed[:, :1], 4, Augmentation(6, 0, 0, 0, 0, 0, 0, 0, 0, 0), np.random.default_rng(5))
    change = piece[:, 0] - unpack(packed)[:, 0]
    assert np.ptp(change) < 1e-4
    assert 0 < abs(change[0]) <= 6


def test_tilt_changes_bands_smoothly_and_time_not_at_all(packed: np.ndarray) -> None:
    piece = vary(packed[:, :1], 4, Augmentation(0, 10, 0, 0, 0, 0, 0, 0, 0, 0), np.random.default_rng(5))
    change = piece - unpack(packed[:, :1])
    assert np.ptp(change, axis=1).max() < 1e-4
    assert np.ptp(change[:, 0]) > 1
    assert np.abs(change).max() <= 10 + 1e-4


def test_a_shift_by_whole_bands_moves_them_up(packed: np.ndarray) -> None:
    levels = unpack(packed)
    moved = shift_bands(levels, 2)
    assert np.allclose(moved[2:], levels[:-2])
    assert np.allclose(moved[:2], levels[0])


def test_masks_are_no_wider_than_they_may_be() -> None:
    how = Augmentation(band_masks=1, band_width=5, time_masks=1, time_width=7)
    for seed in range(30):
        masked = mask(np.ones((BANDS, 50), np.float32), how, np.random.default_rng(seed)) == 0
        assert masked.all(axis=1).sum() <= 5
        assert masked.all(axis=0).sum() <= 7


def test_masks_wider_than_the_piece_still_fit() -> None:
    how = Augmentation(band_masks=0, time_masks=1, time_width=500)
    widths = set()
    for seed in range(60):
        piece = np.ones((BANDS, 4), np.float32)
        assert mask(piece, how, np.random.default_rng(seed)) is piece
        masked = (piece == 0).all(axis=0)
        assert np.array_equal(piece, np.broadcast_to(~masked, piece.shape)), "a mask of time covers whole frames"
        widths.add(int(masked.sum()))
    assert widths == {0, 1, 2, 3, 4}


def test_mixing_mixes_labels_as_it_mixes_sounds() -> None:
    pieces = np.arange(6, dtype=np.float32)[:, None, None] * np.ones((6, 2, 3), np.float32)
    mixed, shares = mix(pieces, np.eye(6, dtype=np.float32), Augmentation(mix_alpha=1.0, mix_share=1.0), np.random.default_rng(0))
    assert np.allclose(shares.sum(1), 1)
    assert np.allclose(mixed[:, 0, 0], shares @ np.arange(6))
    assert (np.abs(mixed[:, 0, 0] - np.arange(6)) > 1e-3).any()


def test_without_mixing_the_batch_stays_as_it_is() -> None:
    pieces, shares = np.ones((3, 2, 2), np.float32), np.eye(3, dtype=np.float32)
    mixed, labels = mix(pieces, shares, NONE, np.random.default_rng(0))
    assert mixed is pieces and labels is shares
