"""Fixtures of the tests of intake."""

from collections.abc import Iterator

import pytest
from audio_files import HERE, noise, write_wav

from spotify_ai_assets.audio.intake.inspection import inspect_files, tabulate
from spotify_ai_assets.audio.intake.sandbox import Limits, Pool


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Two children that measure, and have compiled what they measure with: a machine does that once, for its first file."""
    folder = tmp_path_factory.mktemp("first")
    for number in range(4):
        write_wav(folder / f"{number}.wav", noise())
    with Pool(2) as started:
        tabulate(inspect_files([folder], started))
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
