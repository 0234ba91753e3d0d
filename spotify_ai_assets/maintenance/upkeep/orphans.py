"""What nobody refers to any more: files of the lake that no version needs, and versions of artifacts that nothing leads to.

A version of an artifact is needed while an alias means it, while it can be gone back to, while another needed version names it,
while it is the newest, and while it is young, since it may be about to serve. What names what is read off the facts of versions:
whatever looks like a version there counts as one, so that a kind of artifact that is invented later is safe here too.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from spotify_ai_assets.errors import LockTimeoutError
from spotify_ai_assets.resources.artifacts import Artifacts, Pointers, Version
from spotify_ai_assets.resources.lake import Lake

_MENTION = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")

Key = tuple[str, str]
"""An artifact and one of its versions."""


@dataclass(slots=True)
class Vacuumed:
    """What a vacuum of all tables did, or would do in a dry run.

    Attributes:
        files: How many files nothing needed.
        bytes: Of them, where the lake is local.
        busy: Tables whose lock was held by somebody for too long; their turn comes next time.
        strangers: Folders of the lake that no contract declares; they are only told of.
    """

    files: int = 0
    bytes: int = 0
    busy: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


def vacuum(lake: Lake, keep: timedelta, *, dry_run: bool, progress: Callable[[str], None] = lambda key: None) -> Vacuumed:
    """Remove the files that no version within ``keep`` needs, table by table, each under its exclusive lock.

    Args:
        lake: All tables of it.
        keep: How far back past states stay readable.
        dry_run: Only count.
        progress: Told each table.
    """
    told = Vacuumed(strangers=find_strangers(lake))
    for key in lake.tables:
        progress(key)
        try:
            sizes = {path: _size_of(lake, key, path) for path in lake.vacuum(key, keep=keep, dry_run=True)}
            gone = list(sizes) if dry_run or not sizes else lake.vacuum(key, keep=keep)
        except LockTimeoutError:
            told.busy.append(key)
            continue
        told.files += len(gone)
        told.bytes += sum(sizes.get(path, 0) for path in gone)
    return told


def find_strangers(lake: Lake) -> list[str]:
    """The Delta tables below a local lake that no contract declares."""
    if not lake.storage.is_local:
        return []
    root = Path(lake.storage.root)
    found = {log.parent.relative_to(root).as_posix() for log in root.glob("*/*/_delta_log")}
    return sorted(found - lake.tables.keys())


def _size_of(lake: Lake, key: str, path: str) -> int:
    file = Path(lake.storage.uri(key, path))
    return file.stat().st_size if lake.storage.is_local and file.is_file() else 0


def find_unused(artifacts: Artifacts, before: datetime, *, former: int) -> list[Version]:
    """The versions that nothing leads to and that are older than a moment, the oldest first.

    Args:
        artifacts: Where they are kept.
        before: Aware; what was made since stays.
        former: How many versions each alias can go back to.
    """
    names = artifacts.names()
    versions = {name: artifacts.versions(name) for name in names}
    needed = needed_versions(versions, {name: artifacts.pointers(name) for name in names}, before, former=former)
    found = [each for many in versions.values() for each in many if (each.name, each.version) not in needed]
    return sorted(found, key=lambda each: (each.created_at, each.name, each.version))


def needed_versions(versions: Mapping[str, list[Version]], pointers: Mapping[str, Pointers], before: datetime, *, former: int) -> set[Key]:
    """The versions that must stay: those that something means, the newest and the young, and all that these name.

    Args:
        versions: Of each artifact, the oldest first.
        pointers: Of each artifact.
        before: Aware; what was made since is young.
        former: How many versions each alias can go back to.
    """
    known = {(each.name, each.version): each for many in versions.values() for each in many}
    by_version: dict[str, list[Key]] = {}
    for key in known:
        by_version.setdefault(key[1], []).append(key)
    waiting = [(name, each) for name, now in pointers.items() for each in _meant(now, former)]
    waiting += [(name, many[-1].version) for name, many in versions.items() if many]
    waiting += [key for key, each in known.items() if datetime.fromisoformat(each.created_at) >= before]
    needed: set[Key] = set()
    while waiting:
        key = waiting.pop()
        if key in needed or key not in known:
            continue
        needed.add(key)
        waiting += [other for mention in mentions(known[key]) for other in by_version.get(mention, ())]
    return needed


def mentions(version: Version) -> set[str]:
    """What may be versions of other artifacts among the facts of a version: every 16 hexadecimal digits."""
    return set(_MENTION.findall(json.dumps(dict(version.facts)))) - {version.version}


def remove_versions(artifacts: Artifacts, unused: Iterable[Version]) -> None:
    """Remove versions; one that an alias came to mean meanwhile is refused by the artifacts themselves."""
    for each in unused:
        artifacts.remove(each.name, each.version)


def size_of_version(artifacts: Artifacts, version: Version) -> int:
    """Bytes of a version on this machine."""
    folder = artifacts.place.local(f"{version.name}/{version.version}")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _meant(now: Pointers, former: int) -> list[str]:
    """The versions that aliases mean, and those that each can go back to, the newest of them."""
    return [*now.aliases.values(), *(each for many in now.former.values() for each in many[max(0, len(many) - former) :])]
