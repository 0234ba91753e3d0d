"""Fixtures of the tests of intake."""

from collections.abc import Iterator

import pytest
from audio_files import HERE

from spotify_ai_assets.audio.intake.sandbox import Limits, Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Two children that measure."""
    with Pool(2) as started:
        yield started


@pytest.fixture(scope="session")
def accidents() -> Iterator[Pool]:
    """Two children to which accidents happen, under narrow limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE))
        with Pool(
            2, Limits(memory_bytes=100_000_000, cpu_seconds=1, wall_seconds=3.0, answer_bytes=10**6), module="accident_worker"
        ) as started:
            assert started.resident_bytes
            yield started
