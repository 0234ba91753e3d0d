"""What each asset of the catalogue shows as its plot."""

import numpy as np
import polars as pl

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import Plot

_BARS = 8
_SAMPLE = 1_000


def artists_by_genre(rows: pl.LazyFrame) -> Plot:
    """The most frequent genres."""
    return bars(_("Artists by genre"), rows.drop_nulls("genre"), "genre")


def albums_by_year(rows: pl.LazyFrame) -> Plot:
    """How many albums were released in which year."""
    years = rows.drop_nulls("released_on").group_by(pl.col("released_on").dt.year().alias("year")).len("albums").sort("year").collect()
    return Plot(_("Albums by year of release"), "line", years["year"].to_list(), years["albums"].to_list())


def tracks_by_length(rows: pl.LazyFrame) -> Plot:
    """How long the tracks are."""
    minutes = (pl.col("duration_ms") / 60_000).clip(0, 15).round(1).alias("minutes")
    lengths = rows.drop_nulls("duration_ms").group_by(minutes).len("tracks").sort("minutes").collect()
    return Plot(_("Tracks by length in minutes"), "line", lengths["minutes"].to_list(), lengths["tracks"].to_list())


def texts_by_neighbour(rows: pl.LazyFrame) -> Plot:
    """How near the nearest other text is: a peak at 1 are texts that say the same, one at 0 a model that tells none apart."""
    sample = rows.filter(pl.col("subject") == "track").unique("text_sha256").sort("text_sha256").head(_SAMPLE).collect()
    vectors = np.asarray(sample["embedding"].to_list() or [[1.0]], np.float32)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    counts, edges = np.histogram(cosines.max(axis=1)[: sample.height].clip(0, 1), bins=20, range=(0, 1))
    return Plot(_("Tracks by cosine to the nearest other text"), "line", [round(float(edge), 2) for edge in edges[:-1]], counts.tolist())


def bars(title: str, rows: pl.LazyFrame, name: str, measure: pl.Expr | None = None) -> Plot:
    """The largest groups of rows by the values of a column, by a measure or by their number of rows."""
    largest = rows.group_by(name).agg(measured=pl.len() if measure is None else measure)
    largest = largest.sort(["measured", name], descending=[True, False]).head(_BARS).collect()
    return Plot(title, "bar", largest[name].to_list(), largest["measured"].to_list())


PICTURES = {"catalog/artists": artists_by_genre, "catalog/albums": albums_by_year, "catalog/tracks": tracks_by_length}
"""By the keys of the tables that intake fills."""
