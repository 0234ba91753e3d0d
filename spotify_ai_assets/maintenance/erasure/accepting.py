"""Taking up requests: from the command line, or as files that somebody put into the folder of requests.

A request counts from the moment at which the ledger has it; its person is refused everywhere from then on, and the month begins. What a
file said is removed once it is sealed.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from spotify_ai_assets.errors import ContractError, PlatformError
from spotify_ai_assets.listening.landing import list_files
from spotify_ai_assets.maintenance.backup.ledgers import copy_ledger
from spotify_ai_assets.maintenance.erasure.cases import Person, SealedPeople, new_request, note_request, open_cases
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings

KINDS = ("erasure", "access")
ANSWERS = "answers"
"""The folder among the requests in which exports wait to be fetched."""
_LONGEST = 65_536
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where requests are taken up.

    Attributes:
        settings: Where everything lies.
        vault: Knows who has which pseudonym.
        ledger: The ledger of erasures.
        clock: Tells the present.
    """

    settings: Settings
    vault: Vault
    ledger: Chain
    clock: Callable[[], datetime]

    def accept(self, listener: str, via: str = "command") -> str:
        """Take up a request to be forgotten; an open one of the same person is that request.

        Args:
            listener: The real id, as imported files name the person.
            via: ``command`` or ``file``.

        Returns:
            The id of the request.

        Raises:
            ContractError: It cannot be an id; blank ones are none, since they would be sought everywhere.
            TransientError: The vault or the ledger does not answer; nothing was taken up.
            SettingsError: The key of the ledger was lost or is another one; nothing was taken up.
        """
        if not listener.strip():
            raise ContractError("the id of a listener is blank")
        known = self.vault.find(listener)
        people, suppression = SealedPeople(self.settings), Suppression(self.settings, self.ledger)
        user = suppression.hash("user", listener)
        request = next((case.request for case in open_cases(self.ledger) if case.user == user), None)
        if request is not None:
            if request not in people.requests():  # lost, as by a restore
                people.keep(request, Person(listener, (known,) if known else ()))
            return request
        request = new_request()
        # Sealed first: a request that the ledger has must be known to somebody.
        people.keep(request, Person(listener, (known,) if known else ()))
        hashes = [suppression.hash("pseudonym", known)] if known else []
        note_request(self.ledger, user, hashes, via, self.clock(), request, key_mark=suppression.mark)
        copy_ledger(self.settings)  # where the machine is lost before the next backup, a restore knows of the request
        return request

    def settle_sealed(self) -> int:
        """Complete what was sealed by somebody who died before the ledger had it; gives how many.

        Drops what is sealed of requests that have their receipt. What cannot be opened waits for who can, and holds up nobody else.
        """
        people, suppression = SealedPeople(self.settings), Suppression(self.settings, self.ledger)
        waiting = people.requests()
        if not waiting:
            return 0
        known = {record.body["request"]: record.kind for record in self.ledger.records() if "request" in record.body}
        completed = 0
        for request in waiting:
            if known.get(request) == "receipted":
                people.drop(request)
            elif request not in known:
                try:
                    person = people.open(request)
                except PlatformError as error:
                    _LOG.warning("request %s: %s", request[:8], error)
                    continue
                if not person.user.strip():  # of a former version, which took up blank ids
                    people.drop(request)
                    continue
                user, hashes = suppression.hash("user", person.user), [suppression.hash("pseudonym", each) for each in person.pseudonyms]
                note_request(self.ledger, user, hashes, "command", self.clock(), request, key_mark=suppression.mark)
                completed += 1
        return completed


@dataclass(slots=True)
class Taken:
    """What became of the files of a folder.

    Attributes:
        erasures: Requests taken up.
        accesses: Exports written.
        unreadable: Files that are no request; they stay where they are.
    """

    erasures: list[str] = field(default_factory=list)
    accesses: int = 0
    unreadable: int = 0


def take_files(desk: Desk, answer: Callable[[str], None] | None = None) -> Taken:
    """Take up what lies in the folder of requests, each file ``{"listener": id, "kind": "erasure" | "access"}``.

    Args:
        desk: Takes up erasures.
        answer: Writes everything that is held about a listener to where it may be fetched; ``None`` leaves such requests where they are.
    """
    taken, folder = Taken(), desk.settings.data / "requests"
    for path in list_files(folder) if folder.exists() else []:
        if path.relative_to(folder).parts[0] == ANSWERS:
            continue
        told = _read(path)
        if told is None:
            taken.unreadable += 1
            _LOG.warning("a file in the folder of requests is no request")
            continue
        listener, kind = told
        if kind == "erasure":
            taken.erasures.append(desk.accept(listener, "file"))
        elif answer is not None:
            answer(listener)
            taken.accesses += 1
        else:
            continue
        path.unlink()
    return taken


def _read(path: Path) -> tuple[str, str] | None:
    """The listener and the kind of a request; ``None`` where the file is none."""
    try:
        if path.is_symlink() or path.stat().st_size > _LONGEST:
            return None
        told = json.loads(path.read_bytes())
        listener, kind = told["listener"], told.get("kind", "erasure")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (listener, kind) if isinstance(listener, str) and kind in KINDS and _is_id(listener) else None


def _is_id(listener: str) -> bool:
    is_text = "\0" not in listener and listener == listener.encode(errors="replace").decode()
    return is_text and bool(listener.strip()) and len(listener) <= 512
