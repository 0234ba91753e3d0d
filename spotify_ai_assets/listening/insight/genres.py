"""What genres a day's listening is made of, by country and in all.

A stream belongs to one artist, the track's first, and an artist to one genre: so the genres of a country add up to its streams.
"""

from datetime import date

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import GENRE_MIX, UNKNOWN
from spotify_ai_assets.listening.insight.parts import Frame, both, genuine, stack

_MEASURES = ("plays", "streams", "played_ms")


def mix_genres(artist_days: Frame, suspicious_artist_days: Frame, artists: Frame, day: date) -> pl.DataFrame:
    """Count a day's plays of tracks by the artists' genre.

    Args:
        artist_days: Rows of ``listening/artist_days``; tracks of the day are taken, podcasts and audiobooks are not.
        suspicious_artist_days: Rows of ``listening/suspicious_artist_days``, likewise.
        artists: Rows of ``catalog/artists``.
        day: The UTC day.

    Returns:
        Rows of ``listening/genre_mix`` in the order of their key. ``share`` is of the genuine streams of the country, 0 where it
        has none.
    """
    is_wanted = (pl.col(DAY) == day) & (pl.col("kind") == "track")
    measures = both(_MEASURES)
    counts = stack(
        artist_days.lazy().filter(is_wanted), suspicious_artist_days.lazy().filter(is_wanted), ["country", "artist_id"], _MEASURES
    )
    national = (
        counts.join(artists.lazy().select("artist_id", "genre"), on="artist_id", how="left")
        .group_by("country", pl.col("genre").fill_null(UNKNOWN))
        .agg(pl.col(measures).sum())
        .collect()
    )
    everywhere = national.group_by("genre").agg(pl.col(measures).sum()).with_columns(country=pl.lit(GLOBAL))
    return (
        pl.concat([national, everywhere.select(national.columns)])
        .with_columns(day=pl.lit(day), share=(genuine("streams") / genuine("streams").sum().over("country")).fill_nan(0.0))
        .sort(GENRE_MIX.primary_key)
        .select(pl.col(name).cast(dtype) for name, dtype in GENRE_MIX.schema.items())
    )
