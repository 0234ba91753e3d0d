"""The steps of an erasure: each is noted in the ledger when it is done, each may be repeated, and who is killed goes on where they were.

A case is closed only by a byte scan that read everything and found nothing. What came in meanwhile, or could not be reached, keeps it
open: it is gone through again from the beginning, the next day at the latest.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.errors import PermanentError, PlatformError, TransientError
from spotify_ai_assets.listening.contracts import KEPT_FILES
from spotify_ai_assets.maintenance.backup.ledgers import copy_ledger
from spotify_ai_assets.maintenance.backup.saving import ERASURE_LOCK
from spotify_ai_assets.maintenance.erasure.accepting import Desk
from spotify_ai_assets.maintenance.erasure.cases import (
    Case,
    Person,
    SealedPeople,
    State,
    note_step,
    open_cases,
    read_cases,
)
from spotify_ai_assets.maintenance.erasure.evidence import databases_of, look, places, roots_of
from spotify_ai_assets.maintenance.erasure.purging import (
    clear_stores,
    clear_stream,
    forget_trainings,
    has_locked_files,
    remove_kept,
    wanted_trainings,
)
from spotify_ai_assets.maintenance.erasure.receipts import sign_receipt
from spotify_ai_assets.maintenance.erasure.rewriting import drop_empty_days, is_theirs, remove_rows
from spotify_ai_assets.maintenance.erasure.targets import about_listeners, touched_by_listeners, unregistered
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.artifacts import open_artifacts
from spotify_ai_assets.resources.audit import ERASURE, Deed, open_audit, who_asks
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from spotify_ai_assets.maintenance.erasure.scanning import ScanResult
    from spotify_ai_assets.resources.identities import Vault
    from spotify_ai_assets.resources.lake import Lake

_LOG = logging.getLogger(__name__)

Progress = Callable[[str, str], None]
"""Told a step and how far it is."""

BACKUP_S = 3600.0
"""How long a backup is waited for, which holds off erasures while it copies."""

ROUNDS = 2
"""How often a call goes through all steps at most: a second time finds what was on its way during the first."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What an erasure works with.

    Attributes:
        settings: Where everything lies.
        lake: All tables.
        vault: Real ids and their pseudonyms.
        instance: Where what is made again is recorded.
        who: Who does it, for the audit trail.
        run_id: The run that does it.
        trace_id: The trace that it belongs to.
        clock: Tells the present.
        hook: Told ``before`` or ``after`` and a step, at each transition; for tests that die there.
    """

    settings: Settings
    lake: "Lake"
    vault: "Vault"
    instance: "DagsterInstance"
    who: Mapping[str, str] = field(default_factory=who_asks)
    run_id: str = ""
    trace_id: str = ""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    hook: Callable[[str, str], None] = lambda when, step: None

    @property
    def ledger(self) -> Chain:
        """The ledger of erasures."""
        return Chain(self.settings.ledger_url, ERASURE, self.clock)

    @property
    def desk(self) -> Desk:
        """Where requests are taken up."""
        return Desk(self.settings, self.vault, self.ledger, self.clock)


@dataclass(slots=True)
class _Batch:
    """The cases that go through the steps together, and whom they are about."""

    tools: Tools
    ledger: Chain
    cases: list[Case]
    people: dict[str, Person]
    progress: Progress
    skipped: list[str] = field(default_factory=list)
    """What the step could not do; it keeps the cases open."""

    @property
    def since(self) -> datetime:
        """When the tables lost the last of these people; what learnt before that may have learnt from them."""
        return max(_rewritten_at(case) for case in self.cases)

    @property
    def users(self) -> list[str]:
        """Real ids."""
        return [person.user for person in self.people.values()]

    @property
    def pseudonyms(self) -> list[str]:
        """All pseudonyms."""
        return [each for person in self.people.values() for each in person.pseudonyms]


Step = Callable[[_Batch], Mapping[str, Any]]


def erase(tools: Tools, requests: Sequence[str] | None = None, progress: Progress = lambda step, how_far: None) -> list[Case]:
    """Bring open cases to their receipts, together: what must be made again is made once for all of them.

    One that cannot be brought any further is told of and holds up nobody else.

    Args:
        tools: What it works with.
        requests: Which cases; all open ones unless given.
        progress: Told the steps.

    Returns:
        These cases as they are afterwards; one that is still open says what is left.

    Raises:
        PlatformError: A step failed for all of them, or something did not answer; another call goes on from there.
    """
    tools.desk.settle_sealed()
    ledger = tools.ledger
    wanted = {case.request for case in open_cases(ledger)} if requests is None else set(requests)
    stuck: dict[str, str] = {}
    with open_locks(tools.settings, BACKUP_S).exclusive(ERASURE_LOCK):
        for _ in range(ROUNDS):
            if not _go_together(tools, ledger, wanted - stuck.keys(), stuck, progress):
                break
    copy_ledger(tools.settings)
    return [_told_of(case, stuck) for case in read_cases(ledger) if case.request in wanted]


def _told_of(case: Case, stuck: Mapping[str, str]) -> Case:
    return replace(case, left=tuple(dict.fromkeys((*case.left, stuck[case.request])))) if case.request in stuck and case.is_open else case


def _go_together(tools: Tools, ledger: Chain, wanted: set[str], stuck: dict[str, str], progress: Progress) -> bool:
    """One time through all steps, all cases together; where that fails for good, one after the other, so that one fails alone."""
    try:
        return _go_round(tools, ledger, wanted, stuck, progress)
    except TransientError:
        raise
    except PlatformError:
        if len(wanted - stuck.keys()) < 2:
            raise
    failed: dict[str, PlatformError] = {}
    for request in sorted(wanted - stuck.keys()):
        try:
            _go_round(tools, ledger, {request}, stuck, progress)
        except TransientError:
            raise
        except PlatformError as error:
            _LOG.warning("request %s: %s", request[:8], error)
            failed[request] = error
    if failed and failed.keys() == wanted - stuck.keys():
        raise next(iter(failed.values()))
    stuck |= {request: str(error) for request, error in failed.items()}
    return any(case.is_open for case in read_cases(ledger) if case.request in wanted - stuck.keys())


def _go_round(tools: Tools, ledger: Chain, wanted: set[str], stuck: dict[str, str], progress: Progress) -> bool:
    """One time through all steps; gives whether some case must go through them again. What is stuck at its beginning is told of."""
    cases = [case for case in open_cases(ledger) if case.request in wanted]
    sealed = SealedPeople(tools.settings)
    people = _whom(tools, [case for case in cases if case.is_before("scanned")], sealed, stuck)
    batch = _Batch(tools, ledger, [case for case in cases if case.request in people], people, progress)
    for step, do in _STEPS:
        _take_step(batch, step, do)
    for case in [case for case in read_cases(ledger) if case.request in wanted and case.state == "scanned"]:
        _close(tools, ledger, case, sealed)
    return any(case.is_open for case in read_cases(ledger) if case.request in wanted - stuck.keys())


def _whom(tools: Tools, cases: Sequence[Case], sealed: SealedPeople, stuck: dict[str, str]) -> dict[str, Person]:
    """Whom cases are about. What was sealed is lost by a restore: then the vault may still know; else the id must be given again.

    Args:
        tools: What the erasure works with.
        cases: The cases.
        sealed: Knows whom they are about.
        stuck: Is told of those of whom nobody knows.
    """
    found: dict[str, Person] = {}
    lost = dict[str, str]()
    for case in cases:
        try:
            found[case.request] = _sought(sealed.open(case.request), case.request)
        except PlatformError as error:  # lost, damaged or blank: it is told of, and the others go on
            lost[case.user] = case.request
            stuck[case.request] = str(error)
            _LOG.warning("%s", error)
    if lost:
        suppression = Suppression(tools.settings, tools.ledger)
        for user, pseudonym in tools.vault.walk():
            if user.strip() and (request := lost.get(suppression.hash("user", user))):
                found[request] = Person(user, (pseudonym,))
                sealed.keep(request, found[request])
                del stuck[request]
    return found


def _sought(person: Person, request: str) -> Person:
    """The person, where there is something to be sought.

    Raises:
        PermanentError: The id is blank, as it could be in former versions: it would be found everywhere.
    """
    if not person.user.strip():
        raise PermanentError(f"request {request[:8]}: the id that was given is blank")
    return person


def _rewritten_at(case: Case) -> datetime:
    """When the tables last lost something of a person; when they were first looked through, where they never held any."""
    told = [each for each in case.records if each.kind == "rewritten"]
    lost = [each for each in told if each.body.get("figures", {}).get("tables")]
    return lost[-1].at if lost else told[0].at if told else case.requested_at


def _take_step(batch: _Batch, step: State, do: Step) -> None:
    """Do a step for the cases that have it still to do, and note it."""
    waiting = [case for case in batch.cases if case.is_before(step)]
    if not waiting:
        return
    batch.tools.hook("before", step)
    batch.progress(step, "")
    people = {case.request: batch.people[case.request] for case in waiting}
    started, mine = time.monotonic(), replace(batch, cases=waiting, people=people, skipped=[])
    told = dict(do(mine))
    batch.people |= mine.people
    left = told.pop("left", None)
    figures = {**told, "seconds": round(time.monotonic() - started, 3)}
    suppression = Suppression(batch.tools.settings, batch.ledger)
    for case in waiting:
        hashes = tuple(suppression.hash("pseudonym", each) for each in batch.people[case.request].pseudonyms)
        known = replace(case, pseudonyms=tuple(dict.fromkeys((*case.pseudonyms, *hashes))))
        outcome = {"skipped": mine.skipped} if left is None else {"left": left}
        note_step(batch.ledger, known, step, figures=figures, cases=len(waiting), **outcome)
    now = {case.request: case for case in read_cases(batch.ledger)}
    batch.cases = [now[case.request] for case in batch.cases]
    batch.tools.hook("after", step)


# The steps -----------------------------------------------------------------------------------------------------------------


def _suppress(batch: _Batch) -> Mapping[str, Any]:
    """Intake and stream refuse the person since the request; here services stop to answer by what they knew, and late pseudonyms show."""
    from spotify_ai_assets.listening.intake import INTAKE_LOCK
    from spotify_ai_assets.recommendations.realtime.live import open_live

    tools, sealed = batch.tools, SealedPeople(batch.tools.settings)
    with open_locks(tools.settings, BACKUP_S).exclusive(INTAKE_LOCK):
        pass  # files that were being imported when the request came are committed now, and later ones are refused the person
    for request, person in batch.people.items():
        # An import that was under way when the request came may have met somebody whom the vault did not know.
        found = tools.vault.find(person.user)
        if found and found not in person.pseudonyms:
            batch.people[request] = Person(person.user, (*person.pseudonyms, found))
            sealed.keep(request, batch.people[request])
    if batch.pseudonyms and (tools.settings.stream_url or (tools.settings.data / "live" / "live.db").exists()):
        live = open_live(tools.settings)
        try:
            live.forget(batch.pseudonyms, tools.clock())
        finally:
            live.close()
    return {"pseudonyms": len(batch.pseudonyms)}


def _destroy_keys(batch: _Batch) -> Mapping[str, Any]:
    """Remove the person from the vault: nothing leads from the pseudonym to them any more."""
    return {"people": batch.tools.vault.forget(*batch.pseudonyms)}


def _rewrite(batch: _Batch) -> Mapping[str, Any]:
    """Take in what has landed, without the person, and write what intake fills anew without their rows."""
    from spotify_ai_assets.importing import run_import
    from spotify_ai_assets.listening.landing import open_landing

    tools = batch.tools
    landing = open_landing(tools.settings)
    if landing.files():
        try:
            run_import(tools.instance, tools.lake, tools.settings, landing)
        except PlatformError:
            batch.skipped.append("landing: what has landed could not be taken in")
    kept = tools.lake.scan(KEPT_FILES.key).filter(is_theirs(KEPT_FILES, batch.pseudonyms)).collect()
    files = remove_kept(tools.settings, kept["file_sha256"])
    sources = [table for table in about_listeners(tools.lake.tables) if not table.reads]
    tables = remove_rows(tools.lake, sources, batch.pseudonyms)
    return {"tables": tables, "kept_files": files, "days_emptied": drop_empty_days(tools.lake)}


def _rebuild(batch: _Batch) -> Mapping[str, Any]:
    """Make again what was made of the person's listens."""
    from spotify_ai_assets.maintenance.erasure.rebuilding import rebuild

    tools = batch.tools
    watch = partial(batch.progress, "rebuilt")
    rebuilt = rebuild(tools.instance, tools.lake, tools.settings, batch.pseudonyms, watch, since=batch.since)
    batch.skipped += rebuilt.left
    return rebuilt.figures()


def _purge(batch: _Batch) -> Mapping[str, Any]:
    """Remove what lies beside the lake, where the byte scan finds the person."""
    settings = batch.tools.settings
    messages, is_empty = clear_stream(settings, batch.pseudonyms)
    if not is_empty:
        batch.skipped.append("stream: its worker has not let go of all messages yet")
    if has_locked_files(settings):
        batch.skipped.append("kept: nobody can tell whose the files are without SPOTIFY_AI_LANDING_KEY; give it, or remove them by hand")
    trainings = forget_trainings(settings, wanted_trainings(settings))
    cleared = clear_stores(settings, batch.people, [*batch.users, *batch.pseudonyms])
    return {"messages": messages, "trainings": trainings, **cleared}


def _vacuum(batch: _Batch) -> Mapping[str, Any]:
    """End the past of every table that the person's listens went into, and remove the bytes that only it needed."""
    tools, tables = batch.tools, touched_by_listeners(batch.tools.lake.tables)
    for number, table in enumerate(tables, 1):
        batch.progress("vacuumed", f"{number}/{len(tables)}")
        tools.lake.forget_history(table.key)
    return {"tables": len(tables)}


def _scan(batch: _Batch) -> Mapping[str, Any]:
    """Read every byte and look for the person."""
    settings = batch.tools.settings

    def watch(store: str, done: int, total: int | None) -> None:
        batch.progress("scanned", f"{store} {done}/{total}")

    databases = databases_of(settings, batch.tools.instance)
    found = look(settings, batch.people, roots_of(settings), watch, databases=databases)
    skipped = [what for case in batch.cases for what in case.skipped()]
    left = [*skipped, *unregistered(open_artifacts(settings).names(), data_folders(settings.data)), *places(found)]
    return {**_told(found), "left": list(dict.fromkeys(left))}


def _told(found: "ScanResult") -> dict[str, Any]:
    told = found.as_json()
    told["hits"], told["undecodable"] = sum(each.count for each in found.hits), len(found.undecodable)
    return told


_STEPS: tuple[tuple[State, Step], ...] = (
    ("suppressed", _suppress),
    ("keys_destroyed", _destroy_keys),
    ("rewritten", _rewrite),
    ("rebuilt", _rebuild),
    ("purged", _purge),
    ("vacuumed", _vacuum),
    ("scanned", _scan),
)


def _close(tools: Tools, ledger: Chain, case: Case, sealed: SealedPeople) -> None:
    """Forget whom a case is about, and sign its receipt."""
    tools.hook("before", "receipted")
    sealed.drop(case.request)
    signed = sign_receipt(tools.settings, case)
    deed = Deed(
        "erased",
        subject=case.request,
        who=tools.who,
        run_id=tools.run_id,
        trace_id=tools.trace_id,
        outputs={"receipt_sha256": signed["receipt_sha256"]},
        figures=_summary(case, tools.clock()),
        once=f"erased {case.request}",
    )
    open_audit(tools.settings).record_all([deed])
    note_step(ledger, case, "receipted", **signed)
    tools.hook("after", "receipted")


def _summary(case: Case, now: datetime) -> dict[str, Any]:
    """What was done about a case in all, however often it went through the steps; of the scans the last one, which found nothing."""
    scanned, rewritten = case.figures("scanned"), case.totals("rewritten")
    seconds = sum(float(each.body.get("figures", {}).get("seconds", 0)) for each in case.records)
    return {
        "seconds": round(seconds, 3),
        "days": round((now - case.requested_at).total_seconds() / 86_400, 3),
        "rounds": case.rounds,
        "rows": sum(each["rows"] for each in rewritten.get("tables", {}).values()),
        "partitions": case.totals("rebuilt").get("partitions", 0),
        "scanned_files": scanned.get("files", 0),
        "scanned_bytes": scanned.get("bytes", 0),
    }


def preview(tools: Tools, listener: str) -> dict[str, Any]:
    """What an erasure of a listener would reach; nothing is changed.

    Args:
        tools: What it works with.
        listener: The real id.
    """
    from spotify_ai_assets.maintenance.erasure.rewriting import count_rows
    from spotify_ai_assets.recommendations.removal import find_mentions

    pseudonym = tools.vault.find(listener)
    people = {"": Person(listener, (pseudonym,) if pseudonym else ())}
    found = look(tools.settings, people, roots_of(tools.settings), databases=databases_of(tools.settings, tools.instance))
    versions: Mapping[str, list[str]] = {}
    if pseudonym:
        with suppress(FileNotFoundError):
            versions = find_mentions(open_artifacts(tools.settings), listeners=[pseudonym])
    return {
        "is_known": pseudonym is not None,
        "tables": count_rows(tools.lake, [pseudonym]) if pseudonym else {},
        "made_again": [table.key for table in touched_by_listeners(tools.lake.tables) if table.reads],
        "versions": {name: len(each) for name, each in versions.items()},
        "stores": {name: count.hits for name, count in found.by_store.items() if count.hits},
        "files_scanned": found.files,
        "undecodable": len(found.undecodable),
    }


def data_folders(data: Path) -> list[str]:
    """The folders directly below the data folder."""
    return sorted(path.name for path in data.iterdir() if path.is_dir()) if data.exists() else []
