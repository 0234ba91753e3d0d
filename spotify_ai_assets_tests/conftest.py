"""Fixtures that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake of all tables."""
    return Lake(str(tmp_path / "lake"), TABLES, FileLocks(tmp_path / "locks"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data folder is the test's own."""
    return Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path), "SPOTIFY_AI_PSEUDONYM_SEED": "test"})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that forgets."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
