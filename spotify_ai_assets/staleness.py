"""Which partitions are out of date, and why: the one place that decides it.

A partition remembers the code version that made it and the digest of each input it was made from. It is stale when either
differs now. The asset loop, ``backfill plan``, the staleness sensor and ``backfill verify`` all ask here. Rebuilding goes in
the order of tables and, inside a table, of days; where a rebuilt partition has the digest that it had before, what lies
behind it is not stale and the rebuilding stops.
"""

import hashlib
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from graphlib import TopologicalSorter

from spotify_ai_assets.contracts import Reads, Table
from spotify_ai_assets.resources.lake import WHOLE, Recipe, State

ABSENT = "absent"
"""Stands for the digest of a partition that does not exist."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A partition that is out of date.

    Attributes:
        key: Its table.
        day: Its day.
        reasons: Why, in words; ``may change: …`` where an input is itself about to be made again.
    """

    key: str
    day: date
    reasons: tuple[str, ...]


class Ledger:
    """The states of all partitions as this process knows them: read once a table, kept up to date by what it writes.

    Args:
        read: Gives the states of a table by partition name, as ``Lake.states`` does.
    """

    def __init__(self, read: Callable[[str], Mapping[str, State]]) -> None:
        self._read = read
        self._states: dict[str, dict[str, State]] = {}
        self._histories: dict[str, tuple[list[str], list[str]]] = {}

    def states(self, key: str) -> Mapping[str, State]:
        """The states of a table by partition name."""
        if key not in self._states:
            self._states[key] = dict(self._read(key))
        return self._states[key]

    def state(self, key: str, day: date | None) -> State | None:
        """The state of one partition."""
        return self.states(key).get(WHOLE if day is None else day.isoformat())

    def window(self, key: str, first: date | None, last: date) -> list[State]:
        """The states of the days from ``first``, or from the beginning, to ``last``, in order."""
        states = self.states(key)
        if first is None:
            return [state for name, state in sorted(states.items()) if name <= last.isoformat()]
        names = ((first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1))
        return [states[name] for name in names if name in states]

    def note(self, key: str, day: date | None, state: State) -> None:
        """Remember a partition that was just written."""
        name = WHOLE if day is None else day.isoformat()
        self.states(key)
        self._states[key][name] = state
        names, chains = self._histories.get(key, ([], []))
        if names and name > names[-1]:
            self._extend(names, chains, name, state)
        else:
            self._histories.pop(key, None)

    def days(self, key: str) -> list[date]:
        """The days that a table has, in order."""
        return sorted(date.fromisoformat(name) for name in self.states(key))

    def history(self, key: str, last: date) -> str:
        """One digest over all partitions up to ``last``: each day's extends the one before."""
        if key not in self._histories:
            names, chains = self._histories[key] = [], []
            for name, state in sorted(self.states(key).items()):
                self._extend(names, chains, name, state)
        names, chains = self._histories[key]
        place = bisect_right(names, last.isoformat())
        return chains[place - 1] if place else ABSENT

    @staticmethod
    def _extend(names: list[str], chains: list[str], name: str, state: State) -> None:
        chains.append(hashlib.sha256(f"{chains[-1] if chains else ''}{name}{state.digest}".encode()).hexdigest())
        names.append(name)


def recipe_now(table: Table, day: date | None, tables: Mapping[str, Table], ledger: Ledger) -> Recipe:
    """What a partition would be made from if it were made now."""
    inputs: dict[str, str] = {}
    for reads in table.reads:
        inputs |= _digests(reads, day, tables[reads.key], ledger)
    return Recipe(table.code_version, inputs)


def _digests(reads: Reads, day: date | None, source: Table, ledger: Ledger) -> dict[str, str]:
    if not source.is_daily or day is None:
        state = ledger.state(reads.key, None)
        return {reads.key: state.digest if state else ABSENT}
    if reads.first is None:
        last = day + timedelta(reads.last)
        return {f"{reads.key}@..{last}": ledger.history(reads.key, last)}
    window = [day + timedelta(offset) for offset in range(reads.first, reads.last + 1)]
    found = {each: ledger.state(reads.key, each) for each in window}
    # A day of a table is an input of many partitions: its name is kept in memory once.
    return {sys.intern(f"{reads.key}@{each}"): state.digest if state else ABSENT for each, state in found.items()}


def reasons(table: Table, day: date | None, tables: Mapping[str, Table], ledger: Ledger) -> tuple[str, ...]:
    """Why a partition is stale; empty when it is up to date, or when the table has none of this day."""
    if day is not None and not table.has(day):
        return ()
    state = ledger.state(table.key, day)
    if state is None:
        return ("never made",)
    now, then = recipe_now(table, day, tables, ledger), state.recipe
    found = [f"code version {then.code_version} is now {now.code_version}"] if then.code_version != now.code_version else []
    changed = [name for name in now.inputs.keys() | then.inputs.keys() if now.inputs.get(name) != then.inputs.get(name)]
    return (*found, *(f"input changed: {name}" for name in sorted(changed)))


def plan(tables: Mapping[str, Table], keys: Iterable[str], days: Sequence[date], ledger: Ledger) -> list[Stale]:
    """All that is stale among these tables and days, and what may become so on the way, in the order of making it.

    Days outside the given ones are taken as they are.
    """
    found: list[Stale] = []
    dirty: set[tuple[str, date]] = set()
    for table in in_order(tables, keys):
        for day in filter(table.has, days):
            why = reasons(table, day, tables, ledger)
            upstream = sorted({read.key for read in table.reads if tables[read.key].is_daily and _touches(read, day, dirty)})
            why += tuple(f"may change: {key}" for key in upstream)
            if why:
                found.append(Stale(table.key, day, why))
                dirty.add((table.key, day))
    return found


def _touches(reads: Reads, day: date, dirty: set[tuple[str, date]]) -> bool:
    last = day + timedelta(reads.last)
    if reads.first is None:
        return any(key == reads.key and each <= last for key, each in dirty)
    return any((reads.key, day + timedelta(offset)) in dirty for offset in range(reads.first, reads.last + 1))


def in_order(tables: Mapping[str, Table], keys: Iterable[str]) -> list[Table]:
    """These tables, each after those that it reads."""
    wanted = set(keys)
    graph = {key: {read.key for read in table.reads} - {key} for key, table in tables.items()}
    return [tables[key] for key in TopologicalSorter(graph).static_order() if key in wanted]


def behind(tables: Mapping[str, Table], keys: Iterable[str]) -> list[Table]:
    """All that these tables are made from, and what that is made from, each after those that it reads; themselves last."""
    found: set[str] = set()
    waiting = set(keys)
    while waiting:
        found |= waiting
        waiting = {read.key for key in waiting for read in tables[key].reads} - found
    return in_order(tables, found)
