"""Who gets which file: the day's plays go their listeners' ways, some late, twice, cut off or spoiled, and all are counted.

What a format looks like belongs to ``files``, what goes wrong and when to ``planted``.
"""

import datetime as dt
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from spotify_ai_assets.demo import files, people
from spotify_ai_assets.demo.listening import LAST_DAY
from spotify_ai_assets.demo.music import Music
from spotify_ai_assets.demo.names import draw_from
from spotify_ai_assets.demo.people import People
from spotify_ai_assets.demo.planted import Plan

FORMATS = {  # by the names that intake gives them
    people.NATIVE: "native_jsonl",
    people.PARQUET: "native_parquet",
    people.EXTENDED: "spotify_extended",
    people.ENDSONG: "spotify_extended",
    people.LISTENBRAINZ: "listenbrainz_dump",
    people.LASTFM: "lastfm_1k",
    people.MALOJA: "maloja",
    people.AUDIOSCROBBLER: "audioscrobbler",
    people.CANARY: "spotify_extended",
}
LATE_SHARE, REPEATED_SHARE, KEPT_PART = 0.15, 0.02, 0.6
PHONES = (0, 1)
DUMP = f"listenbrainz-listens-dump-2026-{LAST_DAY + dt.timedelta(days=1):%Y%m%d}-000003-full.tar.zst"
README = """This folder is a landing zone. Files that are dropped here are imported.

This text is no data: an import must say so and leave everything else alone.
"""


@dataclass(slots=True)
class Delivery:
    """A world's files as they are written, and their counts.

    Attributes:
        folder: The world's folder.
        music: What is played.
        people: Who plays.
        plan: What is hidden.
    """

    folder: Path
    music: Music
    people: People
    plan: Plan
    _files: list[dict[str, Any]] = field(default_factory=list)
    _days: list[dict[str, Any]] = field(default_factory=list)
    _duplicates: list[dict[str, Any]] = field(default_factory=list)
    _late: list[dict[str, Any]] = field(default_factory=list)
    _malformed: list[dict[str, Any]] = field(default_factory=list)
    _not_data: list[str] = field(default_factory=list)
    _kept: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    _week: tuple[str, Any, int] | None = None

    def deliver(self, day: dt.date, plays: pl.DataFrame) -> None:
        """Write a day's native files and keep the rest for the exports."""
        route = self.people.route[plays["listener"].to_numpy()]
        late = self._deliver_native(day, plays.filter(pl.Series(route == people.NATIVE)))
        self._deliver_week(day, plays.filter(pl.Series(route == people.PARQUET)))
        for way in np.unique(route[route > people.PARQUET]).tolist():
            self._kept.setdefault(way, []).append(plays.filter(pl.Series(route == way)))
        self._days.append({"day": day.isoformat(), "plays": plays.height, "late": late})

    def close(self) -> None:
        """Write what covers all days: exports, the catalogue, and a text that is no data."""
        self._close_week()
        for way, kept in sorted(self._kept.items()):
            self._export(way, files.tell(pl.concat(kept), self.music, self.people))
        self._path("landing/catalog/tracks.jsonl.gz")
        files.write_catalogue(self.folder / "landing/catalog", self.music)
        self._path("landing/README.txt").write_text(README, encoding="utf-8", newline="\n")
        self._not_data.append("landing/README.txt")
        (self.folder / "late").mkdir(exist_ok=True)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _enter(self, name: str, form: str, rows: int) -> None:
        self._files.append({"file": name, "format": form, "rows": rows})

    def _write_native(self, name: str, plays: pl.DataFrame, spoiled: list[tuple[int, str, bytes]] | None = None) -> None:
        spoiled = spoiled or []
        files.write_native(self._path(name), plays, self.music, self.people, [(row, line) for row, _, line in spoiled])
        self._enter(name, "native_jsonl", plays.height + len(spoiled))
        self._malformed.extend({"file": name, "row": row, "rule": rule} for row, rule, _ in spoiled)

    def _deliver_native(self, day: dt.date, plays: pl.DataFrame) -> int:
        """The day's file and whatever happens to it. Returns how many of its plays arrive later."""
        faults, rng, late = self.plan.faults, draw_from(self.plan.seed, "delivery", day.toordinal()), 0
        name = f"landing/native/listens-{day}.jsonl.gz"
        if day in faults.late:
            offline = (rng.random(plays.height) < LATE_SHARE) & np.isin(plays["device"].to_numpy(), PHONES)
            late = int(offline.sum())
            later = f"late/native/listens-{day}-phones.jsonl.gz"
            if late:
                self._write_native(later, plays.filter(pl.Series(offline)))
                self._late.append({"file": later, "day": day.isoformat(), "rows": late})
            plays = plays.filter(pl.Series(~offline))
        if plays.is_empty():
            return late
        sent = plays
        if day == faults.delivered_twice:
            again = name.replace(".jsonl", "-again.jsonl")
            self._write_native(again, plays)
            sent = plays.head(-1)
            self._repeat(again, name, "delivered_twice", sent.height)
        if day == faults.truncated:
            part = name.replace(".jsonl", "-part.jsonl")
            files.write_native(self._path(part), sent, self.music, self.people)
            readable = files.cut_file(self._path(part), KEPT_PART)
            self._enter(part, "native_jsonl", readable)
            self._malformed.append({"file": part, "row": None, "rule": "truncated_gzip"})
            self._repeat(part, name, "truncated", readable)
        if day in faults.repeated:
            echo = sent[rng.choice(sent.height, max(1, int(sent.height * REPEATED_SHARE)), replace=False)]
            self._repeat(name, name, "exact_rows", echo.height)
            sent = pl.concat([sent, echo])
        self._write_native(name, sent, self._spoil(sent) if day == faults.malformed else None)
        return late

    def _repeat(self, name: str, of: str, kind: str, rows: int) -> None:
        self._duplicates.append({"file": name, "of": of, "kind": kind, "rows": rows})

    def _spoil(self, plays: pl.DataFrame) -> list[tuple[int, str, bytes]]:
        """Broken copies of good lines, the last of them the canary's, spread over a file."""
        [good] = files.native_lines(files.tell(plays.head(1), self.music, self.people))
        canary = self.plan.canary
        own = {} if canary is None else {"user_id": canary.user_id, "country": canary.country, "track_name": canary.track_name}
        lines = [
            ("malformed_json", good[: len(good) // 2]),
            ("malformed_json", good[:10] + bytes(40) + good[50:]),  # a hole, as a power cut leaves
            ("negative_duration", _change(good, played_ms=-4_000, duration_ms=-200_000)),
            ("time_before_2002", _change(good, started_at="1900-01-01T00:00:00.000Z")),
            ("time_in_future", _change(good, started_at="2100-01-01T00:00:00.000Z")),
            ("missing_artist", _change(good, artist_name=None)),
            ("negative_duration", _change(good, played_ms=-1, duration_ms=-1, **own)),
        ]
        step = max(1, min(plays.height, files.CHUNK) // (len(lines) + 1))
        return [(number * step + 1, rule, line) for number, (rule, line) in enumerate(lines, 1)]

    def _deliver_week(self, day: dt.date, plays: pl.DataFrame) -> None:
        """Append to the week's Parquet file, one row group per day and chunk."""
        import pyarrow.parquet as pq

        name = f"landing/native/listens-{day:%G-W%V}.parquet"
        if self._week is not None and self._week[0] != name:
            self._close_week()
        for chunk in plays.iter_slices(files.CHUNK):
            table = files.tell(chunk, self.music, self.people).to_arrow(compat_level=pl.CompatLevel.oldest())
            _, writer, rows = self._week or (name, pq.ParquetWriter(self._path(name), table.schema, compression="zstd"), 0)
            writer.write_table(table)
            self._week = (name, writer, rows + chunk.height)

    def _close_week(self) -> None:
        if self._week is not None:
            name, writer, rows = self._week
            writer.close()
            self._enter(name, "native_parquet", rows)
            self._week = None

    def _export(self, way: int, listens: pl.DataFrame) -> None:
        """Write everything of the listeners of one route."""
        own = f"landing/listener={listens['user_id'][0]}"
        match way:
            case people.EXTENDED:
                name = self._export_extended(own, listens)
            case people.ENDSONG:
                name = f"{own}/endsong_0.json"
                files.write_json(self._path(name), files.endsong_history(listens, "198.51.100.23", "unknown"))
            case people.LISTENBRAINZ:
                name = f"landing/listenbrainz/{DUMP}"
                files.write_listenbrainz(self._path(name), listens)
            case people.LASTFM:
                name = "landing/lastfm/userid-timestamp-artid-artname-traid-traname.tsv"
                files.write_lastfm(self._path(name), listens)
            case people.MALOJA:
                name = f"{own}/maloja_export.json"
                files.write_json(self._path(name), files.maloja_export(listens))
            case people.AUDIOSCROBBLER:
                name = f"{own}/rockbox.scrobbler.log"
                files.write_audioscrobbler(self._path(name), listens)
            case _:
                name = self._export_canary(own, listens)
        self._enter(name, FORMATS[way], listens.height)

    def _export_extended(self, own: str, listens: pl.DataFrame) -> str:
        name = f"{own}/my_spotify_data.zip"
        half = listens.height // 2
        parts = {
            f"Spotify Extended Streaming History/Streaming_History_Audio_2026_{number}.json": rows
            for number, rows in enumerate((listens.head(half), listens.slice(half)))
        }
        files.write_zip(self._path(name), {member: files.extended_history(rows, "198.51.100.42") for member, rows in parts.items()})
        if self.plan.faults.repeated:
            for kind, short in (("track", "music"), ("episode", "podcast")):
                if records := files.account_history(listens, kind):
                    account = f"{own}/StreamingHistory_{short}_0.json"
                    files.write_json(self._path(account), records)
                    self._enter(account, "spotify_account", len(records))
                    self._repeat(account, name, "account_data", len(records))
        return name

    def _export_canary(self, own: str, listens: pl.DataFrame) -> str:
        canary = self.plan.canary
        assert canary is not None, "only a canary takes this route"
        name = f"{own}/{canary.file_name}"
        files.write_json(self._path(name), files.endsong_history(listens, canary.ip_address, canary.user_agent, canary.device))
        account = f"{own}/my_spotify_data.zip"
        records = files.account_history(listens, "track")
        folder = "Spotify Account Data"
        members = {
            f"{folder}/Userdata.json": {
                "username": canary.user_id,
                "email": canary.email,
                "country": canary.country,
                "creationTime": "2019-04-01",
            },
            f"{folder}/Identity.json": {"displayName": canary.display_name, "firstName": None, "lastName": None, "tasteMaker": False},
            f"{folder}/StreamingHistory_music_0.json": records,
        }
        files.write_zip(self._path(account), members)
        self._enter(account, "spotify_account", len(records))
        self._repeat(account, name, "account_data", len(records))
        self._not_data.extend(f"{account}/{member}" for member in list(members)[:2])
        return name

    def count(self) -> dict[str, Any]:
        """The part of the truth that is known once everything is written."""
        rows: Counter[str] = Counter()
        for entry in self._files:
            rows[entry["format"]] += entry["rows"]
        return {
            "listens": {
                "rows": rows.total(),
                "plays": sum(day["plays"] for day in self._days),
                "duplicates": sum(entry["rows"] for entry in self._duplicates),
                "malformed": sum(entry["row"] is not None for entry in self._malformed),
                "per_day": self._days,
                "per_format": dict(sorted(rows.items())),
                "files": sorted(self._files, key=lambda entry: entry["file"]),
            },
            "duplicates": self._duplicates,
            "late_files": self._late,
            "malformed": self._malformed,
            "not_data": self._not_data,
        }


def _change(line: bytes, **values: Any) -> bytes:
    return json.dumps(json.loads(line) | values, ensure_ascii=False).encode()
