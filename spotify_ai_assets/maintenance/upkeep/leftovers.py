"""Files outside of tables whose days are over: quarantine, kept landing files, scratch, and what dead processes left half written.

Only regular files are looked at and no link is followed, so nothing outside the data folder can be reached.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISREG

HALF_WRITTEN = timedelta(days=1)
"""No process goes on writing a temporary file for longer."""

ANSWERED = timedelta(days=30)
"""How long an answer waits for the person who asked what is held about them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is kept for how long.

    Attributes:
        store: The folder below the data folder.
        pattern: Of the files, a glob that begins at that folder.
        keep: How long.
        since: ``changed``, the file's last change or move; ``modified``, that of its content, where a move must not count.
    """

    store: str
    pattern: str
    keep: timedelta
    since: str = "changed"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file whose days are over.

    Attributes:
        store: The folder below the data folder.
        path: The file.
        size: In bytes.
    """

    store: str
    path: Path
    size: int


def rules(*, quarantine_days: int, kept_days: int, scratch_days: int) -> tuple[Rule, ...]:
    """What is kept how long.

    Args:
        quarantine_days: Files that could not be imported.
        kept_days: Imported files; 0 keeps none.
        scratch_days: What interrupted work would go on from.
    """
    return (
        Rule("quarantine", "**/*", timedelta(days=quarantine_days)),
        Rule("kept", "*.fernet", timedelta(days=kept_days), since="modified"),
        Rule("kept", "*.tmp", HALF_WRITTEN),
        Rule("scratch", "**/*", timedelta(days=scratch_days)),
        Rule("requests", "answers/*.zip", ANSWERED),
        Rule("artifacts", ".scratch/**/*", HALF_WRITTEN),
        Rule("artifacts", "audio/.*.part", HALF_WRITTEN),
        Rule("artifacts", "analyses/*/*/.*.part", HALF_WRITTEN),
        Rule("reports", "**/.*.tmp", HALF_WRITTEN),
        Rule("lake", "*/*/_aside/**/*", timedelta(days=quarantine_days)),
    )


def find_leftovers(data: Path, found: tuple[Rule, ...], now: datetime) -> list[Leftover]:
    """The files below a data folder whose days are over by these rules, each once."""
    seen: dict[Path, Leftover] = {}
    for rule in found:
        oldest = (now - rule.keep).timestamp()
        for path, status in _files(data / rule.store, rule.pattern):
            at = status.st_mtime if rule.since == "modified" else max(status.st_mtime, status.st_ctime)
            if at < oldest:
                seen.setdefault(path, Leftover(rule.store, path, status.st_size))
    return sorted(seen.values(), key=lambda each: each.path)


def remove_leftovers(data: Path, found: list[Leftover]) -> None:
    """Remove files, and the folders below their stores that are empty then; one that is gone already is no error."""
    for each in found:
        each.path.unlink(missing_ok=True)
        folder = each.path.parent
        with suppress(OSError):  # it is not empty, or gone already
            while folder != data / each.store:
                folder.rmdir()
                folder = folder.parent


def _files(folder: Path, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob(pattern):
        try:
            status = path.lstat()
        except FileNotFoundError:  # whoever owns it has just removed it
            continue
        if S_ISREG(status.st_mode):
            yield path, status
