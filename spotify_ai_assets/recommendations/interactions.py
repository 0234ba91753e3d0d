"""Who likes what, from what they played: the value of plays, the windows in time, and matrices for the models.

The value of a play is 1 where it reached the end of the track, 0.5 where it was left without being skipped and -0.2 where it was
skipped; it halves every 90 days. Values of one listener and track are added; the weight is ``ln(1 + value)``, so that the tenth
play says less than the first (implicit feedback after Hu, Koren and Volinsky, 2008, with their logarithmic confidence).

Time is split once for everybody: the last days are the test window, those before it the validation window, all before is for
training. Suspicious plays count nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

COMPLETED, LEFT, SKIPPED = 1.0, 0.5, -0.2
HALF_LIFE_DAYS = 90.0
WINDOW_DAYS = 180
PARTS = ("train", "valid", "test")
_FLAGGED = ["day", "listener_id", "country", "kind", "track_id", "artist_id"]
"""What ``listening/suspicious_streams`` flags: all plays of a track by a listener on a day."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The days that belong to each part.

    Attributes:
        first: First day that counts.
        valid: First day of the validation window.
        test: First day of the test window.
        last: Last day.
    """

    first: date
    valid: date
    test: date
    last: date


def choose_windows(first: date, last: date) -> Windows:
    """Cut the trailing window: a tenth of its days for the test, a tenth before that for validation, at most 14 and at least one each.

    Args:
        first: First day with plays.
        last: Last day with plays.

    Raises:
        ValueError: Fewer than three days.
    """
    begin = max(first, last - timedelta(WINDOW_DAYS - 1))
    days = (last - begin).days + 1
    if days < 3:
        raise ValueError(f"interactions need three days with plays, there are {days}")
    held = min(max(days // 10, 1), 14)
    test = last - timedelta(held - 1)
    return Windows(begin, test - timedelta(held), test, last)


def value_of_plays(plays: pl.Expr, skips: pl.Expr, completions: pl.Expr, age_days: pl.Expr) -> pl.Expr:
    """The value of plays counted together, all of one age."""
    value = COMPLETED * completions + SKIPPED * skips + LEFT * (plays - completions - skips)
    return value * (-age_days / HALF_LIFE_DAYS).mul(float(np.log(2))).exp()


def drop_suspicious(rows: pl.LazyFrame, suspicious: pl.LazyFrame, first: date, last: date) -> pl.LazyFrame:
    """The genuine ones of what was played of tracks between two days, both included.

    Args:
        rows: By ``day, listener_id, country, kind, track_id, artist_id``: listens, plays, or counts of them.
        suspicious: Rows of ``listening/suspicious_streams``.
        first: First day.
        last: Last day.
    """
    is_inside = pl.col("day").is_between(first, last)
    tracks = rows.filter(is_inside, pl.col("kind") == "track")
    return tracks.join(suspicious.filter(is_inside).select(_FLAGGED).unique(), on=_FLAGGED, how="anti")


def collect_interactions(track_days: pl.LazyFrame, suspicious: pl.LazyFrame, windows: Windows) -> pl.DataFrame:
    """Add up what listeners did with tracks in each part of the window.

    Args:
        track_days: Rows of ``listening/listener_track_days``; podcasts and books are left out.
        suspicious: Rows of ``listening/suspicious_streams``: whatever it flags does not count.
        windows: The parts.

    Returns:
        Rows of ``recommendations/interactions``.
    """
    day = pl.col("day")
    part = pl.when(day >= windows.test).then(pl.lit("test")).when(day >= windows.valid).then(pl.lit("valid")).otherwise(pl.lit("train"))
    age = (pl.lit(windows.last) - day).dt.total_days().cast(pl.Float64)
    return (
        drop_suspicious(track_days, suspicious, windows.first, windows.last)
        .with_columns(part=part, value=value_of_plays(pl.col("plays"), pl.col("skips"), pl.col("completions"), age))
        .group_by("listener_id", "track_id", "part")
        .agg(
            pl.col("artist_id").first(),
            pl.col("country").sort_by("day").last(),
            *(pl.col(name).sum() for name in ("plays", "skips", "completions")),
            # Sums of floats hang on the order of rows, and a digest must not.
            pl.col("value").sort().sum().round(6),
            first_on=day.min(),
            last_on=day.max(),
        )
        .select("listener_id", "track_id", "part", "artist_id", "country", "plays", "skips", "completions", "value", "first_on", "last_on")
        .sort("listener_id", "track_id", "part")
        .collect(engine="streaming")
    )


@dataclass(frozen=True, slots=True)
class Histories:
    """Histories as a matrix, and what its rows and columns stand for.

    Attributes:
        matrix: Weights above 0, float32, shape (listeners, items).
        listeners: Pseudonym of each row, sorted.
        items: Track of each column, sorted.
        countries: Last country of each row.
        ages: Days since the last play of each entry, float32, in the order of the matrix' data.
        weightless: What they heard besides, be it that its value is not above 0 or that it has no column: rows, then numbers of
            tracks, int32, shape (2, entries), sorted. No model learns from it; nobody is offered it as new.
        others: Tracks that have no column and were heard, sorted; their numbers follow those of the columns.
    """

    matrix: "csr_matrix"
    listeners: np.ndarray
    items: np.ndarray
    countries: np.ndarray
    ages: np.ndarray
    weightless: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), np.int32))
    others: np.ndarray = field(default_factory=lambda: np.zeros(0, object))


def make_histories(interactions: pl.DataFrame, parts: Sequence[str], items: np.ndarray | None = None) -> Histories:
    """Turn interactions into a matrix; it has a row for whoever likes anything.

    Args:
        interactions: Rows of ``recommendations/interactions``.
        parts: The windows that count; their values are added.
        items: The columns; all tracks that somebody likes unless given, sorted.
    """
    from scipy.sparse import csr_matrix

    rows = (
        interactions.filter(pl.col("part").is_in(parts))
        .group_by("listener_id", "track_id")
        .agg(pl.col("value").sort().sum(), pl.col("country").sort_by("last_on", "part").last(), pl.col("last_on").max())
    )
    if items is None:
        items = rows.filter(pl.col("value") > 0)["track_id"].unique().sort().to_numpy()
    columns = pl.DataFrame({"track_id": items}, schema={"track_id": pl.String})
    others = rows.join(columns, on="track_id", how="anti").select("track_id").unique().sort("track_id")
    numbered = pl.concat([columns, others]).with_columns(item=pl.int_range(pl.len(), dtype=pl.Int32))
    heard = rows.join(numbered, on="track_id").sort("listener_id", "item")
    has_weight = (pl.col("value") > 0) & (pl.col("item") < len(items))
    rows = heard.filter(has_weight)
    listeners = rows["listener_id"].unique(maintain_order=True)
    pointers = np.r_[0, rows["listener_id"].rle_id().value_counts(sort=False)["count"].cum_sum().to_numpy()] if rows.height else np.zeros(1)
    last = pl.lit(interactions["last_on"].max(), pl.Date)
    ages = rows.select((last - pl.col("last_on")).dt.total_days().cast(pl.Float32)).to_series().to_numpy()
    weights = rows["value"].log1p().cast(pl.Float32).to_numpy(writable=True)  # compiled models take no views that are read-only
    matrix = csr_matrix((weights, rows["item"].to_numpy(writable=True), pointers.astype(np.int32)), shape=(len(listeners), len(items)))
    countries = rows.group_by("listener_id", maintain_order=True).agg(pl.col("country").sort_by("last_on", "item").last())["country"]
    people = pl.DataFrame({"listener_id": listeners, "row": np.arange(len(listeners), dtype=np.int32)})
    rest = heard.filter(~has_weight).join(people, on="listener_id").sort("row", "item")
    weightless = np.stack([rest["row"].to_numpy(), rest["item"].to_numpy()])
    return Histories(matrix, listeners.to_numpy(), np.asarray(items), countries.to_numpy(), ages, weightless, others["track_id"].to_numpy())


def align(interactions: pl.DataFrame, part: str, histories: Histories) -> "csr_matrix":
    """What was liked in a window, by the rows and columns of histories: what a model that knows only these can foresee.

    Args:
        interactions: Rows of ``recommendations/interactions``.
        part: The window.
        histories: Who and what counts.

    Returns:
        float32, the shape of the histories' matrix; weights as there.
    """
    from scipy.sparse import csr_matrix

    later = make_histories(interactions, (part,), histories.items)
    places = np.searchsorted(later.listeners, histories.listeners).clip(max=max(len(later.listeners) - 1, 0))
    if not len(later.listeners):
        return csr_matrix(histories.matrix.shape, dtype=np.float32)
    found = later.matrix[places]
    is_there = (later.listeners[places] == histories.listeners).astype(np.float32)
    aligned = csr_matrix(found.multiply(is_there[:, None]), dtype=np.float32)
    aligned.eliminate_zeros()
    return aligned
