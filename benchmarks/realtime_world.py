"""A world for the benchmark of the stream: tastes, tracks, listeners, a release of them, and listens to send."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from spotify_ai_assets.catalog.ids import artist_id, named_track_id
from spotify_ai_assets.listening.formats import LISTENS, REJECTED, Batch
from spotify_ai_assets.recommendations.interactions import Histories
from spotify_ai_assets.settings import Settings

TASTES, TRACKS_OF_ARTIST = 20, 10


@dataclass(frozen=True, slots=True)
class World:
    """Who and what there is.

    Attributes:
        listeners: Number of listeners.
        tracks: Number of tracks; those of one taste lie side by side.
        seed: Another seed is another world.
    """

    listeners: int
    tracks: int
    seed: int = 0

    def artist(self, track: int) -> str:
        """The name of a track's artist."""
        return f"Artist {track // TRACKS_OF_ARTIST}"

    def title(self, track: int) -> str:
        """Its title."""
        return f"Track {track}"

    def track_id(self, track: int) -> str:
        """Its id."""
        return named_track_id(self.artist(track), self.title(track))

    def user(self, listener: int) -> str:
        """The real id of a listener."""
        return f"user-{self.seed}-{listener}"

    def draw(self, rng: np.random.Generator, listeners: np.ndarray) -> np.ndarray:
        """A track for each listener: of their taste four times out of five, the first ones of a taste more often."""
        width = self.tracks // TASTES
        taste = np.where(rng.random(len(listeners)) < 0.8, listeners % TASTES, rng.integers(0, TASTES, len(listeners)))
        return taste * width + np.minimum(rng.geometric(3 / width, len(listeners)) - 1, width - 1)

    def listens(self, count: int, now: datetime, first: int = 0) -> Batch:
        """So many listens some minutes before a moment, each with a key of its own."""
        rng = np.random.default_rng((self.seed, first))
        listeners = rng.integers(0, self.listeners, count)
        tracks = self.draw(rng, listeners)
        reasons = np.array(["trackdone", "fwdbtn", "endplay"])[rng.choice(3, count, p=(0.7, 0.2, 0.1))]
        # The number of the listen is in its microseconds, so that no two are one play.
        moment = now.replace(microsecond=0) - timedelta(minutes=5)
        frame = pl.DataFrame(
            {
                "row": np.arange(1, count + 1),
                "user": [self.user(listener) for listener in listeners],
                "started_at": [moment + timedelta(microseconds=first + number) for number in range(count)],
                "track_name": [self.title(track) for track in tracks],
                "artist_name": [self.artist(track) for track in tracks],
                "reason_end": reasons,
            }
        ).with_columns(
            played_ms=pl.lit(150_000, dtype=pl.Int64),
            duration_ms=pl.lit(180_000, dtype=pl.Int64),
            kind=pl.lit("track"),
            platform=pl.lit("android"),
            country=pl.lit("SE"),
            is_minute_grain=pl.lit(False),
        )
        missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in LISTENS.items() if name not in frame.columns]
        typed = frame.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in LISTENS.items())
        return Batch(typed, pl.DataFrame(schema=REJECTED))


def serve(settings: Settings, world: World, plays: int = 30) -> None:
    """Publish a release of histories in which each listener has played some tracks, and let it serve."""
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.indices.histories import ServedHistories
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
    from spotify_ai_assets.recommendations.manifests import ITEMS, MODEL, Basis, Release, items_digest, pack_items
    from spotify_ai_assets.recommendations.models.contract import Facts
    from spotify_ai_assets.recommendations.models.recipes import Recipe, fit_recipe, pack
    from spotify_ai_assets.recommendations.releases import keep_index, open_releases
    from spotify_ai_assets.recommendations.serving.items import tabulate_items
    from spotify_ai_assets.resources import open_vault

    rng = np.random.default_rng(world.seed)
    order = np.argsort([world.track_id(track) for track in range(world.tracks)])
    place = np.empty(world.tracks, np.int64)
    place[order] = np.arange(world.tracks)
    ids = np.array([world.track_id(track) for track in order], object)
    pseudonyms = open_vault(settings).swap(world.user(listener) for listener in range(world.listeners))
    people = sorted((pseudonyms[world.user(listener)], listener) for listener in range(world.listeners))
    numbers = np.repeat([listener for _, listener in people], plays)
    rows = np.repeat(np.arange(world.listeners), plays)
    matrix = csr_matrix((np.ones(len(rows), np.float32), (rows, place[world.draw(rng, numbers)])), shape=(world.listeners, world.tracks))
    matrix.sum_duplicates()
    matrix.data = np.log1p(matrix.data)
    as_of = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    names = np.array([name for name, _ in people], object)
    histories = Histories(matrix, names, ids, np.full(len(names), "SE", object), np.zeros(matrix.nnz, np.float32))
    recipe = Recipe({"ease": {}, "als": {"factors": 32}, "popularity": {}}, {"ease": 1.0, "als": 0.5, "popularity": 0.05})
    model = fit_recipe(recipe, matrix, Facts(countries=histories.countries.tolist(), ages=histories.ages))
    played = pl.DataFrame(
        {
            "track_id": ids.tolist(),
            "name": [world.title(track) for track in order],
            "artist_id": [artist_id(world.artist(track)) for track in order],
            "artist_name": [world.artist(track) for track in order],
        }
    )
    catalogue = played.clear().with_columns(album_id=pl.lit(None, pl.String), is_explicit=pl.lit(None, pl.Boolean))
    albums = pl.DataFrame(schema={"album_id": pl.String, "released_on": pl.Date})
    table = tabulate_items(ids, catalogue, albums, played)
    artifacts = open_releases(settings).artifacts
    version = artifacts.publish(MODEL, pack(model), {}).version
    basis = Basis(version, items_digest(ids.tolist()))
    heard = np.flatnonzero(np.linalg.norm(model.item_vectors, axis=1))
    tracks = _unit(model.item_vectors[heard])
    artists, owner = np.unique(table["artist_id"].to_numpy()[heard], return_inverse=True)
    means = np.zeros((len(artists), tracks.shape[1]), np.float32)
    np.add.at(means, owner, tracks)
    served = ServedHistories(histories, np.zeros(0, np.uint64), as_of)
    release = Release(
        basis,
        keep_index(artifacts, "track", VectorIndex.build(ids[heard].tolist(), tracks), basis),
        keep_index(artifacts, "artist", VectorIndex.build(artists.tolist(), _unit(means)), basis),
        keep_index(artifacts, "listener", VectorIndex.build(names.tolist(), _unit(model.fold_in(matrix))), basis, histories=served),
        recipe.digest,
        as_of.isoformat(),
    )
    releases = open_releases(settings)
    releases.flip(releases.publish(release, {ITEMS: pack_items(table)}), force=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
