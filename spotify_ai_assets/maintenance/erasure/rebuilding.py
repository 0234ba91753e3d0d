"""Making again what was made of people's listens: tables, the recommender, reports.

The recommender is trained beside the one that serves, in a folder of its own and as if there had been none before, so that nothing of
it depends on a model that had learnt from who is gone. Then its versions take the place of all former ones, which are removed: going
back to one that knew the person is not possible any more. Whoever asks meanwhile is answered by the old one, from which the person's
history and vector are struck first.
"""

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.maintenance.erasure.rewriting import drop_days, listened_days, remove_rows, vanished_days
from spotify_ai_assets.maintenance.erasure.targets import LEARNT, about_listeners
from spotify_ai_assets.maintenance.upkeep.orphans import mentions
from spotify_ai_assets.recommendations.contracts import EVALUATION
from spotify_ai_assets.recommendations.contracts import TABLES as RECOMMENDATIONS
from spotify_ai_assets.recommendations.manifests import MODEL, RELEASE
from spotify_ai_assets.recommendations.workshop import FORGETTING, Workshop
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.artifacts import Artifacts, Folder, Pointers, open_artifacts
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger, plan

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from spotify_ai_assets.resources.tracking import Tracking

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made again.

    Attributes:
        partitions: Of tables.
        dropped: Days that nothing is left of.
        rows: Rows about people that were left in tables which could not be made again, and were taken out of these.
        versions: Versions of models, indices and releases that were removed.
        is_trained: Whether the recommender was trained anew.
        pages: Files of reports that were removed, since their days are gone.
        left: What could not be done.
    """

    partitions: int
    dropped: int
    rows: Mapping[str, Any]
    versions: int
    is_trained: bool
    pages: int
    left: tuple[str, ...] = ()

    def figures(self) -> dict[str, Any]:
        """For the ledger."""
        rows = sum(each["rows"] for each in self.rows.values())
        return {
            "partitions": self.partitions,
            "days_dropped": self.dropped,
            "rows_taken_out": rows,
            "versions_removed": self.versions,
            "is_trained": self.is_trained,
            "report_files_removed": self.pages,
        }


def rebuild(
    instance: "DagsterInstance",
    lake: Lake,
    settings: Settings,
    pseudonyms: Collection[str],
    progress: Progress = lambda what: None,
    *,
    since: datetime | None = None,
) -> Rebuilt:
    """Make again everything that people's listens went into. May be repeated, also after it was killed.

    Args:
        instance: Where the runs are recorded.
        lake: The lake, without the people's listens by now.
        settings: Where everything lies.
        pseudonyms: Of the people.
        progress: Told what is being made.
        since: When the tables lost the people: whatever learnt before that goes; now, unless given.

    Raises:
        PlatformError: The recommender could not be trained, for another reason than that too little is left to learn from.
    """
    from spotify_ai_assets.backfill import run_backfill, select_tables
    from spotify_ai_assets.definitions import defs

    strike(settings, pseudonyms)
    tables = [table for table in select_tables([]) if table.key not in RECOMMENDATIONS]
    dropped = drop_days(lake, tables, vanished_days(lake, listened_days(lake)))
    outcome = run_backfill(
        defs(), instance, lake, tables, None, None, progress=lambda first, last, done, total: progress(f"{last} {done}/{total}")
    )
    # Of whom no pseudonym is known nothing was ever in the tables, so that nothing can have learnt from them.
    since = (since or datetime.now(UTC)) if pseudonyms else datetime.min.replace(tzinfo=UTC)
    versions, is_trained = _renew_recommender(instance, lake, settings, progress, since)
    rows = remove_rows(lake, about_listeners(lake.tables), pseudonyms)
    pages = drop_pages(lake, settings)
    refused = (f"{key}: {len(days)} partitions were refused" for key, days in sorted(outcome.refused.items()))
    left = (*refused, *(f"{key}: {reason}" for key, reason in sorted(outcome.failed.items())))
    return Rebuilt(outcome.made, sum(dropped.values()), rows, versions, is_trained, pages, left)


# The recommender -----------------------------------------------------------------------------------------------------------


def strike(settings: Settings, pseudonyms: Collection[str]) -> int:
    """Strike people from the histories and indices that serve, at once; gives how many versions were replaced or removed."""
    from spotify_ai_assets.recommendations.removal import find_mentions, forget

    artifacts = open_artifacts(settings)
    if not pseudonyms or not any(artifacts.versions(name) for name in LEARNT):
        return 0
    with open_locks(settings).exclusive(FORGETTING):
        if not find_mentions(artifacts, listeners=pseudonyms):
            return 0
        return sum(map(len, forget(artifacts, listeners=pseudonyms).removed.values()))


def retire(settings: Settings) -> int:
    """Remove every version of what learns from listeners, with the pointers to them; gives how many there were."""
    artifacts = open_artifacts(settings)
    with open_locks(settings).exclusive(FORGETTING):
        return _remove_others(artifacts, {})


def _renew_recommender(
    instance: "DagsterInstance", lake: Lake, settings: Settings, progress: Progress, since: datetime
) -> tuple[int, bool]:
    """Train the recommender anew if anything of it is out of date or what serves is older than a moment; else only remove the rest.

    Returns:
        How many versions went, and whether it was trained.
    """
    side, artifacts = side_settings(settings), open_artifacts(settings)
    keys = [table.key for table in RECOMMENDATIONS.values() if table.reads]
    has_any = any(artifacts.versions(name) for name in LEARNT)
    was_killed = side.data.exists()
    if not has_any and not was_killed:
        return 0, False
    is_stale = was_killed or bool(plan(lake.tables, keys, [], Ledger(lake.states)))
    if not is_stale and all(made >= since for made in _made_at(artifacts, _serving(artifacts, lake))):
        with open_locks(settings).exclusive(FORGETTING):
            return _remove_others(artifacts, _serving(artifacts, lake)), False
    _empty(side.data)
    progress("training")
    is_trained = _train(instance, lake, settings, side)
    versions = adopt(settings, side) if is_trained else retire(settings)
    shutil.rmtree(side.data)
    return versions, is_trained


def _empty(folder: Path) -> None:
    """A folder with nothing in it. It is never away: that it is there says that a training was begun and not adopted yet."""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _serving(artifacts: Artifacts, lake: Lake) -> dict[str, set[str]]:
    """By artifact that learns from listeners, the versions that an alias means or the evaluation names, and what these are made of."""
    known = {name: {each.version: each for each in artifacts.versions(name)} for name in LEARNT}
    waiting = [(name, each) for name in LEARNT for each in artifacts.pointers(name).aliases.values()]
    recipes = lake.scan(EVALUATION.key).select("recipe_version").unique().collect()["recipe_version"].drop_nulls()
    waiting += [(name, each) for name in LEARNT for each in recipes]
    found: dict[str, set[str]] = {}
    while waiting:
        name, version = waiting.pop()
        if version in known[name] and version not in found.setdefault(name, set()):
            found[name].add(version)
            named = mentions(known[name][version])
            waiting += [(other, each) for other, versions in known.items() for each in named & versions.keys()]
    return found


def _made_at(artifacts: Artifacts, versions: Mapping[str, Collection[str]]) -> list[datetime]:
    return [datetime.fromisoformat(artifacts.describe(name, each).created_at) for name, many in versions.items() for each in many]


@dataclass(frozen=True)
class SideWorkshop(Workshop):
    """A workplace in a folder beside, whose trainings are recorded where all are.

    Attributes:
        main: Names the store of trainings.
    """

    main: Settings | None = None

    @cached_property
    def tracking(self) -> "Tracking":
        """Where trainings are recorded."""
        return Workshop(self.main or self.settings).tracking


def side_settings(settings: Settings) -> Settings:
    """Settings of the folder in which a recommender is trained beside the one that serves; what is tracked goes to the same place."""
    return replace(settings, data=settings.data / "scratch" / "erasure")


def _train(instance: "DagsterInstance", lake: Lake, settings: Settings, side: Settings) -> bool:
    """Train from nothing; ``False`` where too little is left to learn from, or nothing may serve.

    Raises:
        PlatformError: It failed for another reason.
    """
    from spotify_ai_assets.catalog.embedding import TextStudio
    from spotify_ai_assets.contracts import SHARDS
    from spotify_ai_assets.launching import run_job
    from spotify_ai_assets.loading import asset_key
    from spotify_ai_assets.partitions import range_tags
    from spotify_ai_assets.runs import launch_tags

    resources = {"lake": lake, "settings": settings, "workshop": SideWorkshop(side, main=settings), "texts": TextStudio(settings)}
    selection = [asset_key(table) for table in RECOMMENDATIONS.values() if table.reads]
    try:
        run_job(instance, "recommendations_training", resources, launch_tags(**range_tags(SHARDS[0], SHARDS[-1])), selection)
    except PlatformError:
        history = open_artifacts(side).pointers(MODEL).history
        state = lake.state(EVALUATION.key, None)
        if any(each["event"] == "refused" for each in history) or state is None or not state.rows:
            return False
        raise
    return open_artifacts(side).pointers(RELEASE).aliases != {}


def adopt(settings: Settings, side: Settings) -> int:
    """Let what was trained beside take the place of all former versions.

    Returns:
        How many former versions were removed.
    """
    ours, theirs = open_artifacts(settings), open_artifacts(side)
    with open_locks(settings).exclusive(FORGETTING):
        kept: dict[str, set[str]] = {}
        for name in LEARNT:
            for each in theirs.versions(name):
                folder = theirs.fetch(name, each.version)
                ours.publish(name, {path: folder / path for path in each.files}, each.facts, each.origin)
                kept.setdefault(name, set()).add(each.version)
        for name in sorted(LEARNT, key=lambda name: name == RELEASE):  # the release last: readers find whole ones
            _point(ours, name, theirs.pointers(name).aliases)
        return _remove_others(ours, kept)


def _point(artifacts: Artifacts, name: str, aliases: Mapping[str, str]) -> None:
    """Let an artifact's pointers mean these and nothing before."""

    def move(now: Pointers) -> tuple[Pointers, Mapping[str, Any]] | None:
        if dict(now.aliases) == dict(aliases) and not any(now.former.values()):
            return None
        return Pointers(aliases, {}, now.history), {"event": "renewed", "version": "", "why": "erasure"}

    artifacts.change(name, move)


def _remove_others(artifacts: Artifacts, kept: Mapping[str, Collection[str]]) -> int:
    """Remove all versions of what learns from listeners but those kept."""
    removed = 0
    for name in sorted(LEARNT, key=lambda name: name != RELEASE):
        gone = [each.version for each in artifacts.versions(name) if each.version not in kept.get(name, ())]
        if not kept.get(name):
            _point(artifacts, name, {})
        for version in gone:
            artifacts.remove(name, version)
        removed += len(gone)
    if isinstance(artifacts.place, Folder):
        artifacts.place.sweep()
    return removed


# Reports -------------------------------------------------------------------------------------------------------------------


def drop_pages(lake: Lake, settings: Settings) -> int:
    """Remove pages and files of reports whose days are gone, and write the indexes anew; gives how many files."""
    from spotify_ai_assets.reports.publication import REPORTS, publish_days

    removed = 0
    for report in REPORTS.values():
        days = set(lake.states(report.table.key))
        orphans = [path for path in (settings.reports / report.name).rglob("*") if _day_of(path) not in (None, *days)]
        for path in orphans:
            path.unlink()
        if orphans and days:
            last = date.fromisoformat(max(days))
            publish_days(lake, settings, [last], [last], report)
        removed += len(orphans)
    return removed


def _day_of(path: Path) -> str | None:
    """The day that a file of a report is about, by its name."""
    stem = path.name.partition(".")[0]
    try:
        return date.fromisoformat(stem).isoformat() if path.is_file() else None
    except ValueError:
        return None
