"""The tables of listening: schema, keys, personal-data classes and inputs."""

import polars as pl

from spotify_ai_assets.contracts import DAY, TIME, Column, Reads, Table, by_key

_OWNER = "team:listening"
STREAM_MS = 30_000
"""A play of at least this long is a stream."""

PLATFORMS = ("android", "ios", "windows", "macos", "linux", "web", "cast", "console", "car", "speaker", "tv", "other", "unknown")
KINDS = ("track", "episode", "audiobook")
UNKNOWN_COUNTRY = "ZZ"
GLOBAL = "global"
_COUNTRY = r"[A-Z]{2}"
_PSEUDONYM = r"[0-9a-f]{32}"
_PLAYLIST = r"[0-9A-Za-z_.:-]{1,200}"

_day = Column(DAY, pl.Date, "UTC day.")
_listener = Column("listener_id", pl.String, "Pseudonym of the listener.", personal="pseudonym", pattern=_PSEUDONYM)
_track = Column("track_id", pl.String, "The track.")
_artist = Column("artist_id", pl.String, "The track's first artist.")
_track_name = Column("track_name", pl.String, "Title of the track, episode or book.")
_artist_name = Column("artist_name", pl.String, "Name of the artist, show or author.")
_plays = Column("plays", pl.Int64, "Number of plays.", minimum=0)
_streams = Column("streams", pl.Int64, "Plays of 30 s or more.", minimum=0)
_skips = Column("skips", pl.Int64, "Plays that the listener skipped.", minimum=0)
_completions = Column("completions", pl.Int64, "Plays that reached the end of the track.", minimum=0)
_played = Column("played_ms", pl.Int64, "Time played, in milliseconds.", minimum=0)
_listeners = Column("listeners", pl.Int64, "Distinct listeners.", minimum=0)
_country = Column("country", pl.String, "Country of the plays, ISO 3166-1; ZZ where unknown.", pattern=_COUNTRY)
_playlist = Column(
    "playlist_id",
    pl.String,
    "Playlist that it was played from, a Spotify URI or another id, where the source tells.",
    nullable=True,
    personal="derived",
    pattern=_PLAYLIST,
)

_LISTEN = (
    _day,
    _listener,
    Column("started_at", TIME, "When playing started.", personal="derived"),
    _track,
    _artist,
    Column("kind", pl.String, "Track, podcast episode or audiobook.", allowed=KINDS),
    _track_name,
    _artist_name,
    Column("album_name", pl.String, "Title of the album.", nullable=True),
    Column("played_ms", pl.Int64, "Time played, in milliseconds, where the source tells.", nullable=True, minimum=0, maximum=86_400_000),
    Column("duration_ms", pl.Int64, "Length of the track, in milliseconds, where the source tells.", nullable=True, minimum=0),
    Column("country", pl.String, "Country of the listener, ISO 3166-1; ZZ where unknown.", personal="derived", pattern=_COUNTRY),
    Column("platform", pl.String, "Kind of device.", personal="derived", allowed=PLATFORMS),
)

EVENTS = Table(
    key="listening/events",
    owner=_OWNER,
    primary_key=("listener_id", "started_at", "track_id"),
    columns=(
        *_LISTEN,
        Column("reason_start", pl.String, "Why playing started, in Spotify's words.", nullable=True),
        Column("reason_end", pl.String, "Why playing ended, in Spotify's words.", nullable=True),
        Column("was_skipped", pl.Boolean, "Whether the source marks the listen as skipped.", nullable=True),
        Column("is_shuffle", pl.Boolean, "Whether shuffle was on.", nullable=True),
        Column("is_offline", pl.Boolean, "Whether the device was offline.", nullable=True),
        Column("is_incognito", pl.Boolean, "Whether the session was private.", nullable=True, personal="derived"),
        _playlist,
        Column("is_minute_grain", pl.Boolean, "Whether the source rounds times to the minute."),
        Column("source", pl.String, "The format of the file that it came from."),
    ),
)

REJECTED = Table(
    key="listening/rejected",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file_sha256", "row", "rule"),
    retention_days=90,
    columns=(
        Column("file_sha256", pl.String, "SHA-256 of the file.", pattern=r"[0-9a-f]{64}"),
        Column("row", pl.Int64, "1-based number of the record in the file; 0 for the file as a whole.", minimum=0),
        Column("rule", pl.String, "The rule that it breaks."),
        Column("rejected_at", TIME, "When it was refused."),
    ),
)

IMPORTS = Table(
    key="listening/imports",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file_sha256",),
    columns=(
        Column("file_sha256", pl.String, "SHA-256 of the file.", pattern=r"[0-9a-f]{64}"),
        Column("format", pl.String, "The detected format.", nullable=True),
        Column("rows", pl.Int64, "Records in the file.", minimum=0),
        Column("stored", pl.Int64, "Records that became new rows.", minimum=0),
        Column("duplicate", pl.Int64, "Records that were known already.", minimum=0),
        Column("rejected", pl.Int64, "Records refused, each with its rule in listening/rejected.", minimum=0),
        Column("reason", pl.String, "Why the file, or its rest, was not read.", nullable=True),
        Column("first_day", pl.Date, "First UTC day that it has records of.", nullable=True),
        Column("last_day", pl.Date, "Last UTC day that it has records of.", nullable=True),
        Column("imported_at", TIME, "When the import was committed."),
    ),
)

KEPT_FILES = Table(
    key="listening/kept_files",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file_sha256", "listener_id"),
    columns=(
        Column("file_sha256", pl.String, "SHA-256 of the landing file, which is its name among the kept ones.", pattern=r"[0-9a-f]{64}"),
        _listener,
        Column("kept_at", TIME, "When it was encrypted and kept."),
    ),
)

CHART_ENTRIES = Table(
    key="listening/chart_entries",
    owner=_OWNER,
    primary_key=("source", "period", "country", "rank"),
    columns=(
        Column(DAY, pl.Date, "Day that the published chart is dated."),
        Column("source", pl.String, "The format of the file that it came from."),
        Column("period", pl.String, "Daily or weekly chart.", allowed=("daily", "weekly")),
        Column("country", pl.String, "Country of the chart, or global.", pattern=r"[A-Z]{2}|global"),
        Column("rank", pl.Int64, "Rank, 1 is the top.", minimum=1),
        _track,
        _artist,
        _track_name,
        _artist_name,
        Column("streams", pl.Int64, "Published streams.", nullable=True, minimum=0),
        Column("previous_rank", pl.Int64, "Published rank in the chart before.", nullable=True, minimum=1),
        Column("peak_rank", pl.Int64, "Published best rank.", nullable=True, minimum=1),
        Column("periods_on_chart", pl.Int64, "Published number of days or weeks on the chart.", nullable=True, minimum=0),
    ),
)

PLAYS = Table(
    key="listening/plays",
    owner=_OWNER,
    code_version="2",
    primary_key=("listener_id", "started_at", "track_id"),
    reads=(Reads("listening/events"),),
    columns=(
        *_LISTEN[:9],
        Column(
            "played_ms",
            pl.Int64,
            "Time played, in milliseconds; the track's length, else 0, where the source does not tell.",
            minimum=0,
            maximum=86_400_000,
        ),
        *_LISTEN[10:],
        Column("is_stream", pl.Boolean, "Whether it lasted 30 s or more; a scrobble counts as one."),
        Column("is_skipped", pl.Boolean, "Whether the listener moved on before the end."),
        Column("is_completed", pl.Boolean, "Whether it reached the end of the track."),
        Column("is_shuffle", pl.Boolean, "Whether shuffle was on.", nullable=True),
        Column("is_offline", pl.Boolean, "Whether the device was offline.", nullable=True),
        Column("is_incognito", pl.Boolean, "Whether the session was private.", nullable=True, personal="derived"),
        _playlist,
        Column("source", pl.String, "The format of the file that it came from."),
    ),
)

SESSIONS = Table(
    key="listening/sessions",
    owner=_OWNER,
    primary_key=("listener_id", "started_at"),
    reads=(Reads("listening/plays"), Reads("listening/sessions", first=-1, last=-1, drives=False)),
    columns=(
        Column(DAY, pl.Date, "UTC day on which the session was settled; an open one is carried to the next day."),
        _listener,
        Column("started_at", TIME, "Start of its first play.", personal="derived"),
        Column("ended_at", TIME, "End of its last play.", personal="derived"),
        Column("country", pl.String, "Country of its first play.", personal="derived", pattern=_COUNTRY),
        Column("platform", pl.String, "Kind of device of its first play.", personal="derived", allowed=PLATFORMS),
        _plays,
        _streams,
        _skips,
        _completions,
        _played,
        Column("is_open", pl.Boolean, "Whether it may still go on after midnight; counted when it closes."),
    ),
)

LISTENER_TRACK_DAYS = Table(
    key="listening/listener_track_days",
    owner=_OWNER,
    primary_key=("listener_id", "country", "kind", "track_id", "artist_id"),
    reads=(Reads("listening/plays"),),
    columns=(
        _day,
        _listener,
        Column("country", pl.String, "Country of the plays, ISO 3166-1; ZZ where unknown.", personal="derived", pattern=_COUNTRY),
        Column("kind", pl.String, "Track, podcast episode or audiobook.", allowed=KINDS),
        _track,
        _artist,
        _plays,
        _streams,
        _skips,
        _completions,
        _played,
    ),
)

_COUNTS = (_plays, _streams, _skips, _completions, _played, _listeners)

TRACK_DAYS = Table(
    key="listening/track_days",
    owner=_OWNER,
    primary_key=("country", "kind", "track_id", "artist_id"),
    reads=(Reads("listening/plays"),),
    columns=(
        _day,
        _country,
        Column("kind", pl.String, "Track, podcast episode or audiobook.", allowed=KINDS),
        _track,
        _artist,
        _track_name,
        _artist_name,
        *_COUNTS,
    ),
)

ARTIST_DAYS = Table(
    key="listening/artist_days",
    owner=_OWNER,
    primary_key=("country", "kind", "artist_id"),
    reads=(Reads("listening/plays"),),
    columns=(
        _day,
        _country,
        Column("kind", pl.String, "Artist of tracks, show of episodes, author of books.", allowed=KINDS),
        _artist,
        _artist_name,
        *_COUNTS,
    ),
)

COUNTRY_DAYS = Table(
    key="listening/country_days",
    owner=_OWNER,
    primary_key=("country", "platform", "kind"),
    reads=(Reads("listening/plays"),),
    columns=(
        _day,
        _country,
        Column("platform", pl.String, "Kind of device.", allowed=PLATFORMS),
        Column("kind", pl.String, "Track, podcast episode or audiobook.", allowed=KINDS),
        *_COUNTS,
    ),
)

CHARTS = Table(
    key="listening/charts",
    owner=_OWNER,
    primary_key=("period", "country", "rank"),
    # A day of podcasts, or without a stream, has no chart: nothing drives.
    reads=(Reads("listening/track_days", first=-6, drives=False), Reads("listening/charts", first=None, last=-1, drives=False)),
    columns=(
        Column(DAY, pl.Date, "Day of the chart; for a weekly chart its last day, a Sunday."),
        Column("period", pl.String, "Daily or weekly chart.", allowed=("daily", "weekly")),
        Column("country", pl.String, "Country of the chart, or global.", pattern=r"[A-Z]{2}|global"),
        Column("rank", pl.Int64, "Rank by streams, then plays, then id; 1 is the top.", minimum=1, maximum=200),
        _track,
        _artist,
        _track_name,
        _artist_name,
        _streams,
        _plays,
        Column("previous_rank", pl.Int64, "Rank in the chart before.", nullable=True, minimum=1),
        Column("movement", pl.Int64, "Ranks gained since the chart before; negative when it fell.", nullable=True),
        Column("is_new", pl.Boolean, "Whether it is on this chart for the first time."),
        Column("peak_rank", pl.Int64, "Best rank so far.", minimum=1),
        Column("periods_on_chart", pl.Int64, "Days or weeks on the chart so far, this one included.", minimum=1),
    ),
)

TABLES = by_key(
    EVENTS,
    REJECTED,
    IMPORTS,
    KEPT_FILES,
    CHART_ENTRIES,
    PLAYS,
    SESSIONS,
    LISTENER_TRACK_DAYS,
    TRACK_DAYS,
    ARTIST_DAYS,
    COUNTRY_DAYS,
    CHARTS,
)
