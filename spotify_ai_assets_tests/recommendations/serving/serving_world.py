"""A small world of three tastes, and a release of it: tracks by artists, listeners who keep to one taste, and tracks nobody has played."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.indices.histories import ServedHistories, play_key
from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
from spotify_ai_assets.recommendations.interactions import Histories
from spotify_ai_assets.recommendations.manifests import ITEMS, MODEL, Basis, Release, items_digest, pack_items
from spotify_ai_assets.recommendations.models.contract import Facts
from spotify_ai_assets.recommendations.models.recipes import Recipe, fit_recipe, pack
from spotify_ai_assets.recommendations.releases import Releases, keep_index, open_releases
from spotify_ai_assets.recommendations.serving.items import Items
from spotify_ai_assets.settings import Settings

TASTES, ARTISTS, TRACKS = 3, 6, 4
"""Tastes, artists of each, tracks of each artist that somebody has played; one more of each artist is new."""

KNOWN = TASTES * ARTISTS * TRACKS
LISTENERS = 90
AS_OF = datetime(2026, 6, 30, 22, tzinfo=UTC)
ENDS_ON = AS_OF.date()
RECIPE = Recipe({"ease": {}, "als": {"factors": 12}, "popularity": {}}, {"ease": 1.0, "als": 0.5, "popularity": 0.05})
COUNTRIES = ("DE", "FR")


def listener(number: int) -> str:
    """A pseudonym; numbers of one taste are equal modulo ``TASTES``."""
    return f"{number:032x}"


def track(taste: int, artist: int, number: int) -> str:
    """The id of a track that is played."""
    return f"name:{taste}{artist}{number}"


def cold(taste: int, artist: int) -> str:
    """The id of an artist's new track."""
    return f"new:{taste}{artist}"


def artist_id(taste: int, artist: int) -> str:
    return f"artist:{taste}{artist}"


def tabulate() -> pl.DataFrame:
    """The items: those of an artist came out 10 years, 2 years, 60 days and 1 year ago, and the new one last week."""
    ages = (3650, 730, 60, 365)
    rows = [
        (track(taste, artist, number), taste, artist, ENDS_ON - timedelta(ages[number]), True)
        for taste in range(TASTES)
        for artist in range(ARTISTS)
        for number in range(TRACKS)
    ] + [(cold(taste, artist), taste, artist, ENDS_ON - timedelta(7), False) for taste in range(TASTES) for artist in range(ARTISTS)]
    return pl.DataFrame(
        {
            "row": pl.Series(range(len(rows)), dtype=pl.Int32),
            "track_id": [row[0] for row in rows],
            "name": [f"Song {row[0]}" for row in rows],
            "artist_id": [artist_id(row[1], row[2]) for row in rows],
            "artist_name": [f"Band {row[1]}{row[2]}" for row in rows],
            "is_explicit": [row[0].endswith("3") for row in rows],
            "released_on": [row[3] for row in rows],
            "is_known_to_model": [row[4] for row in rows],
            "is_removed": [False] * len(rows),
        }
    )


def items() -> Items:
    return Items.from_frame(tabulate())


def taste_of(item: int) -> int:
    """The taste that an item belongs to."""
    return item // (ARTISTS * TRACKS) if item < KNOWN else (item - KNOWN) // ARTISTS


def histories(seed: int = 0) -> Histories:
    """Each listener has played a third of their taste and, with one play in fifteen, something else."""
    rng = np.random.default_rng(seed)
    own = np.arange(KNOWN) // (ARTISTS * TRACKS) == (np.arange(LISTENERS) % TASTES)[:, None]
    # In Germany the first tracks of an artist are played more, in France the last.
    liked = np.where(np.arange(KNOWN) % TRACKS < 2, 1.4, 0.6)
    home = np.where((np.arange(LISTENERS) % 2 == 0)[:, None], liked, 2 - liked)
    played = rng.random((LISTENERS, KNOWN)) < np.where(own, 0.4 * home, 0.02)
    played[:, 0] |= own[:, 0]
    weights = np.where(played, np.log1p(rng.integers(1, 8, played.shape)), 0).astype(np.float32)
    matrix = csr_matrix(weights)
    known = tabulate()["track_id"].head(KNOWN).to_numpy()
    people = np.array([listener(number) for number in range(LISTENERS)], object)
    countries = np.array([COUNTRIES[number % 2] for number in range(LISTENERS)], object)
    return Histories(matrix, people, known, countries, np.zeros(matrix.nnz, np.float32))


def vectors() -> np.ndarray:
    """Where all items are: by taste, and a little by artist; the new ones too."""
    rng = np.random.default_rng(1)
    tastes, artists = rng.normal(size=(TASTES, 16)), rng.normal(size=(TASTES, ARTISTS, 16))
    number = np.concatenate([np.arange(KNOWN) // TRACKS, np.arange(TASTES * ARTISTS)])
    placed = tastes[number // ARTISTS] + 0.4 * artists[number // ARTISTS, number % ARTISTS] + 0.1 * rng.normal(size=(len(number), 16))
    return (placed / np.linalg.norm(placed, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Play:
    """A live play."""

    key: int
    track_id: str
    value: float
    started_at: datetime


def play(who: str, track_id: str, value: float = 1.0, started_at: datetime = AS_OF + timedelta(minutes=5)) -> Play:
    return Play(play_key(who, started_at, track_id), track_id, value, started_at)


def serve(
    settings: Settings, recipe: Recipe = RECIPE, seed: int = 0, recent: tuple[Play, ...] = (), skipped: tuple[str, ...] = ()
) -> Releases:
    """Publish a release of the world, in which the first listener skipped some tracks, and let it serve."""
    releases, world, table = open_releases(settings), histories(seed), tabulate()
    others = sorted(set(skipped) - set(world.items))
    places = sorted([*world.items, *others].index(each) for each in skipped)
    weightless = np.array([[0] * len(places), places], np.int32)
    world = replace(world, weightless=weightless, others=np.array(others, object))
    model = fit_recipe(recipe, world.matrix, Facts(countries=world.countries.tolist(), ages=world.ages))
    known = world.items.tolist()
    version = releases.artifacts.publish(MODEL, pack(model), {}).version
    basis, placed = Basis(version, items_digest(known)), vectors()
    names = table["artist_id"].unique().sort().to_list()
    means = np.stack([placed[table["artist_id"].to_numpy() == name].mean(0) for name in names])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    served = ServedHistories(world, np.unique(np.array([each.key for each in recent], np.uint64)), AS_OF)
    people = model.fold_in(world.matrix)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    release = Release(
        basis,
        keep_index(releases.artifacts, "track", VectorIndex.build(table["track_id"].to_list(), placed), basis),
        keep_index(releases.artifacts, "artist", VectorIndex.build(names, means.astype(np.float32)), basis),
        keep_index(releases.artifacts, "listener", VectorIndex.build(world.listeners.tolist(), people), basis, histories=served),
        recipe.digest,
        AS_OF.isoformat(),
    )
    releases.flip(releases.publish(release, {ITEMS: pack_items(table)}), force=True)
    return releases
