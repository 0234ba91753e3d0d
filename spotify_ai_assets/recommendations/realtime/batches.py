"""Micro-batches: listens from the stream are committed to ``listening/events``, exactly once, in files of their own.

A listen that comes again, whoever delivered it before, is recognised by the rules of intake (``listening/merging.py``) and counted
as a duplicate. Each batch has a row in ``listening/imports``, as a file has: records = stored + duplicate + rejected, and all rows
that are stored add up to those of the table. So that this holds across a crash, what is about to be noted of a batch is written
to a journal before its commit; whoever starts next looks whether the commit came about and completes the note.

Batches leave many small files; once a day has enough of them it is made one file again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS, REJECTED
from spotify_ai_assets.listening.merging import keep_new, near_midnights, touches_midnight
from spotify_ai_assets.recommendations.realtime.messages import SOURCE, Decoded
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.resources.storage import sync_path

MOST_FILES = 64
"""A day of more files is made one."""


NUMBER = "number"
"""Column of the rows of a batch: the number of the record in it, from 1."""


@dataclass(slots=True)
class Batch:
    """What waits for a commit.

    Attributes:
        ids: The messages that are acknowledged afterwards, in their order; a record is numbered by its place here, from 1.
        rows: Rows of ``listening/events`` with their ``number``.
        refused: The rule that each refused record breaks, by its number.
        traces: The traces that its messages were sent in.
    """

    ids: list[str] = field(default_factory=list)
    rows: list[pl.DataFrame] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    traces: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[str], decoded: Decoded) -> None:
        """Add messages and the rows in them."""
        first = len(self.ids) + 1
        self.ids += ids
        self.rows.append(decoded.rows.with_columns(pl.Series(NUMBER, [first + number for number in decoded.numbers], dtype=pl.Int64)))
        self.refused |= {first + number: rule for number, rule in decoded.refused.items()}

    def refuse_messages(self, ids: Sequence[str], rule: str) -> None:
        """Add messages that hold no record that could be read."""
        self.refused |= {len(self.ids) + number: rule for number in range(1, len(ids) + 1)}
        self.ids += ids

    def refuse(self, listeners: Collection[str], rule: str) -> None:
        """Refuse the listens of some listeners after all."""
        is_theirs = pl.col("listener_id").is_in(list(listeners))
        for rows in self.rows:
            self.refused |= dict.fromkeys(rows.filter(is_theirs)[NUMBER], rule)
        self.rows = [rows.filter(~is_theirs) for rows in self.rows]

    def listeners(self) -> set[str]:
        """Whose listens it holds."""
        return {listener for rows in self.rows for listener in rows["listener_id"].unique()}

    def origin(self, committer: Origin) -> Origin:
        """Who its commit is of: the committer, in the trace of the messages where they name one and no more."""
        return replace(committer, trace_id=next(iter(self.traces))) if len(self.traces) == 1 else committer


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a batch: its records = stored + duplicate + rejected.

    Attributes:
        stored: Records that became new rows.
        duplicate: Records that were known already.
        rejected: Records refused.
        days: Days that have new rows.
    """

    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    days: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    """What is noted of a batch, as JSON has it."""

    digest: str
    at: str
    stored: int
    duplicate: int
    refused: list[tuple[int, str]]
    span: list[str]
    days: list[str]

    @property
    def committed(self) -> Committed:
        days = tuple(map(date.fromisoformat, self.days))
        return Committed(self.stored, self.duplicate, len(self.refused), days)


class Batches:
    """Commits micro-batches.

    Args:
        lake: Where rows go.
        journal: A file of this committer alone.
        clock: Tells the time of what is noted.
        origin: Who commits.
    """

    def __init__(self, lake: Lake, journal: Path, clock: Callable[[], datetime], origin: Origin | None = None) -> None:
        self._lake, self._journal, self._clock = lake, journal, clock
        self._origin = origin or Origin()

    def recover(self) -> Committed | None:
        """Complete the note of a batch whose committer died after its commit; gives what became of that batch, if there is one."""
        told = self._recover()
        return told.committed if told else None

    def _recover(self) -> _Told | None:
        try:
            told = _Told(**json.loads(self._journal.read_bytes()))
        except FileNotFoundError:
            return None
        events = self._lake.table(EVENTS.key)
        is_committed = events is not None and events.transaction_version(_transaction(EVENTS, told.digest)) is not None
        if is_committed:
            self._note(told)
        self._journal.unlink()
        return told if is_committed else None

    def commit(self, batch: Batch) -> Committed:
        """Commit a batch, durable when this returns; after an error the same batch may be committed again.

        Raises:
            TransientError: A lock or every race for the commit was lost; another try may succeed.
        """
        digest = hashlib.sha256("\n".join(batch.ids).encode()).hexdigest()
        done = self._recover()
        if done and done.digest == digest:
            return done.committed
        whole = pl.concat([EVENTS.empty(), *(rows.drop(NUMBER) for rows in batch.rows)])
        incoming = {day: rows for (day,), rows in whole.partition_by(DAY, as_dict=True, maintain_order=True).items()}
        counts: dict[date, int] = {}

        def told() -> _Told:
            stored, at = sum(counts.values()), self._clock().isoformat()
            span = [day.isoformat() for day in (min(incoming), max(incoming))] if incoming else []
            days = sorted(day.isoformat() for day, count in counts.items() if count)
            return _Told(digest, at, stored, whole.height - stored, sorted(batch.refused.items()), span, days)

        def new_rows(day: date, present: pl.LazyFrame) -> pl.DataFrame:
            new = self._new_rows(incoming, day, present)
            counts[day] = new.height
            if counts.keys() == incoming.keys():  # of several tries to commit the last one's counts are right
                self._write_journal(told())
            return new

        self._lake.extend(EVENTS.key, incoming, new_rows, origin=batch.origin(self._origin), transaction=_transaction(EVENTS, digest))
        if whole.height or batch.refused:
            self._note(told())
        self._journal.unlink(missing_ok=True)
        return told().committed

    def compact(self, days: Sequence[date], most: int = MOST_FILES) -> list[date]:
        """Make one file of each of these days that has more than ``most``; gives those days."""
        made = []
        for day in days:
            state = self._lake.state(EVENTS.key, day)
            if state and len(state.paths) > most:
                self._lake.update(EVENTS.key, [day], lambda _, present: present, origin=self._origin)
                made.append(day)
        return made

    def _new_rows(self, incoming: Mapping[date, pl.DataFrame], day: date, present: pl.LazyFrame) -> pl.DataFrame:
        rows = incoming[day]
        is_theirs = pl.col("listener_id").is_in(rows["listener_id"].unique().to_list())
        known = present.filter(is_theirs).collect(engine="streaming")
        if touches_midnight(rows, day):
            # The same play may be stored, or come, under the day before or after.
            eve, morrow = day - timedelta(days=1), day + timedelta(days=1)
            stored = self._lake.scan(EVENTS.key, first=eve, last=morrow).filter(is_theirs)
            known = pl.concat([known, near_midnights(stored, day).collect(engine="streaming")])
            coming = [near_midnights(incoming[near].lazy(), day).collect() for near in (eve, morrow) if near in incoming]
            rows = pl.concat([rows, *coming])
        return keep_new(rows, known).filter(pl.col(DAY) == day)

    def _note(self, told: _Told) -> None:
        """Record what was refused and what became of the batch, unless that was done before."""
        at, span = datetime.fromisoformat(told.at), [date.fromisoformat(day) for day in told.span]
        if told.refused:
            refused = pl.DataFrame(told.refused, schema={"row": pl.Int64, "rule": pl.String}, orient="row")
            self._append(REJECTED, refused.with_columns(file_sha256=pl.lit(told.digest), rejected_at=pl.lit(at)), told.digest)
        noted = {
            "file_sha256": told.digest,
            "format": SOURCE,
            "rows": told.stored + told.duplicate + len(told.refused),
            "stored": told.stored,
            "duplicate": told.duplicate,
            "rejected": len(told.refused),
            "reason": None,
            "first_day": min(span, default=None),
            "last_day": max(span, default=None),
            "imported_at": at,
        }
        self._append(IMPORTS, pl.DataFrame([noted], schema_overrides=IMPORTS.schema), told.digest)

    def _append(self, table: Table, rows: pl.DataFrame, digest: str) -> None:
        shaped = rows.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items())
        self._lake.append(table.key, shaped, transaction=_transaction(table, digest), origin=self._origin)

    def _write_journal(self, told: _Told) -> None:
        self._journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = self._journal.with_suffix(".tmp")
        with scratch.open("w") as file:
            json.dump(asdict(told), file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._journal)
        sync_path(self._journal.parent)


def _transaction(table: Table, digest: str) -> str:
    return f"{table.key}:{digest}"
