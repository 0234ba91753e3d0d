"""The registry: versions of models, who serves, what may replace it, and how to go back.

A version comes in as ``challenger``. It becomes ``champion`` only through a gate whose checks are computed again from their
figures at that moment, after every byte of it was verified; a refusal is written down like a promotion. A rollback restores the
champion before. Who opens a model says which extractor made its input, and another than the model was trained on is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.resources.artifacts import Artifacts, Change, Content, Pointers, Version, open_artifacts
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.training.adapters.allowed import OURS
from spotify_ai_assets.training.adapters.contract import Model
from spotify_ai_assets.training.adapters.opening import KINDS, open_model
from spotify_ai_assets.training.cards import JSON, MARKDOWN, card_files
from spotify_ai_assets.training.errors import ExtractorMismatchError, GateFailedError, UnknownModelError, UnsafeModelError
from spotify_ai_assets.training.gates import GateCheck, GateResult
from spotify_ai_assets.training.manifests import Manifest
from spotify_ai_assets.training.safety import refuse_unsafe

if TYPE_CHECKING:
    from spotify_ai_assets.resources.tracking import Tracking

CHAMPION, CHALLENGER = "champion", "challenger"
TRACKED = "mlflow_run_id"
"""In the origin of a version: the tracked run that made it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in the registry.

    Attributes:
        name: The model, such as ``audio/sound_model``.
        version: 16 hexadecimal digits.
        manifest: All that is known of it.
        aliases: What it is now, such as ``champion``.
        created_at: When it was first made.
        origin: The runs that made it.
    """

    name: str
    version: str
    manifest: Manifest
    aliases: tuple[str, ...]
    created_at: str
    origin: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is ready to answer.

    Attributes:
        entry: Which version it is.
        model: The model.
    """

    entry: Entry
    model: Model


class Registry:
    """Versions of models over artifacts.

    Args:
        artifacts: Where they are kept.
        tracking: Told of each version that a tracked run made.
        allowed: Packages whose classes a version may name.
    """

    def __init__(self, artifacts: Artifacts, tracking: "Tracking | None" = None, allowed: Sequence[str] = OURS) -> None:
        self._artifacts, self._tracking, self._allowed = artifacts, tracking, allowed

    def add(self, name: str, files: Mapping[str, Content], manifest: Manifest, origin: Mapping[str, str] | None = None) -> Entry:
        """Keep a version, with its card, as the challenger; one that is champion or challenger stays what it is.

        Args:
            name: The model.
            files: Its bytes, by path: only formats that hold no code.
            manifest: All that is known of it.
            origin: What differs between equal trainings, such as ``dagster_run_id`` and ``mlflow_run_id``.

        Raises:
            UnsafeModelError: A file could hold code, or no adapter opens such a model.
        """
        if manifest.kind not in KINDS:
            raise UnsafeModelError(f"{manifest.kind}: a model is one of {', '.join(KINDS)}")
        refuse_unsafe(files)
        whole = {**files, **card_files(name, manifest)}
        version = self._artifacts.publish(name, whole, manifest.as_json(), origin).version

        def stand(now: Pointers) -> Change | None:
            if version in now.aliases.values():
                return None
            return replace(now, aliases={**now.aliases, CHALLENGER: version}), {"event": "added", "version": version, **_noted(origin)}

        self._artifacts.change(name, stand)
        if self._tracking and origin and TRACKED in origin:
            self._tracking.tag(origin[TRACKED], {"model": name, "model_version": version})
        return self.entry(name, version)

    def names(self) -> list[str]:
        """All models: the artifacts that have a card, which indices, recipes and releases do not."""
        return self._artifacts.names(holding=JSON)

    def entries(self, name: str) -> list[Entry]:
        """All versions of a model, the oldest first."""
        aliases = self._artifacts.pointers(name).aliases
        return [_entry(version, aliases) for version in self._artifacts.versions(name)]

    def history(self, name: str) -> list[Mapping[str, Any]]:
        """All that happened to a model, the oldest first: added, promoted, refused, rolled back, removed."""
        return list(self._artifacts.pointers(name).history)

    def entry(self, name: str, which: str = CHAMPION) -> Entry:
        """A version by its name or by an alias.

        Raises:
            UnknownModelError: Nothing of the model has that alias.
        """
        aliases = self._artifacts.pointers(name).aliases
        return _entry(self._artifacts.describe(name, _resolve(name, which, aliases)), aliases)

    def open(self, name: str, which: str = CHAMPION, *, extractor: str) -> Opened:
        """Open a version to answer with.

        Args:
            name: The model.
            which: A version or an alias.
            extractor: Digest of what computed the input that it will be given.

        Raises:
            ExtractorMismatchError: The model was trained on the output of another extractor.
            UnknownModelError: Nothing of the model has that alias.
        """
        entry = self.entry(name, which)
        manifest = entry.manifest
        if manifest.extractor != extractor:
            raise ExtractorMismatchError(
                f"{name} {entry.version} was trained on features of extractor {manifest.extractor or 'none'},"
                f" these are of {extractor or 'none'}"
            )
        folder = self._artifacts.fetch(name, entry.version)
        model = open_model(folder, manifest.kind, manifest.make, manifest.inputs, self._allowed, ("manifest.json", MARKDOWN, JSON))
        return Opened(entry, model)

    def card(self, name: str, which: str = CHAMPION) -> str:
        """The card of a version in Markdown."""
        return self._artifacts.read(name, self.entry(name, which).version, MARKDOWN).decode()

    def promote(
        self, name: str, which: str = CHALLENGER, result: GateResult | None = None, origin: Mapping[str, str] | None = None
    ) -> tuple[Entry, GateResult]:
        """Make a version the champion, if its gate lets it; the champion once more is no event.

        Args:
            name: The model.
            which: A version or an alias.
            result: Of a gate that has just judged it; it and the one that is kept with the version must both let it through.
            origin: Who asks, such as ``dagster_run_id``; written into the history.

        Returns:
            The version, and what its gate says.

        Raises:
            GateFailedError: It may not be promoted; nothing changed but the history, which has the refusal.
            ArtifactError: A byte of it is not what it was.
        """
        version = self.entry(name, which).version
        self._artifacts.fetch(name, version)  # every byte, before anything is said of it
        manifest = self.entry(name, version).manifest
        judged = [each for each in (manifest.gate, result) if each is not None]
        outcome: list[GateResult] = []

        def rise(now: Pointers) -> Change | None:
            champion = now.aliases.get(CHAMPION)
            outcome.append(_judge_now(judged, champion, version))
            told = {"version": version, "before": champion, "gate": outcome[0].as_json(), **_noted(origin)}
            if not outcome[0].passed:
                return now, {"event": "refused", **told}
            if champion == version:
                return None
            aliases = {alias: each for alias, each in now.aliases.items() if (alias, each) != (CHALLENGER, version)}
            former = {**now.former, CHAMPION: [*now.former.get(CHAMPION, []), *([champion] if champion else [])]}
            return Pointers({**aliases, CHAMPION: version}, former, now.history), {"event": "promoted", **told}

        self._artifacts.change(name, rise)
        if not outcome[0].passed:
            raise GateFailedError(f"{name} {version} is not promoted: {'; '.join(outcome[0].failed) or 'no gate has judged it'}")
        return self.entry(name, version), outcome[0]

    def rollback(self, name: str, origin: Mapping[str, str] | None = None) -> Entry:
        """Restore the champion before; once more, the one before that.

        Args:
            name: The model.
            origin: Who asks; written into the history.

        Raises:
            UnknownModelError: There was no champion before.
            ArtifactError: A byte of it is not what it was.
        """

        def fall(now: Pointers) -> Change:
            former = list(now.former.get(CHAMPION, []))
            if not former:
                raise UnknownModelError(f"{name}: no champion before this one to go back to")
            restored = former.pop()
            self._artifacts.fetch(name, restored)
            told = {"event": "rolled back", "version": restored, "before": now.aliases[CHAMPION], **_noted(origin)}
            return Pointers({**now.aliases, CHAMPION: restored}, {**now.former, CHAMPION: former}, now.history), told

        self._artifacts.change(name, fall)
        return self.entry(name)


def open_registry(settings: Settings) -> Registry:
    """The registry below the data folder."""
    return Registry(open_artifacts(settings))


def _judge_now(judged: Sequence[GateResult], champion: str | None, version: str) -> GateResult:
    """All gates that have judged a version as one, with a check that they compared it with the champion of now."""
    checks = [check for each in judged for check in each.checks]
    rivals = {each.against for each in judged if each.against}
    if checks and rivals and champion != version:
        checks.append(GateCheck("compared with the champion of now", float(rivals == {champion}), ">=", 1.0))
    names = dict.fromkeys(each.gate for each in judged)
    return GateResult(", ".join(names) or "none", tuple(checks), next(iter(rivals), None))


def _resolve(name: str, which: str, aliases: Mapping[str, str]) -> str:
    if which in aliases:
        return aliases[which]
    if which in (CHAMPION, CHALLENGER):
        raise UnknownModelError(f"{name}: there is no {which}")
    return which


def _entry(version: Version, aliases: Mapping[str, str]) -> Entry:
    mine = tuple(alias for alias, each in aliases.items() if each == version.version)
    return Entry(version.name, version.version, Manifest.from_json(version.facts), mine, version.created_at, version.origin)


def _noted(origin: Mapping[str, str] | None) -> dict[str, Any]:
    return {"origin": dict(origin)} if origin else {}
