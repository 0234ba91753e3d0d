"""Listens of ListenBrainz: submissions to its API, exports of a user, dumps in JSON lines and dumps in Parquet.

A submission of type ``single`` with several listens is read like an import: the server refuses it only to keep clients honest.
"""

import re
from collections.abc import Iterator
from datetime import datetime

import polars as pl

from spotify_ai_assets.listening.formats.base import Batch, Format
from spotify_ai_assets.listening.formats.columnar import read_parquet
from spotify_ai_assets.listening.formats.jsonrows import read_json
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.rows import check_listens, number, text
from spotify_ai_assets.listening.formats.sample import JsonLayout, Sample

_INFO = ("recording_mbid", "isrc", "spotify_id", "origin_url", "duration_ms", "duration", "duration_played")
_SHAPE: dict[str, pl.DataType] = {
    **{name: pl.String() for name in ("listened_at", "timestamp", "ts_since_epoch", "user_name", "user_id")},
    "track_metadata": pl.Struct(
        {
            **{name: pl.String() for name in ("artist_name", "track_name", "release_name")},
            "mbid_mapping": pl.Struct({"recording_mbid": pl.String()}),
            "additional_info": pl.Struct({name: pl.String() for name in _INFO}),
        }
    ),
}
_NAMES = tuple(("track_metadata", name) for name in ("artist_name", "track_name", "release_name"))
_SPARK = {"user_id", "listened_at", "artist_name", "recording_name", "release_name", "recording_mbid"}
_PLAYING_NOW = re.compile(r'"listen_type"\s*:\s*"playing_now"')
_SPOTIFY_LINK = r"^https?://open\.spotify\.com/"


def _is_submitted(record: dict) -> bool:
    return "track_metadata" in record or "listened_at" in record


def _is_listen(record: dict) -> bool:
    return "track_metadata" in record


def _is_dumped(record: dict) -> bool:
    return _is_listen(record) and bool({"user_name", "user_id", "timestamp", "ts_since_epoch"} & record.keys())


def _submission_layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(_is_submitted, (("payload",),), bare=False)


def _dump_layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(_is_dumped)


def _export_layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(_is_listen)


def _is_spark(sample: Sample) -> bool:
    return {"user_id", "listened_at", "artist_name", "recording_name"} <= sample.columns


def _read(member: Member, layout: JsonLayout, now: datetime) -> Iterator[Batch]:
    refusal = "playing_now" if _PLAYING_NOW.search(layout.context) else None
    for frame in read_json(member, layout, _SHAPE, _NAMES):
        frame = frame.with_columns(
            rule=pl.coalesce(
                "rule", pl.lit(refusal, dtype=pl.String), pl.when(pl.col("track_metadata").is_null()).then(pl.lit("missing_metadata"))
            )
        )
        frame = frame.unnest("track_metadata").with_columns(
            pl.col("mbid_mapping").struct.field("recording_mbid").alias("mapped_mbid"),
            *(pl.col("additional_info").struct.field(name) for name in _INFO),
        )
        link = pl.col("origin_url")
        yield check_listens(
            frame.select(
                "row",
                "rule",
                "artist_name",
                "track_name",
                "isrc",
                user=pl.coalesce(text("user_name"), text("user_id")),
                time=pl.coalesce(text("listened_at"), text("timestamp"), text("ts_since_epoch")),
                album_name="release_name",
                recording_mbid=pl.coalesce(text("mapped_mbid"), text("recording_mbid")),
                spotify_id=pl.coalesce(text("spotify_id"), pl.when(link.str.contains(_SPOTIFY_LINK)).then(link)),
                played_ms=number(pl.col("duration_played")) * 1000,
                duration_ms=pl.coalesce(number(pl.col("duration_ms")), number(pl.col("duration")) * 1000),
            ),
            now,
        )


def _read_submission(member: Member, now: datetime) -> Iterator[Batch]:
    return _read(member, Sample(member).expect(_submission_layout), now)


def _read_dump(member: Member, now: datetime) -> Iterator[Batch]:
    return _read(member, Sample(member).expect(_dump_layout), now)


def _read_export(member: Member, now: datetime) -> Iterator[Batch]:
    return _read(member, Sample(member).expect(_export_layout), now)


def _read_spark(member: Member, now: datetime) -> Iterator[Batch]:
    for frame in read_parquet(member, _SPARK):
        renamed = {"user_id": "user", "listened_at": "time", "recording_name": "track_name", "release_name": "album_name"}
        yield check_listens(frame.rename(renamed, strict=False), now)


FORMATS = (
    Format("listenbrainz_submission", "listens", lambda sample: _submission_layout(sample) is not None, _read_submission),
    Format("listenbrainz_dump", "listens", lambda sample: _dump_layout(sample) is not None, _read_dump),
    Format("listenbrainz_export", "listens", lambda sample: _export_layout(sample) is not None, _read_export),
    Format("listenbrainz_spark", "listens", _is_spark, _read_spark),
)
