"""Listening histories that Spotify gives its users: the extended streaming history and the account data of the last year.

IP addresses, user agents, places and the device's description are read only as far as the kind of device; none leaves this module.
"""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from spotify_ai_assets.listening.formats.base import Batch, Format
from spotify_ai_assets.listening.formats.jsonrows import read_json
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.rows import check_listens, text
from spotify_ai_assets.listening.formats.sample import JsonLayout, Sample

_TRACK, _ARTIST, _ALBUM = (f"master_metadata_{field}" for field in ("track_name", "album_artist_name", "album_album_name"))
_EXTENDED = {
    name: pl.String()
    for name in (
        *("ts", "username", "platform", "ms_played", "conn_country", _TRACK, _ARTIST, _ALBUM, "spotify_track_uri"),
        *("episode_name", "episode_show_name", "spotify_episode_uri"),
        *("audiobook_title", "audiobook_uri", "audiobook_chapter_uri", "audiobook_chapter_title"),
        *("reason_start", "reason_end", "shuffle", "skipped", "offline", "incognito_mode"),
    )
}
_ACCOUNT = {name: pl.String() for name in ("endTime", "artistName", "trackName", "podcastName", "episodeName", "msPlayed")}


def _extended_layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(lambda record: "ts" in record and bool({"ms_played", _TRACK, "spotify_track_uri"} & record.keys()))


def _account_layout(sample: Sample) -> JsonLayout | None:
    return sample.json_layout(lambda record: "endTime" in record and "msPlayed" in record)


def _read_extended(member: Member, now: datetime) -> Iterator[Batch]:
    layout = Sample(member).expect(_extended_layout)
    names = (_TRACK, _ARTIST, _ALBUM, "episode_name", "episode_show_name", "audiobook_title", "audiobook_chapter_title")
    for frame in read_json(member, layout, _EXTENDED, tuple((name,) for name in names)):
        # The kind follows from which names there are: those of a podcast or a book have no track, and the reverse.
        kind = (
            pl.when(pl.any_horizontal(text(_TRACK).is_not_null(), text(_ARTIST).is_not_null()))
            .then(pl.lit("track"))
            .when(pl.any_horizontal(text("episode_name").is_not_null(), text("episode_show_name").is_not_null()))
            .then(pl.lit("episode"))
            .when(pl.any_horizontal(text("audiobook_title").is_not_null(), text("audiobook_chapter_title").is_not_null()))
            .then(pl.lit("audiobook"))
            .otherwise(pl.lit("track"))
        )
        is_episode, is_book = pl.col("kind") == "episode", pl.col("kind") == "audiobook"
        listens = frame.with_columns(kind=kind).select(
            "row",
            "rule",
            "platform",
            "kind",
            "reason_start",
            "reason_end",
            user="username",
            time="ts",
            played_ms="ms_played",
            country="conn_country",
            # The export names no author of a book: its title stands for the artist.
            track_name=pl.when(is_episode)
            .then("episode_name")
            .when(is_book)
            .then(pl.coalesce(text("audiobook_chapter_title"), "audiobook_title"))
            .otherwise(_TRACK),
            artist_name=pl.when(is_episode).then("episode_show_name").when(is_book).then("audiobook_title").otherwise(_ARTIST),
            album_name=pl.when(pl.col("kind") == "track").then(_ALBUM),
            spotify_id=pl.when(is_episode)
            .then("spotify_episode_uri")
            .when(is_book)
            .then(pl.coalesce(text("audiobook_chapter_uri"), "audiobook_uri"))
            .otherwise("spotify_track_uri"),
            was_skipped="skipped",
            is_shuffle="shuffle",
            is_offline="offline",
            is_incognito="incognito_mode",
        )
        yield check_listens(listens, now, is_end=True)


def _read_account(member: Member, now: datetime) -> Iterator[Batch]:
    layout = Sample(member).expect(_account_layout)
    names = ("artistName", "trackName", "podcastName", "episodeName")
    for frame in read_json(member, layout, _ACCOUNT, tuple((name,) for name in names)):
        is_episode = pl.any_horizontal(text("podcastName").is_not_null(), text("episodeName").is_not_null())
        listens = frame.select(
            "row",
            "rule",
            time="endTime",
            played_ms="msPlayed",
            kind=pl.when(is_episode).then(pl.lit("episode")).otherwise(pl.lit("track")),
            track_name=pl.when(is_episode).then("episodeName").otherwise("trackName"),
            artist_name=pl.when(is_episode).then("podcastName").otherwise("artistName"),
        )
        yield check_listens(listens, now, formats=("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"), is_end=True, is_minute_grain=True)


FORMATS = (
    Format("spotify_extended", "listens", lambda sample: _extended_layout(sample) is not None, _read_extended),
    Format("spotify_account", "listens", lambda sample: _account_layout(sample) is not None, _read_account),
)
