"""Immutable versions of artifacts, and the pointers that say which one is in use.

A version is a folder of files with a manifest of their SHA-256 sums; its name is the digest of that manifest, so equal content is
the same version, whenever and how often it is made. It appears whole or not at all, never changes, and each read is verified.
Pointers are one small file per artifact, replaced in one step together with its history.

What is written where belongs to ``Folder``; an object store needs the same six operations, with the manifest put last, since a
version without one does not exist. What an artifact means belongs to its owner: ``training.registry`` for models.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.resources.locks import FileLocks, Locks, PostgresLocks
from spotify_ai_assets.resources.storage import sync_path
from spotify_ai_assets.settings import Settings

MANIFEST, POINTERS = "manifest.json", "pointers.json"
_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")
_VERSION = re.compile(r"[0-9a-f]{16}")
_PIECE = 1 << 20

Content = bytes | Path
"""The bytes of a file, or where to copy them from."""


class ArtifactError(PermanentError):
    """No such artifact or version, a name that cannot be one, or a file that is not what its manifest says."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an artifact.

    Attributes:
        name: The artifact, such as ``audio/sound_model``.
        version: 16 hexadecimal digits: the digest of name, files and facts.
        files: SHA-256 of each file, by its path inside the version.
        facts: What the owner says of it; part of the digest.
        origin: Where it comes from, such as a run; not part of the digest.
        created_at: When it was first made, ISO 8601 in UTC; not part of the digest.
    """

    name: str
    version: str
    files: Mapping[str, str]
    facts: Mapping[str, Any]
    origin: Mapping[str, str]
    created_at: str


@dataclass(frozen=True, slots=True)
class Pointers:
    """Which versions of an artifact are in use, and how that came about.

    Attributes:
        aliases: Version by alias.
        former: By alias the versions that it meant before, the newest last: what can be gone back to.
        history: All that happened, the newest last; each entry has ``at``, ``event`` and ``version``.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    former: Mapping[str, list[str]] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()


Change = tuple[Pointers, Mapping[str, Any]]
"""The pointers to come, and what happened."""


class Place(Protocol):
    """Where the bytes of artifacts lie; paths are relative and have forward slashes."""

    def read(self, path: str) -> bytes:
        """The bytes of a file; ``FileNotFoundError`` where there is none."""
        ...

    def publish(self, folder: str, files: Mapping[str, Content]) -> None:
        """Make a folder appear with all its files, durable when this returns; one that is there already stays as it is."""
        ...

    def replace(self, path: str, content: bytes) -> None:
        """Put a file in the place of the one before in one step, durable when this returns."""
        ...

    def find(self, name: str) -> Iterator[str]:
        """The folders that hold a file of this name."""
        ...

    def local(self, folder: str) -> Path:
        """The folder on this machine, for readers that need paths."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder with all its files."""
        ...


class Folder:
    """Artifacts in a local folder.

    Args:
        root: Made when it is first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._scratch = root / ".scratch"

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        return (self.root / path).read_bytes()

    def publish(self, folder: str, files: Mapping[str, Content]) -> None:
        """Write everything beside and rename it into place: a process that dies leaves a scratch folder, never half a version."""
        target, scratch = self.root / folder, self._scratch / uuid.uuid4().hex
        if target.exists():
            return
        try:
            for path, content in files.items():
                _write(scratch / path, content)
            for each in sorted({parent for path in files for parent in (scratch / path).parents if parent.is_relative_to(scratch)}):
                sync_path(each)
            self._make(target.parent)
            try:
                scratch.rename(target)
            except OSError:
                if not target.exists():  # else somebody was faster with the same content
                    raise
            sync_path(target.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def replace(self, path: str, content: bytes) -> None:
        """Put a file in the place of the one before."""
        target, scratch = self.root / path, self._scratch / uuid.uuid4().hex
        try:
            _write(scratch, content)
            self._make(target.parent)
            scratch.replace(target)
            sync_path(target.parent)
        finally:
            scratch.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """Make a folder and the names that lead to it durable."""
        folder.mkdir(parents=True, exist_ok=True)
        for each in [folder, *folder.parents][: len(folder.relative_to(self.root).parts) + 2]:
            sync_path(each)

    def find(self, name: str) -> Iterator[str]:
        """The folders that hold a file of this name."""
        for found in sorted(self.root.rglob(name)):
            if not found.is_relative_to(self._scratch):
                yield found.parent.relative_to(self.root).as_posix()

    def local(self, folder: str) -> Path:
        """The folder itself."""
        return self.root / folder

    def remove(self, folder: str) -> None:
        """Out of sight in one step, then away."""
        scratch = self._scratch / uuid.uuid4().hex
        scratch.parent.mkdir(parents=True, exist_ok=True)
        (self.root / folder).rename(scratch)
        sync_path((self.root / folder).parent)
        shutil.rmtree(scratch)

    def sweep(self) -> int:
        """Remove what dead processes left half written; call it while nobody publishes. Gives how many were removed."""
        left = list(self._scratch.iterdir()) if self._scratch.is_dir() else []
        for each in left:
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        return len(left)


class Artifacts:
    """Versions and pointers of all artifacts.

    Args:
        root: A folder, or another place with the same operations.
        locks: Who changes the pointers of an artifact holds its lock.
        clock: Tells the time of what is recorded.
    """

    def __init__(self, root: Path | Place, locks: Locks, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.place: Place = Folder(root) if isinstance(root, Path) else root
        self._locks, self._clock = locks, clock

    def publish(
        self, name: str, files: Mapping[str, Content], facts: Mapping[str, Any], origin: Mapping[str, str] | None = None
    ) -> Version:
        """Keep a version; the same files and facts once more are the version that is there.

        Args:
            name: The artifact: words of lower-case letters, digits and underscores, with slashes between them.
            files: By path inside the version.
            facts: JSON; nothing that differs between equal trainings, such as seconds or run ids, since it is digested.
            origin: Where it comes from: what differs between equal trainings.

        Raises:
            ArtifactError: A name or path that cannot be one.
        """
        _check_name(name)
        for path in files:
            _check_path(path)
        facts = json.loads(json.dumps(facts, allow_nan=False))  # as they will be read
        sums = {path: _sum(content) for path, content in sorted(files.items())}
        version = Version(name, _digest(name, sums, facts), sums, facts, dict(origin or {}), self._now())
        manifest = json.dumps(asdict(version), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        self.place.publish(f"{name}/{version.version}", {**files, MANIFEST: manifest.encode()})
        return self.describe(name, version.version)

    def names(self, holding: str = MANIFEST) -> list[str]:
        """The artifacts that have a version, or one that holds a file of this name."""
        return sorted({folder.rpartition("/")[0] for folder in self.place.find(holding) if _VERSION.fullmatch(folder.rpartition("/")[2])})

    def versions(self, name: str) -> list[Version]:
        """All versions of an artifact, the oldest first."""
        _check_name(name)
        found = [folder.rpartition("/") for folder in self.place.find(MANIFEST)]
        mine = [self.describe(name, last) for owner, _, last in found if owner == name and _VERSION.fullmatch(last)]
        return sorted(mine, key=lambda each: (each.created_at, each.version))

    def describe(self, name: str, version: str) -> Version:
        """What is known of a version, after its manifest was held against its name.

        Raises:
            ArtifactError: There is no such version, or its manifest was changed.
        """
        _check_name(name)
        if not _VERSION.fullmatch(version):
            raise ArtifactError(f"{name}: a version is 16 hexadecimal digits")
        try:
            found = Version(**json.loads(self.place.read(f"{name}/{version}/{MANIFEST}")))
        except FileNotFoundError as error:
            raise ArtifactError(f"{name}: there is no version {version}") from error
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{name} {version}: its manifest is broken") from error
        if (found.name, found.version) != (name, version) or _digest(name, found.files, found.facts) != version:
            raise ArtifactError(f"{name} {version}: its manifest was changed")
        return found

    def fetch(self, name: str, version: str) -> Path:
        """The folder of a version on this machine, after each of its files was held against its sum.

        Raises:
            ArtifactError: There is no such version, or a file is missing, changed, or one too many.
        """
        known, folder = self.describe(name, version), self.place.local(f"{name}/{version}")
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        for path in sorted(there ^ {*known.files, MANIFEST}):
            raise ArtifactError(f"{name} {version}: {path} is {'not in its manifest' if path in there else 'missing'}")
        for path, expected in known.files.items():
            if _sum(folder / path) != expected:
                raise ArtifactError(f"{name} {version}: {path} was changed")
        return folder

    def read(self, name: str, version: str, path: str) -> bytes:
        """One file of a version, verified.

        Raises:
            ArtifactError: There is no such version or file, or the file was changed.
        """
        expected = self.describe(name, version).files.get(path)
        if expected is None:
            raise ArtifactError(f"{name} {version}: there is no file {path}")
        content = self.place.read(f"{name}/{version}/{path}")
        if _sum(content) != expected:
            raise ArtifactError(f"{name} {version}: {path} was changed")
        return content

    def pointers(self, name: str) -> Pointers:
        """Which versions are in use."""
        _check_name(name)
        try:
            document = json.loads(self.place.read(f"{name}/{POINTERS}"))
        except FileNotFoundError:
            return Pointers()
        return Pointers(document["aliases"], document["former"], tuple(document["history"]))

    def change(self, name: str, decide: "Callable[[Pointers], Change | None]") -> Pointers:
        """Change the pointers of an artifact, alone: nobody else does between what is seen and what is written.

        Args:
            name: The artifact.
            decide: Given the pointers of now, gives those to come and what happened: ``event``, ``version`` and what else there
                is to say. ``None``, or what it raises, changes nothing.
        """
        _check_name(name)
        with self._locks.exclusive(f"artifacts/{name}"):
            changed = decide(self.pointers(name))
            if changed is None:
                return self.pointers(name)
            pointers, happened = changed
            history = [*pointers.history, {"at": self._now(), **happened}]
            document = {"aliases": dict(pointers.aliases), "former": dict(pointers.former), "history": history}
            self.place.replace(f"{name}/{POINTERS}", json.dumps(document, indent=1, ensure_ascii=False).encode())
        return self.pointers(name)

    def remove(self, name: str, version: str) -> None:
        """Remove a version that no alias means; it can no longer be gone back to.

        Raises:
            ArtifactError: There is no such version, or an alias means it.
        """
        self.describe(name, version)

        def forget(now: Pointers) -> tuple[Pointers, Mapping[str, Any]]:
            if version in now.aliases.values():
                raise ArtifactError(f"{name} {version} is in use")
            former = {alias: [each for each in versions if each != version] for alias, versions in now.former.items()}
            return Pointers(now.aliases, former, now.history), {"event": "removed", "version": version}

        self.change(name, forget)
        self.place.remove(f"{name}/{version}")

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")


def open_artifacts(settings: Settings) -> Artifacts:
    """The artifacts below the data folder, with the locks that fit the place of the vault."""
    is_shared = settings.vault_url.startswith("postgresql")
    locks = PostgresLocks(settings.vault_url) if is_shared else FileLocks(settings.data / "locks")
    return Artifacts(settings.data / "artifacts", locks)


def files_below(folder: Path) -> dict[str, Content]:
    """All files of a folder by their paths inside it, to be published.

    Raises:
        ArtifactError: There is a link among them.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    if any(path.is_symlink() for path in found):
        raise ArtifactError("a version cannot hold links")
    return {path.relative_to(folder).as_posix(): path for path in found}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or _VERSION.fullmatch(name.rpartition("/")[2]):
        raise ArtifactError("the name of an artifact is words of a-z, 0-9 and _ with slashes between them")


def _check_path(path: str) -> None:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or pure.as_posix() != path or {"..", MANIFEST, "."} & set(pure.parts) or "\\" in path or "\0" in path:
        raise ArtifactError("a file of a version has a plain relative path, other than that of the manifest")


def _digest(name: str, sums: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    canonical = json.dumps([name, sums, facts], sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _sum(content: Content) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, file, _PIECE)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o444)
