"""The copy of the ledger beside the backups may be all that is left of it: it only grows, and only by its own story.

Without the key that made its hashes nothing is restored.
"""

import shutil
from datetime import datetime
from pathlib import Path

import pytest
from backup_worlds import AT, World, settings_of

from spotify_ai_assets.errors import LockTimeoutError
from spotify_ai_assets.maintenance.backup import ledgers
from spotify_ai_assets.maintenance.backup.ledgers import copy_ledger, from_lines, newest_at
from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.restoring import restore
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.chain import ChainError


def copy_of(world: World) -> Path:
    return world.settings.data / "backups" / "ledger" / "erasure.jsonl"


def lose_ledger(world: World) -> None:
    shutil.rmtree(world.settings.data / "ledger")


def test_the_copy_follows_the_ledger(world: World) -> None:
    assert copy_ledger(world.settings) is None and not copy_of(world).exists() and newest_at(world.settings) is None
    for number in (1, 2):
        world.request_erasure(f"listener-{number}")
        head = copy_ledger(world.settings)
        assert head and head == open_ledger(world.settings).head() and head.sequence == number
        assert copy_ledger(world.settings) == head, "once more changes nothing"
        assert from_lines(copy_of(world).read_bytes()) == list(open_ledger(world.settings).records())
    assert isinstance(newest_at(world.settings), datetime)


@pytest.mark.parametrize("requests", [0, 1])
def test_a_ledger_that_lost_records_does_not_replace_the_copy_that_has_them(world: World, requests: int) -> None:
    world.request_erasure("listener-1")
    shutil.copytree(world.settings.data / "ledger", kept := world.settings.data.with_name("kept"))
    world.request_erasure("listener-2")
    copy_ledger(world.settings)
    before = copy_of(world).read_bytes()
    lose_ledger(world)
    if requests:
        shutil.copytree(kept, world.settings.data / "ledger")
    else:
        open_ledger(world.settings).head()  # a new and empty one
    with pytest.raises(BackupError, match=f"2 records, the ledger itself only {requests}"):
        copy_ledger(world.settings)
    assert copy_of(world).read_bytes() == before


def test_a_ledger_that_tells_another_story_does_not_replace_the_copy(world: World) -> None:
    world.request_erasure("listener-1")
    copy_ledger(world.settings)
    before = copy_of(world).read_bytes()
    lose_ledger(world)
    for number in (2, 3):
        world.request_erasure(f"listener-{number}")
    with pytest.raises(BackupError, match="different stories"):
        copy_ledger(world.settings)
    copy_of(world).write_bytes(before[:-20])
    with pytest.raises(BackupError, match="cannot be read"):
        copy_ledger(world.settings)
    assert copy_of(world).read_bytes() == before[:-20]


def test_a_damaged_ledger_is_not_copied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.request_erasure("listener-1")
    copy_ledger(world.settings)
    world.request_erasure("listener-2")
    before, whole = copy_of(world).read_bytes(), list(open_ledger(world.settings).records())
    monkeypatch.setattr(ledgers, "find_breaks", lambda name, records: [f"{name}: record {len(records)} is another one"])
    with pytest.raises(ChainError, match="record 2"):
        copy_ledger(world.settings)
    assert copy_of(world).read_bytes() == before and len(whole) == 2


def test_one_copies_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.request_erasure("listener-1")
    monkeypatch.setattr(ledgers, "open_locks", lambda settings: open_locks(settings, 0.05))
    with open_locks(world.settings).exclusive("ledger.copy"), pytest.raises(LockTimeoutError):
        copy_ledger(world.settings)
    assert not copy_of(world).exists()


@pytest.mark.parametrize("key", [None, bytes(32)])
@pytest.mark.parametrize("is_running", [False, True])
def test_a_backup_from_before_the_first_key_is_restored_with_the_key_of_the_ledger_only(
    world: World, tmp_path: Path, key: bytes | None, is_running: bool
) -> None:
    made = world.back_up()
    world.request_erasure("listener-1")
    copy_ledger(world.settings)
    if not is_running:
        lose_ledger(world)
    path = world.settings.data / "keys" / "ledger.key"
    right = path.read_bytes()
    path.unlink()
    if key:
        path.write_bytes(key)
        path.chmod(0o600)
    with pytest.raises(BackupError, match="SPOTIFY_AI_LEDGER_KEY"):
        restore(world.settings, made.snapshot.id, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    path.write_bytes(right)
    path.chmod(0o600)
    assert restore(world.settings, str(AT), tmp_path / "back").erased == 1
    assert World(settings_of(tmp_path / "back")).vault.find("listener-1") is None
