"""Cases: what the ledger says of each request to be forgotten, and the needles of open ones, sealed.

The ledger is append-only and holds keyed hashes and counts. What must be looked for, the real id and its pseudonyms, is known only as
long as a request is open: it lies sealed beside the ledger, and goes when the byte scan has found nothing.
"""

import calendar
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from spotify_ai_assets.errors import PermanentError, SettingsError
from spotify_ai_assets.resources.chain import Chain, Entry, Record
from spotify_ai_assets.resources.durable_file import replace_file
from spotify_ai_assets.resources.keys import has_key, open_key
from spotify_ai_assets.resources.storage import sync_path
from spotify_ai_assets.settings import Settings

State = Literal["requested", "suppressed", "keys_destroyed", "rewritten", "rebuilt", "purged", "vacuumed", "scanned", "receipted"]
STATES: tuple[State, ...] = (
    "requested",
    "suppressed",
    "keys_destroyed",
    "rewritten",
    "rebuilt",
    "purged",
    "vacuumed",
    "scanned",
    "receipted",
)
"""In the order in which a case goes through them."""

_NONCE = 12


class LostNeedlesError(PermanentError):
    """What an open case must look for is not there any more: the id must be given again."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request to be forgotten, as the ledger tells it.

    Attributes:
        request: Its id, 32 hexadecimal digits that say nothing.
        user: Keyed hash of the real id.
        pseudonyms: Keyed hashes of the pseudonyms.
        state: How far it is.
        requested_at: When it was taken up.
        due: When it must be done: one month later (GDPR, Art. 12(3)).
        rounds: How often the byte scan was done; more than once where something came in meanwhile.
        left: What kept the last scan from being clean.
        records: All that the ledger says of it, the oldest first.
    """

    request: str
    user: str
    pseudonyms: tuple[str, ...]
    state: State
    requested_at: datetime
    due: datetime
    rounds: int = 0
    left: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether there is no receipt yet."""
        return self.state != "receipted"

    @property
    def completed_at(self) -> datetime | None:
        """When the receipt was signed."""
        return None if self.is_open else self.records[-1].at

    def is_before(self, state: State) -> bool:
        """Whether it has that step still to do."""
        return STATES.index(self.state) < STATES.index(state)

    def skipped(self) -> list[str]:
        """What steps of this round could not do."""
        mine = [each for each in self.records if each.body.get("round") == self.rounds + 1]
        return list(dict.fromkeys(what for each in mine for what in each.body.get("skipped", ())))

    def figures(self, state: State) -> Mapping[str, Any]:
        """What was counted in a step, the last time."""
        return next((each.body.get("figures", {}) for each in reversed(self.records) if each.kind == state), {})

    def totals(self, state: State) -> dict[str, Any]:
        """What was counted in a step, every time that it was done: numbers are added up, of all else the last stands."""
        return add_figures(each.body.get("figures", {}) for each in self.records if each.kind == state)

    def as_json(self) -> dict[str, Any]:
        """What may be shown."""
        return {
            "request": self.request,
            "state": self.state,
            "requested_at": self.requested_at.isoformat(timespec="seconds"),
            "due": self.due.isoformat(timespec="seconds"),
            "completed_at": self.completed_at.isoformat(timespec="seconds") if self.completed_at else None,
            "rounds": self.rounds,
            "left": list(self.left),
        }


@dataclass(frozen=True, slots=True)
class Person:
    """Whom an open case is about. Never printed.

    Attributes:
        user: The real id.
        pseudonyms: All that the vault ever issued for it.
    """

    user: str = field(repr=False)
    pseudonyms: tuple[str, ...] = field(default=(), repr=False)


def add_figures(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of several times through a step: numbers added up, also those of mappings inside; of all else the last, and any ``True``."""
    found: dict[str, Any] = {}
    for figures in told:
        for name, value in figures.items():
            before = found.get(name)
            if isinstance(value, bool):
                found[name] = value or before is True
            elif isinstance(value, int | float) and isinstance(before, int | float):
                found[name] = before + value
            elif isinstance(value, Mapping):
                found[name] = add_figures([before if isinstance(before, Mapping) else {}, value])
            else:
                found[name] = value
    return found


def a_month_after(at: datetime) -> datetime:
    """The same time of the same day of the next month, or of its last day where it is shorter."""
    first = (at.replace(day=1) + timedelta(days=32)).replace(day=1)
    return first.replace(day=min(at.day, calendar.monthrange(first.year, first.month)[1]))


def read_cases(ledger: Chain) -> list[Case]:
    """All cases, the oldest first."""
    told: dict[str, list[Record]] = {}
    for record in ledger.records():
        if record.kind in STATES and "request" in record.body:
            told.setdefault(record.body["request"], []).append(record)
    return [_case(request, records) for request, records in told.items()]


def open_cases(ledger: Chain) -> list[Case]:
    """The cases without a receipt, the oldest first."""
    return [case for case in read_cases(ledger) if case.is_open]


def _case(request: str, records: list[Record]) -> Case:
    first = records[0]
    state: State = "requested"
    rounds, left = 0, ()
    for record in records:
        state = record.kind  # pyright: ignore[reportAssignmentType]: one of STATES, as was looked at
        if record.kind == "scanned":
            rounds, left = rounds + 1, tuple(record.body.get("left", ()))
            state = "requested" if left else "scanned"  # what was left over is gone through again from the beginning
    hashes = dict.fromkeys(each for record in records for each in record.body.get("pseudonyms", ()))
    due = datetime.fromisoformat(first.body["due"])
    return Case(request, first.body["user"], tuple(hashes), state, first.at, due, rounds, left, tuple(records))


def note_request(
    ledger: Chain, user: str, pseudonyms: Iterable[str], via: str, at: datetime, request: str | None = None, *, key_mark: str = ""
) -> str:
    """Take up a request; from here on its person is refused everywhere.

    Args:
        ledger: The ledger.
        user: Keyed hash of the real id.
        pseudonyms: Keyed hashes of its pseudonyms.
        via: How it came: ``command`` or ``file``.
        at: Now, from which on the month counts.
        request: Its id; a new one unless given.
        key_mark: What tells the key of the hashes from others, by ``Suppression.mark``.
    """
    request = request or new_request()
    body = {"request": request, "user": user, "pseudonyms": sorted(pseudonyms), "via": via, "due": a_month_after(at).isoformat()}
    body |= {"key_mark": key_mark} if key_mark else {}
    ledger.append_all([Entry("requested", body, f"{request} requested")])
    return request


def note_step(ledger: Chain, case: Case, state: State, **told: Any) -> None:
    """Note that a case has done a step; once, however often that is said in one round."""
    number = case.rounds + (state != "receipted")
    body = {"request": case.request, "user": case.user, "pseudonyms": list(case.pseudonyms), "round": number, **told}
    ledger.append_all([Entry(state, body, f"{case.request} {state} {number}")])


# Sealed needles ------------------------------------------------------------------------------------------------------------


class SealedPeople:
    """Who open cases are about, each in a file of AES-256-GCM (NIST SP 800-38D) under the key of the ledger.

    Args:
        settings: Name the data folder and the key.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.data / "ledger" / "open"

    def keep(self, request: str, person: Person) -> None:
        """Seal a person, durably, in the place of what was sealed for the request before."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        text = json.dumps({"user": person.user, "pseudonyms": list(person.pseudonyms)}).encode()
        nonce = os.urandom(_NONCE)
        with replace_file(self._path(request)) as file:
            file.write(nonce + AESGCM(self._key()).encrypt(nonce, text, request.encode()))

    def open(self, request: str) -> Person:
        """Whom a request is about.

        Raises:
            LostNeedlesError: Nothing is sealed for it, as after a restore.
            SettingsError: It was sealed with another key, with one that is not there any more, or was damaged.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            sealed = self._path(request).read_bytes()
        except FileNotFoundError:
            raise LostNeedlesError(f"request {request[:8]}: whom it is about is not known any more; give the id again") from None
        if not has_key(self._settings, "ledger"):
            raise SettingsError("the key of the ledger, by which an open request for erasure was sealed, is not there")
        try:
            told = json.loads(AESGCM(self._key()).decrypt(sealed[:_NONCE], sealed[_NONCE:], request.encode()))
        except (InvalidTag, ValueError):
            raise SettingsError("an open request for erasure was sealed with another key than SPOTIFY_AI_LEDGER_KEY") from None
        return Person(told["user"], tuple(told["pseudonyms"]))

    def requests(self) -> list[str]:
        """The requests for which somebody is sealed."""
        return sorted(path.stem for path in self.folder.glob("*.sealed")) if self.folder.exists() else []

    def drop(self, request: str) -> None:
        """Remove what is sealed; nothing, where nothing is."""
        if self._path(request).exists():
            self._path(request).unlink()
            sync_path(self.folder)

    def _path(self, request: str) -> Path:
        return self.folder / f"{request}.sealed"

    def _key(self) -> bytes:
        return open_key(self._settings, "ledger")


def new_request() -> str:
    """An id of a request that says nothing."""
    return uuid.uuid4().hex
