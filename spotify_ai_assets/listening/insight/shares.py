"""What part of a week's pool each artist earns, by two models, to the unit.

Each market's pool holds a million units for every listener with a stream of a track there. *Pro rata* shares the whole pool by
streams; *user-centric* shares each listener's million by that listener's streams alone. Whole units are shared out by the largest
remainder (Hamilton), so that they add up to the pool exactly.
"""

from datetime import date, timedelta

import numpy as np
import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import STREAM_SHARE
from spotify_ai_assets.listening.insight.parts import Frame, genuine, stack

MILLION = 1_000_000
"""Units of the pool for each listener."""


def share_streams(listener_track_days: Frame, suspicious: Frame, artist_days: Frame, day: date) -> pl.DataFrame:
    """Share the pools of a week out to artists; each country is a market, and all of them together are one.

    Args:
        listener_track_days: Rows of ``listening/listener_track_days``; tracks of the week up to ``day`` are taken.
        suspicious: Rows of ``listening/suspicious_streams``, likewise.
        artist_days: Rows of ``listening/artist_days`` of the week, for the artists' names.
        day: The Sunday that ends the week.

    Returns:
        Rows of ``listening/stream_share`` in the order of their key.
    """
    is_wanted = pl.col(DAY).is_between(day - timedelta(days=6), day) & (pl.col("kind") == "track")
    names = artist_days.lazy().filter(is_wanted).group_by("artist_id").agg(pl.col("artist_name").min()).sort("artist_id").collect()
    cells = _cells(listener_track_days.lazy().filter(is_wanted), suspicious.lazy().filter(is_wanted), names)
    earned = pl.concat([_pro_rata(cells), _user_centric(cells)])
    parts = {"": pl.lit(True), "suspicious_": pl.col("is_suspicious")}
    return (
        earned.lazy()
        .group_by("model", "country", "artist")
        .agg(pl.col(name).filter(of).sum().alias(part + name) for name in ("streams", "units") for part, of in parts.items())
        .join(names.lazy().with_row_index("artist"), on="artist")
        .with_columns(
            day=pl.lit(day),
            share=pl.col("units") / pl.col("units").sum().over("model", "country"),
            genuine_share=(genuine("units") / genuine("units").sum().over("model", "country")).fill_nan(None),
        )
        .sort(STREAM_SHARE.primary_key)
        .select(pl.col(name).cast(dtype) for name, dtype in STREAM_SHARE.schema.items())
        .collect()
    )


def apportion(group: np.ndarray, weight: np.ndarray, millions: np.ndarray) -> np.ndarray:
    """Share out each group's units among its rows in proportion to their weights, by the largest remainder.

    Exact in integers as long as a weight times the millions of its group is below 2^63, and a group's weight below 2^43.

    Args:
        group: Which group each row belongs to: 0, 1, 2 ... in ascending order, none left out.
        weight: Weight of each row, more than 0.
        millions: Of each group, how many million units there are.

    Returns:
        Units of each row, which add up to the group's millions. Of equal remainders those of earlier rows come first.
    """
    if not len(group):
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    total = np.add.reduceat(weight, starts)[group]
    whole, rest = np.divmod(weight * millions[group], total)
    more, remainder = np.divmod(rest * MILLION, total)
    units = whole * MILLION + more
    left = millions * MILLION - np.add.reduceat(units, starts)
    by_remainder = np.lexsort((-remainder, group))
    units[by_remainder] += np.arange(len(group)) - starts[group] < left[group]
    return units


def _cells(streamed: pl.LazyFrame, flagged: pl.LazyFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Streams of each listener of each market by artist, genuine and suspicious apart, in the order of these columns.

    Listeners, artists and countries are numbers inside, which sort and compare several times as fast as their names.
    """
    accounts = pl.Categorical(pl.Categories.random())
    national = (
        stack(streamed, flagged, ["country", "listener_id", "artist_id"], ["streams"])
        .group_by("country", "listener_id", "artist_id")
        .agg(pl.col("streams", "suspicious_streams").sum())
        .filter(pl.col("streams") > 0)
        .join(names.lazy().select("artist_id").with_row_index("artist"), on="artist_id")
        .select("country", "artist", "streams", "suspicious_streams", listener=pl.col("listener_id").cast(accounts).to_physical())
        .collect(engine="streaming")
    )
    everywhere = national.group_by("listener", "artist").agg(pl.col("streams", "suspicious_streams").sum(), country=pl.lit(GLOBAL))
    markets = pl.concat([national, everywhere.select(national.columns)])
    markets = markets.with_columns(pl.col("country").cast(pl.Enum(markets["country"].unique().sort())))
    apart = [
        markets.select("country", "listener", "artist", is_suspicious=pl.lit(of == "suspicious"), streams=streams)
        for of, streams in (("genuine", genuine("streams")), ("suspicious", pl.col("suspicious_streams")))
    ]
    return pl.concat(apart).filter(pl.col("streams") > 0).sort("country", "listener", "artist", "is_suspicious")


def _pro_rata(cells: pl.DataFrame) -> pl.DataFrame:
    listeners = cells.group_by("country").agg(millions=pl.col("listener").n_unique().cast(pl.Int64)).sort("country")
    sums = cells.group_by("country", "artist", "is_suspicious").agg(pl.col("streams").sum()).sort("country", "artist", "is_suspicious")
    return _earn(sums, "pro_rata", sums["country"].rle_id(), listeners["millions"])


def _user_centric(cells: pl.DataFrame) -> pl.DataFrame:
    account = cells.select(pl.struct("country", "listener").rle_id()).to_series()
    return _earn(cells, "user_centric", account, pl.Series([1]).new_from_index(0, account.n_unique()))


def _earn(cells: pl.DataFrame, model: str, group: pl.Series, millions: pl.Series) -> pl.DataFrame:
    units = apportion(group.to_numpy().astype(np.int64), cells["streams"].to_numpy(), millions.to_numpy())
    return cells.select("country", "artist", "is_suspicious", "streams", model=pl.lit(model), units=pl.Series(units, dtype=pl.Int64))
