"""Scrobbles of smaller services and players: Libre.fm, Maloja, Audioscrobbler logs, Pano Scrobbler and Spinitron."""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from spotify_ai_assets.listening.formats.base import Batch, Format
from spotify_ai_assets.listening.formats.delimited import read_table
from spotify_ai_assets.listening.formats.jsonrows import read_json
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.rows import check_listens, number, text
from spotify_ai_assets.listening.formats.sample import JsonLayout, Sample, TableLayout

_LOG_COLUMNS = ("artist_name", "album_name", "track_name", "number", "length", "rating", "time", "recording_mbid")
_LOG = TableLayout(0, "\t", {name: position for position, name in enumerate(_LOG_COLUMNS)}, len(_LOG_COLUMNS))
_LOG_HEADERS = ("#AUDIOSCROBBLER/", "#TZ/", "#CLIENT/", "#ARTIST\t")
_MALOJA: dict[str, pl.DataType] = {
    "time": pl.String(),
    "duration": pl.String(),
    "track": pl.Struct(
        {
            "artists": pl.List(pl.String()),
            "title": pl.String(),
            "album": pl.Struct({"albumtitle": pl.String()}),
            "length": pl.String(),
        }
    ),
}
_PANO = {name: pl.String() for name in ("timeMs", "artist", "track", "album", "durationMs", "event")}


def _librefm_layout(sample: Sample) -> TableLayout | None:
    return sample.header("artist", "track", "time")


def _read_librefm(member: Member, now: datetime) -> Iterator[Batch]:
    for frame in read_table(member, Sample(member).expect(_librefm_layout)):
        listens = frame.rename({"artist": "artist_name", "track": "track_name", "album": "album_name", "userid": "user"}, strict=False)
        yield check_listens(listens, now)


def _is_log(sample: Sample) -> bool:
    return bool(sample.lines) and sample.lines[0].startswith(_LOG_HEADERS[0])


def _read_log(member: Member, now: datetime) -> Iterator[Batch]:
    """Read an Audioscrobbler log.

    Players without a clock's time zone write local time; for want of the zone it is taken as UTC.
    """
    for frame in read_table(member, _LOG, is_quoted=False, comment=lambda line: line.startswith(_LOG_HEADERS)):
        yield check_listens(
            frame.with_columns(
                duration_ms=number(pl.col("length")) * 1000,
                was_skipped=pl.col("rating").str.to_uppercase() == "S",
            ),
            now,
        )


def _maloja_layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(lambda record: "time" in record and "track" in record, (("scrobbles",),), bare=False)


def _read_maloja(member: Member, now: datetime) -> Iterator[Batch]:
    for frame in read_json(member, Sample(member).expect(_maloja_layout), _MALOJA, (("track", "title"),)):
        track = pl.col("track").struct
        frame = frame.with_columns(
            artist_name=track.field("artists").list.first(),
            track_name=track.field("title"),
            album_name=track.field("album").struct.field("albumtitle"),
            duration_ms=number(track.field("length")) * 1000,
            played_ms=number(pl.col("duration")) * 1000,
        )
        yield check_listens(frame, now)


def _pano_layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(lambda record: "timeMs" in record and "track" in record)


def _read_pano(member: Member, now: datetime) -> Iterator[Batch]:
    for frame in read_json(member, Sample(member).expect(_pano_layout), _PANO, (("artist",), ("track",), ("album",))):
        is_other = text("event") != "scrobble"
        frame = frame.with_columns(rule=pl.coalesce("rule", pl.when(is_other).then(pl.lit("not_a_listen"))))
        renamed = {"timeMs": "time", "artist": "artist_name", "track": "track_name", "album": "album_name", "durationMs": "duration_ms"}
        yield check_listens(frame.rename(renamed), now)


def _spinitron_layout(sample: Sample) -> TableLayout | None:
    return sample.header("date-time", "artist", "song")


def _read_spinitron(member: Member, now: datetime) -> Iterator[Batch]:
    for frame in read_table(member, Sample(member).expect(_spinitron_layout)):
        renamed = {"date-time": "time", "artist": "artist_name", "song": "track_name", "release": "album_name"}
        yield check_listens(frame.rename(renamed, strict=False), now)


FORMATS = (
    Format("maloja", "listens", lambda sample: _maloja_layout(sample) is not None, _read_maloja),
    Format("pano_scrobbler", "listens", lambda sample: _pano_layout(sample) is not None, _read_pano),
    Format("audioscrobbler", "listens", _is_log, _read_log),
    Format("librefm_csv", "listens", lambda sample: _librefm_layout(sample) is not None, _read_librefm),
    Format("spinitron", "listens", lambda sample: _spinitron_layout(sample) is not None, _read_spinitron),
)
