"""Forgetting listeners and tracks: every version that holds them is written anew without them, and the old bytes are removed.

Models, indices and releases are immutable, so forgetting makes other versions and lets every pointer, those to former releases
among them, mean these; rolling back still works, to a release that never knew them. Whoever is killed on the way begins again
and comes to the same versions.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from spotify_ai_assets.recommendations.manifests import ITEMS, MODEL, NOUNS, RELEASE, Basis, Release, index_name, items_digest, pack_items
from spotify_ai_assets.recommendations.releases import Releases, keep_index
from spotify_ai_assets.resources.artifacts import Artifacts, Folder, Pointers, Version

Key = tuple[str, str]
"""An artifact and one of its versions."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What forgetting did.

    Attributes:
        replaced: By artifact, which version stands for which.
        removed: By artifact, the versions whose bytes are gone.
    """

    replaced: Mapping[str, Mapping[str, str]]
    removed: Mapping[str, list[str]]


def forget(
    artifacts: Artifacts, *, listeners: Collection[str] = (), tracks: Collection[str] = (), origin: Mapping[str, str] | None = None
) -> Forgotten:
    """Remove listeners and tracks from all models, indices and releases, and their bytes from the disk.

    Versions that a release pins or a pointer means are written anew; others that hold them are only removed. Call it while nobody
    publishes: what dead processes left half written is swept too.

    Args:
        artifacts: Where everything is kept.
        listeners: Pseudonyms.
        tracks: Tracks.
        origin: Who asks, such as ``dagster_run_id``; written into the histories of the pointers.
    """
    work = _Rewriting(_Sought(artifacts, frozenset(listeners), frozenset(tracks)))
    for version in artifacts.versions(MODEL):
        work.rewrite_model(version)
    for noun in NOUNS:
        for version in artifacts.versions(index_name(noun)):
            work.rewrite_index(noun, version)
    for version in artifacts.versions(RELEASE):
        work.rewrite_release(version)
    # The release last: whoever reads by the pointer finds whole releases, the old one or the new one.
    for name in (MODEL, *map(index_name, NOUNS), RELEASE):
        _point(artifacts, name, work.replaced.get(name, {}), dict(origin or {}))
    for name in (RELEASE, *map(index_name, NOUNS), MODEL):
        for version in work.gone.get(name, []):
            artifacts.remove(name, version)
    if isinstance(artifacts.place, Folder):
        artifacts.place.sweep()
    return Forgotten(work.replaced, work.gone)


def find_mentions(artifacts: Artifacts, *, listeners: Collection[str] = (), tracks: Collection[str] = ()) -> dict[str, list[str]]:
    """The versions that hold any of some listeners and tracks, by artifact: what ``forget`` would change, and nothing after it."""
    seek = _Sought(artifacts, frozenset(listeners), frozenset(tracks))
    holds = {MODEL: seek.in_model, RELEASE: seek.in_release, **{index_name(noun): partial(seek.in_index, noun) for noun in NOUNS}}
    found = {name: [each.version for each in artifacts.versions(name) if look(each)] for name, look in holds.items()}
    return {name: versions for name, versions in found.items() if versions}


@dataclass(frozen=True, slots=True)
class _Sought:
    """Who is looked for in versions."""

    artifacts: Artifacts
    listeners: frozenset[str]
    tracks: frozenset[str]

    def in_model(self, version: Version) -> bool:
        """Whether the model has one of the tracks among its items; one without a table of them belongs to no release."""
        return bool(self.tracks) and ITEMS in version.files and self._in_table(version)

    def in_release(self, version: Version) -> bool:
        """Whether the release tells of one of the tracks."""
        return bool(self.tracks) and self._in_table(version)

    def in_index(self, noun: str, version: Version) -> bool:
        """Whether one of them is in an index or the histories beside it."""
        from spotify_ai_assets.recommendations.indices.histories import ServedHistories

        folder = self.artifacts.place.local(f"{version.name}/{version.version}")
        has_history = noun == "listener" and ServedHistories.from_files(folder).mentions(self.listeners, self.tracks)
        return has_history or bool(self.in_vectors(noun, version))

    def in_vectors(self, noun: str, version: Version) -> list[str]:
        """Those who have a vector in an index."""
        from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

        sought = {"listener": self.listeners, "track": self.tracks}.get(noun)
        if not sought:
            return []
        index = VectorIndex.from_files(self.artifacts.place.local(f"{version.name}/{version.version}"))
        return [each for each in sorted(sought) if each in index]

    def _in_table(self, version: Version) -> bool:
        frame = pl.read_parquet(self.artifacts.place.local(f"{version.name}/{version.version}") / ITEMS, columns=["track_id"])
        return frame["track_id"].is_in(list(self.tracks)).any()


@dataclass(slots=True)
class _Rewriting:
    """What is written anew, and what goes."""

    sought: _Sought
    replaced: dict[str, dict[str, str]] = field(default_factory=dict)
    gone: dict[str, list[str]] = field(default_factory=dict)
    _wanted: set[Key] = field(default_factory=set)

    def __post_init__(self) -> None:
        artifacts = self.sought.artifacts
        for each in artifacts.versions(RELEASE):
            self._wanted |= {(RELEASE, each.version), *Release.from_json(each.facts).pins.items()}
        for name in (MODEL, *map(index_name, NOUNS)):
            now = artifacts.pointers(name)
            self._wanted |= {(name, each) for each in (*now.aliases.values(), *(old for former in now.former.values() for old in former))}

    def rewrite_model(self, version: Version) -> None:
        """Scrub a model that knows one of the tracks."""
        from spotify_ai_assets.recommendations.indices.histories import mark_removed
        from spotify_ai_assets.recommendations.models.recipes import pack, unpack
        from spotify_ai_assets.recommendations.models.scrubbing import scrub

        if not self.sought.in_model(version) or not self._must_write(version):
            return
        folder = self.sought.artifacts.fetch(MODEL, version.version)
        frame = pl.read_parquet(folder / ITEMS)
        columns = np.flatnonzero(frame["track_id"].is_in(list(self.sought.tracks)).to_numpy())
        marked, written = mark_removed(frame["track_id"].to_numpy(), self.sought.tracks), io.BytesIO()
        frame.with_columns(track_id=pl.Series(marked.tolist(), dtype=pl.String)).write_parquet(written)
        files = {path: folder / path for path in version.files} | pack(scrub(unpack(folder), columns)) | {ITEMS: written.getvalue()}
        self._replace(version, self.sought.artifacts.publish(MODEL, files, version.facts, version.origin).version)

    def rewrite_index(self, noun: str, version: Version) -> None:
        """Build an index without them, if it holds one of them or the model that it was made from was scrubbed."""
        from spotify_ai_assets.recommendations.indices.histories import ServedHistories
        from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

        before = Basis(**version.facts["basis"])
        basis = self._rebase(before)
        if (basis == before and not self.sought.in_index(noun, version)) or not self._must_write(version):
            return
        folder, lost = self.sought.artifacts.fetch(version.name, version.version), self.sought.in_vectors(noun, version)
        index, histories = VectorIndex.from_files(folder), ServedHistories.from_files(folder) if noun == "listener" else None
        fresh = keep_index(
            self.sought.artifacts,
            noun,
            index.without(lost) if lost else index,
            basis,
            histories=histories.without(self.sought.listeners, self.sought.tracks) if histories else None,
            figures=version.facts["figures"],
            origin=version.origin,
        )
        self._replace(version, fresh)

    def rewrite_release(self, version: Version) -> None:
        """Pin what was written anew, and strike the tracks from the items."""
        before = Release.from_json(version.facts)
        names = {noun: index_name(noun) for noun in NOUNS}
        indices = {noun: self.replaced.get(name, {}).get(before.pins[name], before.pins[name]) for noun, name in names.items()}
        release = before.repin(self._rebase(before.basis), indices)
        if (release == before and not self.sought.in_release(version)) or not self._must_write(version):
            return
        folder = self.sought.artifacts.fetch(RELEASE, version.version)
        items = pack_items(_strike(pl.read_parquet(folder / ITEMS), self.sought.tracks))
        files = {path: folder / path for path in version.files} | {ITEMS: items}
        self._replace(version, Releases(self.sought.artifacts).publish(release, files, version.origin))

    def _must_write(self, version: Version) -> bool:
        """Whether anybody needs the version in another shape; it goes in any case."""
        self.gone.setdefault(version.name, []).append(version.version)
        return (version.name, version.version) in self._wanted

    def _replace(self, version: Version, fresh: str) -> None:
        self.replaced.setdefault(version.name, {})[version.version] = fresh

    def _rebase(self, basis: Basis) -> Basis:
        """What vectors are made from now: the scrubbed model, and its id map."""
        fresh = self.replaced.get(MODEL, {}).get(basis.model)
        if fresh is None:
            return basis
        ids = pl.read_parquet(self.sought.artifacts.place.local(f"{MODEL}/{fresh}") / ITEMS)["track_id"]
        return replace(basis, model=fresh, items=items_digest(ids))


def _strike(items: pl.DataFrame, tracks: Collection[str]) -> pl.DataFrame:
    """Items of a release with nothing of some tracks but their rows."""
    from spotify_ai_assets.recommendations.indices.histories import mark_removed

    gone = pl.col("track_id").is_in(list(tracks))
    emptied = [pl.when(gone).then(pl.lit("")).otherwise(pl.col(name)).alias(name) for name in ("name", "artist_id", "artist_name")]
    struck = items.with_columns(
        *emptied,
        is_explicit=pl.col("is_explicit") & ~gone,
        released_on=pl.when(~gone).then("released_on"),
        is_removed=pl.col("is_removed") | gone,
    )
    return struck.with_columns(track_id=pl.Series(mark_removed(items["track_id"].to_numpy(), tracks).tolist(), dtype=pl.String))


def _point(artifacts: Artifacts, name: str, replaced: Mapping[str, str], origin: Mapping[str, str]) -> None:
    """Let every pointer of an artifact mean the versions written anew."""

    def move(now: Pointers) -> tuple[Pointers, Mapping[str, Any]] | None:
        aliases = {alias: replaced.get(version, version) for alias, version in now.aliases.items()}
        former = {alias: [replaced.get(version, version) for version in versions] for alias, versions in now.former.items()}
        if (aliases, former) == (dict(now.aliases), dict(now.former)):
            return None
        return Pointers(aliases, former, now.history), {"event": "scrubbed", "version": "", "replaced": dict(replaced), "origin": origin}

    if replaced:
        artifacts.change(name, move)
