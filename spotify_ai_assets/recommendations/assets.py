"""The assets of recommendations: who likes what, the recipe that won, the model, the indices, the release, and what it recommends."""

import polars as pl

from spotify_ai_assets.loading import landed_table, made_table
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.recommendations import pictures
from spotify_ai_assets.recommendations.contracts import (
    ARTIST_INDEX,
    BLOCKS,
    EVALUATION,
    FOR_LISTENERS,
    INTERACTIONS,
    LISTENER_INDEX,
    MODEL,
    RADIO,
    RELEASE,
    SIMILAR_ARTISTS,
    SIMILAR_TRACKS,
    TRACK_INDEX,
)
from spotify_ai_assets.recommendations.interactions import choose_windows, collect_interactions
from spotify_ai_assets.recommendations.workshop import Workshop


@made_table(INTERACTIONS, picture=pictures.interactions_by_part)
def interactions(read: Inputs) -> pl.DataFrame:
    """Who likes which track how much, in three windows of time: for training, for validation and for the test.

    A finished play counts 1, one that was left 0.5, a skipped one -0.2, and all of it halves every 90 days. Suspicious plays, podcasts
    and books do not count. The windows follow each other, the same for everybody, so that nothing is learnt from the future.
    """
    days = read("listening/listener_track_days")
    span = days.filter(pl.col("kind") == "track").select(first=pl.col("day").min(), last=pl.col("day").max()).collect()
    first, last = span.row(0)
    if first is None or (last - first).days < 2:
        return INTERACTIONS.empty()
    return collect_interactions(days, read("listening/suspicious_streams"), choose_windows(first, last))


@landed_table(BLOCKS)
def blocks() -> None:
    """Tracks and artists that are not to be recommended: to anybody, in a country, or to one listener.

    Filled by `spotify-ai block` and emptied by `spotify-ai unblock`; a service that recommends sees a change at once.
    """


@made_table(EVALUATION, tools="workshop", picture=pictures.ndcg_by_recipe, present=pictures.present_evaluation, kinds=("mlflow", "optuna"))
def evaluation(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """How good recipes are, measured on a window of time that they were not tuned on.

    Each is fitted anew at one cutoff and measured on the next window: popularity, item-item co-occurrence, the members of the blend,
    the blend that was tuned on the window before, and the recipe that serves. Discovery hides what a listener knew, daily mix does
    not. The gate compares recipes listener by listener; a challenger that loses is not served.
    """
    from spotify_ai_assets.recommendations.trainings import rehearse_recipes

    return rehearse_recipes(read, workshop)


@made_table(MODEL, tools="workshop", present=pictures.present_recommender, kinds=("mlflow",))
def model(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """The recommender that serves: the recipe that won its rehearsal, fitted on all interactions, and what was measured of it.

    It holds nothing of any listener: what it says of somebody follows from their history, so that new listeners need no training.
    """
    from spotify_ai_assets.recommendations.trainings import fit_winner

    return fit_winner(read, workshop)


@made_table(TRACK_INDEX, tools="workshop", kinds=("faiss",))
def track_index(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """An index of all tracks by where the model places them; tracks that nobody has played yet are placed by their text and sound.

    Only what changed is changed, and the index is built anew where that would cost recall. Its recall against exact search must hold
    before a release may use it.
    """
    from spotify_ai_assets.recommendations.indexing import index_tracks

    return index_tracks(read, workshop)


@made_table(ARTIST_INDEX, tools="workshop", kinds=("faiss",))
def artist_index(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """An index of all artists, each at the mean of their tracks by how many listeners these have."""
    from spotify_ai_assets.recommendations.indexing import index_artists

    return index_artists(read, workshop)


@made_table(LISTENER_INDEX, tools="workshop", kinds=("faiss",))
def listener_index(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """An index of all listeners by where their histories fold into the model, with the histories themselves.

    The only place outside the lake that holds anything of listeners; who is forgotten is rewritten out of every version.
    """
    from spotify_ai_assets.recommendations.indexing import index_listeners

    return index_listeners(read, workshop)


@made_table(RELEASE, tools="workshop")
def release(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """What answers together: one version each of the model and the indices, with the encoder and the extractor behind them.

    One pointer says which release serves, and it moves in one step; `spotify-ai releases rollback` moves it back.
    """
    from spotify_ai_assets.recommendations.indexing import make_release

    return make_release(read, workshop)


@made_table(FOR_LISTENERS, tools="workshop", picture=pictures.reasons_of_shelves)
def for_listeners(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """The shelves of all listeners: daily mix, discovery, fresh releases and back catalogue, each track with its reason.

    By the same code that answers single listeners: `spotify-ai recommend` and services get the same from the same release.
    """
    from spotify_ai_assets.recommendations.publishing import publish_shelves

    return publish_shelves(read, workshop)


@made_table(SIMILAR_TRACKS, tools="workshop", picture=pictures.reasons_of_tracks)
def similar_tracks(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """The tracks nearest to each track, with what makes them near: listeners who play both, or how they read and sound."""
    from spotify_ai_assets.recommendations.publishing import publish_similar_tracks

    return publish_similar_tracks(read, workshop)


@made_table(SIMILAR_ARTISTS, tools="workshop", picture=pictures.reasons_of_tracks)
def similar_artists(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """The artists nearest to each artist, by where their tracks lie: artists that the same listeners play, or that read and sound alike."""
    from spotify_ai_assets.recommendations.publishing import publish_similar_artists

    return publish_similar_artists(read, workshop)


@made_table(RADIO, tools="workshop", picture=pictures.reasons_of_tracks)
def radio(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """What goes on well after each track: by the order in which listeners play where the release knows it, else by what goes together."""
    from spotify_ai_assets.recommendations.publishing import publish_radio

    return publish_radio(read, workshop)
