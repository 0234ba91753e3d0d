"""Who is to be forgotten, by keyed hashes: what refuses late events and finds the erased again after a restore.

The ledger of erasures holds no id. It holds HMAC-SHA256 of real ids and of pseudonyms under a key that is in no backup, so that the
list itself tells nobody who was erased; whoever meets an id can ask whether it is on the list. The kinds are kept apart: the same text
as an id and as a pseudonym has two hashes.

Following the ledger costs one look at its head, or none for a second where that was asked for.
"""

import hmac
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.settings import Settings

Kind = Literal["user", "pseudonym"]

REQUESTED = "requested"
"""The kind of the record from which on somebody is to be forgotten."""

_SQLITE = "sqlite:///"


class Suppression:
    """Tells who is to be forgotten. Opens nothing until it is asked; where nobody ever was to be forgotten, it makes no key.

    Args:
        settings: Name the ledger and the folder of keys.
        ledger: The ledger, where it is open already.
        pause_s: For how long an answer about the ledger's end holds: 0 looks each time, which is what intake needs; a stream that
            asks many times a second takes a second.
        clock: Seconds that only grow.
    """

    def __init__(
        self, settings: Settings, ledger: Chain | None = None, *, pause_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._given = settings, ledger
        self._pause_s, self._clock = pause_s, clock
        self._next = float("-inf")
        self._sequence = 0
        self._known: dict[Kind, set[str]] = {"user": set(), "pseudonym": set()}

    def hash(self, kind: Kind, value: str) -> str:
        """What stands for an id or a pseudonym: HMAC-SHA256 (RFC 2104) of its kind and itself, 64 hexadecimal digits."""
        return hmac.digest(self._key, f"{kind}\0{value}".encode(errors="surrogatepass"), "sha256").hex()

    def is_suppressed(self, users: Iterable[str]) -> set[str]:
        """Those of the real ids whose owners are to be forgotten.

        Raises:
            TransientError: The ledger does not answer; nothing may be taken in then.
        """
        return self._among("user", users)

    def are_suppressed_pseudonyms(self, pseudonyms: Iterable[str]) -> set[str]:
        """Those of the pseudonyms whose owners are to be forgotten; errors as of ``is_suppressed``."""
        return self._among("pseudonym", pseudonyms)

    def count(self) -> int:
        """How many people are on the list."""
        self._follow()
        return len(self._known["user"])

    def _among(self, kind: Kind, values: Iterable[str]) -> set[str]:
        self._follow()
        known = self._known[kind]
        return {value for value in values if self.hash(kind, value) in known} if known else set()

    def _follow(self) -> None:
        now = self._clock()
        if now < self._next or not self._is_there():
            return
        for record in self._ledger.records(after=self._sequence):
            self._sequence = record.sequence
            if record.kind == REQUESTED:
                self._known["user"].add(record.body["user"])
            self._known["pseudonym"].update(record.body.get("pseudonyms", ()))
        self._next = now + self._pause_s

    def _is_there(self) -> bool:
        """Whether there is a ledger: asking must not make one."""
        url = self._settings.ledger_url
        return self._given is not None or not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE)).exists()

    @cached_property
    def _ledger(self) -> Chain:
        return self._given or open_ledger(self._settings)

    @cached_property
    def _key(self) -> bytes:
        return open_key(self._settings, "ledger")
