"""Our own format: one listen a line in JSON, or a Parquet file with the same columns.

``user_id``, ``started_at``, ``track_name`` and ``artist_name`` are required; fields that are not named here are passed over.
``playlist_id`` is a Spotify URI or link of a playlist, or any other id without white space.
"""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from spotify_ai_assets.listening.formats.base import Batch, Format
from spotify_ai_assets.listening.formats.columnar import read_parquet
from spotify_ai_assets.listening.formats.jsonrows import read_json
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.rows import check_listens, text
from spotify_ai_assets.listening.formats.sample import JsonLayout, Sample

_REQUIRED = ("user_id", "started_at", "track_name", "artist_name")
_RENAMED = {
    "user_id": "user",
    "started_at": "time",
    "track_id": "spotify_id",
    "skipped": "was_skipped",
    "shuffle": "is_shuffle",
    "offline": "is_offline",
    "incognito": "is_incognito",
}
_SAME = (
    "played_ms",
    "duration_ms",
    "recording_mbid",
    "isrc",
    "track_name",
    "artist_name",
    "album_name",
    "kind",
    "country",
    "platform",
    "reason_start",
    "reason_end",
    "playlist_id",
)
_COLUMNS = {name: pl.String() for name in (*_RENAMED, *_SAME)}


def _layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(lambda record: "started_at" in record and ("track_name" in record or "artist_name" in record))


def _check(frame: pl.DataFrame, now: datetime) -> Batch:
    frame = frame.with_columns(pl.col("user_id").cast(pl.String))
    frame = frame.with_columns(rule=pl.coalesce("rule", pl.when(text("user_id").is_null()).then(pl.lit("missing_user"))))
    return check_listens(frame.rename(_RENAMED, strict=False), now)


def _read_jsonl(member: Member, now: datetime) -> Iterator[Batch]:
    layout = Sample(member).expect(_layout)
    for frame in read_json(member, layout, _COLUMNS, (("track_name",), ("artist_name",), ("album_name",))):
        yield _check(frame, now)


def _read_parquet(member: Member, now: datetime) -> Iterator[Batch]:
    for frame in read_parquet(member, _COLUMNS):
        nothing = [pl.lit(None, dtype=pl.String).alias(name) for name in _REQUIRED if name not in frame.columns]
        yield _check(frame.with_columns(nothing), now)


FORMATS = (
    Format("native_jsonl", "listens", lambda sample: _layout(sample) is not None, _read_jsonl),
    Format("native_parquet", "listens", lambda sample: set(_REQUIRED) <= sample.columns, _read_parquet),
)
