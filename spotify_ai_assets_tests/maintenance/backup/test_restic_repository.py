"""Backups through the restic that is installed: the same platform comes back, damage and other keys are told of."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from backup_worlds import AT, MODEL, World, rows_of, settings_of
from invented import day, require

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.backup import restic
from spotify_ai_assets.maintenance.backup.embedded import EmbeddedRepository
from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.restic import ResticRepository
from spotify_ai_assets.maintenance.backup.restoring import restore
from spotify_ai_assets.maintenance.backup.saving import list_snapshots, open_repository
from spotify_ai_assets.maintenance.backup.snapshots import Manifest, quiet
from spotify_ai_assets.maintenance.backup.trees import Tree


@pytest.fixture
def resting(world: World) -> World:
    """A platform whose data folder and files have names that are patterns to restic."""
    require(ResticRepository.is_installed(), "restic is not installed")
    odd = world.settings.data.rename(world.settings.data.with_name("da[t]a $HOME*"))
    (odd / "reports" / "a [b] *.html").write_text("odd")
    return World(settings_of(odd))


def test_restic_keeps_and_gives_back_a_platform(resting: World, tmp_path: Path) -> None:
    first = resting.back_up(engine="restic")
    resting.lake.write(EVENTS.key, rows_of(1, 7), day(1))
    second = resting.back_up(AT + timedelta(days=1), engine=None)
    assert first.snapshot.engine == second.snapshot.engine == "restic"
    assert list_snapshots(resting.settings) == [first.snapshot, second.snapshot]
    assert second.saved.files >= first.saved.files and second.saved.added_bytes < first.saved.added_bytes
    found = restore(resting.settings, first.snapshot.id, tmp_path / "back", is_deep=True)
    back = World(settings_of(tmp_path / "back"))
    assert back.lake.scan(EVENTS.key).collect().height == 120 and back.vault.count() == 6 and found.rows == 120
    assert back.artifacts.read(MODEL, back.artifacts.pointers(MODEL).aliases["serving"], "weights") == b"first"
    assert (tmp_path / "back" / "reports" / "a [b] *.html").read_text() == "odd"
    assert not list((tmp_path / "back").rglob("*-wal")) and not (tmp_path / "back" / ".whole").exists()
    repository = open_repository(resting.settings)
    repository.forget([first.snapshot.id])
    assert list_snapshots(resting.settings) == [second.snapshot] and repository.check(quiet) == []
    packs = [path for path in (resting.settings.data / "backups" / "repository" / "data").rglob("*") if path.is_file()]
    largest = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(content)
    assert repository.check(quiet)
    (resting.settings.data / "keys" / "backup.key").write_bytes(bytes(32))
    for ask in (lambda: list_snapshots(resting.settings), lambda: resting.back_up(engine=None)):
        with pytest.raises(BackupError, match="another key"):
            ask()


def test_restic_is_taken_where_it_is_installed_unless_another_repository_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResticRepository, "is_installed", staticmethod(lambda: True))
    assert isinstance(open_repository(world.settings), ResticRepository)
    assert isinstance(open_repository(world.settings, "embedded"), EmbeddedRepository)
    world.back_up(engine="embedded")
    assert isinstance(open_repository(world.settings), EmbeddedRepository)
    monkeypatch.setattr(ResticRepository, "is_installed", staticmethod(lambda: False))
    assert isinstance(open_repository(world.settings), EmbeddedRepository)


def test_what_is_there_decides_and_a_missing_restic_breaks_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [True]
    monkeypatch.setattr(ResticRepository, "is_installed", staticmethod(lambda: installed[0]))
    folder = world.settings.data / "backups" / "repository"
    folder.mkdir(parents=True)
    (folder / "config").write_bytes(b"what restic made")
    assert isinstance(open_repository(world.settings), ResticRepository)
    assert isinstance(open_repository(replace(world.settings, lake="s3://bucket/lake")), ResticRepository)
    with pytest.raises(BackupError, match="kept by the engine restic"):
        world.back_up(engine="embedded")
    installed[0] = False
    for ask in (lambda: world.back_up(engine=None), lambda: list_snapshots(world.settings)):
        with pytest.raises(BackupError, match="restic is not installed"):
            ask()
    assert [path.name for path in folder.iterdir()] == ["config"]
    (folder / "repository.json").write_text("{}")
    with pytest.raises(BackupError, match="two repositories"):
        open_repository(world.settings)


def test_the_engine_that_is_asked_for_is_the_one_or_there_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResticRepository, "is_installed", staticmethod(lambda: False))
    with pytest.raises(BackupError, match="restic is not installed"):
        world.back_up(engine="restic")
    assert not (world.settings.data / "backups" / "repository").exists()
    world.back_up()
    monkeypatch.setattr(ResticRepository, "is_installed", staticmethod(lambda: True))
    with pytest.raises(BackupError, match="kept by the engine embedded"):
        world.back_up(engine="restic")


def test_a_lake_in_a_bucket_is_not_left_out_of_a_backup_by_restic(tmp_path: Path) -> None:
    trees = [Tree("staged", str(tmp_path)), Tree("lake", "s3://bucket/lake")]
    manifest = Manifest("i", "a", "/d", {}, {}, {}, {}, "")
    with pytest.raises(BackupError, match="folders only"):
        ResticRepository(str(tmp_path / "kept"), bytes(32), tmp_path / "cache").save(manifest, trees, quiet)


@pytest.mark.parametrize(
    ("errors", "vanished"),
    [
        ("", 0),
        ('{"message_type":"error","error":{"Op":"lstat","Path":"/a","Err":2}}', 1),
        ('Warning: some\n{"message_type":"error","error":{"Op":"open","Path":"/a","Err":13}}', None),
    ],
)
def test_only_files_that_are_gone_are_no_failure(errors: str, vanished: int | None) -> None:
    assert restic._vanished(errors) == vanished


def test_what_restic_says_is_told_without_paths(world: World, tmp_path: Path) -> None:
    failing = tmp_path / "restic"
    failing.write_text("#!/bin/sh\necho 'Fatal: cannot open /data/landing/some-person.json' >&2\nexit 1\n")
    failing.chmod(0o755)
    repository = ResticRepository(str(tmp_path / "kept"), bytes(32), tmp_path / "cache", str(failing))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "config").touch()
    with pytest.raises(TransientError, match="cannot open …") as raised:
        repository.snapshots()
    assert "person" not in str(raised.value)


def test_the_password_is_no_argument_and_a_bucket_is_addressed_as_restic_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling = tmp_path / "restic"
    telling.write_text('#!/bin/sh\necho "$@" > "$HOME/arguments"\nenv > "$HOME/environment"\necho "[]"\n')
    telling.chmod(0o755)
    for name, value in {"HOME": str(tmp_path), "AWS_ENDPOINT_URL": "http://127.0.0.1:1/", "SPOTIFY_AI_LEDGER_KEY": "f" * 64}.items():
        monkeypatch.setenv(name, value)
    ResticRepository("s3://bucket/prefix", bytes(32), tmp_path / "cache", str(telling)).snapshots()
    told = (tmp_path / "arguments").read_text()
    assert "s3:http://127.0.0.1:1/bucket/prefix" in told and bytes(32).hex() not in told
    environment = (tmp_path / "environment").read_text()
    assert f"RESTIC_PASSWORD={bytes(32).hex()}" in environment and "f" * 64 not in environment
    assert os.environ.get("RESTIC_PASSWORD") is None
