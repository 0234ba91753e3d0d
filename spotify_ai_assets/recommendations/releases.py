"""Releases: which model, indices and items belong together, and which release serves.

A release is an immutable manifest that pins one version of everything that answers together. One pointer says which release
serves; it is replaced in one step, so that a reader in any process sees the old one or the new one whole. Each index says of what
it was made, and what does not belong together is refused, when a release is made as well as when it is opened.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.recommendations.manifests import (
    ITEMS,
    MODEL,
    NOUNS,
    RELEASE,
    Basis,
    MismatchedReleaseError,
    Release,
    compare,
    index_name,
    items_digest,
    pack_items,
    read_items,
)
from spotify_ai_assets.resources.artifacts import POINTERS, ArtifactError, Artifacts, Change, Content, Pointers, open_artifacts
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.training.errors import GateFailedError

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.indices.histories import ServedHistories
    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

__all__ = [
    "ITEMS",
    "MODEL",
    "NOUNS",
    "RELEASE",
    "Basis",
    "KeptRelease",
    "MismatchedReleaseError",
    "OpenedRelease",
    "Release",
    "Releases",
    "UnknownReleaseError",
    "index_name",
    "items_digest",
    "keep_index",
    "open_releases",
    "pack_items",
]

T = TypeVar("T")

_CURRENT = "current"


class UnknownReleaseError(PermanentError):
    """There is no such release, or none serves."""


@dataclass(frozen=True, slots=True)
class OpenedRelease:
    """A release that is ready to answer; all of it was verified.

    Attributes:
        version: Of the release.
        release: What it pins.
        items: All items, ``ITEM_COLUMNS``; the number of a row is the model's column where ``is_known_to_model``.
        tracks: Vectors of tracks, cold ones too.
        artists: Vectors of artists.
        listeners: Vectors of listeners.
        histories: What listeners have heard.
        model_folder: The files of the model.
    """

    version: str
    release: Release
    items: pl.DataFrame
    tracks: "VectorIndex"
    artists: "VectorIndex"
    listeners: "VectorIndex"
    histories: "ServedHistories"
    model_folder: Path


@dataclass(frozen=True, slots=True)
class KeptRelease:
    """A release among the artifacts.

    Attributes:
        version: 16 hexadecimal digits.
        release: What it pins.
        created_at: When it was made, ISO 8601.
        is_current: Whether it serves.
        is_former: Whether it served before and can be gone back to.
    """

    version: str
    release: Release
    created_at: str
    is_current: bool
    is_former: bool


def keep_index(
    artifacts: Artifacts,
    noun: str,
    index: "VectorIndex",
    basis: Basis,
    *,
    histories: "ServedHistories | None" = None,
    figures: Mapping[str, float] | None = None,
    origin: Mapping[str, str] | None = None,
) -> str:
    """Keep a version of an index.

    Args:
        artifacts: Where.
        noun: ``track``, ``artist`` or ``listener``.
        index: The index.
        basis: What its vectors are made from.
        histories: Of the listener index, what listeners have heard.
        figures: What was measured of it, such as ``recall_at_10``.
        origin: What differs between equal builds, such as ``dagster_run_id``.

    Returns:
        The version.

    Raises:
        MismatchedReleaseError: Histories over other items than those of the basis.
        ValueError: Histories beside another index than that of listeners, or none beside that.
    """
    if (histories is not None) != (noun == "listener"):
        raise ValueError("histories belong to the index of listeners")
    files = dict(index.files())
    if histories is not None:
        compare("items", basis.items, items_digest(histories.histories.items), "the basis", "the histories")
        files |= histories.files()
    facts = {
        "basis": asdict(basis),
        "kind": index.kind,
        "vectors": len(index),
        "dimensions": index.dimensions,
        "figures": {name: float(value) for name, value in (figures or {}).items()},
    }
    return artifacts.publish(index_name(noun), files, facts, origin).version


class Releases:
    """Releases over artifacts, and the pointer to the one that serves.

    Args:
        artifacts: Where everything is kept.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self.artifacts = artifacts
        self._pointer = artifacts.place.local(RELEASE) / POINTERS
        self._seen: tuple[tuple[int, ...], str | None] = (), None

    def publish(self, release: Release, files: Mapping[str, Content], origin: Mapping[str, str] | None = None) -> str:
        """Keep a release; it does not serve yet.

        Args:
            release: What it pins.
            files: Of the release itself: ``items.parquet`` with ``ITEM_COLUMNS``, and what else it needs.
            origin: What differs between equal releases, such as ``dagster_run_id``.

        Returns:
            The version.

        Raises:
            MismatchedReleaseError: Versions that do not belong together.
            ArtifactError: A pinned version is not there.
        """
        self._check_pins(release)
        if ITEMS not in files:
            raise ArtifactError(f"a release has a file {ITEMS}")
        read_items(files[ITEMS], release.basis)
        return self.artifacts.publish(RELEASE, files, release.as_json(), origin).version

    def current(self) -> str | None:
        """The version that serves; ``None`` before the first. One look at a file's status where nothing has changed."""
        try:
            status = self._pointer.stat()
        except FileNotFoundError:
            return None
        # The file only grows, since it holds its history: no two states have one signature, whatever the clock's resolution.
        signature = status.st_ino, status.st_mtime_ns, status.st_size
        seen, version = self._seen
        if seen != signature:
            version = self.artifacts.pointers(RELEASE).aliases.get(_CURRENT)
            self._seen = signature, version
        return version

    def kept(self) -> list[KeptRelease]:
        """All releases, the oldest first."""
        pointers = self.artifacts.pointers(RELEASE)
        current, former = pointers.aliases.get(_CURRENT), pointers.former.get(_CURRENT, [])
        return [
            KeptRelease(each.version, Release.from_json(each.facts), each.created_at, each.version == current, each.version in former)
            for each in self.artifacts.versions(RELEASE)
        ]

    def history(self) -> list[Mapping[str, Any]]:
        """All that happened, the oldest first: flipped, refused, rolled back, scrubbed, removed."""
        return list(self.artifacts.pointers(RELEASE).history)

    def describe(self, version: str) -> Release:
        """What a release pins.

        Raises:
            ArtifactError: There is no such release.
        """
        return Release.from_json(self.artifacts.describe(RELEASE, version).facts)

    def flip(self, version: str, *, force: bool = False, origin: Mapping[str, str] | None = None) -> None:
        """Let a release serve; the one that serves already once more is no event.

        Args:
            version: The release.
            force: Though its gate did not let it through, which is written into the history.
            origin: Who asks; written into the history.

        Raises:
            GateFailedError: Its gate did not let it through, or none has judged it; only the history has the refusal.
            MismatchedReleaseError: Versions that do not belong together.
            ArtifactError: A byte of it is not what it was.
        """
        release = self._verify(version)
        gate = release.gate
        is_refused = not force and (gate is None or not gate.passed)

        def point(now: Pointers) -> Change | None:
            self.describe(version)  # nobody removed it since it was verified
            current = now.aliases.get(_CURRENT)
            told = {"version": version, "before": current, "is_forced": force, "origin": dict(origin or {})}
            if is_refused:
                return now, {"event": "refused", **told}
            if current == version:
                return None
            former = [*now.former.get(_CURRENT, []), *([current] if current else [])]
            return Pointers({**now.aliases, _CURRENT: version}, {**now.former, _CURRENT: former}, now.history), {"event": "flipped", **told}

        self.artifacts.change(RELEASE, point)
        if is_refused:
            why = "; ".join(gate.failed) if gate else "no gate has judged it"
            raise GateFailedError(f"{RELEASE} {version} does not serve: {why}")

    def rollback(self, origin: Mapping[str, str] | None = None) -> str:
        """Let the release before serve again; once more, the one before that.

        Returns:
            The version.

        Raises:
            UnknownReleaseError: None served before.
            ArtifactError: A byte of it is not what it was.
        """

        def fall(now: Pointers) -> Change:
            former = list(now.former.get(_CURRENT, []))
            if not former:
                raise UnknownReleaseError("no release has served before this one")
            restored = former.pop()
            self._verify(restored)
            told = {"event": "rolled back", "version": restored, "before": now.aliases[_CURRENT], "origin": dict(origin or {})}
            return Pointers({**now.aliases, _CURRENT: restored}, {**now.former, _CURRENT: former}, now.history), told

        return self.artifacts.change(RELEASE, fall).aliases[_CURRENT]

    def open(self, version: str) -> OpenedRelease:
        """Read a release into memory; every byte was held against its sum.

        Raises:
            MismatchedReleaseError: Versions that do not belong together; the message names both.
            ArtifactError: There is no such release, or a byte of it is not what it was.
        """
        from spotify_ai_assets.recommendations.indices.histories import ServedHistories
        from spotify_ai_assets.recommendations.indices.vectors import VectorIndex

        release = self._verify(version)
        folders = {name: self.artifacts.place.local(f"{name}/{pinned}") for name, pinned in release.pins.items()}
        items = read_items(self.artifacts.place.local(f"{RELEASE}/{version}") / ITEMS, release.basis)
        tracks, artists, listeners = (VectorIndex.from_files(folders[index_name(noun)]) for noun in NOUNS)
        histories = ServedHistories.from_files(folders[index_name("listener")])
        compare("items", release.basis.items, items_digest(histories.histories.items), f"release {version}", "its histories")
        return OpenedRelease(version, release, items, tracks, artists, listeners, histories, folders[MODEL])

    def open_current(self) -> OpenedRelease:
        """Open what serves; errors are those of ``read_current``."""
        return self.read_current(lambda opened: opened)

    def read_current(self, read: Callable[[OpenedRelease], T]) -> T:
        """Open what serves and make something of it, such as its model; again where it was replaced and removed meanwhile.

        Raises:
            UnknownReleaseError: None serves yet.
            MismatchedReleaseError: Versions that do not belong together.
            ArtifactError: A byte is not what it was.
        """
        while True:
            version = self.current()
            if version is None:
                raise UnknownReleaseError("no release serves yet")
            try:
                return read(self.open(version))
            except (ArtifactError, FileNotFoundError):
                if self.current() == version:
                    raise

    def retain(self, former: int) -> list[str]:
        """Keep the release that serves and some of those before; remove older ones, and indices that nothing pins any more.

        What is younger than the release that serves stays, since it may be about to serve. Versions of the model belong to the
        registry and stay.

        Args:
            former: How many releases it must be possible to go back to.

        Returns:
            The versions of releases that were removed.
        """
        kept = self.kept()
        current = next((each for each in kept if each.is_current), None)
        if current is None:
            return []
        before = self.artifacts.pointers(RELEASE).former.get(_CURRENT, [])
        wanted = {current.version, *before[len(before) - former :]} if former else {current.version}
        gone = [each.version for each in kept if each.version not in wanted and each.created_at <= current.created_at]
        pinned = {pin for each in kept if each.version not in gone for pin in each.release.pins.items()}
        for version in gone:
            self.artifacts.remove(RELEASE, version)
        for name in map(index_name, NOUNS):
            in_use = set(self.artifacts.pointers(name).aliases.values())
            for each in self.artifacts.versions(name):
                if (name, each.version) not in pinned and each.version not in in_use and each.created_at <= current.created_at:
                    self.artifacts.remove(name, each.version)
        return gone

    def _verify(self, version: str) -> Release:
        """Hold every byte of a release and of what it pins against its sum, and the versions against each other."""
        self.artifacts.fetch(RELEASE, version)
        release = self.describe(version)
        self._check_pins(release, version)
        for name, pinned in release.pins.items():
            self.artifacts.fetch(name, pinned)
        return release

    def _check_pins(self, release: Release, version: str = "to come") -> None:
        """Hold what the pinned versions say of themselves against the release."""
        for name, pinned in release.pins.items():
            facts = self.artifacts.describe(name, pinned).facts
            if name == MODEL:
                continue
            found = Basis(**facts["basis"])
            # Listeners lie where their histories fold in, whatever texts and sounds place the tracks that nobody has played.
            parts = ("model", "items") if name == index_name("listener") else asdict(found)
            for what in parts:
                compare(what, getattr(release.basis, what), getattr(found, what), f"release {version}", f"{name} {pinned}")


def open_releases(settings: Settings) -> Releases:
    """The releases below the data folder."""
    return Releases(open_artifacts(settings))
