"""Rotation of logs: what is written to is put aside once a day or once it is large, compressed a little later, and gone after some weeks.

Whoever has a log open looks at its name before each line (``logging.handlers.WatchedFileHandler``) and opens it anew, so a line may
still reach the old file for the moment that it is being written in: nothing is compressed before it was left alone for a while.
A compressed file appears whole or not at all, and the plain one goes after it.
"""

import gzip
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spotify_ai_assets.resources.storage import sync_path

QUIET = timedelta(minutes=2)
"""How long nothing may have been written to a file that is compressed."""

_STAMP = "%Y%m%dT%H%M%SZ"
_ASIDE = re.compile(r"(?P<stem>.+)-(?P<at>\d{8}T\d{6}Z)(?P<number>\.\d+)?\.(?P<kind>jsonl|log)(?P<gz>\.gz)?")
_PRINTS, _PRINTED = "compute_logs", (".out", ".err")


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done with log files.

    Attributes:
        aside: Logs that are put aside, each with the name it gets.
        compressed: Files that are compressed.
        expired: Files whose days are over.
    """

    aside: tuple[tuple[Path, Path], ...]
    compressed: tuple[Path, ...]
    expired: tuple[Path, ...]


def plan_turn(logs: Path, prints: Path, now: datetime, *, most_bytes: int, plain_days: int, keep_days: int) -> Turn:
    """What is due.

    Args:
        logs: The folder of the platform's logs.
        prints: The folder of what steps printed, a folder for each run; the UI reads only plain files there.
        now: Aware.
        most_bytes: A log above that is put aside whenever it is seen; others when they have lines of a day before.
        plain_days: How long what steps printed stays plain.
        keep_days: How long anything is kept.
    """
    living = sorted(path for path in (*logs.glob("*.jsonl"), *logs.glob("*.log")) if path.is_file() and not _ASIDE.fullmatch(path.name))
    aside = tuple((path, _new_name(path, now)) for path in living if _is_due(path, now, most_bytes))
    past = sorted(path for path in logs.iterdir() if _ASIDE.fullmatch(path.name)) if logs.is_dir() else []
    printed = sorted(path for path in prints.glob(f"*/{_PRINTS}/*") if path.is_file())
    expired = [path for path in past if _put_aside_at(path) < now - timedelta(days=keep_days)]
    expired += [path for path in printed if _is_older(path, now - timedelta(days=keep_days))]
    due = [path for path in past if path.suffix != ".gz" and _is_older(path, now - QUIET)]
    shown = now - timedelta(days=plain_days)
    due += [path for path in printed if path.suffix in _PRINTED and _is_older(path, shown) and path.stat().st_size]
    return Turn(aside, tuple(path for path in due if path not in expired), tuple(expired))


def turn(planned: Turn) -> int:
    """Do it; gives by how many bytes files became smaller. What was put aside by this turn is compressed by the next one."""
    saved = sum(path.stat().st_size for path in planned.expired if path.exists())
    for path in planned.expired:
        path.unlink(missing_ok=True)
        if path.parent.name == _PRINTS:
            _drop_empty(path.parent, path.parent.parent)
    for path in planned.compressed:
        saved += compress(path)
    for path, name in planned.aside:
        path.rename(name)
        sync_path(path.parent)
    return saved


def compress(path: Path) -> int:
    """Put a compressed file in the place of a plain one, with its times and rights; gives by how many bytes it is smaller."""
    target, scratch = path.with_name(f"{path.name}.gz"), path.with_name(f".{path.name}.tmp")
    status = path.stat()
    try:
        with path.open("rb") as plain, scratch.open("wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            raw.flush()
            os.fsync(raw.fileno())
        scratch.chmod(status.st_mode & 0o777)
        os.utime(scratch, ns=(status.st_atime_ns, status.st_mtime_ns))
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    sync_path(path.parent)
    path.unlink()
    return status.st_size - target.stat().st_size


def _is_due(path: Path, now: datetime, most_bytes: int) -> bool:
    """Whether a log is large, or was begun before today; an empty one never is."""
    status = path.stat()
    if not status.st_size:
        return False
    begun = _begun_at(path) or datetime.fromtimestamp(status.st_mtime, UTC)
    return status.st_size > most_bytes or begun.date() < now.astimezone(UTC).date()


def _begun_at(path: Path) -> datetime | None:
    """When the first line of a log of JSON lines was written."""
    with path.open("rb") as file:
        found = re.search(rb'"at": ?"([^"]{10,40})"', file.readline(1 << 16))
    try:
        return datetime.fromisoformat(found[1].decode()).astimezone(UTC) if found else None
    except ValueError:
        return None


def _new_name(path: Path, now: datetime) -> Path:
    name = path.with_name(f"{path.stem}-{now.astimezone(UTC).strftime(_STAMP)}{path.suffix}")
    number = 0
    while name.exists() or name.with_name(f"{name.name}.gz").exists():  # two turns within a second
        number += 1
        name = path.with_name(f"{path.stem}-{now.astimezone(UTC).strftime(_STAMP)}.{number}{path.suffix}")
    return name


def _put_aside_at(path: Path) -> datetime:
    found = _ASIDE.fullmatch(path.name)
    return datetime.strptime(found["at"] if found else "", _STAMP).replace(tzinfo=UTC)


def _is_older(path: Path, moment: datetime) -> bool:
    return path.stat().st_mtime < moment.timestamp()


def _drop_empty(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
