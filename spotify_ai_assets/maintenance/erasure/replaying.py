"""Replaying the ledger on a restored platform: whoever was erased since, or before, is erased from it before anybody opens it.

A backup holds people who asked to be forgotten after it was made. The ledger knows them by keyed hashes only, so everybody in the
restored vault and every pseudonym in the restored tables is hashed and compared. Nothing is made again here: tables that others are made
from lose the rows, those that were made lose them too and are out of date by that, and whatever learnt from people is retired, to be
trained at the first chance.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from spotify_ai_assets.listening.contracts import KEPT_FILES
from spotify_ai_assets.maintenance.erasure.cases import Person
from spotify_ai_assets.maintenance.erasure.evidence import look, places, roots_of
from spotify_ai_assets.maintenance.erasure.purging import clear_stores, clear_stream, remove_kept
from spotify_ai_assets.maintenance.erasure.rebuilding import drop_pages, retire
from spotify_ai_assets.maintenance.erasure.rewriting import (
    drop_days,
    drop_empty_days,
    is_theirs,
    listened_days,
    remove_rows,
    vanished_days,
)
from spotify_ai_assets.maintenance.erasure.targets import about_listeners, pseudonym_columns, touched_by_listeners
from spotify_ai_assets.resources import open_lake, open_vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

Progress = Callable[[str], None]
_TOGETHER = 50_000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did.

    Attributes:
        listeners: People who were found and erased.
        rows: Rows that are gone, by table.
        versions: Versions of models and indices that were retired.
        files: Files that were removed.
        seconds: How long it took.
        left: Where something of them may be left; where it is not empty, the platform must not be opened.
    """

    listeners: int
    rows: Mapping[str, int] = field(default_factory=dict)
    versions: int = 0
    files: int = 0
    seconds: float = 0.0
    left: tuple[str, ...] = ()


def replay(restored: Settings, suppression: Suppression, *, progress: Progress = lambda what: None) -> Replayed:
    """Erase from a restored platform everybody whom the ledger knows. May be repeated, also after it was killed.

    Args:
        restored: Settings whose data folder, lake, vault and tracking store are the restored ones.
        suppression: Over the newest ledger there is, with the key of the platform that runs.
        progress: Told what is being done.

    Returns:
        What was done; with nobody found, hardly anything.

    Raises:
        TransientError: A database or lock does not answer; try again.
    """
    started = time.monotonic()
    lake = open_lake(restored, TABLES)
    progress("looking for the erased")
    people = find_erased(restored, lake, suppression)
    if not people:
        return Replayed(0, seconds=time.monotonic() - started)
    pseudonyms = [each for person in people.values() for each in person.pseudonyms]
    progress("removing")
    _forget_live(restored, pseudonyms)
    _take_landed(restored, lake, suppression)
    kept = lake.scan(KEPT_FILES.key).filter(is_theirs(KEPT_FILES, pseudonyms)).collect()["file_sha256"]
    files = remove_kept(restored, kept)
    tables = about_listeners(lake.tables)
    gone = remove_rows(lake, [table for table in tables if not table.reads], pseudonyms)
    drop_empty_days(lake)
    # What was made still says of what, which it no longer does once rows were taken out of it.
    drop_days(lake, [table for table in lake.tables.values() if table.reads], vanished_days(lake, listened_days(lake)))
    gone |= remove_rows(lake, [table for table in tables if table.reads], pseudonyms)
    rows = {key: each["rows"] for key, each in gone.items()}
    files += drop_pages(lake, restored)
    versions = retire(restored)
    _messages, is_empty = clear_stream(restored, pseudonyms)
    users = [person.user for person in people.values() if person.user]
    files += clear_stores(restored, people, [*users, *pseudonyms])["files"]
    for table in touched_by_listeners(lake.tables):
        lake.forget_history(table.key)
    # The vault last: as long as it knows them, a replay that was killed finds them again.
    open_vault(restored).forget(*pseudonyms)
    progress("looking again")
    found = look(restored, people, roots_of(restored))
    left = places(found) + ([] if is_empty else ["stream: a worker reads it"])
    return Replayed(len(people), rows, versions, files, round(time.monotonic() - started, 3), tuple(left))


def find_erased(restored: Settings, lake: Lake, suppression: Suppression) -> dict[str, Person]:
    """Everybody whom the ledger knows and whom something of the restored platform still names, numbered."""
    found: dict[str, Person] = {}
    vault = open_vault(restored)
    known: dict[str, str] = {}
    batch: list[tuple[str, str]] = []

    def settle() -> None:
        users = suppression.is_suppressed(user for user, _ in batch)
        gone = suppression.are_suppressed_pseudonyms(pseudonym for _, pseudonym in batch)
        known.update({pseudonym: user for user, pseudonym in batch if user in users or pseudonym in gone})
        batch.clear()

    for pair in vault.walk():
        batch.append(pair)
        if len(batch) >= _TOGETHER:
            settle()
    settle()
    for pseudonym in suppression.are_suppressed_pseudonyms(_pseudonyms_in(lake)):
        known.setdefault(pseudonym, "")
    for number, (pseudonym, user) in enumerate(sorted(known.items())):
        found[f"{number:08}"] = Person(user, (pseudonym,))
    return found


def _pseudonyms_in(lake: Lake) -> set[str]:
    """Every pseudonym in a table."""
    found: set[str] = set()
    for table in about_listeners(lake.tables):
        for column in pseudonym_columns(table):
            found |= set(lake.scan(table.key).select(pl.col(column).unique()).collect(engine="streaming")[column].drop_nulls())
    return found


def _take_landed(restored: Settings, lake: Lake, suppression: Suppression) -> None:
    """Take in what had landed, without the erased: a file may hold others too, so that it cannot just be removed."""
    from spotify_ai_assets.listening.intake import Intake
    from spotify_ai_assets.listening.landing import open_landing

    landing = open_landing(restored)
    intake = Intake(
        lake,
        open_vault(restored),
        listener=restored.listener,
        scratch=restored.data / "scratch",
        now=datetime.now(UTC),
        erased=suppression.is_suppressed,
    )
    for path in landing.files():
        try:
            reports = intake.take(path)
        except Exception as error:  # it stays where it is, and the byte scan finds whoever is in it
            _LOG.warning("%s: had landed and could not be taken in: %s", intake.digest[:12], type(error).__name__)
        else:
            landing.done(path, intake.digest, reports, may_keep=False)


def _forget_live(restored: Settings, pseudonyms: Collection[str]) -> None:
    from spotify_ai_assets.recommendations.realtime.live import open_live

    path = restored.data / "live" / "live.db"
    if not restored.stream_url and not path.exists():
        return
    live = open_live(restored)
    try:
        live.forget(pseudonyms, datetime.now(UTC))
    finally:
        live.close()
