"""What landed becomes rows: files in ``audio/files`` or ``audio/rejected``, the tables that came with them in theirs.

Files are committed some hundreds at a time, and each leaves the spool after its commit: a run that is killed loses nothing and
measures nothing twice, since the store and the cache of analyses have what was done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from spotify_ai_assets.audio.contracts import FILES, REJECTED
from spotify_ai_assets.audio.intake.tables import detect_table, read_table
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.contracts import SHARD, Partition, Table, shard_of
from spotify_ai_assets.errors import ContractError, UnreadableFileError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.validation import require

if TYPE_CHECKING:
    from spotify_ai_assets.audio.intake.taking import Taken

COMMIT_FILES = 256
_TAGS = ("title", "artist", "album", "isrc", "recording_mbid")


class Landing(Protocol):
    """Where audio comes from."""

    def files(self) -> list[Path]:
        """The files to take, in order."""
        ...

    def done(self, taken: "Taken") -> None:
        """Told after the row of a file was committed."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one file.

    Attributes:
        file: Its name, printable; kept nowhere but in its row.
        format: Container, or the table that it fills; ``None`` where it was rejected.
        is_new: Whether it was not known before.
        is_measured: Whether it was measured now.
        rule: By which it was rejected.
        reason: The same in words.
    """

    file: str
    format: str | None
    is_new: bool = False
    is_measured: bool = False
    rule: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, str | bool | None]:
        """All fields by name."""
        return asdict(self)


@dataclass(slots=True)
class Reported:
    """A landing that remembers what became of its files, for whoever named them.

    Attributes:
        landing: Where the files come from.
        reports: What became of them.
    """

    landing: Landing
    reports: list[Report] = field(default_factory=list)

    def files(self) -> list[Path]:
        """The files of the landing."""
        return self.landing.files()

    def done(self, taken: "Taken") -> None:
        """Pass it on."""
        self.landing.done(taken)


@dataclass(slots=True)
class Received:
    """What a run received.

    Attributes:
        touched: The partitions that changed, by table.
        reports: What became of each file.
    """

    touched: dict[str, set[Partition]] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many files came, were new, measured, known already, tables, and rejected."""
        tables = sum("/" in (each.format or "") for each in self.reports)
        rejected = sum(each.rule is not None for each in self.reports)
        new = sum(each.is_new and each.rule is None and "/" not in (each.format or "") for each in self.reports)
        return {
            "files": len(self.reports),
            "new": new,
            "known": len(self.reports) - tables - rejected - new,
            "measured": sum(each.is_measured for each in self.reports),
            "tables": tables,
            "rejected": rejected,
        }


def receive(landing: Landing, studio: Studio, lake: Lake, today: date, origin: Origin) -> Received:
    """Take everything that landed.

    Args:
        landing: Where it lies.
        studio: The store and the pool.
        lake: Where rows go.
        today: The UTC day, noted of files that are new.
        origin: Which run does it.

    Raises:
        CommitConflictError: Other writers won every race for a commit.
        PlatformError: The pool does not start.
    """
    from spotify_ai_assets.audio.intake.formats import detect_audio

    received = Received()
    studio.store.sweep()  # the step's pool lets nobody else copy files meanwhile
    paths = landing.files()
    tables = [(path, table) for path in paths if detect_audio(path) is None and (table := detect_table(path))]
    for path, table in tables:
        _receive_table(path, table, landing, studio, lake, today, origin, received)
    _receive_audio(sorted(set(paths) - {path for path, _ in tables}), landing, studio, lake, today, origin, received)
    if isinstance(landing, Reported):
        landing.reports.extend(received.reports)
    return received


def _receive_audio(
    paths: Sequence[Path], landing: Landing, studio: Studio, lake: Lake, today: date, origin: Origin, received: Received
) -> None:
    from spotify_ai_assets.audio.intake.taking import take_files

    def counted() -> "Iterator[Taken]":
        for done, taken in enumerate(take_files(paths, studio.store, studio.pool), 1):
            studio.tell(_("files of audio"), done, len(paths))
            yield taken

    for batch in _batches(counted()):
        new = _commit(batch, lake, today, origin, received)
        for taken in batch:
            if taken.file_id and taken.facts:  # what was refused once, and is taken now, is refused no longer
                studio.store.rejected(taken.file_id).unlink(missing_ok=True)
            landing.done(taken)
            container = (taken.facts or {}).get("container")
            received.reports.append(Report(taken.name, container, taken.file_id in new, taken.is_measured, taken.rule, taken.reason))
            new.discard(taken.file_id or "")  # the same bytes once more are known


def _batches(taken: "Iterator[Taken]") -> "Iterator[list[Taken]]":
    while batch := list(islice(taken, COMMIT_FILES)):
        yield batch


def _commit(batch: "Sequence[Taken]", lake: Lake, today: date, origin: Origin, received: Received) -> set[str]:
    """Commit a batch's rows: files first, then rejections.

    Returns:
        The files that were not known before.
    """
    good = [_file_row(taken, today) for taken in batch if taken.file_id and taken.facts]
    bad = [
        {"file_id": taken.file_id, "bytes": taken.bytes or 0, "rule": taken.rule, "reason": taken.reason, "landed_on": today}
        for taken in batch
        if taken.file_id and taken.rule
    ]
    incoming = pl.DataFrame(good, schema=FILES.schema).unique("file_id", keep="first", maintain_order=True)
    require(FILES, incoming)
    known: set[str] = set()

    def add(shard: Partition, present: pl.DataFrame) -> pl.DataFrame:
        known.update(present["file_id"])
        mine = incoming.filter(pl.col(SHARD) == shard)
        # A file is its bytes: what is known of it stays, but for the name and day, which are those of its first landing.
        seen = present.select("file_id", old_name="name", old_day="landed_on")
        merged = mine.join(seen, on="file_id", how="left").with_columns(
            name=pl.coalesce("old_name", "name"), landed_on=pl.coalesce("old_day", "landed_on")
        )
        return pl.concat([present.join(mine, on="file_id", how="anti"), merged.select(*FILES.schema)])

    if incoming.height:
        written = lake.update(FILES.key, sorted(incoming[SHARD].unique()), add, origin=origin)
        received.touched.setdefault(FILES.key, set()).update(shard for shard, each in written.items() if each.is_new)
        _readmit(incoming, lake, origin, received)
    if bad:
        known |= set(lake.scan(REJECTED.key).select("file_id").collect()["file_id"])
        _merge(REJECTED, pl.DataFrame(bad, schema=REJECTED.schema), lake, origin, received)
    return ({*incoming["file_id"]} | {each["file_id"] for each in bad}) - known


def _readmit(files: pl.DataFrame, lake: Lake, origin: Origin, received: Received) -> None:
    """Take out of the rejected what was taken after all, by another extractor or on a less busy machine."""
    rejected = lake.scan(REJECTED.key).select("file_id").collect()
    if rejected.join(files, on="file_id", how="semi").height:
        lake.update(REJECTED.key, [None], lambda whole, present: present.join(files, on="file_id", how="anti"), origin=origin)
        received.touched.setdefault(REJECTED.key, set()).add(None)


def _file_row(taken: "Taken", today: date) -> dict[str, object]:
    facts = taken.facts or {}
    columns = {name: facts[name] for name in FILES.schema if name in facts}
    tags = {name: taken.tags.get(name) or None for name in _TAGS}
    named = {"file_id": taken.file_id, "bytes": taken.bytes, "name": taken.name, "landed_on": today}
    return {SHARD: shard_of(taken.file_id or ""), **columns, **tags, **named}


def _receive_table(
    path: Path, table: Table, landing: Landing, studio: Studio, lake: Lake, today: date, origin: Origin, received: Received
) -> None:
    from spotify_ai_assets.audio.intake.store import UnsettledFileError
    from spotify_ai_assets.audio.intake.tags import escape_name
    from spotify_ai_assets.audio.intake.taking import Taken

    name = escape_name(path)
    try:
        kept = studio.store.keep(path)
    except (UnreadableFileError, UnsettledFileError) as error:  # nothing was kept, and it stays where it is
        rule = error.rule if isinstance(error, UnreadableFileError) else "unsettled"
        received.reports.append(Report(name, None, rule=rule, reason=str(error)))
        return
    studio.store.reject(kept.file_id)  # a table is no audio: it lies aside until its rows are committed, and for ever if they cannot be
    taken = Taken(path, name, kept.file_id, kept.bytes)
    try:
        rows = read_table(studio.store.rejected(kept.file_id), table)
        require(table, rows)
    except (UnreadableFileError, ContractError) as error:
        rule, row = (error.rule, error.row) if isinstance(error, UnreadableFileError) else ("contract", None)
        reason = f"{error} (row {row})" if row else str(error)
        bad = {"file_id": kept.file_id, "bytes": kept.bytes, "rule": rule, "reason": reason, "landed_on": today}
        is_new = _merge(REJECTED, pl.DataFrame([bad], schema=REJECTED.schema), lake, origin, received)
        landing.done(taken)
        received.reports.append(Report(name, None, is_new, rule=rule, reason=reason))
        return
    changed = _merge(table, rows, lake, origin, received)
    _readmit(pl.DataFrame({"file_id": [kept.file_id]}), lake, origin, received)
    studio.store.rejected(kept.file_id).unlink()
    landing.done(taken)
    received.reports.append(Report(name, table.key, is_new=changed))


def _merge(table: Table, rows: pl.DataFrame, lake: Lake, origin: Origin, received: Received) -> bool:
    """Merge rows into a table that is a whole, the newer of one key in place of the older; a first refusal stays.

    Returns:
        Whether anything changed.
    """
    incoming = rows.unique(table.primary_key, keep="last", maintain_order=True)

    def change(whole: Partition, present: pl.DataFrame) -> pl.DataFrame:
        kept, replaced = (present, incoming) if table is REJECTED else (incoming, present)
        return pl.concat([kept, replaced.join(kept, on=table.primary_key, how="anti")])

    written = lake.update(table.key, [None], change, origin=origin)[None]
    if written.is_new:
        received.touched.setdefault(table.key, set()).add(None)
    return written.is_new
