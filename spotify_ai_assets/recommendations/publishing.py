"""What the release that serves recommends, as rows of the published tables, and whether shelves are what they promise."""

import polars as pl

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.recommendations.serving import published
from spotify_ai_assets.recommendations.serving.filters import Blocks
from spotify_ai_assets.recommendations.workshop import Workshop

UNHEARD = ("discovery", "fresh_releases")
"""Shelves on which nothing stands that the listener has heard."""


def publish_shelves(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Fill the shelves of a shard's listeners: rows of ``recommendations/for_listeners``."""
    watch = workshop.teller(_("shelves of listeners"))
    return published.shelf_rows(workshop.stock, read.shard, _blocks(read), watch=watch)


def publish_similar_tracks(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Find what is like a shard's tracks: rows of ``recommendations/similar_tracks``."""
    return published.similar_track_rows(workshop.stock, read.shard, _blocks(read), watch=workshop.teller(_("similar tracks")))


def publish_similar_artists(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Find what is like each artist: rows of ``recommendations/similar_artists``."""
    return published.similar_artist_rows(workshop.stock, _blocks(read), watch=workshop.teller(_("similar artists")))


def publish_radio(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Find what goes on after a shard's tracks: rows of ``recommendations/radio``."""
    return published.radio_rows(workshop.stock, read.shard, _blocks(read), watch=workshop.teller(_("radio")))


def _blocks(read: Inputs) -> Blocks:
    return Blocks.from_frame(read("recommendations/blocks").collect())


def count_broken(rows: pl.DataFrame, blocks: pl.DataFrame, workshop: Workshop, most_of_an_artist: int) -> dict[str, int]:
    """Count what is on shelves and must not be.

    Args:
        rows: Rows of ``recommendations/for_listeners``.
        blocks: Rows of ``recommendations/blocks``.
        workshop: Where the release is.
        most_of_an_artist: Tracks of one artist that a shelf may hold.

    Returns:
        How many tracks stand twice on a shelf, are one too many of their artist, are blocked for the listener, and were
        heard though their shelf has only what was not.
    """
    shelf = ["listener_id", "shelf"]
    return {
        "twice": rows.height - rows.select(*shelf, "track_id").unique().height,
        "too_many_of_an_artist": rows.group_by(*shelf, "artist_id").len().filter(pl.col("len") > most_of_an_artist).height,
        "blocked": _count_blocked(rows, blocks, workshop),
        "heard": _count_heard(rows.filter(pl.col("shelf").is_in(UNHEARD)), workshop),
    }


def _count_blocked(rows: pl.DataFrame, blocks: pl.DataFrame, workshop: Workshop) -> int:
    served = workshop.stock.histories.histories
    homes = pl.DataFrame(
        {"listener_id": served.listeners, "home": served.countries}, schema=dict.fromkeys(("listener_id", "home"), pl.String)
    )
    barred = blocks.select("item_id", where="country", whom="listener_id")
    offered = rows.join(homes, on="listener_id", how="left").with_row_index("place")
    items = pl.concat([offered.select("place", "listener_id", "home", item_id=name) for name in ("track_id", "artist_id")])
    is_meant = (pl.col("whom") == "") | (pl.col("whom") == pl.col("listener_id"))
    is_there = (pl.col("where") == "") | (pl.col("where") == pl.col("home"))
    return items.join(barred, on="item_id").filter(is_meant, is_there)["place"].n_unique()


def _count_heard(rows: pl.DataFrame, workshop: Workshop) -> int:
    served = workshop.stock.histories
    histories = {listener: served.row(listener) for listener in rows["listener_id"].unique()}
    heard = {listener: set(served.histories.items[row.indices]) for listener, row in histories.items() if row is not None}
    for listener, tracks in heard.items():
        tracks.update(served.weightless_of(listener))
    return sum(track in heard.get(listener, ()) for listener, track in rows.select("listener_id", "track_id").iter_rows())
