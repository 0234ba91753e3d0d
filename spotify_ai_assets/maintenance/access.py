"""Access (Art. 15 GDPR): everything that is held about a person, as one zip of JSON and CSV with a page that explains it.

What belongs to a person is found by the same contracts that an erasure goes by: the rows of every table with a pseudonym of theirs,
what the release that serves has learnt of them, what they played since, their files that wait in the spool, and what the ledger
and the audit trail tell of them by keyed hash. No row of anybody else is in it. In CSV no cell begins like a formula; JSON holds
each value exactly.
"""

import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.maintenance.access_page import Section, render_page
from spotify_ai_assets.recommendations.manifests import index_name
from spotify_ai_assets.recommendations.releases import open_releases
from spotify_ai_assets.reports.documents import write_csv
from spotify_ai_assets.resources.audit import AUDIT, ERASURE, open_audit, who_asks
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.durable_file import replace_file
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings

INDEX, PROFILE = "index.html", "profile.json"
_FOLDER = "listener={}"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds.

    Attributes:
        is_known: Whether anything is held about the person.
        tables: Rows by table, of the tables that have any.
        files: Files in the zip.
        bytes: Its size.
        seconds: How long it took.
    """

    is_known: bool
    tables: Mapping[str, int]
    files: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the release that serves has learnt of a listener.

    Attributes:
        release: The release.
        history: Weight of each track that was heard, the heaviest first.
        weightless: Tracks that were heard and count nothing.
        vector: Where the listener is among tracks, in the space of the model; empty of one who has no place.
    """

    release: str
    history: Mapping[str, float] = field(default_factory=dict)
    weightless: tuple[str, ...] = ()
    vector: tuple[float, ...] = ()


def export_person(listener: str, target: Path, *, settings: Settings, lake: Lake, vault: Vault, now: datetime) -> Exported:
    """Write everything that is held about a person to a zip; it appears whole, readable by its owner alone, or not at all.

    Args:
        listener: The real id. One of whom nothing is known gets a zip that says so.
        target: The file; one that is there is replaced.
        settings: Where everything lies.
        lake: All tables.
        vault: Knows the pseudonym.
        now: When; aware.

    Raises:
        TransientError: A part of what is held does not answer: half of the truth is no answer.
        ArtifactError: The release that serves is damaged.
        OSError: The zip cannot be written.
    """
    begin = time.monotonic()
    pseudonym = vault.find(listener)
    suppression = Suppression(settings)
    hashes = {suppression.hash("user", listener), *([suppression.hash("pseudonym", pseudonym)] if pseudonym else [])}
    rows: dict[str, int] = {}
    with replace_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        put = _Putting(archive, now)
        put.json(PROFILE, {"listener": listener, "pseudonym": pseudonym, "exported_at": now.isoformat()})
        for table, mine in rows_of(lake, pseudonym) if pseudonym else ():
            rows[table.key] = mine.height
            put.rows(f"tables/{table.key.replace('/', '.')}", mine)
        others = _others(listener, pseudonym, hashes, settings)
        for name, told in others.items():
            put.json(f"{name}.json", told)
        is_known = pseudonym is not None or any(others.values())
        sections = [Section(lake.tables[key], count, f"tables/{key.replace('/', '.')}") for key, count in rows.items()]
        put.text(INDEX, render_page(listener, now, sections, {f"{name}.json": len(told) for name, told in others.items()}))
        files = len(archive.namelist())
    done = Exported(is_known, rows, files, target.stat().st_size, round(time.monotonic() - begin, 3))
    figures = {"tables": len(rows), "rows": sum(rows.values()), "files": files, "bytes": done.bytes, "seconds": done.seconds}
    open_audit(settings).record("exported", subject=suppression.hash("user", listener), who=who_asks(), figures=figures)
    return done


def rows_of(lake: Lake, pseudonym: str) -> Iterator[tuple[Table, pl.DataFrame]]:
    """The rows of every table that are about a listener, of the tables that have some; sorted by key."""
    for table in lake.tables.values():
        columns = [column.name for column in table.columns if column.personal == "pseudonym"]
        if columns:
            mine = lake.scan(table.key).filter(pl.any_horizontal(pl.col(columns) == pseudonym)).collect(engine="streaming")
            if mine.height:
                order = [*([table.partitioned_by] if table.partitioned_by else []), *table.primary_key]
                yield table, mine.sort(list(dict.fromkeys(order)))


def find_learnt(settings: Settings, pseudonym: str) -> Learnt | None:
    """What the release that serves has learnt of a listener; ``None`` where none serves or it knows nothing of them.

    Raises:
        ArtifactError: A byte of it is not what it was.
    """
    releases = open_releases(settings)
    if (version := releases.current()) is None:
        return None
    from spotify_ai_assets.recommendations.indices.histories import ServedHistories
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

    name = index_name("listener")
    folder = releases.artifacts.fetch(name, releases.describe(version).pins[name])
    index, served = VectorIndex.from_files(folder), ServedHistories.from_files(folder)
    row = served.row(pseudonym)
    if row is None and pseudonym not in index:
        return None
    heard = (
        {} if row is None else {str(served.histories.items[at]): float(weight) for at, weight in zip(row.indices, row.data, strict=True)}
    )
    vector = index.vectors_of([pseudonym])[0].tolist() if pseudonym in index else ()
    history = dict(sorted(heard.items(), key=lambda each: (-each[1], each[0])))
    return Learnt(version, history, tuple(served.weightless_of(pseudonym)), tuple(vector))


def _others(listener: str, pseudonym: str | None, hashes: set[str], settings: Settings) -> dict[str, list[Any]]:
    """What is held outside of tables, by the name of its file."""
    learnt = find_learnt(settings, pseudonym) if pseudonym else None
    return {
        "learnt": [asdict(learnt)] if learnt else [],
        "played_lately": _played_lately(settings, pseudonym) if pseudonym else [],
        "waiting_files": _waiting(settings, listener),
        "records": [record for chain in (ERASURE, AUDIT) for record in _records(settings, chain, hashes)],
    }


def _played_lately(settings: Settings, pseudonym: str) -> list[dict[str, Any]]:
    """What the live store holds; a store on this machine that was never made is not made here."""
    from spotify_ai_assets.recommendations.realtime.live import open_live

    if not settings.stream_url and not (settings.data / "live" / "live.db").exists():
        return []
    with closing(open_live(settings)) as live:
        plays = live.plays(pseudonym)
        place = live.vector(pseudonym)
    found: list[dict[str, Any]] = [{"started_at": each.started_at, "track_id": each.track_id, "value": each.value} for each in plays]
    return [*found, *([{"release": place.release, "vector": place.vector.tolist()}] if place else [])]


def _waiting(settings: Settings, listener: str) -> list[dict[str, Any]]:
    """The person's files in the spool, which are in folders of their name until they are imported."""
    folders = [path for path in settings.landing.rglob("listener=*") if path.is_dir() and path.name == _FOLDER.format(listener)]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [{"file": path.relative_to(settings.landing).as_posix(), "bytes": path.stat().st_size} for path in files]


def _records(settings: Settings, chain: str, hashes: set[str]) -> list[dict[str, Any]]:
    """The records of a chain that name the person by a keyed hash; a chain that was never begun is not begun here."""
    file = settings.ledger_url.removeprefix("sqlite:///")
    if file != settings.ledger_url and not Path(file).exists():
        return []
    told = Chain(settings.ledger_url, chain).records()
    return [{"chain": chain, **record.as_json()} for record in told if any(each in json.dumps(dict(record.body)) for each in hashes)]


@dataclass(frozen=True, slots=True)
class _Putting:
    """Puts files into the zip, all of one time."""

    archive: zipfile.ZipFile
    now: datetime

    def text(self, name: str, text: str) -> None:
        self.archive.writestr(zipfile.ZipInfo(name, self.now.timetuple()[:6]), text, zipfile.ZIP_DEFLATED)

    def json(self, name: str, value: object) -> None:
        self.text(name, json.dumps(value, ensure_ascii=False, indent=1, default=_plain) + "\n")

    def rows(self, name: str, rows: pl.DataFrame) -> None:
        lines = (json.dumps(row, ensure_ascii=False, default=_plain) for row in rows.iter_rows(named=True))
        self.text(f"{name}.json", "[\n" + ",\n".join(lines) + "\n]\n")
        # A cell holds one value: what is a list or has parts becomes its JSON.
        nested = [column for column, dtype in rows.schema.items() if dtype.is_nested()]
        flat = [
            pl.Series(
                column,
                [None if value is None else json.dumps(value, ensure_ascii=False, default=_plain) for value in rows[column].to_list()],
                dtype=pl.String,
            )
            for column in nested
        ]
        self.text(f"{name}.csv", write_csv(rows.with_columns(flat)))


def _plain(value: object) -> object:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, pl.Series):
        return value.to_list()
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} is no plain JSON")
