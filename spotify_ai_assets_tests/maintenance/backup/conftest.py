"""What the tests of backups share: a small platform, and whoever runs their backups without restic."""

from pathlib import Path

import pytest
from backup_worlds import World, make_world


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A platform that nobody changes."""
    return make_world(tmp_path_factory.mktemp("backed") / "data")


@pytest.fixture
def world(made_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A platform of the test's own."""
    for name in ("SPOTIFY_AI_LEDGER_KEY", "SPOTIFY_AI_BACKUP_KEY", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    return made_world.copy_to(tmp_path / "data")
