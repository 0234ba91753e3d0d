"""What the audit trail and the ledger tell of the platform's care: backups, drills, erasures and the chains themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from spotify_ai_assets.resources.audit import open_audit, open_ledger
from spotify_ai_assets.resources.chain import Chain, Head, Record
from spotify_ai_assets.settings import Settings

BACKED_UP, DRILLED = "backed_up", "drilled"
CARE = (BACKED_UP, "backups_expired", DRILLED, "pruned", "retained", "rotated", "compacted", "swept")
ACTIONS = ("job", "promoted", "erased", "configured", "restored", "witnessed", *CARE)
"""The deeds that are told of; materialisations and health are told of as such."""
REQUESTED, RECEIPTED = "requested", "receipted"
STATES = (REQUESTED, "suppressed", "keys_destroyed", "rewritten", "rebuilt", "purged", "vacuumed", "scanned", RECEIPTED)
"""What an erasure goes through, in order."""

_LOOK_BACK = 200
"""How many deeds of an action are looked through for one that succeeded or failed."""
_SQLITE = "sqlite:///"
_SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Deeds:
    """The newest deeds of an action.

    Attributes:
        last: When it was done last, by outcome, in seconds since 1970.
        figures: The numbers of the newest that succeeded.
    """

    last: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def succeeded_at(self) -> float | None:
        """When it succeeded last, in seconds since 1970."""
        return self.last.get(_SUCCESS)


@dataclass(frozen=True, slots=True)
class Erasures:
    """Where erasures stand.

    Attributes:
        states: How many requests have reached a state and no later one.
        oldest_at: When the oldest request was made that has no receipt, in seconds since 1970; ``None`` where each has one.
    """

    states: Mapping[str, int] = field(default_factory=dict)
    oldest_at: float | None = None

    @property
    def open(self) -> int:
        """Requests without a receipt."""
        return sum(count for state, count in self.states.items() if state != RECEIPTED)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is known of the platform's care.

    Attributes:
        deeds: By action; only actions that were ever recorded.
        erasures: Where they stand.
        heads: Of the chains, by name.
    """

    deeds: Mapping[str, Deeds] = field(default_factory=dict)
    erasures: Erasures = field(default_factory=Erasures)
    heads: Mapping[str, Head] = field(default_factory=dict)


class Ledgers:
    """Reads the chains of the platform; of the ledger only what is new since it last looked.

    Args:
        settings: Name the database.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read_to = Head(0, "")
        self._reached: dict[str, int] = {}
        self._requested_at: dict[str, float] = {}

    def read(self) -> Keeping:
        """What they say now; nothing where there is no database yet, and none is made.

        Raises:
            TransientError: The database does not answer.
            ChainError: A record cannot be read.
        """
        if not is_there(self._settings.ledger_url):
            return Keeping()
        audit, ledger = open_audit(self._settings), open_ledger(self._settings)
        deeds = {action: told for action in ACTIONS if (told := read_deeds(audit.chain, action)).last}
        self._follow(ledger)
        return Keeping(deeds, self._erasures(), {chain.name: chain.head() for chain in (audit.chain, ledger)})

    def _follow(self, ledger: Chain) -> None:
        if not self._is_continued(ledger):
            self._read_to, self._reached, self._requested_at = Head(0, ""), {}, {}
        for record in ledger.records(after=self._read_to.sequence):
            self._read_to = Head(record.sequence, record.digest)
            request = str(record.body.get("request", ""))
            if request and record.kind in STATES:
                self._requested_at.setdefault(request, record.at.timestamp())
                # A request that is taken up again goes through states once more; only a receipt is final.
                if self._reached.get(request) != len(STATES) - 1:
                    self._reached[request] = STATES.index(record.kind)

    def _is_continued(self, ledger: Chain) -> bool:
        """Whether the ledger goes on from what was read of it; not where an older state of it, or another one, was put back."""
        if not self._read_to.sequence:
            return True
        known = next(iter(ledger.records(after=self._read_to.sequence - 1)), None)
        return known is not None and known.digest == self._read_to.digest

    def _erasures(self) -> Erasures:
        states: dict[str, int] = {}
        for place in self._reached.values():
            states[STATES[place]] = states.get(STATES[place], 0) + 1
        waiting = [self._requested_at[request] for request, place in self._reached.items() if STATES[place] != RECEIPTED]
        return Erasures(states, min(waiting, default=None))


def read_deeds(chain: Chain, action: str) -> Deeds:
    """The newest deeds of an action, among the last 200 of it."""
    last: dict[str, float] = {}
    figures: Mapping[str, float] = {}
    for record in islice(chain.backwards(action), _LOOK_BACK):
        outcome = str(record.body.get("outcome", ""))
        if outcome == _SUCCESS and outcome not in last:
            figures = _numbers(record)
        last.setdefault(outcome, record.at.timestamp())
        if len(last) > 1 and _SUCCESS in last:
            break
    return Deeds(last, figures)


def _numbers(record: Record) -> dict[str, float]:
    told = record.body.get("figures", {})
    return {name: float(value) for name, value in told.items() if isinstance(value, int | float)}


def is_there(url: str) -> bool:
    """Whether a database is there: the file of a SQLite address; of others only asking tells."""
    return not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE)).is_file()
