"""Who is to be forgotten, by keyed hashes: what refuses late events and finds the erased again after a restore.

The ledger of erasures holds no id. It holds HMAC-SHA256 of real ids and of pseudonyms under a key that is in no backup, so that the
list itself tells nobody who was erased; whoever meets an id can ask whether it is on the list. The kinds are kept apart: the same text
as an id and as a pseudonym has two hashes.

Requests are noted with a mark of that key. Where it was lost or is another one, everybody on the list would look like somebody new:
then whoever asks is told so, and nothing may be taken in.

Following the ledger costs one look at its head, or none for a second where that was asked for.
"""

import hmac
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.keys import has_key, mark_key, open_key
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
        self._marks: set[str] = set()

    def hash(self, kind: Kind, value: str) -> str:
        """What stands for an id or a pseudonym: HMAC-SHA256 (RFC 2104) of its kind and itself, 64 hexadecimal digits.

        Raises:
            SettingsError: The ledger has requests, and the key with which they were noted is not there, or is another one.
            TransientError: The ledger does not answer.
        """
        return hmac.digest(self._key, f"{kind}\0{value}".encode(errors="surrogatepass"), "sha256").hex()

    def is_suppressed(self, users: Iterable[str]) -> set[str]:
        """Those of the real ids whose owners are to be forgotten.

        Raises:
            TransientError: The ledger does not answer; nothing may be taken in then.
            SettingsError: The key of the ledger was lost or is another one; nothing may be taken in then either.
        """
        return self._among("user", users)

    def are_suppressed_pseudonyms(self, pseudonyms: Iterable[str]) -> set[str]:
        """Those of the pseudonyms whose owners are to be forgotten; errors as of ``is_suppressed``."""
        return self._among("pseudonym", pseudonyms)

    def count(self) -> int:
        """How many people are on the list."""
        self._follow()
        return len(self._known["user"])

    @property
    def mark(self) -> str:
        """What tells the key from others, to be noted with each request; errors as of ``hash``."""
        return mark_key(self._key)

    def _among(self, kind: Kind, values: Iterable[str]) -> set[str]:
        self._follow()
        known = self._known[kind]
        self._require_marks()
        return {value for value in values if self.hash(kind, value) in known} if known else set()

    def _follow(self) -> None:
        now = self._clock()
        if now < self._next or not self._is_there():
            return
        for record in self._ledger.records(after=self._sequence):
            self._sequence = record.sequence
            if record.kind == REQUESTED:
                self._known["user"].add(record.body["user"])
                self._marks |= {record.body["key_mark"]} if "key_mark" in record.body else set()
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
        self._follow()  # before the key: whoever noted a request had it then
        if self._known["user"] and not has_key(self._settings, "ledger"):
            raise SettingsError(
                "the ledger has requests to be forgotten, and its key is not there: put keys/ledger.key back from where you keep keys, or"
                " give it as SPOTIFY_AI_LEDGER_KEY; until then nobody of them would be recognised"
            )
        key = open_key(self._settings, "ledger")
        self._require_marks(key)
        return key

    def _require_marks(self, key: bytes | None = None) -> None:
        """Requests that were noted with another key cannot be told by this one."""
        if self._marks and self._marks != {mark_key(key or self._key)}:
            raise SettingsError(
                "requests to be forgotten were noted in the ledger with another key than the present one: put back the one that"
                " keys/ledger.key or SPOTIFY_AI_LEDGER_KEY held then; until then nobody of them would be recognised"
            )
