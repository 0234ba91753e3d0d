"""Catalogue files: tracks, albums and artists as the Spotify Web API gives them, full or simplified, whatever it left out.

Lines or an array of objects, or an answer of the API that holds them: ``{"tracks": [...]}``, ``{"items": [...]}`` and their like.
"""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from spotify_ai_assets.listening.formats.base import CATALOG, Batch, Format, split_batch
from spotify_ai_assets.listening.formats.jsonrows import read_json
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.rows import MAX_NAME, flag, number, text
from spotify_ai_assets.listening.formats.sample import JsonLayout, Sample

_TYPES = ("track", "album", "artist")
_ENVELOPES = (
    *((name,) for name in ("tracks", "albums", "artists", "items")),
    *((name, "items") for name in ("tracks", "albums", "artists")),
)


def _texts(*names: str) -> dict[str, pl.DataType]:
    return {name: pl.String() for name in names}


_ARTISTS = pl.List(pl.Struct(_texts("name", "id", "uri")))
_SHAPE: dict[str, pl.DataType] = {
    **_texts("type", "id", "uri", "name", "duration_ms", "explicit", "release_date", "total_tracks"),
    "external_ids": pl.Struct(_texts("isrc")),
    "artists": _ARTISTS,
    "genres": pl.List(pl.String()),
    "album": pl.Struct({**_texts("id", "uri", "name", "release_date", "total_tracks"), "artists": _ARTISTS}),
}
_ISRC = r"^[A-Z]{2}[A-Z0-9]{3}[0-9]{7}$"


def _layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(lambda record: record.get("type") in _TYPES and bool({"name", "id", "uri"} & record.keys()), _ENVELOPES)


def _read(member: Member, now: datetime) -> Iterator[Batch]:
    for frame in read_json(member, Sample(member).expect(_layout), _SHAPE, (("name",), ("album", "name"))):
        yield split_batch(_checked(_flattened(frame)), CATALOG)


def _flattened(frame: pl.DataFrame) -> pl.DataFrame:
    album = pl.col("album").struct
    first, album_first = pl.col("artists").list.first().struct, album.field("artists").list.first().struct
    return frame.select(
        "row",
        "rule",
        "type",
        "name",
        own=pl.coalesce("uri", "id"),
        first=first.field("name"),
        first_id=pl.coalesce(first.field("uri"), first.field("id")),
        album_name=album.field("name"),
        album_id=pl.coalesce(album.field("uri"), album.field("id")),
        album_first=album_first.field("name"),
        released=pl.coalesce(album.field("release_date"), "release_date"),
        total=pl.coalesce(album.field("total_tracks"), "total_tracks"),
        duration=pl.col("duration_ms"),
        explicit=pl.col("explicit"),
        isrc=pl.col("external_ids").struct.field("isrc"),
        genre=pl.col("genres").list.first(),
    ).with_columns(
        text(name) for name in ("type", "name", "own", "first", "first_id", "album_name", "album_id", "album_first", "released", "genre")
    )


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    is_artist, is_album = pl.col("type") == "artist", pl.col("type") == "album"

    def instead(own: str, for_album: str) -> pl.Expr:
        return pl.when(is_album).then(for_album).when(~is_artist).then(own)

    isrc = pl.col("isrc").str.replace_all("-", "", literal=True).str.strip_chars().str.to_uppercase()
    duration, total = number(pl.col("duration")), number(pl.col("total"))
    names = ("name", "first", "album_name", "album_first", "own", "album_id", "genre")
    rules = [
        ("unknown_type", ~pl.col("type").is_in(_TYPES).fill_null(False)),
        ("missing_name", pl.col("name").is_null()),
        ("missing_artist", ~is_artist & pl.col("first").is_null()),
        ("missing_id", is_album & pl.col("own").is_null()),
        ("name_too_long", pl.any_horizontal(pl.col(name).str.len_chars() > MAX_NAME for name in names)),
        ("nan_duration", duration.is_nan()),
        ("bad_duration", duration.is_infinite() | (duration > 1e12)),
        ("negative_duration", duration < 0),
        ("bad_number", ~total.is_between(0, 1e9)),
        ("wrong_type", text("explicit").is_not_null() & flag("explicit").is_null()),
    ]
    # The date is known to the day, the month or the year: its first day stands for a month or a year.
    released = pl.coalesce(
        pl.col("released").str.to_date("%Y-%m-%d", strict=False),
        (pl.col("released") + "-01").str.to_date("%Y-%m-%d", strict=False),
        (pl.col("released") + "-01-01").str.to_date("%Y-%m-%d", strict=False),
    )
    return frame.select(
        "row",
        "type",
        "name",
        "genre",
        rule=pl.coalesce("rule", *(pl.when(broken).then(pl.lit(rule)) for rule, broken in rules)),
        spotify_id="own",
        artist_name=pl.when(is_artist).then("name").otherwise("first"),
        artist_spotify_id=pl.when(is_artist).then("own").otherwise("first_id"),
        album_spotify_id=instead("album_id", "own"),
        album_name=instead("album_name", "name"),
        album_artist_name=instead("album_first", "first"),
        released_on=pl.when(released.dt.year() > 0).then(released),
        total_tracks=total.cast(pl.Int64, strict=False),
        duration_ms=duration.cast(pl.Int64, strict=False),
        is_explicit=flag("explicit"),
        isrc=pl.when(isrc.str.contains(_ISRC)).then(isrc),
    )


FORMATS = (Format("catalog", "catalog", lambda sample: _layout(sample) is not None, _read),)
