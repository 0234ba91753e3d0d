"""Published charts: the downloads of charts.spotify.com and of the older spotifycharts.com.

Both tell the day, the country and the period in the file's name only, so here, and nowhere else, the name counts.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import polars as pl

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.formats.base import CHARTS, Batch, Format, split_batch
from spotify_ai_assets.listening.formats.delimited import read_table
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.rows import MAX_NAME, number, text
from spotify_ai_assets.listening.formats.sample import Sample, TableLayout

_NAME = re.compile(r"regional-(global|[a-z]{2})-(daily|weekly)-(\d{4}-\d{2}-\d{2})(?:--(\d{4}-\d{2}-\d{2}))?", re.IGNORECASE)
_NEW_COLUMNS = ("rank", "uri", "artist_names", "track_name")
_OLD_COLUMNS = ("position", "track name", "artist", "streams", "url")
_RENAMED = {
    "position": "rank",
    "track name": "track_name",
    "artist": "artist_name",
    "artist_names": "artist_name",
    "url": "spotify_id",
    "uri": "spotify_id",
    "days_on_chart": "periods_on_chart",
    "weeks_on_chart": "periods_on_chart",
}
_NAMES = ("track_name", "artist_name", "spotify_id")
_COUNTS = ("rank", "streams", "previous_rank", "peak_rank", "periods_on_chart")
_LARGEST = 1e15


def _layout(sample: Sample) -> TableLayout | None:
    header = sample.header(*_NEW_COLUMNS) or sample.header(*_OLD_COLUMNS)
    # Other tables have these columns among more, and their day in a column: what such a table covers cannot be known.
    return None if header and "year" in header.columns else header


def _edition(name: str) -> tuple[date, str, str]:
    """Day, country and period of a chart, from the name of its file.

    An old weekly name has two dates, a Friday and the Friday after; the chart is dated like a new one, by the Thursday.
    """
    found = _NAME.search(name)
    try:
        if found is None:
            raise ValueError
        day = date.fromisoformat(found[4]) - timedelta(days=1) if found[4] else date.fromisoformat(found[3])
    except (ValueError, OverflowError):
        raise UnreadableFileError("chart_without_edition", "the file name lacks regional-<region>-<daily|weekly>-<date>") from None
    region = found[1].lower()
    return day, region if region == GLOBAL else region.upper(), found[2].lower()


def _read(member: Member, now: datetime) -> Iterator[Batch]:
    layout = Sample(member).expect(_layout)
    day, country, period = _edition(member.name)
    for frame in read_table(member, layout):
        frame = frame.rename({name: _RENAMED[name] for name in layout.columns if name in _RENAMED})
        nothing = [pl.lit(None, dtype=pl.String).alias(name) for name in _COUNTS if name not in frame.columns]
        frame = frame.with_columns(nothing).with_columns(
            *(number(pl.col(name).str.strip_prefix("+")).alias(name) for name in _COUNTS),
            *(text(name) for name in _NAMES),
            day=pl.lit(day),
            country=pl.lit(country),
            period=pl.lit(period),
        )
        # -1 and 0 say that there was no rank before.
        frame = frame.with_columns(pl.when(pl.col(name) > 0).then(name).alias(name) for name in ("previous_rank", "peak_rank"))
        frame = frame.with_columns(rule=pl.coalesce("rule", *(pl.when(broken).then(pl.lit(rule)) for rule, broken in _rules())))
        frame = frame.with_columns(pl.col(name).cast(pl.Int64, strict=False) for name in _COUNTS)
        yield split_batch(frame, CHARTS)


def _rules() -> list[tuple[str, pl.Expr]]:
    def is_count(name: str, least: int) -> pl.Expr:
        value = pl.col(name)
        return (value >= least) & (value < _LARGEST) & (value == value.floor())

    return [
        ("missing_track", pl.col("track_name").is_null()),
        ("missing_artist", pl.col("artist_name").is_null()),
        (
            "name_too_long",
            pl.any_horizontal(pl.col(name).str.len_chars() > MAX_NAME for name in _NAMES),
        ),
        ("bad_rank", ~is_count("rank", 1).fill_null(False)),
        ("bad_number", pl.any_horizontal(~is_count(name, 0) for name in _COUNTS[1:])),
    ]


FORMATS = (Format("spotify_chart", "charts", lambda sample: _layout(sample) is not None, _read),)
