"""What landed becomes rows: files in ``audio/files`` or ``audio/rejected``, the tables that came with them in theirs.

Files are committed some hundreds at a time, and each leaves the spool after its commit: a run that is killed loses nothing and
measures nothing twice, since the store and the cache of analyses have what was done.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from spotify_ai_assets.audio.contracts import FILES, REJECTED
from spotify_ai_assets.audio.intake.tables import detect_table, read_table
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.contracts import SHARD, Partition, Table, shard_of
from spotify_ai_assets.errors import ContractError, UnreadableFileError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.lake import Lake, Origin, Written
from spotify_ai_assets.validation import require

if TYPE_CHECKING:
    from spotify_ai_assets.audio.intake.taking import Taken

COMMIT_FILES = 256
_TAGS = ("title", "artist", "album", "isrc", "recording_mbid")


class Landing(Protocol):
    """Where audio comes from.

    Attributes:
        reports: What became of its files, for whoever named them.
    """

    reports: "list[Report]"

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
class Reception:
    """Takes what landed.

    Attributes:
        landing: Where it lies.
        studio: The store and the pool.
        lake: Where rows go.
        today: The UTC day, noted of files that are new.
        origin: Which run does it.
        touched: The partitions that changed, by table.
    """

    landing: Landing
    studio: Studio
    lake: Lake
    today: date
    origin: Origin
    touched: dict[str, set[Partition]] = field(default_factory=dict)

    def receive(self) -> None:
        """Take everything that landed.

        Raises:
            CommitConflictError: Other writers won every race for a commit.
            PlatformError: The pool does not start.
        """
        from spotify_ai_assets.audio.intake.formats import detect_audio

        self.studio.store.sweep()  # the step's pool lets nobody else copy files meanwhile
        audio = []
        for path in self.landing.files():
            if detect_audio(path) is None and (table := detect_table(path)):
                self._take_table(path, table)
            else:
                audio.append(path)
        self._take_audio(audio)

    def counts(self) -> dict[str, int]:
        """How many files came, were new, measured, known already, tables, and rejected."""
        taken = [report for report in self.landing.reports if report.rule is None]
        files = [report for report in taken if report.format not in self.lake.tables]
        return {
            "files": len(self.landing.reports),
            "new": sum(report.is_new for report in files),
            "known": sum(not report.is_new for report in files),
            "measured": sum(report.is_measured for report in self.landing.reports),
            "tables": len(taken) - len(files),
            "rejected": len(self.landing.reports) - len(taken),
        }

    # Audio ---------------------------------------------------------------------------------------------------------------

    def _take_audio(self, paths: Sequence[Path]) -> None:
        from spotify_ai_assets.audio.intake.taking import take_files

        def counted() -> "Iterator[Taken]":
            for done, taken in enumerate(take_files(paths, self.studio.store, self.studio.pool), 1):
                self.studio.tell(_("files of audio"), done, len(paths))
                yield taken

        files = counted()
        while batch := list(islice(files, COMMIT_FILES)):
            new = self._commit(batch)
            for taken in batch:
                if taken.file_id and taken.facts:  # what was refused once, and is taken now, is refused no longer
                    self.studio.store.rejected(taken.file_id).unlink(missing_ok=True)
                self.landing.done(taken)
                container = (taken.facts or {}).get("container")
                report = Report(taken.name, container, taken.file_id in new, taken.is_measured, taken.rule, taken.reason)
                self.landing.reports.append(report)
                new.discard(taken.file_id or "")  # the same bytes once more are known

    def _commit(self, batch: "Sequence[Taken]") -> set[str]:
        """Commit a batch's rows: files first, then rejections.

        Returns:
            The files that were not known before.
        """
        good = [_file_row(taken, self.today) for taken in batch if taken.file_id and taken.facts]
        bad = [self._rejection(taken, taken.rule, taken.reason) for taken in batch if taken.file_id and taken.rule]
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
            written = self.lake.update(FILES.key, sorted(incoming[SHARD].unique()), add, origin=self.origin)
            self.touched.setdefault(FILES.key, set()).update(shard for shard, each in written.items() if each.is_new)
            self._readmit(good)
        if bad:
            known |= set(self.lake.scan(REJECTED.key).select("file_id").collect()["file_id"])
            self._merge(REJECTED, pl.DataFrame(bad, schema=REJECTED.schema))
        return {row["file_id"] for row in (*good, *bad)} - known

    # Tables --------------------------------------------------------------------------------------------------------------

    def _take_table(self, path: Path, table: Table) -> None:
        from spotify_ai_assets.audio.intake.store import UnsettledFileError
        from spotify_ai_assets.audio.intake.tags import escape_name
        from spotify_ai_assets.audio.intake.taking import Taken

        store, name = self.studio.store, escape_name(path)
        try:
            kept = store.keep(path)
        except (UnreadableFileError, UnsettledFileError) as error:  # nothing was kept, and it stays where it is
            rule = error.rule if isinstance(error, UnreadableFileError) else "unsettled"
            self.landing.reports.append(Report(name, None, rule=rule, reason=str(error)))
            return
        store.reject(kept.file_id)  # a table is no audio: it lies aside until its rows are committed, and for ever if they cannot be
        taken = Taken(path, name, kept.file_id, kept.bytes)
        try:
            rows = read_table(store.rejected(kept.file_id), table)
            require(table, rows)
        except (UnreadableFileError, ContractError) as error:
            rule, row = (error.rule, error.row) if isinstance(error, UnreadableFileError) else ("contract", None)
            reason = f"{error} (row {row})" if row else str(error)
            rejection = pl.DataFrame([self._rejection(taken, rule, reason)], schema=REJECTED.schema)
            report = Report(name, None, self._merge(REJECTED, rejection), rule=rule, reason=reason)
        else:
            report = Report(name, table.key, self._merge(table, rows))
            self._readmit([{"file_id": kept.file_id}])
            store.rejected(kept.file_id).unlink()
        self.landing.done(taken)
        self.landing.reports.append(report)

    # Both ----------------------------------------------------------------------------------------------------------------

    def _rejection(self, taken: "Taken", rule: str | None, reason: str | None) -> dict[str, Any]:
        return {"file_id": taken.file_id, "bytes": taken.bytes or 0, "rule": rule, "reason": reason, "landed_on": self.today}

    def _readmit(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take out of the rejected what was taken after all, by another extractor or on a less busy machine."""
        ids = [row["file_id"] for row in rows]
        written = self.lake.update(
            REJECTED.key, [None], lambda whole, present: present.filter(~pl.col("file_id").is_in(ids)), origin=self.origin
        )
        self._note(REJECTED, written[None])

    def _merge(self, table: Table, rows: pl.DataFrame) -> bool:
        """Merge rows into a table that is a whole, the newer of one key in place of the older; a first refusal stays.

        Returns:
            Whether anything changed.
        """
        incoming = rows.unique(table.primary_key, keep="last", maintain_order=True)

        def change(whole: Partition, present: pl.DataFrame) -> pl.DataFrame:
            kept, replaced = (present, incoming) if table is REJECTED else (incoming, present)
            return pl.concat([kept, replaced.join(kept, on=table.primary_key, how="anti")])

        return self._note(table, self.lake.update(table.key, [None], change, origin=self.origin)[None])

    def _note(self, table: Table, written: Written) -> bool:
        if written.is_new:
            self.touched.setdefault(table.key, set()).add(None)
        return written.is_new


def _file_row(taken: "Taken", today: date) -> dict[str, Any]:
    facts = taken.facts or {}
    columns = {name: facts[name] for name in FILES.schema if name in facts}
    tags = {name: taken.tags.get(name) or None for name in _TAGS}
    named = {"file_id": taken.file_id, "bytes": taken.bytes, "name": taken.name, "landed_on": today}
    return {SHARD: shard_of(taken.file_id or ""), **columns, **tags, **named}
