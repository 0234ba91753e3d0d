"""A file goes through intake: into the store, through the sandbox, and out as facts and tags or as a rejection.

Work resumes at the grain of a file: an original that is in the store and an analysis that is in the cache are found again, so that
what was measured before a run was killed is not measured again.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spotify_ai_assets.audio.analysis import EXTRACTOR, Analysis, from_npz
from spotify_ai_assets.audio.intake.sandbox import FREE, Answer, Cost, Pool, Refusal
from spotify_ai_assets.audio.intake.store import Store, UnsettledFileError
from spotify_ai_assets.audio.intake.tags import FIELDS, clean, escape_name
from spotify_ai_assets.errors import TransientError, UnreadableFileError

FLEETING = frozenset({"too_slow", "out_of_memory", "decoder_crashed", "analysis_failed", "unreadable"})
"""Rules that may say more of the machine or of the product than of the file: tried again whenever the file comes again."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one file.

    Attributes:
        path: Where it was found.
        name: Its own name, escaped; for people only.
        file_id: SHA-256 of its bytes; ``None`` where it could not be opened, is too large or is still being written. Then nothing was
            kept of it and it stays where it is.
        bytes: Its size; ``None`` with ``file_id``.
        facts: ``Analysis.facts``; ``None`` where it was rejected.
        tags: Those of ``tags.FIELDS`` that it has.
        rule: By which it was rejected; ``None`` where it was taken.
        reason: The same as a sentence.
        is_measured: Whether it was measured now; else that was known.
        cost: What measuring took.
    """

    path: Path
    name: str
    file_id: str | None = None
    bytes: int | None = None
    facts: dict[str, Any] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    rule: str | None = None
    reason: str | None = None
    is_measured: bool = False
    cost: Cost = FREE


class _Turns:
    """One thread at a time for each digest: files with the same bytes are one file."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, digest: str) -> Iterator[None]:
        with self._guard:
            lock, waiting = self._locks.get(digest, (threading.Lock(), 0))
            self._locks[digest] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._locks.pop(digest)
                if waiting > 1:
                    self._locks[digest] = lock, waiting - 1


def take_files(paths: Iterable[Path], store: Store, pool: Pool, *, extractor: str = EXTRACTOR) -> Iterator[Taken]:
    """Take files into the store and measure them, several at a time.

    A file that is rejected lies in the quarantine afterwards. None is changed or removed where it was found.

    Args:
        paths: The files; read as the work goes on.
        store: Where originals and analyses go.
        pool: Where they are measured.
        extractor: Which extractor that is.

    Yields:
        What became of each, as they come.

    Raises:
        PlatformError: The pool does not start.
        TransientError: The product was changed on disk while this process ran.
        OSError: The store cannot be written.
    """
    turns = _Turns()

    def take(path: Path) -> Taken:
        name = escape_name(path)
        try:
            kept = store.keep(path)
        except UnreadableFileError as error:
            return Taken(path, name, rule=error.rule, reason=str(error))
        except UnsettledFileError as error:
            return Taken(path, name, rule="unsettled", reason=str(error))
        with turns.of(kept.file_id):
            if not store.has(kept.file_id):  # the same bytes came twice and were rejected meanwhile
                store.readmit(kept.file_id)
            found, cost, is_measured = _measure(kept.file_id, store, pool, extractor)
            if isinstance(found, Refusal):
                store.reject(kept.file_id)
                return Taken(path, name, kept.file_id, kept.bytes, rule=found.rule, reason=found.reason, is_measured=is_measured, cost=cost)
            tags = _read_tags(store.original(kept.file_id), pool)
        return Taken(path, name, kept.file_id, kept.bytes, found.facts, tags, is_measured=is_measured, cost=cost)

    for _, taken in pool.each(paths, take):
        yield taken


def measure(file_ids: Iterable[str], store: Store, pool: Pool, *, extractor: str = EXTRACTOR) -> Iterator[tuple[str, Analysis | Refusal]]:
    """The analyses of files in the store: from the cache, or measured where they are missing.

    Args:
        file_ids: Which files.
        store: Where they are.
        pool: Where they are measured; it starts only if one must be.
        extractor: Which extractor measures.

    Yields:
        Each file and its analysis, as they come. A refusal where an extractor does not take what another one took, or the original
        is gone (rule ``original_missing``).

    Raises:
        PlatformError: The pool does not start.
        TransientError: The product was changed on disk while this process ran.
    """

    def look(file_id: str) -> Analysis | Refusal:
        return _measure(file_id, store, pool, extractor)[0]

    yield from pool.each(file_ids, look)


def _measure(file_id: str, store: Store, pool: Pool, extractor: str) -> tuple[Analysis | Refusal, Cost, bool]:
    """What is known of a file, or what measuring it gave; what that took; whether it was measured."""
    if known := store.analysis(file_id, extractor):
        return known, FREE, False
    if refused := store.refusal(file_id, extractor):
        return Refusal(*refused), FREE, False
    if not store.has(file_id):
        return Refusal("original_missing", "its bytes are not in the store"), FREE, False
    answer = pool.ask("analyse", store.original(file_id))
    if isinstance(answer, Refusal):
        if answer.rule not in FLEETING:
            store.put_refusal(file_id, extractor, answer.rule, answer.reason)
        return answer, answer.cost, True
    try:
        analysis = from_npz(answer.payload)
    except ValueError:
        return Refusal("decoder_crashed", "its process said what is no analysis"), answer.cost, True
    if analysis.extractor != extractor:
        raise TransientError("the processes that measure are of another version of the product; start again")
    store.put_analysis(file_id, extractor, answer.payload)
    return analysis, answer.cost, True


def _read_tags(path: Path, pool: Pool) -> dict[str, str]:
    """The tags of a file; none where they are what a parser does not survive: its audio is whole nevertheless."""
    answer = pool.ask("tags", path)
    told = answer.header.get("tags") if isinstance(answer, Answer) else None
    if not isinstance(told, dict):
        return {}
    # What a child says is cleaned again: it may have been taken over.
    return {name: clean(str(told[name])) for name in FIELDS if told.get(name)}
