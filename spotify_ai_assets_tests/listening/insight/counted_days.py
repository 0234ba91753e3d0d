"""Random plays and all that is counted from them, some of it suspicious."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

import polars as pl
from hypothesis import strategies as st
from play_frames import all_days, random_plays

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TRACKS
from spotify_ai_assets.listening.contracts import LISTENER_TRACK_DAYS, SESSIONS
from spotify_ai_assets.listening.days import count_artists, count_countries, count_listener_tracks, count_tracks
from spotify_ai_assets.listening.sessions import settle_sessions

KEY = ["day", *LISTENER_TRACK_DAYS.primary_key]
SUNDAY = date(2024, 3, 3)
"""The end of the first week of the random plays."""


@dataclass(frozen=True)
class Counted:
    """Plays, which of their listeners' tracks are suspicious, and the daily tables of both."""

    plays: pl.DataFrame
    suspicious: pl.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        flagged = self.listener_track_days.filter(pl.col("track_id") == "spotify:2", pl.col("listener_id").str.ends_with("1"))
        object.__setattr__(self, "suspicious", flagged)

    def _days(self, count, plays: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([count(plays, day) for day in all_days()])

    @cached_property
    def fake_plays(self) -> pl.DataFrame:
        return self.plays.join(self.suspicious, on=KEY, how="semi")

    @cached_property
    def listener_track_days(self) -> pl.DataFrame:
        return self._days(count_listener_tracks, self.plays)

    @cached_property
    def track_days(self) -> pl.DataFrame:
        return self._days(count_tracks, self.plays)

    @cached_property
    def artist_days(self) -> pl.DataFrame:
        return self._days(count_artists, self.plays)

    @cached_property
    def country_days(self) -> pl.DataFrame:
        return self._days(count_countries, self.plays)

    @cached_property
    def suspicious_artist_days(self) -> pl.DataFrame:
        return self._days(count_artists, self.fake_plays)

    @cached_property
    def suspicious_country_days(self) -> pl.DataFrame:
        return self._days(count_countries, self.fake_plays)

    @cached_property
    def sessions(self) -> pl.DataFrame:
        found = [SESSIONS.empty()]
        for day in all_days():
            found.append(settle_sessions(self.plays, found[-1], day))
        return pl.concat(found)


counted_days = st.builds(Counted, random_plays())

ARTISTS_KNOWN = pl.DataFrame(
    [{"artist_id": "artist:1", "name": "Singer", "genre": "jazz"}, {"artist_id": "artist:2", "name": "Other"}], schema=ARTISTS.schema
)
TRACKS_KNOWN = pl.DataFrame(
    [
        {"track_id": "spotify:1", "name": "Song", "artist_id": "artist:1", "artist_name": "Singer", "album_id": "album:1"},
        {"track_id": "spotify:2", "name": "Song", "artist_id": "artist:1", "artist_name": "Singer", "album_id": "album:2"},
        {"track_id": "spotify:3", "name": "Song", "artist_id": "artist:2", "artist_name": "Other", "album_id": None},
    ],
    schema=TRACKS.schema,
)
ALBUMS_KNOWN = pl.DataFrame(
    [
        {"album_id": "album:1", "name": "First", "artist_id": "artist:1", "released_on": date(2020, 2, 29)},
        {"album_id": "album:2", "name": "Second", "artist_id": "artist:1", "released_on": None},
    ],
    schema=ALBUMS.schema,
)


def week(last: date) -> list[date]:
    """The seven days up to a Sunday."""
    return [last - timedelta(days=offset) for offset in range(6, -1, -1)]
