"""Whether recommendations recover the planted tastes: the share of tracks of a listener's own genre, beside that of popular tracks.

Every listener has one genre that two thirds of their plays are of. A shelf's in-cluster precision is the share of its tracks whose
artist is of that genre, the mean over listeners. Popularity is the control: the tracks that most others play, all of them beside the
daily mix, and those that the listener has not heard beside discovery. Chance is the genre's share in the catalogue that is played.
"""

import polars as pl

from spotify_ai_assets.demo.music import GENRES, compose_music
from spotify_ai_assets.demo.people import gather_people


def planted_tastes(seed: int, scale: float) -> dict[str, str]:
    """The genre of each listener of a world, by user id."""
    people = gather_people(seed, scale, compose_music(seed, scale))
    return {people.ids[number]: GENRES[people.cluster[number]] for number in range(people.listeners)}


def score_recommendations(
    shelves: pl.DataFrame, interactions: pl.DataFrame, artists: pl.DataFrame, tastes: pl.DataFrame, k: int = 20
) -> dict[str, float | int]:
    """Score the shelves of a demo world.

    Args:
        shelves: Rows of ``recommendations/for_listeners``.
        interactions: Rows of ``recommendations/interactions``.
        artists: Rows of ``catalog/artists``.
        tastes: ``listener_id, taste``: the planted genre of each listener.
        k: Places of the control's shelf.

    Returns:
        ``discovery``, ``daily_mix``, ``popular``, ``popular_unheard`` and ``chance``: in-cluster precision of each; ``listeners``
        counted.
    """
    genres = artists.select("artist_id", "genre").drop_nulls()
    found = {
        shelf: _precision(shelves.filter(pl.col("shelf") == shelf).select("listener_id", "artist_id"), genres, tastes)
        for shelf in ("discovery", "daily_mix")
    }
    liked = interactions.filter(pl.col("value") > 0)
    counts = liked.group_by("track_id", "artist_id").agg(pl.col("listener_id").n_unique().alias("listeners"))
    most = counts.sort(["listeners", "track_id"], descending=[True, False]).head(20 * k)
    asked = shelves.select("listener_id").unique()
    heard = liked.select("listener_id", "track_id").unique()
    offered = asked.join(most, how="cross").join(heard, on=["listener_id", "track_id"], how="anti")
    popular = offered.sort(["listener_id", "listeners", "track_id"], descending=[False, True, False]).group_by("listener_id").head(k)
    controls = {
        "popular": _precision(asked.join(most.head(k).select("artist_id"), how="cross"), genres, tastes),
        "popular_unheard": _precision(popular.select("listener_id", "artist_id"), genres, tastes),
    }
    chance = _precision(asked.join(counts.select("artist_id"), how="cross"), genres, tastes)
    listeners = asked.join(tastes, on="listener_id", how="semi").height
    return {**found, **controls, "chance": chance, "listeners": listeners}


def _precision(offered: pl.DataFrame, genres: pl.DataFrame, tastes: pl.DataFrame) -> float:
    """The mean over listeners of the share of their tracks that are of their own genre."""
    rows = offered.lazy().join(tastes.lazy(), on="listener_id").join(genres.lazy(), on="artist_id")
    share = rows.group_by("listener_id").agg((pl.col("genre") == pl.col("taste")).mean().alias("share")).select(pl.col("share").mean())
    return round(share.collect().item() or 0.0, 4)
