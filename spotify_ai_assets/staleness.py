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

from spotify_ai_assets.contracts import SHARDS, Partition, Reads, Table, name_of
from spotify_ai_assets.resources.lake import Recipe, State

ABSENT = "absent"
"""Stands for the digest of a partition that does not exist."""
ALL = "*"
"""Stands for several partitions of a source."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A partition that is out of date.

    Attributes:
        key: Its table.
        partition: Its day, or shard; ``None`` for a whole.
        reasons: Why, in words; ``may change: …`` where an input is itself about to be made again.
    """

    key: str
    partition: Partition
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

    def state(self, key: str, partition: Partition) -> State | None:
        """The state of one partition."""
        return self.states(key).get(name_of(partition))

    def window(self, key: str, first: date | None, last: date) -> list[State]:
        """The states of the days from ``first``, or from the beginning, to ``last``, in order."""
        states = self.states(key)
        if first is None:
            return [state for name, state in sorted(states.items()) if name <= last.isoformat()]
        names = ((first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1))
        return [states[name] for name in names if name in states]

    def note(self, key: str, partition: Partition, state: State) -> None:
        """Remember a partition that was just written."""
        name = name_of(partition)
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

    def history(self, key: str, last: Partition = None) -> str:
        """One digest over all partitions up to ``last``, or all there are: each one's extends the one before."""
        if key not in self._histories:
            names, chains = self._histories[key] = [], []
            for name, state in sorted(self.states(key).items()):
                self._extend(names, chains, name, state)
        names, chains = self._histories[key]
        place = len(names) if last is None else bisect_right(names, name_of(last))
        return chains[place - 1] if place else ABSENT

    @staticmethod
    def _extend(names: list[str], chains: list[str], name: str, state: State) -> None:
        chains.append(hashlib.sha256(f"{chains[-1] if chains else ''}{name}{state.digest}".encode()).hexdigest())
        names.append(name)


def recipe_now(table: Table, partition: Partition, tables: Mapping[str, Table], ledger: Ledger) -> Recipe:
    """What a partition would be made from if it were made now."""
    inputs: dict[str, str] = {}
    for reads in table.reads:
        inputs |= _digests(reads, partition, tables[reads.key], ledger)
    return Recipe(table.code_version, inputs)


def _digests(reads: Reads, partition: Partition, source: Table, ledger: Ledger) -> dict[str, str]:
    one = same(reads, partition, source)
    if one is not ALL:
        state = ledger.state(reads.key, one)
        return {f"{reads.key}@{one}" if one else reads.key: state.digest if state else ABSENT}
    if not (source.is_daily and isinstance(partition, date)):
        return {f"{reads.key}@*": ledger.history(reads.key)}
    if reads.first is None:
        last = partition + timedelta(reads.last)
        return {f"{reads.key}@..{last}": ledger.history(reads.key, last)}
    window = [partition + timedelta(offset) for offset in range(reads.first, reads.last + 1)]
    found = {each: ledger.state(reads.key, each) for each in window}
    # A day of a table is an input of many partitions: its name is kept in memory once.
    return {sys.intern(f"{reads.key}@{each}"): state.digest if state else ABSENT for each, state in found.items()}


def same(reads: Reads, partition: Partition, source: Table) -> Partition:
    """The one partition of a source that a partition is made from: its whole or the same shard; ``ALL`` where it may be several."""
    if source.partitioned_by is None:
        return None
    return partition if source.is_sharded and isinstance(partition, str) and reads.first is not None else ALL


def awaited(table: Table, partition: Partition, tables: Mapping[str, Table], ledger: Ledger) -> list[str]:
    """The inputs without which there is nothing to make yet, and that are not there or empty."""
    waiting = []
    for reads in table.reads:
        one = same(reads, partition, tables[reads.key])
        states = ledger.states(reads.key).values() if one is ALL else [ledger.state(reads.key, one)]
        if reads.awaited and not any(state and state.rows for state in states):
            waiting.append(reads.key)
    return waiting


def reasons(table: Table, partition: Partition, tables: Mapping[str, Table], ledger: Ledger) -> tuple[str, ...]:
    """Why a partition is stale; empty when it is up to date, when there is none of this day, or when it waits for an input."""
    if not table.has(partition) or awaited(table, partition, tables, ledger):
        return ()
    state = ledger.state(table.key, partition)
    if state is None:
        return ("never made",)
    now, then = recipe_now(table, partition, tables, ledger), state.recipe
    found = [f"code version {then.code_version} is now {now.code_version}"] if then.code_version != now.code_version else []
    changed = [name for name in now.inputs.keys() | then.inputs.keys() if now.inputs.get(name) != then.inputs.get(name)]
    return (*found, *(f"input changed: {name}" for name in sorted(changed)))


def plan(tables: Mapping[str, Table], keys: Iterable[str], days: Sequence[date], ledger: Ledger) -> list[Stale]:
    """All that is stale among these tables and days, and what may become so on the way, in the order of making it.

    Days outside the given ones are taken as they are. Of sharded tables all shards are looked at that their inputs have.
    """
    found: list[Stale] = []
    dirty: set[tuple[str, Partition]] = set()
    for table in in_order(tables, keys):
        for partition in partitions_of(table, days, tables, ledger):
            if set(awaited(table, partition, tables, ledger)) - {key for key, _ in dirty}:
                continue
            why = reasons(table, partition, tables, ledger)
            upstream = sorted({read.key for read in table.reads if _touches(read, partition, tables[read.key], dirty)})
            why += tuple(f"may change: {key}" for key in upstream)
            if why:
                found.append(Stale(table.key, partition, why))
                dirty.add((table.key, partition))
    return found


def digest_stale(stale: Iterable[Stale], tables: Mapping[str, Table], ledger: Ledger) -> str:
    """A digest of what is out of date and of what it would be made from now."""
    recipes = [(each.key, each.partition, recipe_now(tables[each.key], each.partition, tables, ledger)) for each in stale]
    named = [(key, partition, recipe.code_version, sorted(recipe.inputs.items())) for key, partition, recipe in recipes]
    return hashlib.sha256(repr(named).encode()).hexdigest()


def partitions_of(table: Table, days: Sequence[date], tables: Mapping[str, Table], ledger: Ledger) -> Sequence[Partition]:
    """The partitions that a table has or should have: of the given days, of the shards that its inputs have, or its whole.

    One that is made from wholes alone has all shards.
    """
    if table.is_daily:
        return [day for day in days if table.has(day)]
    if not table.is_sharded:
        return [None]
    sources = [read.key for read in table.reads if tables[read.key].is_sharded]
    return sorted({name for key in (table.key, *sources) for name in ledger.states(key)}) if sources or not table.reads else SHARDS


def _touches(reads: Reads, partition: Partition, source: Table, dirty: set[tuple[str, Partition]]) -> bool:
    if (one := same(reads, partition, source)) is not ALL:
        return (reads.key, one) in dirty
    if not (source.is_daily and isinstance(partition, date)):
        return any(key == reads.key for key, _ in dirty)
    day, last = partition, partition + timedelta(reads.last)
    if reads.first is None:
        return any(key == reads.key and isinstance(each, date) and each <= last for key, each in dirty)
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
