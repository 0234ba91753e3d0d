"""The pictures of faults."""

import io

import numpy as np
import pytest
from PIL import Image

from spotify_ai_assets.audio.faults.judgement import FAULTS
from spotify_ai_assets.audio.faults.pictures import draw_fault
from spotify_ai_assets.resources.plots import HEIGHT_PX, PLOT_BYTES, WIDTH_PX


@pytest.mark.parametrize("fault", FAULTS)
def test_the_picture_of_each_fault_is_a_small_png(fault: str) -> None:
    rng = np.random.default_rng(0)
    samples = (0.2 * rng.normal(0, 1, (88_200, 2))).astype(np.float32)
    samples[40_000:50_000] = 0
    drawn = draw_fault(samples, 44_100, fault)
    assert len(drawn) <= PLOT_BYTES
    picture = Image.open(io.BytesIO(drawn))
    assert picture.format == "PNG"
    assert picture.size == (WIDTH_PX, HEIGHT_PX)
    assert len(set(np.asarray(picture).ravel().tolist())) > 3


@pytest.mark.parametrize("frames", [0, 1, 5, 700])
def test_short_recordings_have_pictures_too(frames: int) -> None:
    for fault in ("clicks", "dropout", "bandwidth_cutoff", "inverted_phase", "dc_offset"):
        assert draw_fault(np.full((frames, 1), 0.1, np.float32), 8_000, fault).startswith(b"\x89PNG")


def test_a_fault_that_nobody_knows_has_no_picture() -> None:
    with pytest.raises(KeyError):
        draw_fault(np.zeros((10, 1), np.float32), 8_000, "boredom")
