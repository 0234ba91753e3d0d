"""Small releases for tests: a model of few tracks, three indices, histories; each of its own moment, so that no two are equal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.indices.histories import ServedHistories, play_key
from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
from spotify_ai_assets.recommendations.interactions import Histories
from spotify_ai_assets.recommendations.releases import ITEMS, MODEL, Basis, Release, Releases, items_digest, keep_index, pack_items
from spotify_ai_assets.resources.artifacts import Artifacts
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.training.gates import GateCheck, GateResult

TRACKS, COLD, ARTISTS, LISTENERS, DIMENSIONS = 40, 5, 8, 30, 8
START = datetime(2026, 6, 1, tzinfo=UTC)
PASSED = GateResult("taste", (GateCheck("better than popularity", 0.1, ">", 0.0),))
FAILED = GateResult("taste", (GateCheck("better than popularity", -0.1, ">", 0.0),))


def open_at(folder: Path) -> Releases:
    return Releases(Artifacts(folder / "artifacts", FileLocks(folder / "locks")))


def track(number: int) -> str:
    return f"track:{number:04}"


def listener(number: int) -> str:
    return f"{number:08x}" * 4


def unit(seed: int, count: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def histories() -> Histories:
    random = np.random.default_rng(5)
    weights = np.where(random.random((LISTENERS, TRACKS)) < 0.3, random.random((LISTENERS, TRACKS)) + 0.5, 0).astype(np.float32)
    weights[:, 0] = 1
    matrix = csr_matrix(weights)
    people = np.array([listener(number) for number in range(LISTENERS)], object)
    known = np.array([track(number) for number in range(TRACKS)], object)
    return Histories(matrix, people, known, np.array(["DE"] * LISTENERS, object), np.zeros(matrix.nnz, np.float32))


def tabulate() -> pl.DataFrame:
    count = TRACKS + COLD
    return pl.DataFrame(
        {
            "track_id": [track(number) for number in range(count)],
            "name": [f"Song {number:04}" for number in range(count)],
            "artist_id": [f"artist:{number % ARTISTS}" for number in range(count)],
            "artist_name": [f"Band {number % ARTISTS}" for number in range(count)],
            "is_explicit": [number % 3 == 0 for number in range(count)],
            "released_on": [START.date()] * count,
            "is_known_to_model": [number < TRACKS for number in range(count)],
        }
    )


def tiny_model(_moment: int) -> dict[str, bytes]:
    """Files that stand for a model where nobody opens it."""
    return {"model.json": b"{}"}


def fitted_model(moment: int) -> dict[str, bytes]:
    """A blend of every linear kind."""
    from spotify_ai_assets.recommendations.models.contract import Facts
    from spotify_ai_assets.recommendations.models.recipes import Recipe, fit_recipe, pack

    members = {
        "als": {"factors": DIMENSIONS, "iterations": 3, "seed": moment},
        "ease": {},
        "cooccurrence": {},
        "popularity": {},
        "spectral": {"factors": DIMENSIONS},
    }
    world = histories()
    facts = Facts(countries=world.countries.tolist(), ages=world.ages)
    return pack(fit_recipe(Recipe(members, dict.fromkeys(members, 1.0)), world.matrix, facts))


def publish(releases: Releases, moment: int, model=tiny_model, gate: GateResult | None = PASSED) -> str:
    """Publish the release of a moment: its index of tracks is of that seed, and so tells which release it belongs to."""
    artifacts, world = releases.artifacts, histories()
    known = pl.DataFrame({"track_id": world.items.tolist()})
    version = artifacts.publish(MODEL, {**model(moment), ITEMS: parquet(known), "moment": str(moment).encode()}, {}).version
    basis = Basis(version, items_digest(world.items), "words", "sounds")
    as_of = START + timedelta(days=moment)
    keys = sorted(play_key(each, as_of - timedelta(hours=hour), track(hour)) for each in world.listeners for hour in range(4))
    served = ServedHistories(world, np.array(keys, np.uint64), as_of)
    people = VectorIndex.build(world.listeners.tolist(), unit(100 + moment, LISTENERS))
    release = Release(
        basis=basis,
        track_index=keep_index(artifacts, "track", VectorIndex.build(tabulate()["track_id"].to_list(), unit(moment, TRACKS + COLD)), basis),
        artist_index=keep_index(artifacts, "artist", VectorIndex.build([f"artist:{n}" for n in range(ARTISTS)], unit(7, ARTISTS)), basis),
        listener_index=keep_index(artifacts, "listener", people, basis, histories=served, figures={"recall_at_10": 1}),
        recipe="0" * 16,
        as_of=as_of.isoformat(),
        gate=gate,
    )
    return releases.publish(release, {ITEMS: pack_items(tabulate())})


def parquet(frame: pl.DataFrame) -> bytes:
    import io

    written = io.BytesIO()
    frame.write_parquet(written)
    return written.getvalue()


def moment_of(opened) -> int:
    """The moment of an opened release, after every part of it agreed on it."""
    moment = (datetime.fromisoformat(opened.release.as_of) - START).days
    assert opened.histories.as_of == START + timedelta(days=moment)
    assert (opened.model_folder / "moment").read_text() == str(moment)
    ids = [each for each in opened.tracks.ids if each]
    numbers = [int(each[6:]) for each in ids]
    np.testing.assert_array_equal(opened.tracks.vectors_of(ids), unit(moment, TRACKS + COLD)[numbers])
    return moment
