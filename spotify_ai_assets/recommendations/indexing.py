"""The three indices and the release that pins them: built from the model that serves, changed where little changed, kept as versions."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.recommendations.contracts import MODEL, RELEASE, TRACK_INDEX
from spotify_ai_assets.recommendations.interactions import PARTS, make_histories
from spotify_ai_assets.recommendations.manifests import ITEMS, NOUNS, Basis, Release, index_name, items_digest, pack_items
from spotify_ai_assets.recommendations.placing import place_artists, place_tracks
from spotify_ai_assets.recommendations.releases import keep_index
from spotify_ai_assets.recommendations.serving.items import tabulate_items
from spotify_ai_assets.recommendations.trainings import describer
from spotify_ai_assets.recommendations.workshop import Workshop, publishes

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.indices.histories import ServedHistories
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
    from spotify_ai_assets.recommendations.models.contract import Model

_LOG = logging.getLogger(__name__)

KEPT_RELEASES = 3
"""Releases that can be gone back to."""

_QUERIES = 500
"""Vectors with which the recall of an index is measured."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The model that serves.

    Attributes:
        version: Of ``recommendations/model``.
        model: It.
        known: Track of each of its columns.
        manifest: What is known of it.
    """

    version: str
    model: "Model"
    known: np.ndarray

    @classmethod
    def of(cls, workshop: Workshop) -> "Serving":
        """Open it.

        Raises:
            MissingInputError: None serves.
        """
        from spotify_ai_assets.recommendations.models.recipes import unpack

        entry = workshop.champion(MODEL.key)
        if entry is None:
            raise MissingInputError(f"{MODEL.key}: no version serves")
        folder = workshop.artifacts.fetch(MODEL.key, entry.version)
        return cls(entry.version, unpack(folder), _read_ids(folder))


@publishes
def index_tracks(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Place all tracks and keep a version of their index.

    Returns:
        Rows of ``recommendations/track_index``.
    """
    serving = Serving.of(workshop)
    items = tabulate_items(serving.known, read("catalog/tracks").collect(), read("catalog/albums").collect())
    described = describer(read)(items["track_id"].to_numpy())
    vectors = place_tracks(serving.model, described.vectors)
    basis = Basis(serving.version, items_digest(serving.known.tolist()), described.encoder, described.extractor)
    placed = np.flatnonzero(vectors.any(1) & ~items["is_removed"].to_numpy())
    ids = items["track_id"].gather(placed).to_list()
    return _keep(workshop, "track", ids, vectors[placed], basis, {"cold": float((placed >= len(serving.known)).sum())})


@publishes
def index_artists(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Place artists among their tracks and keep a version of their index.

    Returns:
        Rows of ``recommendations/artist_index``.
    """
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

    version = _version(read(TRACK_INDEX.key).collect())
    tracks, basis = VectorIndex.from_files(workshop.artifacts.fetch(TRACK_INDEX.key, version)), _basis(workshop, "track", version)
    plays = (
        read("recommendations/interactions").group_by("track_id").agg(pl.len().alias("listeners"), pl.col("artist_id").first()).collect()
    )
    catalogued = read("catalog/tracks").select("track_id", catalogued="artist_id").collect()
    rows = (
        pl.DataFrame({"track_id": tracks.ids}, schema={"track_id": pl.String})
        .join(plays, on="track_id", how="left", maintain_order="left")
        .join(catalogued, on="track_id", how="left", maintain_order="left")
        .with_columns(artist_id=pl.coalesce("catalogued", "artist_id"), listeners=pl.col("listeners").fill_null(0))
    )
    rows = rows.with_columns(vector=pl.int_range(pl.len())).drop_nulls("artist_id")
    names = rows["artist_id"].unique().sort()
    numbers = rows["artist_id"].rank("dense").to_numpy().astype(np.int64) - 1
    vectors = place_artists(tracks.vectors_of([tracks.ids[place] for place in rows["vector"]]), numbers, rows["listeners"].to_numpy())
    placed = np.flatnonzero(vectors.any(1))
    return _keep(workshop, "artist", names.gather(placed).to_list(), vectors[placed], basis)


@publishes
def index_listeners(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Fold in all histories and keep a version of the index of listeners, the histories and the keys of recent plays with it.

    Returns:
        Rows of ``recommendations/listener_index``.
    """
    from spotify_ai_assets.recommendations.indices.histories import RECENT, ServedHistories, play_keys

    serving = Serving.of(workshop)
    basis = _basis(workshop, "track", _version(read(TRACK_INDEX.key).collect()))
    histories = make_histories(read("recommendations/interactions").collect(), PARTS, serving.known)
    plays = read("listening/plays").select("listener_id", "started_at", "track_id")
    ends = plays.select(pl.col("started_at").max()).collect().item()
    as_of = ends.astimezone(UTC) if isinstance(ends, datetime) else datetime.fromtimestamp(0, UTC)
    recent = play_keys(plays.filter(pl.col("started_at") >= as_of - RECENT).collect())
    vectors = _fold_in(serving.model, histories.matrix)
    placed = np.flatnonzero(vectors.any(1))
    served = ServedHistories(histories, recent, as_of)
    ids = histories.listeners[placed].tolist()
    return _keep(workshop, "listener", ids, vectors[placed], basis, {"recent_plays": float(len(recent))}, served)


@publishes
def make_release(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Pin what belongs together, and let it serve where its gate lets it.

    Returns:
        Rows of ``recommendations/release``.
    """
    from spotify_ai_assets.recommendations.indices.histories import ServedHistories

    versions = {noun: _version(read(f"recommendations/{noun}_index").collect()) for noun in NOUNS}
    basis = _basis(workshop, "track", versions["track"])
    serving = Serving.of(workshop)
    entry = workshop.registry.entry(MODEL.key, serving.version)
    folder = workshop.artifacts.fetch(index_name("listener"), versions["listener"])
    as_of = ServedHistories.from_files(folder).as_of
    release = Release(
        basis=basis,
        track_index=versions["track"],
        artist_index=versions["artist"],
        listener_index=versions["listener"],
        recipe=entry.manifest.config["recipe_digest"],
        as_of=as_of.isoformat(),
        gate=entry.manifest.gate,
    )
    items = tabulate_items(serving.known, read("catalog/tracks").collect(), read("catalog/albums").collect(), _played(read, serving))
    version = workshop.releases.publish(release, {ITEMS: pack_items(items)}, _origin(workshop))
    workshop.releases.flip(version, origin=_origin(workshop))
    workshop.releases.retain(KEPT_RELEASES)
    components = {**release.pins, "items": basis.items, "encoder": basis.encoder, "extractor": basis.extractor, "recipe": release.recipe}
    rows = [(name, pinned, version) for name, pinned in components.items()]
    return pl.DataFrame(rows, schema=RELEASE.schema, orient="row").sort("component")


def _keep(
    workshop: Workshop,
    noun: str,
    ids: Sequence[str],
    vectors: np.ndarray,
    basis: Basis,
    figures: Mapping[str, float] | None = None,
    histories: "ServedHistories | None" = None,
) -> pl.DataFrame:
    """Change the newest index of the same basis, or build one anew, and keep it with its measured recall.

    Returns:
        Rows of the index's table.
    """
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

    index, touched = _change(workshop, noun, ids, vectors, basis)
    if index is None or index.needs_rebuild:
        index, touched = VectorIndex.build(ids, vectors), len(ids)
    queries = vectors[np.random.default_rng(0).permutation(len(ids))[:_QUERIES]]
    figures = {
        "recall_at_10": index.measure_recall(queries) if len(ids) else 1.0,
        "vectors": float(len(index)),
        "dimensions": float(index.dimensions),
        **(figures or {}),
    }
    version = keep_index(workshop.artifacts, noun, index, basis, histories=histories, figures=figures, origin=_origin(workshop))
    _LOG.info("%s: version %s, %d of %d vectors touched", index_name(noun), version, touched, len(ids))
    rows = [(name, value, index.kind, version) for name, value in sorted(figures.items())]
    return pl.DataFrame(rows, schema=TRACK_INDEX.schema, orient="row")


def _change(workshop: Workshop, noun: str, ids: Sequence[str], vectors: np.ndarray, basis: Basis) -> "tuple[VectorIndex | None, int]":
    """The index that serves, brought to these vectors, and how many of them that touched; none where it has another basis."""
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

    name, current = index_name(noun), workshop.releases.current()
    if current is None:
        return None, 0
    version = workshop.releases.describe(current).pins[name]
    if _basis(workshop, noun, version) != basis:
        return None, 0
    index = VectorIndex.from_files(workshop.artifacts.fetch(name, version))
    wanted = set(ids)
    gone = [each for each in index.ids if each and each not in wanted]
    known = np.array([each in index for each in ids], bool)
    places = np.flatnonzero(known).tolist()
    differs = ~known
    differs[places] = (index.vectors_of([ids[place] for place in places]) != vectors[places]).any(1)
    index.remove(gone)
    index.add([ids[place] for place in np.flatnonzero(differs).tolist()], vectors[differs])
    return index, len(gone) + int(differs.sum())


def _basis(workshop: Workshop, noun: str, version: str) -> Basis:
    """What a version of an index was made from."""
    return Basis(**workshop.artifacts.describe(index_name(noun), version).facts["basis"])


def _played(read: Inputs, serving: Serving) -> pl.DataFrame:
    """The names under which the model's tracks were played, for those that the catalogue lacks."""
    known = pl.LazyFrame({"track_id": serving.known}, schema={"track_id": pl.String})
    names = read("listening/track_days").join(known, on="track_id", how="semi").group_by("track_id", "artist_id")
    return names.agg(name=pl.col("track_name").min(), artist_name=pl.col("artist_name").min()).sort("track_id", "artist_id").collect()


def _version(rows: pl.DataFrame) -> str:
    return rows["index_version"].unique().item()


def _read_ids(folder: Path) -> np.ndarray:
    return pl.read_parquet(folder / ITEMS)["track_id"].to_numpy()


def _fold_in(model: "Model", histories: "csr_matrix") -> np.ndarray:
    """Vectors of histories of unit length, float32, shape (n, d)."""
    from spotify_ai_assets.recommendations.models.contract import Embeds

    if not isinstance(model, Embeds):
        raise TypeError(f"a {model.name} model has no space")
    vectors = model.fold_in(histories)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _origin(workshop: Workshop) -> dict[str, str]:
    return {"dagster_run_id": workshop.context.run.run_id} if workshop.context is not None else {}
