"""The embedded repository: encrypted, each piece of a file once, in a folder or a bucket; needs nothing installed.

``repository.json`` says which key it is for. ``pieces/`` holds immutable pieces of at most 4 MiB under their keyed digests. A backup
is two sealed objects: ``lists/<id>``, its files and their pieces, and ``snapshots/<id>``, its manifest, which is put last, after
everything before it was made durable; without it there is no backup. Only pieces that a finished backup names are believed to be
there: what a killed one left is written again.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from spotify_ai_assets.maintenance.backup.places import BackupError, Folder, Place, holds
from spotify_ai_assets.maintenance.backup.sealing import Seal
from spotify_ai_assets.maintenance.backup.snapshots import FORMAT, Manifest, Progress, Saved, Snapshot, moment_of
from spotify_ai_assets.maintenance.backup.trees import Found, Tree

CONFIGURATION = "repository.json"
_LISTS, _PIECES, _SNAPSHOTS = "lists", "pieces", "snapshots"
_THREADS, _AHEAD = 4, 16
_TOLD = 100

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file of a backup."""

    path: str
    size: int
    modified_ns: int
    mode: int
    mark: str
    pieces: tuple[str, ...]

    def is_same(self, found: Found) -> bool:
        """Whether a file that was found is this one, unchanged."""
        known = self.size, self.modified_ns, self.mode, self.mark
        return bool(self.mark) and known == (found.size, found.modified_ns, found.mode, found.mark)


class EmbeddedRepository:
    """Backups in a place of their own.

    Args:
        place: Where the objects lie.
        key: 32 bytes.
    """

    engine = "embedded"

    def __init__(self, place: Place, key: bytes) -> None:
        self._place, self._seal = place, Seal(key)

    @staticmethod
    def is_at(place: Place) -> bool:
        """Whether there is such a repository in a place."""
        return holds(place, CONFIGURATION)

    # Saving ------------------------------------------------------------------------------------------------------------

    def save(self, manifest: Manifest, trees: Sequence[Tree], progress: Progress) -> Saved:
        """Keep the files of these trees; the backup exists when its manifest was put, after all else is durable.

        Raises:
            BackupError: The repository is for another key.
            TransientError: The place does not take it.
        """
        self._require_key(create=True)
        sizes, believed, before = self._known()
        work = _Work(self._place, self._seal, sizes, believed)
        kept: list[_Kept] = []
        vanished = 0
        with ThreadPoolExecutor(_THREADS) as pool:
            for tree in trees:
                keep = _keeper(work, tree, before)
                for number, each in enumerate(_ahead(pool, keep, tree.files())):
                    vanished += each is None
                    kept += [each] if each else []
                    if number % _TOLD == 0:
                        progress(tree.name, len(kept), None)
        files = [[each.path, each.size, each.modified_ns, each.mode, each.mark, *each.pieces] for each in kept]
        work.put(f"{_LISTS}/{manifest.id}", {"format": FORMAT, "files": files})
        self._place.sync()
        work.put(f"{_SNAPSHOTS}/{manifest.id}", {"facts": manifest.facts, "manifest": manifest.as_json()})
        self._place.sync()
        return Saved(len(kept), sum(each.size for each in kept), work.added, vanished)

    def _known(self) -> tuple[dict[str, int], set[str], dict[str, _Kept]]:
        """Lengths of the pieces that are there, those that finished backups name, and the files of the newest one by name."""
        sizes = {name.rpartition("/")[2]: size for name, size in self._place.sizes(_PIECES).items()}
        named: set[str] = set()
        files: list[_Kept] = []
        for each in self.snapshots():
            files = self._files(each.id)
            named.update(piece for file in files for piece in file.pieces)
        return sizes, {name for name in named if sizes.get(name)}, {each.path: each for each in files}

    # Reading -----------------------------------------------------------------------------------------------------------

    def snapshots(self) -> list[Snapshot]:
        """All backups, the oldest first.

        Raises:
            BackupError: The key is another one, or one of them is damaged.
        """
        if not self._require_key():
            return []
        names = sorted(name.rpartition("/")[2] for name in self._place.sizes(_SNAPSHOTS))
        return [Snapshot(name, moment_of(name), self.engine, self._document(_SNAPSHOTS, name)["facts"]) for name in names]

    def manifest(self, snapshot: str) -> Manifest:
        """What a backup promises.

        Raises:
            BackupError: There is no such backup, or it is damaged.
        """
        self._require_key()
        return Manifest.from_json(self._document(_SNAPSHOTS, snapshot)["manifest"])

    def extract(self, snapshot: str, target: Path, progress: Progress) -> int:
        """Write the files of a backup below a folder, each held against its pieces' names.

        Raises:
            BackupError: A piece is missing or damaged.
        """
        self._document(_SNAPSHOTS, snapshot)
        files = self._files(snapshot)
        with ThreadPoolExecutor(_THREADS) as pool:
            for done, _ in enumerate(_ahead(pool, lambda each: self._write(each, target), files)):
                if done % _TOLD == 0:
                    progress("", done, len(files))
        if files:
            Folder(target).sync()
        return len(files)

    def check(self, progress: Progress) -> list[str]:
        """Read every piece of every backup.

        Returns:
            A sentence for each thing that is missing or damaged.
        """
        found: list[str] = []
        pieces: set[str] = set()
        for name in sorted(name.rpartition("/")[2] for name in self._place.sizes(_SNAPSHOTS)):
            try:
                self.manifest(name)
                pieces.update(piece for each in self._files(name) for piece in each.pieces)
            except BackupError as error:
                found.append(str(error))
        with ThreadPoolExecutor(_THREADS) as pool:
            for done, sentence in enumerate(_ahead(pool, self._look_at, sorted(pieces))):
                found += [sentence] if sentence else []
                if done % _TOLD == 0:
                    progress("", done, len(pieces))
        return found

    # Forgetting --------------------------------------------------------------------------------------------------------

    def forget(self, snapshots: Iterable[str]) -> None:
        """Remove backups, and then every piece that none of the others names, those of killed backups included.

        Raises:
            BackupError: One of the others is damaged, so that nobody knows what it needs; nothing more is removed then.
        """
        gone = set(snapshots)
        self._place.remove(f"{_SNAPSHOTS}/{name}" for name in gone)
        self._place.sync()
        self._place.remove(f"{_LISTS}/{name}" for name in gone)
        left = {each.id for each in self.snapshots()}
        needed = {piece for name in left for each in self._files(name) for piece in each.pieces}
        self._place.remove(name for name in self._place.sizes(_PIECES) if name.rpartition("/")[2] not in needed)
        self._place.remove(name for name in self._place.sizes(_LISTS) if name.rpartition("/")[2] not in left)
        self._place.sync()

    # Inside ------------------------------------------------------------------------------------------------------------

    def _require_key(self, *, create: bool = False) -> bool:
        """Whether there is a repository, for this key; made where asked for."""
        try:
            told = json.loads(self._place.get(CONFIGURATION))
        except FileNotFoundError:
            if create:
                self._place.put(CONFIGURATION, json.dumps({"format": FORMAT, "engine": self.engine, "key": self._seal.mark}).encode())
            return create
        except ValueError:
            raise BackupError(f"{CONFIGURATION} of the backups is damaged") from None
        if told.get("format") != FORMAT or told.get("key") != self._seal.mark:
            raise BackupError("these backups were made with another key: give it as SPOTIFY_AI_BACKUP_KEY, or put keys/backup.key back")
        return True

    def _document(self, kind: str, snapshot: str) -> Mapping[str, Any]:
        moment_of(snapshot)
        name = f"{kind}/{snapshot}"
        try:
            return json.loads(self._seal.open(name, self._place.get(name)))
        except FileNotFoundError:
            raise BackupError("there is no such backup") from None

    def _files(self, snapshot: str) -> list[_Kept]:
        listed = self._document(_LISTS, snapshot)["files"]
        return [_Kept(path, size, modified_ns, mode, mark, tuple(pieces)) for path, size, modified_ns, mode, mark, *pieces in listed]

    def _piece(self, name: str) -> bytes:
        try:
            return self._seal.open_piece(name, self._place.get(_path_of(name)))
        except FileNotFoundError:
            raise BackupError(f"piece {name} of the backups is missing") from None

    def _look_at(self, name: str) -> str:
        try:
            self._piece(name)
        except BackupError as error:
            return str(error)
        return ""

    def _write(self, kept: _Kept, target: Path) -> None:
        pure = PurePosixPath(kept.path)
        if pure.is_absolute() or ".." in pure.parts:
            raise BackupError("a file of the backup leads out of its folder")
        path = target / pure
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in kept.pieces:
                file.write(self._piece(piece))
            os.fchmod(file.fileno(), kept.mode)
        os.utime(path, ns=(kept.modified_ns, kept.modified_ns))


class _Work:
    """What is put while one backup is saved, and how much that is."""

    def __init__(self, place: Place, seal: Seal, sizes: Mapping[str, int], believed: set[str]) -> None:
        self._place, self._seal, self._sizes, self.believed = place, seal, sizes, believed
        self._alone = threading.Lock()
        self.added = 0

    def keep(self, content: bytes) -> str:
        """Keep a piece, once, and give its name; whoever has the same one meanwhile relies on it: if it fails, so does the backup."""
        name = self._seal.name(content)
        with self._alone:
            is_new = name not in self.believed
            self.believed.add(name)
        if is_new:
            sealed = self._seal.close(name, content)
            self._place.put(_path_of(name), sealed)
            with self._alone:
                self.added += len(sealed) - self._sizes.get(name, 0)
        return name

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        """Put a sealed document."""
        sealed = self._seal.close(name, json.dumps(document, separators=(",", ":")).encode())
        self._place.put(name, sealed)
        self.added += len(sealed)


def _keeper(work: _Work, tree: Tree, before: Mapping[str, _Kept]) -> Callable[[Found], _Kept | None]:
    """Gives for a file of a tree what is kept of it; ``None`` where it is gone."""

    def keep(found: Found) -> _Kept | None:
        path = f"{tree.name}/{found.path}"
        known = before.get(path)
        if known and known.is_same(found) and work.believed.issuperset(known.pieces):
            return known
        try:
            size, pieces = 0, []
            for piece in tree.read(found.path):
                size += len(piece)
                pieces.append(work.keep(piece))
        except FileNotFoundError:
            return None
        return _Kept(path, size, found.modified_ns, found.mode, found.mark if size == found.size else "", tuple(pieces))

    return keep


def _path_of(piece: str) -> str:
    return f"{_PIECES}/{piece[:2]}/{piece}"


def _ahead(pool: ThreadPoolExecutor, do: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """Results in order, with only so many asked for ahead as memory allows."""
    waiting: list[Future[Made]] = []
    for each in given:
        waiting.append(pool.submit(do, each))
        if len(waiting) >= _AHEAD:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
