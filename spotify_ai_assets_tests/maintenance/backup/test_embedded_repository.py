"""The embedded repository: what goes in comes out, each piece once; damage is found, and a killed writer leaves nothing that counts."""

import os
import subprocess
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.maintenance.backup import trees
from spotify_ai_assets.maintenance.backup.embedded import EmbeddedRepository
from spotify_ai_assets.maintenance.backup.places import BackupError, Bucket, Folder, open_place
from spotify_ai_assets.maintenance.backup.snapshots import Manifest, TableState, quiet
from spotify_ai_assets.maintenance.backup.trees import Tree

KEY = bytes(range(32))
FIRST, SECOND, THIRD = (f"2026030{number}T033000Z-0000000{number}" for number in (1, 2, 3))


def manifest(name: str = FIRST) -> Manifest:
    table = TableState(3, {"2026-03-02": (5, "ab"), "": (0, "cd")})
    return Manifest(name, "2026-03-01T03:30:00+00:00", "/data", {"some": "/data/some"}, {"a/days": table}, {}, {"erasure": (2, "ef")}, "")


def fill(folder: Path, **contents: bytes) -> Tree:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return Tree("some", str(folder))


def save(repository: EmbeddedRepository, tree: Tree, name: str = FIRST):
    return repository.save(manifest(name), [tree], quiet)


def restored(repository: EmbeddedRepository, folder: Path, name: str = FIRST) -> dict[str, bytes]:
    repository.extract(name, folder, quiet)
    return {path.relative_to(folder / "some").as_posix(): path.read_bytes() for path in (folder / "some").rglob("*") if path.is_file()}


@pytest.fixture
def repository(tmp_path: Path) -> EmbeddedRepository:
    return EmbeddedRepository(Folder(tmp_path / "kept"), KEY)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "PIECE_BYTES", 100)


def test_files_come_back_with_their_bytes_modes_and_times(repository: EmbeddedRepository, tmp_path: Path, small_pieces: None) -> None:
    contents = {"empty": b"", "short": b"x", "whole": bytes(100), "longer": os.urandom(1234)}
    tree = fill(tmp_path / "some", **contents)
    (tmp_path / "some" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "some" / "deep" / "er" / "ünï code").write_bytes(b"deep")
    (tmp_path / "some" / "short").chmod(0o444)
    os.utime(tmp_path / "some" / "short", ns=(1, 1_234_567_890_123_456_789))
    (tmp_path / "some" / "link").symlink_to("/etc/passwd")
    saved = save(repository, tree)
    assert (saved.files, saved.bytes, saved.vanished) == (5, 1339, 0)
    assert restored(repository, tmp_path / "out") == {**contents, "deep/er/ünï code": b"deep"}
    status = (tmp_path / "out" / "some" / "short").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o444, 1_234_567_890_123_456_789)
    assert repository.manifest(FIRST) == manifest() and repository.check(quiet) == []
    assert [(each.id, each.facts["rows"]) for each in repository.snapshots()] == [(FIRST, 5)]


def test_nothing_readable_is_kept(repository: EmbeddedRepository, tmp_path: Path) -> None:
    save(repository, fill(tmp_path / "some", secret_name=b"secret content " * 9))
    kept = b"".join(os.fsencode(path) + path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert b"secret" not in kept and KEY not in kept and KEY.hex().encode() not in kept
    private = [tmp_path / "kept", *(path for path in (tmp_path / "kept").rglob("*") if path.is_file())]
    assert len(private) == 5 and all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_a_piece_is_kept_once_and_an_unchanged_file_is_not_read(
    repository: EmbeddedRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = fill(tmp_path / "some", one=b"a" * 5000, same=b"a" * 5000, other=os.urandom(5000))
    save(repository, tree)
    pieces = list((tmp_path / "kept" / "pieces").rglob("*"))
    assert len([path for path in pieces if path.is_file()]) == 2
    fill(tmp_path / "some", other=os.urandom(5000), new=b"new")
    read: list[str] = []
    monkeypatch.setattr(Tree, "read", lambda tree, path, plain=Tree.read: read.append(path) or plain(tree, path))
    saved = save(repository, tree, SECOND)
    assert sorted(read) == ["new", "other"] and saved.files == 4 and saved.added_bytes < 7000
    # A file that was replaced by one of the same length and time is another one all the same.
    time = (tmp_path / "some" / "one").stat().st_mtime_ns
    (tmp_path / "some" / "one").write_bytes(b"b" * 5000)
    os.utime(tmp_path / "some" / "one", ns=(time, time))
    save(repository, tree, THIRD)
    assert restored(repository, tmp_path / "out", THIRD)["one"] == b"b" * 5000


def test_each_backup_is_the_folder_as_it_was_then(repository: EmbeddedRepository, tmp_path: Path) -> None:
    tree = fill(tmp_path / "some", stays=b"same", changes=b"first")
    save(repository, tree)
    (tmp_path / "some" / "changes").write_bytes(b"then")
    (tmp_path / "some" / "stays").unlink()
    save(repository, tree, SECOND)
    assert restored(repository, tmp_path / "one") == {"stays": b"same", "changes": b"first"}
    assert restored(repository, tmp_path / "two", SECOND) == {"changes": b"then"}


def test_forgetting_a_backup_removes_what_no_other_one_needs(repository: EmbeddedRepository, tmp_path: Path) -> None:
    tree = fill(tmp_path / "some", stays=b"same" * 100, goes=b"personal" * 100)
    save(repository, tree)
    (tmp_path / "some" / "goes").unlink()
    save(repository, tree, SECOND)
    before = {path for path in (tmp_path / "kept" / "pieces").rglob("*") if path.is_file()}
    repository.forget([FIRST])
    after = {path for path in (tmp_path / "kept" / "pieces").rglob("*") if path.is_file()}
    assert len(before - after) == 1 and after < before
    assert restored(repository, tmp_path / "out", SECOND) == {"stays": b"same" * 100}
    with pytest.raises(BackupError, match="no such backup"):
        repository.manifest(FIRST)
    repository.forget([SECOND])
    assert [path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()] == ["repository.json"]


def test_a_flipped_byte_anywhere_is_found(repository: EmbeddedRepository, tmp_path: Path) -> None:
    save(repository, fill(tmp_path / "some", one=os.urandom(300), two=b"text" * 50))
    objects = [path for path in (tmp_path / "kept").rglob("*") if path.is_file() and path.name != "repository.json"]
    assert len(objects) == 4
    for path in objects:
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            changed = bytearray(whole)
            changed[place] ^= 0x20
            path.write_bytes(changed)
            assert repository.check(quiet), f"{path.name} at {place}"
            with pytest.raises(BackupError):
                restored(repository, tmp_path / uuid.uuid4().hex)
        path.unlink()
        if "pieces" in str(path):
            assert "missing" in repository.check(quiet)[0]
        path.write_bytes(whole)
    assert repository.check(quiet) == []


def test_a_missing_piece_is_written_again_by_the_next_backup(repository: EmbeddedRepository, tmp_path: Path) -> None:
    tree = fill(tmp_path / "some", one=b"one" * 1000)
    save(repository, tree)
    for path in (tmp_path / "kept" / "pieces").rglob("*"):
        if path.is_file():
            path.unlink()
    save(repository, tree, SECOND)
    assert repository.check(quiet) == [] and restored(repository, tmp_path / "out")["one"] == b"one" * 1000


def test_another_key_is_told_from_damage(repository: EmbeddedRepository, tmp_path: Path) -> None:
    save(repository, fill(tmp_path / "some", one=b"one"))
    other = EmbeddedRepository(Folder(tmp_path / "kept"), bytes(32))
    for ask in (other.snapshots, lambda: other.manifest(FIRST), lambda: save(other, Tree("some", str(tmp_path / "some")), SECOND)):
        with pytest.raises(BackupError, match="another key"):
            ask()


def test_a_file_that_vanishes_is_counted_and_left_out(
    repository: EmbeddedRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = fill(tmp_path / "some", stays=b"stays", goes=b"goes")
    listed = list(tree.files())
    (tmp_path / "some" / "goes").unlink()
    monkeypatch.setattr(Tree, "files", lambda self: iter(listed))
    saved = save(repository, tree)
    assert (saved.files, saved.vanished) == (1, 1) and restored(repository, tmp_path / "out") == {"stays": b"stays"}


def test_a_path_that_leads_out_of_the_folder_is_refused(repository: EmbeddedRepository, tmp_path: Path) -> None:
    tree = fill(tmp_path / "some", one=b"one")
    save(repository, replace(tree, name="../some"))
    with pytest.raises(BackupError, match="leads out"):
        repository.extract(FIRST, tmp_path / "deep" / "out", quiet)
    assert not (tmp_path / "deep" / "some").exists()


class Dying(Folder):
    """A place whose writer dies at its n-th change: nothing after it happens, as after a SIGKILL."""

    def __init__(self, root: Path, changes: int, torn: bool) -> None:
        super().__init__(root)
        self.root, self.left, self.torn = root, changes, torn

    def put(self, name: str, content: bytes) -> None:
        if self.left == 0 and self.torn:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).with_name(".torn.part").write_bytes(content[: len(content) // 2])
        self._count()
        super().put(name, content)

    def remove(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._count()
            super().remove([name])

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_a_writer_killed_at_any_change_leaves_the_backups_that_there_were(tmp_path: Path) -> None:
    tree = fill(tmp_path / "some", one=os.urandom(100), two=os.urandom(100))
    outcomes = set()
    for changes in range(12):
        root = tmp_path / f"kept{changes}"
        save(EmbeddedRepository(Folder(root), KEY), tree)
        fill(tmp_path / "some", two=os.urandom(100), three=os.urandom(100))
        try:
            save(EmbeddedRepository(Dying(root, changes, torn=changes % 2 == 0), KEY), tree, SECOND)
            EmbeddedRepository(Dying(root, max(changes - 4, 0), torn=False), KEY).forget([FIRST])
        except KeyboardInterrupt:
            pass
        after = EmbeddedRepository(Folder(root), KEY)
        names = [each.id for each in after.snapshots()]
        outcomes.add(tuple(names))
        assert names and after.check(quiet) == []
        for name in names:
            assert restored(after, tmp_path / "out" / uuid.uuid4().hex, name)["one"] == (tmp_path / "some" / "one").read_bytes()
        # The next backup and the next removal make good what is left.
        save(after, tree, THIRD)
        after.forget(names)
        pieces = [path for path in root.rglob("*") if path.is_file() and "pieces" in path.parts]
        assert len(pieces) == 3 and not list(root.rglob("*.part"))
        assert after.check(quiet) == []
    assert outcomes == {(FIRST,), (FIRST, SECOND), (SECOND,)}


def test_a_full_disk_is_told_in_words_and_harms_no_backup(repository: EmbeddedRepository, tmp_path: Path, monkeypatch) -> None:
    tree = fill(tmp_path / "some", one=b"one")
    save(repository, tree)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    fill(tmp_path / "some", two=b"two")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(TransientError, match="No space left"):
            save(repository, tree, SECOND)
    assert [each.id for each in repository.snapshots()] == [FIRST] and repository.check(quiet) == []
    assert not list((tmp_path / "kept").rglob("*.part"))


def test_a_place_of_another_kind_is_refused() -> None:
    assert isinstance(open_place("s3://bucket/prefix"), Bucket)
    with pytest.raises(BackupError, match="SPOTIFY_AI_BACKUPS"):
        open_place("ftp://host/folder")


_SERVE = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch):
    """A bucket of moto's S3, in a process of its own."""
    import sys

    import boto3

    with subprocess.Popen([sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        endpoint = process.stdout.readline().strip()
        told = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="kept")
        yield "s3://kept/some/place"
        process.communicate("stop\n", timeout=20)


def test_a_bucket_keeps_backups_and_a_lake_in_a_bucket_is_one_of_their_sources(bucket: str, tmp_path: Path) -> None:
    repository = EmbeddedRepository(open_place(bucket), KEY)
    assert repository.snapshots() == [] and not EmbeddedRepository.is_at(open_place(bucket))
    source = Bucket("s3://kept/lake")
    source.put("a/days/day=2026-03-02/1.parquet", b"rows")
    source.put("a/days/_delta_log/0.json", b"{}")
    for name in (FIRST, SECOND):
        saved = repository.save(manifest(name), [fill(tmp_path / "some", one=b"one"), Tree("lake", "s3://kept/lake")], quiet)
        assert (saved.files, saved.vanished) == (3, 0)
    repository.extract(SECOND, tmp_path / "out", quiet)
    assert (tmp_path / "out" / "lake" / "a" / "days" / "day=2026-03-02" / "1.parquet").read_bytes() == b"rows"
    assert repository.check(quiet) == [] and EmbeddedRepository.is_at(open_place(bucket))
    repository.forget([FIRST])
    assert [each.id for each in repository.snapshots()] == [SECOND] and repository.check(quiet) == []
