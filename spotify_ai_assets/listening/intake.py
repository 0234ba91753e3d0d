"""Intake: files of listens, charts and catalogue rows become rows of the lake, exactly once.

One file is one commit to its table: a crash leaves none of it or all of it, and importing it again finds duplicates. Every
record is counted as stored, duplicate or rejected. Real user ids are swapped for pseudonyms before anything is kept, and
nothing is committed that breaks its table's contract.

How bytes become records is in ``formats``; when two listens are the same is in ``merging.py``; which files are taken and what
becomes of them afterwards is in ``landing.py``.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from spotify_ai_assets.catalog.ids import with_ids
from spotify_ai_assets.catalog.landing import merge_catalog
from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.contracts import CHART_ENTRIES, EVENTS, IMPORTS, KEPT_FILES, REJECTED, UNKNOWN_COUNTRY
from spotify_ai_assets.listening.formats import REJECTED as REJECTION
from spotify_ai_assets.listening.formats import Batch, Format, Member, detect, explain, open_members
from spotify_ai_assets.listening.merging import keep_new, near_midnights, touches_midnight
from spotify_ai_assets.listening.spool import Spool
from spotify_ai_assets.resources.identities import USER_ID, Vault
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.validation import require

Progress = Callable[[str, int], None]
"""Told the file and the records read so far."""

Erased = Callable[[Iterable[str]], set[str]]
"""Gives those of some ids whose owners are to be forgotten."""

ERASED = "erased_listener"
"""Rule: a listen of somebody who is to be forgotten. Of it nothing is noted but this."""

INTAKE_LOCK = "intake"
"""Lock: shared by whoever imports, from the first byte of a file until it is out of the spool. An erasure that had it alone once since
its request knows that no import under way can bring the person back afterwards."""

_REJECTED_ROWS = 500_000
"""At most so many rejections are written at once: a file may hold nothing else."""

_ROW = "row"
"""Column of spooled listens: which record of the file each is; no part of the table."""

_LISTENER_FOLDER = re.compile(r"listener=(.+)", re.DOTALL)
_USER_ID = re.compile(USER_ID)


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file, or of one member of an archive.

    Attributes:
        file: Its name as the caller gave it; kept nowhere.
        format: The detected format, or ``None`` where it is not data.
        rows: Records in it: stored + duplicate + rejected.
        stored: Records that became new rows.
        duplicate: Records that were known already.
        rejected: Records refused.
        reason: Why it, or its rest, was not read; ``None`` when all was.
    """

    file: str
    format: str | None
    rows: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    reason: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether records may be lost in it: it, or its rest, could not be read. A file that is not data is whole."""
        return self.reason is not None and self.rows > 0

    def as_json(self) -> dict[str, str | int | None]:
        """All fields by name."""
        return asdict(self)


class _New(NamedTuple):
    """What is new of a day of a file.

    Attributes:
        rows: Those that are not among the stored ones of that day.
        refused: Numbers of the records that must not be stored after all.
    """

    rows: pl.DataFrame
    refused: Sequence[int] = ()


_Novelty = Callable[[Spool, date, pl.DataFrame], _New]
"""Compares the rows of a day of a file with the stored ones of that day."""


@dataclass(slots=True)
class _Tally:
    """What is known of one file while it is read.

    Attributes:
        digest: Its SHA-256.
        listener: Whose listens it holds where it names nobody; ``None`` where that is no valid id.
    """

    digest: str
    listener: str | None = None
    rows: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: list[pl.DataFrame] = field(default_factory=list)
    reason: str | None = None
    days: list[date] = field(default_factory=list)

    def refuse(self, rows: Iterable[int], rule: str) -> None:
        """Count records as rejected."""
        frame = pl.DataFrame({"row": rows}, schema={"row": pl.Int64})
        self.rejected.append(frame.with_columns(rule=pl.lit(rule)))

    def stop(self, error: UnreadableFileError) -> None:
        """Count the record at which reading broke off, or the whole file, as rejected."""
        self.rows += 1
        self.reason = error.rule
        self.refuse([error.row or 0], error.rule)

    def report(self, name: str, form: str | None) -> FileReport:
        """The counts, which must add up."""
        rejected = sum(rows.height for rows in self.rejected)
        if self.rows != self.stored + self.duplicate + rejected:
            raise AssertionError(f"{self.digest}: {self.rows} records, but {self.stored + self.duplicate + rejected} accounted for")
        return FileReport(name, form, self.rows, self.stored, self.duplicate, rejected, self.reason)


class Intake:
    """Imports files into the lake.

    Args:
        lake: Where rows go.
        vault: Swaps real user ids for pseudonyms.
        listener: Whose listens a file holds that names nobody.
        scratch: Folder for rows of files that are larger than memory.
        now: The present moment; listens after it are refused.
        origin: Which run imports.
        progress: Told how far it is.
        erased: Gives those of some real ids whose owners are to be forgotten; their listens are refused and counted. Asked when they
            are read, and again right before they are committed.
    """

    def __init__(
        self,
        lake: Lake,
        vault: Vault,
        *,
        listener: str,
        scratch: Path,
        now: datetime,
        origin: Origin | None = None,
        progress: Progress = lambda name, rows: None,
        erased: Erased = lambda users: set(),
    ) -> None:
        self._lake = lake
        self._vault = vault
        self._listener = listener
        self._scratch = scratch
        self._now = now
        self._origin = origin or Origin()
        self._progress = progress
        self._erased = erased
        self.touched: dict[str, set[date | None]] = {}
        """Tables and days that this intake changed."""
        self.digest = ""
        """SHA-256 of the file that was taken last; empty where it could not be opened."""
        self._owners: dict[str, str] = {}
        """Real ids by pseudonym, of the file that was taken last: kept in memory only, to ask again about them."""
        self.holds_erased = False
        """Whether the file that was taken last has listens of somebody who is to be forgotten: nothing of it may be kept."""

    @property
    def listeners(self) -> set[str]:
        """Pseudonyms in the file that was taken last."""
        return set(self._owners)

    # Files -------------------------------------------------------------------------------------------------------------

    def take(self, path: Path, listener: str | None = None) -> list[FileReport]:
        """Import one file, every member of it where it is an archive.

        Args:
            path: The file; it is read in place and never changed.
            listener: Whose listens it holds where it names nobody; a folder ``listener=<id>`` above it says so too.

        Returns:
            A report for the file, or for each of its members; of a broken archive also one for the archive itself.

        Raises:
            ContractError: A reader of files gave rows that break their table's contract; nothing of that file is committed.
            TransientError: A lock, a commit race or the vault was lost; another try may succeed.
        """
        name, self.digest, self._owners, self.holds_erased = _printable(str(path)), "", {}, False
        listener = listener or _listener_of(path) or self._listener
        reason = _refusal(path)
        if reason is None:
            try:
                self.digest = sha256(path)
            except OSError:
                reason = "unreadable"
        if reason:
            return [FileReport(name, None, reason=reason)]
        reports: list[FileReport] = []
        try:
            for number, member in enumerate(open_members(path)):
                is_itself = number == 0 and member.name == path.name
                reports.append(
                    self._take_member(member, name, self.digest, listener)
                    if is_itself
                    else self._take_member(member, f"{name}!{_printable(member.name)}", _member_digest(self.digest, number), listener)
                )
        except UnreadableFileError as error:
            reports.append(self._refuse(name, self.digest, error))
        return reports or [FileReport(name, None, reason="empty_archive")]

    def note_kept(self, digest: str) -> None:
        """Register a kept file under each listener in it, so that an erasure finds it."""
        frame = pl.DataFrame({"listener_id": sorted(self.listeners)}, schema={"listener_id": pl.String})
        self._append(KEPT_FILES, frame.with_columns(file_sha256=pl.lit(digest), kept_at=pl.lit(self._now)), digest)

    def _take_member(self, member: Member, name: str, digest: str, listener: str) -> FileReport:
        try:
            found = detect(member)
            if found is None:
                return FileReport(name, None, reason=explain(member))
        except UnreadableFileError as error:
            return self._refuse(name, digest, error)
        tally = _Tally(digest, listener if _is_user_id(listener) else None)
        batches = self._count(found, member, name, tally)
        takers = {"listens": self._take_listens, "charts": self._take_charts, "catalog": self._take_catalog}
        takers[found.kind](batches, found.name, tally)
        report = tally.report(name, found.name)
        self._note(report, tally)
        return report

    def _count(self, found: Format, member: Member, name: str, tally: _Tally) -> Iterator[Batch]:
        """The batches of a member; what they refuse, and the point at which reading broke off, goes to the tally."""
        try:
            for batch in found.read(member, self._now):
                tally.rows += batch.height
                if batch.rejected.height:
                    tally.rejected.append(batch.rejected)
                self._progress(name, tally.rows)
                yield batch
        except UnreadableFileError as error:
            tally.stop(error)

    def _refuse(self, name: str, digest: str, error: UnreadableFileError) -> FileReport:
        """Note a file that could not be read at all."""
        tally = _Tally(digest)
        tally.stop(error)
        report = tally.report(name, None)
        self._note(report, tally)
        return report

    # Records -----------------------------------------------------------------------------------------------------------

    def _take_listens(self, batches: Iterable[Batch], source: str, tally: _Tally) -> None:
        self._store(EVENTS, (self._as_events(batch.frame, source, tally) for batch in batches), self._new_listens, tally)

    def _as_events(self, frame: pl.DataFrame, source: str, tally: _Tally) -> pl.DataFrame:
        frame = frame.with_columns(pl.col("user").fill_null(pl.lit(tally.listener, dtype=pl.String)))
        bad = [user for user in frame["user"].unique() if user is None or not _is_user_id(user)]
        if bad:
            is_bad = frame["user"].is_in(bad, nulls_equal=True)
            tally.refuse(frame.filter(is_bad)["row"], "bad_user_id")
            frame = frame.filter(~is_bad)
        if gone := self._erased(frame["user"].unique()):
            is_gone = frame["user"].is_in(list(gone))
            tally.refuse(frame.filter(is_gone)["row"], ERASED)
            frame, self.holds_erased = frame.filter(~is_gone), True
        named = with_ids(frame)
        rows = self._vault.pseudonymise(named, "user", "listener_id").with_columns(
            pl.col("country").fill_null(UNKNOWN_COUNTRY), day=pl.col("started_at").dt.date(), source=pl.lit(source)
        )
        self._owners.update(pl.DataFrame([rows["listener_id"], named["user"]]).unique().iter_rows())
        return rows.select(*EVENTS.schema, _ROW)

    def _gone(self, rows: pl.DataFrame) -> pl.Expr | None:
        """Which rows are of somebody who is to be forgotten, ``None`` where none is: asked anew, since reading a file takes its time.

        It is asked by real ids. Of somebody whom the vault did not know when the request came the ledger has no pseudonym, and this
        import gave out the first.
        """
        owners = {self._owners[listener]: listener for listener in rows["listener_id"].unique()}
        gone = [owners[user] for user in self._erased(owners)]
        return pl.col("listener_id").is_in(gone) if gone else None

    def _new_listens(self, spool: Spool, day: date, present: pl.DataFrame) -> _New:
        read = spool.rows(day)
        gone = self._gone(read)
        refused = [] if gone is None else read.filter(gone)[_ROW].to_list()
        incoming = (read if gone is None else read.filter(~gone)).drop(_ROW)
        if touches_midnight(incoming, day):
            # The same play may be stored, or come, under the day before or after; both days must then decide alike.
            eve, morrow = day - timedelta(days=1), day + timedelta(days=1)
            stored = self._lake.scan(EVENTS.key, first=eve, last=morrow)
            coming = [spool.scan(near).drop(_ROW) for near in (eve, morrow) if spool.count(near)]
            present = pl.concat([present, near_midnights(stored, day).collect()])
            incoming = pl.concat([incoming, *(near_midnights(rows, day).collect() for rows in coming)])
        return _New(keep_new(incoming, present).filter(pl.col(DAY) == day), refused)

    def _take_charts(self, batches: Iterable[Batch], source: str, tally: _Tally) -> None:
        def entries(batch: Batch) -> pl.DataFrame:
            rows = with_ids(batch.frame.with_columns(recording_mbid=pl.lit(None, dtype=pl.String)))
            return rows.with_columns(source=pl.lit(source)).select(*CHART_ENTRIES.schema)

        def new(spool: Spool, day: date, present: pl.DataFrame) -> _New:
            incoming = spool.rows(day).unique(CHART_ENTRIES.primary_key, keep="first", maintain_order=True)
            return _New(incoming.join(present, on=CHART_ENTRIES.primary_key, how="anti"))

        self._store(CHART_ENTRIES, map(entries, batches), new, tally)

    def _take_catalog(self, batches: Iterable[Batch], source: str, tally: _Tally) -> None:
        frames = [batch.frame for batch in batches]
        if not frames:
            return
        rows = pl.concat(frames)
        # A file that was imported before is older than what came since, and replaces none of it.
        is_known = not self._lake.scan(IMPORTS.key).filter(pl.col("file_sha256") == tally.digest).head(1).collect().is_empty()
        changed = {} if is_known else merge_catalog(rows, self._lake, self._origin)
        for key in changed:
            self.touched.setdefault(key, set()).add(None)
        tally.stored = sum(changed.values())
        tally.duplicate = rows.height - tally.stored

    def _store(self, table: Table, frames: Iterable[pl.DataFrame], new_rows: _Novelty, tally: _Tally) -> None:
        """Commit the new rows of a file to a daily table, all days at once, and count them."""
        counts: dict[date, tuple[int, int]] = {}
        refused: dict[date, Sequence[int]] = {}
        with Spool(self._scratch) as spool:
            for rows in frames:
                require(table, rows.select(*table.schema))  # a fault in a reader of files gets no further
                spool.add(rows)
            days = spool.close()

            def merge(day: date, present: pl.DataFrame) -> pl.DataFrame:
                new, refused[day] = new_rows(spool, day, present)
                counts[day] = new.height, spool.count(day) - new.height - len(refused[day])
                return pl.concat([present, new]) if new.height else present

            if days:
                transaction = f"{table.key}:{tally.digest}"
                written = self._lake.update(table.key, days, merge, origin=self._origin, transaction=transaction)
                if changed := {day for day, result in written.items() if result.is_new}:
                    self.touched.setdefault(table.key, set()).update(changed)
        if late := sorted(row for rows in refused.values() for row in rows):
            tally.refuse(late, ERASED)
            self.holds_erased = True
        tally.days = [day for day in days if any(counts[day])]
        tally.stored = sum(stored for stored, _ in counts.values())
        tally.duplicate = sum(duplicate for _, duplicate in counts.values())

    # Notes -------------------------------------------------------------------------------------------------------------

    def _note(self, report: FileReport, tally: _Tally) -> None:
        """Record what was refused and what became of the file; a later import of it counts only if it stored something."""
        refused = pl.concat([pl.DataFrame(schema=REJECTION), *tally.rejected])
        refused = refused.with_columns(file_sha256=pl.lit(tally.digest), rejected_at=pl.lit(self._now))
        span = {"first_day": min(tally.days, default=None), "last_day": max(tally.days, default=None)}
        values = {**report.as_json(), **span, "file_sha256": tally.digest, "imported_at": self._now}
        imported = pl.DataFrame([values], schema_overrides=IMPORTS.schema)
        for number, part in enumerate(refused.iter_slices(_REJECTED_ROWS) if refused.height else ()):
            self._append(REJECTED, part, f"{tally.digest}/{number}")
        if not self._append(IMPORTS, imported, tally.digest) and report.stored:
            self._replace(REJECTED, refused, tally.digest)
            self._replace(IMPORTS, imported, tally.digest)

    def _append(self, table: Table, rows: pl.DataFrame, name: str) -> bool:
        """Add what is known of a file, unless that was done when it was imported before."""
        is_new = self._lake.append(table.key, _shaped(table, rows), transaction=f"{table.key}:{name}", origin=self._origin)
        if is_new:
            self.touched.setdefault(table.key, set()).add(None)
        return is_new

    def _replace(self, table: Table, rows: pl.DataFrame, digest: str) -> None:
        """Put what is known of a file in the place of what was known of it before."""

        def change(_: date | None, present: pl.DataFrame) -> pl.DataFrame:
            return pl.concat([present.filter(pl.col("file_sha256") != digest), _shaped(table, rows)])

        if self._lake.update(table.key, [None], change, origin=self._origin)[None].is_new:
            self.touched.setdefault(table.key, set()).add(None)


def _shaped(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items())


def _refusal(path: Path) -> str | None:
    """Why a path is not opened; ``None`` where it is a file that may be read. Opening a named pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return "permission_denied"
    except (OSError, ValueError):
        return "not_found"
    if not os.access(path, os.R_OK):
        return "permission_denied"
    return None if stat.S_ISREG(mode) else "not_a_file"


def _is_user_id(text: str) -> bool:
    """Whether the vault takes it: short, no NUL, and valid text, which a folder's name need not be."""
    return _USER_ID.fullmatch(text) is not None and text == _printable(text)


def _listener_of(path: Path) -> str | None:
    """The id in the nearest folder ``listener=<id>`` above a file."""
    for folder in path.parents:
        if named := _LISTENER_FOLDER.fullmatch(folder.name):
            return named[1]
    return None


def _printable(name: str) -> str:
    """A file's name as valid text: its bytes need not be any."""
    return name.encode("utf-8", "backslashreplace").decode()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, its only name in logs, commits and cursors."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _member_digest(digest: str, number: int) -> str:
    """What names a member of an archive: the archive's digest and its place; its name may be a person's."""
    return hashlib.sha256(f"{digest}/{number}".encode()).hexdigest()
