"""Rules of a listen: text into numbers, times and truth values, and one rule for each record that cannot be one.

The first broken rule, in the order of ``_RULES``, is the one reported.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl

from spotify_ai_assets.contracts import TIME
from spotify_ai_assets.listening.contracts import KINDS, PLATFORMS, UNKNOWN_COUNTRY
from spotify_ai_assets.listening.formats.base import LISTENS, Batch, split_batch

MAX_NAME = 2000
DAY_MS = 86_400_000
EARLIEST = datetime(2002, 10, 1, tzinfo=UTC)
"""Last.fm began then: no scrobble is older."""

ISO = ("%+", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
"""ISO 8601 with an offset; without one a time is ambiguous and thus refused."""

_MBID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_ISRC = r"^[A-Z]{2}[A-Z0-9]{3}[0-9]{7}$"
_SPOTIFY_LENGTH = (22, 200)
_SPOTIFY_PLAYLIST = (
    r"^(?:spotify:(?:user:[^:]+:)?playlist:|https?://open\.spotify\.com/(?:intl-[a-z]+/)?playlist/)([0-9A-Za-z]{22})(?:\?.*)?$"
)
_ID = r"[0-9A-Za-z_.:-]{1,200}"
_FLAGS = {"was_skipped", "is_shuffle", "is_offline", "is_incognito"}
_NAMES = ("user", "track_name", "artist_name", "album_name")
_EPOCHS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (1e20, 1e-3))
"""Below each bound a number counts seconds, milliseconds, microseconds, nanoseconds: microseconds are so many times it."""

_PLATFORMS = (
    ("unknown", r"^(not_applicable|unknown|none|null)?$"),
    ("tv", r"\btv\b|_tv|tv_|appletv|tvos|fire ?tv|webos|tizen|roku|bravia|vizio"),
    ("console", r"\bps[345]\b|playstation|xbox|nintendo"),
    ("cast", r"cast"),
    ("car", r"car[_ -]?thing|\bcar\b|carplay|android[_ ]?auto|automotive|tesla"),
    ("speaker", r"sonos|speaker|echo|alexa|google[_ ]home|homepod|\bbose\b|denon|yamaha|squeeze|harman|amazon"),
    ("web", r"web[_ ]?player|browser|websocket"),
    ("android", r"android"),
    ("ios", r"\bios\b|iphone|ipad|ipod"),
    ("windows", r"windows|\bwin(32|64)?\b"),
    ("macos", r"\bos ?x\b|mac ?os|darwin|macintosh"),
    ("linux", r"linux|ubuntu|debian|raspbian"),
)


def text(name: str) -> pl.Expr:
    """A column's text without NUL characters and outer white space; null where nothing is left."""
    clean = pl.col(name).str.replace_all("\0", "", literal=True).str.strip_chars()
    return pl.when(clean != "").then(clean)


def number(field: pl.Expr) -> pl.Expr:
    """Text as a number: null where empty, infinite where it is none."""
    value = field.str.strip_chars()
    found = value.cast(pl.Float64, strict=False)
    return pl.when(value != "").then(found.fill_null(float("inf")))


def flag(name: str) -> pl.Expr:
    """Text as a truth value; null where it is none."""
    value = pl.col(name).str.strip_chars().str.to_lowercase()
    return pl.when(value.is_in(["true", "1"])).then(True).when(value.is_in(["false", "0"])).then(False)


def parse_times(times: pl.Series, formats: tuple[str, ...] = ISO) -> pl.Series:
    """Points in time from text or numbers.

    Args:
        times: Text, numbers or times. A number is an epoch, its unit told by its magnitude: seconds below 1e11, then
            milliseconds, microseconds below 1e17 and nanoseconds.
        formats: Formats of text that is no number; those without an offset are taken as UTC.

    Returns:
        Times in microseconds, UTC; null where there is none.
    """
    if isinstance(times.dtype, pl.Datetime):
        # Parquet without a time zone holds UTC.
        return times.dt.replace_time_zone("UTC").cast(TIME) if times.dtype.time_zone is None else times.cast(TIME)
    if times.dtype.is_numeric():
        return _epochs(times.cast(pl.Float64))
    if times.dtype != pl.String:
        return pl.Series(times.name, [None] * times.len(), dtype=TIME)
    times = times.str.strip_chars()
    found = _epochs(times.cast(pl.Float64, strict=False))
    for form in formats:
        if found.null_count() == times.null_count():
            break
        found = found.fill_null(times.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False))
    return found


def _epochs(numbers: pl.Series) -> pl.Series:
    value = pl.col(numbers.name)
    micros = pl.coalesce(pl.when(value.abs() < bound).then(value * factor) for bound, factor in _EPOCHS)
    # A negative epoch is older than anything; an exact one could overflow nothing but is of no use either.
    return numbers.to_frame().select(micros.round().cast(pl.Int64, strict=False).cast(TIME)).to_series()


def name_platform(description: str) -> str:
    """The kind of device that a text describes."""
    told = description.strip().lower()
    if told in PLATFORMS:
        return told
    return next((platform for platform, pattern in _PLATFORMS if re.search(pattern, told)), "other")


def _country(word: str) -> str | None:
    return word.upper() if re.fullmatch("[A-Za-z]{2}", word) and word.upper() != UNKNOWN_COUNTRY else None


def _reason(word: str) -> str | None:
    # Anything that does not look like one of Spotify's words may be somebody's text.
    return word if re.fullmatch("[a-z][a-z-]{1,39}", word) else None


def _kind(word: str) -> str:
    return word.lower() or "track"


def _playlist(word: str) -> str | None:
    if found := re.search(_SPOTIFY_PLAYLIST, word):
        return f"spotify:playlist:{found[1]}"
    # Whatever does not look like an id may be somebody's text, and some of Spotify's own hold the name of a user.
    return word if re.fullmatch(_ID, word) and not word.lower().startswith("spotify:user:") else None


_WORDS = {
    "kind": _kind,
    "country": _country,
    "platform": name_platform,
    "reason_start": _reason,
    "reason_end": _reason,
    "playlist_id": _playlist,
}


def check_listens(
    frame: pl.DataFrame, now: datetime, *, formats: tuple[str, ...] = ISO, is_end: bool = False, is_minute_grain: bool = False
) -> Batch:
    """Make listens of records, and reject those that are none.

    Args:
        frame: ``row``, ``time``, and any columns of ``LISTENS`` but ``started_at``, as text or already of their type; ``rule``
            where a record is rejected already. ``platform`` and ``country`` are as the file has them.
        now: The present.
        formats: Formats of ``time``.
        is_end: Whether ``time`` is the end of playing: the start lies ``played_ms`` before.
        is_minute_grain: Whether the file rounds times to the minute.

    Returns:
        Each record in one of the two frames.
    """
    frame = frame.with_columns(pl.col(name).cast(pl.String) for name, dtype in frame.schema.items() if not _is_expected(name, dtype))
    given = frame.schema
    nothing = [
        pl.lit(None, dtype=pl.String).alias(name) for name in (*LISTENS, "rule") if name not in given and name not in ("row", "started_at")
    ]
    frame = frame.with_columns(*nothing).with_columns(
        parse_times(frame["time"], formats).alias("started_at"),
        pl.col("time").is_not_null().alias("_has_time") if given["time"] != pl.String else text("time").is_not_null().alias("_has_time"),
    )
    frame = frame.with_columns(
        *(text(name) for name in _NAMES),
        *(_duration(frame, name) for name in ("played_ms", "duration_ms")),
        *(flag(name).alias(name) for name in _FLAGS if frame.schema[name] == pl.String),
        *(_unreadable_flag(frame, name) for name in sorted(_FLAGS)),
        _only("recording_mbid", _MBID).str.to_lowercase(),
        _only("isrc", _ISRC, pl.col("isrc").str.replace_all("-", "", literal=True).str.to_uppercase()),
        pl.when(pl.col("spotify_id").str.len_bytes().is_between(*_SPOTIFY_LENGTH)).then(text("spotify_id")).alias("spotify_id"),
        *(_each(frame[name], function) for name, function in _WORDS.items()),
        pl.lit(is_minute_grain).alias("is_minute_grain"),
    )
    if is_end:
        played = pl.col("played_ms").clip(0, DAY_MS).fill_null(0).fill_nan(0)
        frame = frame.with_columns(pl.col("started_at") - pl.duration(milliseconds=played.cast(pl.Int64)))
    rules = _rules(now)
    if frame.select(pl.any_horizontal(broken.any() for _, broken in rules)).item():
        frame = frame.with_columns(pl.coalesce("rule", *(pl.when(broken).then(pl.lit(rule)) for rule, broken in rules)).alias("rule"))
    frame = frame.with_columns(pl.col(name).round().cast(pl.Int64, strict=False) for name in ("played_ms", "duration_ms"))
    return split_batch(frame, LISTENS)


def _is_expected(name: str, dtype: pl.DataType) -> bool:
    """Whether a column has a type that the rules are written for; any other is turned into text first."""
    if name in ("played_ms", "duration_ms"):
        return dtype.is_numeric() or dtype == pl.String
    return name not in LISTENS or name == "row" or dtype == pl.String or (name in _FLAGS and dtype == pl.Boolean)


def _rules(now: datetime) -> list[tuple[str, pl.Expr]]:
    played, length, start = pl.col("played_ms"), pl.col("duration_ms"), pl.col("started_at")
    return [
        ("missing_track", pl.col("track_name").is_null()),
        ("missing_artist", pl.col("artist_name").is_null()),
        ("name_too_long", pl.any_horizontal(pl.col(name).str.len_chars() > MAX_NAME for name in _NAMES)),
        ("bad_kind", ~pl.col("kind").is_in(KINDS)),
        ("missing_time", ~pl.col("_has_time")),
        ("bad_time", start.is_null()),
        ("nan_duration", played.is_nan() | length.is_nan()),
        ("bad_duration", played.is_infinite() | length.is_infinite()),
        ("negative_duration", (played < 0) | (length < 0)),
        # A long mix or a whole book may last longer than a day; nobody plays it in one go.
        ("duration_too_long", (played > DAY_MS) | ((length > DAY_MS) & (pl.col("kind") == "track"))),
        ("time_before_2002", start < EARLIEST),
        ("time_in_future", start > now + timedelta(days=1)),
        ("wrong_type", pl.any_horizontal(f"_unreadable_{name}" for name in sorted(_FLAGS))),
    ]


def _duration(frame: pl.DataFrame, name: str) -> pl.Expr:
    return (number(pl.col(name)) if frame.schema[name] == pl.String else pl.col(name).cast(pl.Float64, strict=False)).alias(name)


def _unreadable_flag(frame: pl.DataFrame, name: str) -> pl.Expr:
    unreadable = text(name).is_not_null() & flag(name).is_null() if frame.schema[name] == pl.String else pl.lit(False)
    return unreadable.alias(f"_unreadable_{name}")


def _only(name: str, pattern: str, value: pl.Expr | None = None) -> pl.Expr:
    value = (pl.col(name) if value is None else value).str.strip_chars()
    return pl.when(value.str.contains(pattern)).then(value).alias(name)


def _each(column: pl.Series, function: Callable[[str], str | None]) -> pl.Series:
    """A column of few distinct words, each put through a function once; null goes through as the empty word."""
    known = column.unique()
    found = pl.Series([function((word or "").replace("\0", "").strip()) for word in known], dtype=pl.String)
    return column.replace_strict(known, found, return_dtype=pl.String)
