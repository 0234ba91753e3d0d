"""Scrobbles of Last.fm: the research set of 1,000 listeners, pages of its API, and tables that export tools write."""

import json
import re
from collections.abc import Iterator
from datetime import datetime

import polars as pl

from spotify_ai_assets.listening.formats.base import Batch, Format
from spotify_ai_assets.listening.formats.delimited import read_table
from spotify_ai_assets.listening.formats.jsonrows import read_json
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.rows import ISO, check_listens, text
from spotify_ai_assets.listening.formats.sample import JsonLayout, Sample, TableLayout

_ENGLISH_TIMES = ("%d %b %Y %H:%M", "%d %b %Y, %H:%M")
_ENGLISH_TIME = re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4},? \d{2}:\d{2}")
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_USER = re.compile(r'"user"\s*:\s*("(?:[^"\\]|\\.)*")')

_LISTENERS_COLUMNS = ("userid", "timestamp", "artid", "artname", "traid", "traname")
_LISTENERS = TableLayout(0, "\t", {name: position for position, name in enumerate(_LISTENERS_COLUMNS)}, len(_LISTENERS_COLUMNS))
_BARE = TableLayout(0, ",", {"artist": 0, "album": 1, "track": 2, "date": 3}, 4)
_NAMED = pl.Struct({"#text": pl.String(), "name": pl.String()})
_SHAPE: dict[str, pl.DataType] = {
    "name": pl.String(),
    "mbid": pl.String(),
    "artist": _NAMED,
    "album": _NAMED,
    "date": pl.Struct({"uts": pl.String()}),
    "@attr": pl.Struct({"nowplaying": pl.String()}),
}


def _is_listeners(sample: Sample) -> bool:
    rows = [line.split("\t") for line in sample.lines[:20]]
    return any(len(row) == len(_LISTENERS_COLUMNS) and _ISO_TIME.fullmatch(row[1]) for row in rows)


def _read_listeners(member: Member, now: datetime) -> Iterator[Batch]:
    renamed = {"userid": "user", "timestamp": "time", "artname": "artist_name", "traname": "track_name", "traid": "recording_mbid"}
    for frame in read_table(member, _LISTENERS, is_quoted=False):
        yield check_listens(frame.rename(renamed), now)


def _table_layout(sample: Sample) -> TableLayout | None:
    if layout := sample.header("artist", "track", "uts"):
        return layout
    is_bare = any(len(row) == _BARE.width and _ENGLISH_TIME.fullmatch(row[-1].strip()) for row in sample.fields(","))
    return _BARE if is_bare else None


def _read_table(member: Member, now: datetime) -> Iterator[Batch]:
    layout = Sample(member).expect(_table_layout)
    is_exact = "uts" in layout.columns
    for frame in read_table(member, layout):
        listens = frame.rename({"uts" if is_exact else "date": "time", "artist": "artist_name", "track": "track_name"})
        listens = listens.rename({"album": "album_name", "track_mbid": "recording_mbid"}, strict=False)
        yield check_listens(listens, now, formats=ISO if is_exact else _ENGLISH_TIMES, is_minute_grain=not is_exact)


def _api_layout(sample: Sample) -> JsonLayout | None:
    def is_track(record: dict) -> bool:
        return isinstance(record.get("artist"), dict) and "name" in record and ("date" in record or "@attr" in record)

    return sample.json_layout(is_track, (("recenttracks", "track"),))


def _read_api(member: Member, now: datetime) -> Iterator[Batch]:
    layout = Sample(member).expect(_api_layout)
    user = _USER.search(layout.context)
    # The context has one character a byte of UTF-8.
    name = json.loads(user[1].encode("latin-1").decode("utf-8", "replace"), strict=False) if user else None
    for frame in read_json(member, layout, _SHAPE, (("name",), ("artist", "#text"), ("artist", "name"))):
        is_playing = pl.col("@attr").struct.field("nowplaying") == "true"
        frame = frame.with_columns(
            rule=pl.coalesce("rule", pl.when(is_playing).then(pl.lit("playing_now"))),
            _artist=pl.col("artist").struct.field("#text"),
            _artist_name=pl.col("artist").struct.field("name"),
            _album=pl.col("album").struct.field("#text"),
        )
        yield check_listens(
            frame.select(
                "row",
                "rule",
                user=pl.lit(name, dtype=pl.String),
                time=pl.col("date").struct.field("uts"),
                track_name="name",
                artist_name=pl.coalesce(text("_artist"), "_artist_name"),
                album_name="_album",
                recording_mbid="mbid",
            ),
            now,
        )


FORMATS = (
    Format("lastfm_api", "listens", lambda sample: _api_layout(sample) is not None, _read_api),
    Format("lastfm_1k", "listens", _is_listeners, _read_listeners),
    Format("lastfm_csv", "listens", lambda sample: _table_layout(sample) is not None, _read_table),
)
