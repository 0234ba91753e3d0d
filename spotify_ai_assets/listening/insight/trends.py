"""Trends: the tracks and artists that rise in a country or everywhere, each with its evidence.

What rises is found from listeners, not from streams: those of a day are distinct people, so that one fan, or one account that
loops a track, counts once, and their number varies hardly more than by chance. The arithmetic of count series belongs to
``growth``, charts to ``listening.charts``.
"""

from datetime import date, timedelta

import numpy as np
import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL, UNKNOWN_COUNTRY
from spotify_ai_assets.listening.insight.contracts import TREND_DAYS, TRENDS
from spotify_ai_assets.listening.insight.growth import DAYS, estimate_spread, follow_growth, project, rise_p_values
from spotify_ai_assets.listening.insight.parts import Frame, genuine, stack

WINDOWS = (1, 3, 7)
"""Days that are held against those before them: what jumps shows in the shortest first, what climbs in the longest."""
DISCOVERY_RATE = 0.05
TOP, AHEAD_DAYS = 50, 7
"""The score is where an item will be so many days on, measured from this place of the market's chart."""
_WEEK = max(WINDOWS)
_RECENT = {days: f"listeners_{days}" for days in WINDOWS}
_ITEMS = {"track": ("track_id", "track_name", "artist_name"), "artist": ("artist_id", "artist_name", None)}


def find_trends(
    track_days: Frame,
    suspicious_track_days: Frame,
    artist_days: Frame,
    suspicious_artist_days: Frame,
    earlier: Frame,
    day: date,
    discovery_rate: float = DISCOVERY_RATE,
) -> pl.DataFrame:
    """List the tracks and artists that rise on a day, in each known country and worldwide.

    An item is listed where its genuine listeners of the last 1, 3 or 7 days are more than those of the days before explain
    (``rise_p_values``, times 3), at a false-discovery rate over all items of the market (Benjamini and Hochberg 1995), it has
    more streams than expected, and it still grows. Days are measured in the market's own listeners, by which its weekly rhythm,
    outages and spikes cancel out; worldwide, each country's part of an item is measured in that country's.

    Args:
        track_days: Rows of ``listening/track_days``; those of ``TREND_DAYS`` up to ``day`` are taken.
        suspicious_track_days: The suspicious part of them.
        artist_days: Rows of ``listening/artist_days``.
        suspicious_artist_days: The suspicious part of them.
        earlier: Rows of ``listening/trends`` of the three days before.
        day: The UTC day.
        discovery_rate: The share of listed items that may be there by chance.

    Returns:
        Rows of ``listening/trends`` in the order of their key.
    """
    subjects = {"track": (track_days, suspicious_track_days), "artist": (artist_days, suspicious_artist_days)}
    risen = pl.concat(
        _list_risen(_genuine(*tables, subject, day), discovery_rate).with_columns(subject=pl.lit(subject))
        for subject, tables in subjects.items()
    )
    began = earlier.lazy().filter(pl.col(DAY) < day).group_by(TRENDS.primary_key).agg(pl.col("started_on").min()).collect()
    return (
        risen.join(began, on=TRENDS.primary_key, how="left")
        .sort("country", "subject", "score", "item_id", descending=[False, False, True, False])
        .with_columns(
            day=pl.lit(day),
            started_on=pl.col("started_on").fill_null(day),
            rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("country", "subject"),
        )
        .with_columns(days_since_start=(pl.col(DAY) - pl.col("started_on")).dt.total_days())
        .sort(TRENDS.primary_key)
        .select(pl.col(name).cast(dtype) for name, dtype in TRENDS.schema.items())
    )


def _genuine(total: Frame, suspicious: Frame, subject: str, day: date) -> pl.LazyFrame:
    """Genuine listeners and streams by country, item and age in days, in no order."""
    item, label, detail = _ITEMS[subject]
    window = pl.col(DAY).is_between(day - timedelta(days=TREND_DAYS - 1), day)
    names = [name for name in (label, detail) if name]
    stacked = stack(total, suspicious, [DAY, "country", "kind", item, *names], ["listeners", "streams"])
    return stacked.filter(pl.col("kind") == "track", window).select(
        "country",
        pl.col(item).alias("item_id"),
        pl.col(label).alias("label"),
        (pl.col(detail) if detail else pl.lit(None, pl.String)).alias("detail"),
        (pl.lit(day) - pl.col(DAY)).dt.total_days().alias("age"),
        genuine("listeners"),
        genuine("streams"),
    )


def _list_risen(counts: pl.LazyFrame, discovery_rate: float) -> pl.DataFrame:
    """What rises in each market, with the columns of ``listening/trends`` that need no other day."""
    items = _sum_up(counts)
    risen = _discover(items, discovery_rate).filter(pl.col("streams") > pl.col("expected_streams"))
    mark = items.group_by("country").agg(mark=pl.col("streams").top_k(TOP).min().clip(1) / _WEEK)
    growth = pl.col("slope").exp() - 1
    level = pl.col("level") + (pl.col("streams") / pl.col(_RECENT[_WEEK])).log()
    return (
        _measure_growth(counts, risen)
        .filter(pl.col("slope") > 0)
        .join(mark, on="country")
        .join(_name(counts, risen), on="item_id")
        .select(
            "country",
            "item_id",
            "label",
            "detail",
            "streams",
            "expected_streams",
            "q_value",
            growth=growth,
            velocity=level.exp() * growth,
            score=project(level, pl.col("slope"), AHEAD_DAYS) - pl.col("mark").log(),
        )
    )


def _sum_up(counts: pl.LazyFrame) -> pl.DataFrame:
    """Counts of each item in each market, the world among them, and how many the market's own rhythm would give."""
    is_recent = pl.col("age") < _WEEK
    sums = (
        counts.group_by("country", "item_id")
        .agg(
            pl.col("listeners").sum(),
            *(pl.col("listeners").filter(pl.col("age") < days).sum().alias(name) for days, name in _RECENT.items()),
            streams=pl.col("streams").filter(is_recent).sum(),
            expected_streams=pl.col("streams").filter(~is_recent).sum(),
        )
        .filter(pl.col("listeners") > 0)
        .collect(engine="streaming")
        # The parts of an item are added up over countries below, in one order: the last digit shall not hang on chance.
        .sort("country")
    )
    shares = sums.group_by("country").agg(pl.col(*_RECENT.values()).sum() / pl.col("listeners").sum())
    share = pl.col(f"{_RECENT[_WEEK]}_share")
    national = (
        sums.join(shares, on="country", suffix="_share", maintain_order="left")
        .with_columns((pl.col("listeners") * pl.col(f"{name}_share")).alias(f"expected_{name}") for name in _RECENT.values())
        # As many for each listener of the market as before; a market with nothing before leads to expect nothing.
        .with_columns(expected_streams=pl.when(share < 1).then(pl.col("expected_streams") * share / (1 - share)).otherwise(0.0))
        .drop(f"{name}_share" for name in _RECENT.values())
    )
    world = national.drop("country").group_by("item_id", maintain_order=True).sum().with_columns(country=pl.lit(GLOBAL))
    return pl.concat([national.filter(pl.col("country") != UNKNOWN_COUNTRY), world.select(national.columns)])


def _discover(items: pl.DataFrame, discovery_rate: float) -> pl.DataFrame:
    """Items that rose at the false-discovery rate among all items of their market, with ``q_value``."""
    found = [
        market.with_columns(p_value=pl.Series(_p_values(market)), tested=pl.lit(market.height))
        for market in items.partition_by("country", maintain_order=True)
    ]
    if not found:
        return items.with_columns(q_value=pl.lit(0.0))
    # A q-value is never less than its p-value: the others need not be ranked.
    likely = pl.concat(found).filter(pl.col("p_value") <= discovery_rate).sort("country", "p_value", "item_id")
    place = pl.int_range(1, pl.len() + 1).over("country")
    q_value = (pl.col("p_value") * pl.col("tested") / place).cum_min(reverse=True).over("country")
    return likely.with_columns(q_value=q_value).filter(pl.col("q_value") <= discovery_rate)


def _p_values(market: pl.DataFrame) -> np.ndarray:
    """The smallest p-value of all windows times their number (Bonferroni)."""
    total = market["listeners"].to_numpy().astype(np.float64)
    smallest = np.ones(market.height)
    for name in _RECENT.values():
        recent, share = market[name].to_numpy().astype(np.float64), market[f"expected_{name}"].to_numpy() / total
        p_values = rise_p_values(recent, total, share, estimate_spread(recent, total, share))
        smallest = np.minimum(smallest, p_values * len(_RECENT))
    return np.minimum(smallest, 1.0)


def _measure_growth(counts: pl.LazyFrame, risen: pl.DataFrame) -> pl.DataFrame:
    """Add the logarithm of listeners on an average day, ``level``, and its growth a day, ``slope``.

    An item's exposure on a day is that of its countries, each with the part of the item's listeners that are there.
    """
    market_days = counts.group_by("country", "age").agg(pl.col("listeners").sum()).sort("country", "age").collect()
    countries = market_days.select(pl.col("country").unique(maintain_order=True)).with_row_index("row")
    exposure = _lay_out(market_days.join(countries, on="country"), "listeners", countries.height)
    days_open = np.maximum((exposure > 0).sum(axis=1, keepdims=True), 1)
    exposure = exposure / np.maximum(exposure.sum(axis=1, keepdims=True) / days_open, 1e-9)

    items = risen.select("country", "item_id").with_row_index("series")
    of_items = counts.join(items.lazy().select("item_id").unique(), on="item_id", how="semi")
    parts = of_items.group_by("country", "item_id", "age").agg(pl.col("listeners").sum()).collect().join(countries, on="country")
    at_home = parts.join(items, on=["country", "item_id"])
    everywhere = parts.join(items.filter(pl.col("country") == GLOBAL).drop("country"), on="item_id").select(at_home.columns)
    series = pl.concat([at_home, everywhere])
    mix = np.zeros((items.height, countries.height))
    np.add.at(mix, (series["series"].to_numpy(), series["row"].to_numpy()), series["listeners"].to_numpy())
    mix /= np.maximum(mix.sum(axis=1, keepdims=True), 1)
    level, slope = follow_growth(_lay_out(series.drop("row").rename({"series": "row"}), "listeners", items.height), mix @ exposure, DAYS)
    return risen.with_columns(level=pl.Series(level[:, -1]), slope=pl.Series(slope[:, -1]))


def _lay_out(rows: pl.DataFrame, measure: str, height: int) -> np.ndarray:
    """Sums of a measure by ``row`` and day, the oldest day first, shape ``(height, TREND_DAYS)``."""
    laid = np.zeros((height, TREND_DAYS))
    np.add.at(laid, (rows["row"].to_numpy(), TREND_DAYS - 1 - rows["age"].to_numpy()), rows[measure].to_numpy())
    return laid


def _name(counts: pl.LazyFrame, risen: pl.DataFrame) -> pl.DataFrame:
    """The names that most streams of each item go by, everywhere the same."""
    return (
        counts.join(risen.lazy().select("item_id").unique(), on="item_id", how="semi")
        .group_by("item_id", "label", "detail")
        .agg(pl.col("streams").sum())
        .sort("item_id", "streams", "label", "detail", descending=[False, True, False, False])
        .unique("item_id", keep="first", maintain_order=True)
        .select("item_id", "label", "detail")
        .collect()
    )


def miscounted_trends(found: Frame, tracks: Frame, suspicious_tracks: Frame, artists: Frame, suspicious_artists: Frame) -> pl.DataFrame:
    """Count the streams of listed items again, another way.

    Args:
        found: Rows of ``listening/trends`` of any days.
        tracks: Rows of ``listening/track_days`` of these days and the six before each.
        suspicious_tracks: The suspicious part of them.
        artists: Rows of ``listening/artist_days`` of the same days.
        suspicious_artists: The suspicious part of them.

    Returns:
        ``day, country, subject, item_id, streams, counted`` where they differ.
    """
    by = [DAY, "country", "kind"]
    counted = pl.concat(
        stack(*tables, [*by, _ITEMS[subject][0]], ["streams"])
        .filter(pl.col("kind") == "track")
        .select(DAY, "country", pl.lit(subject).alias("subject"), pl.col(_ITEMS[subject][0]).alias("item_id"), counted=genuine("streams"))
        for subject, tables in (("track", (tracks, suspicious_tracks)), ("artist", (artists, suspicious_artists)))
    )
    counted = pl.concat([counted.filter(pl.col("country") != UNKNOWN_COUNTRY), counted.with_columns(country=pl.lit(GLOBAL))])
    listed = found.lazy().select(*TRENDS.primary_key, DAY, "streams")
    week = pl.concat(listed.with_columns(listed_on=DAY, day=pl.col(DAY) - timedelta(days=ago)) for ago in range(_WEEK))
    return (
        week.join(counted, on=[DAY, *TRENDS.primary_key], how="left")
        .group_by(pl.col("listed_on").alias(DAY), *TRENDS.primary_key)
        .agg(pl.col("streams").first(), pl.col("counted").sum())
        .filter(pl.col("streams") != pl.col("counted"))
        .collect()
    )
