"""What the lake knows about a partition, and the footer of a data file in which it is kept.

The state lies in the file, not in the log: it is written with the rows, outlives vacuum and the clean-up of the log, and a
backup of the files alone still has it.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

_FOOTER = "spotify_ai"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a partition was made; together with its rows, everything that decides whether it is up to date.

    Attributes:
        code_version: The contract's code version at that time.
        inputs: Digest of each input partition, by ``key@partition``.
    """

    code_version: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """Which run made a partition.

    Attributes:
        run_id: The Dagster run.
        trace_id: The trace that the run belongs to, 32 hexadecimal digits.
    """

    run_id: str = ""
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A partition as it is now.

    Attributes:
        digest: Of its logical rows, sorted by the primary key.
        rows: Number of rows.
        size: Bytes on disk.
        recipe: How it was made.
        origin: Which run made it.
        seconds: How long making it took.
        paths: Its data files, relative to the table.
    """

    digest: str
    rows: int
    size: int
    recipe: Recipe
    origin: Origin
    seconds: float
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did.

    Attributes:
        state: The partition afterwards.
        is_new: Whether its rows differ from before.
        version: The table's version that holds it.
    """

    state: State
    is_new: bool
    version: int


def to_footer(state: State) -> dict[str, str]:
    """The key-value metadata of the data file that holds a partition."""
    known = {
        "digest": state.digest,
        "code_version": state.recipe.code_version,
        "inputs": dict(state.recipe.inputs),
        "run_id": state.origin.run_id,
        "trace_id": state.origin.trace_id,
        "seconds": round(state.seconds, 4),
    }
    return {_FOOTER: json.dumps(known, separators=(",", ":"))}


def from_footer(path: str, rows: int, size: int, footer: Mapping[str, str]) -> State:
    """The state that a data file tells.

    Args:
        path: The file.
        rows: Rows in it.
        size: Bytes of it.
        footer: Its key-value metadata.
    """
    known = json.loads(footer[_FOOTER])
    # The same inputs are named by many partitions, and by each table that reads them.
    inputs = {sys.intern(name): sys.intern(digest) for name, digest in known["inputs"].items()}
    recipe, origin = Recipe(known["code_version"], inputs), Origin(known["run_id"], known["trace_id"])
    return State(known["digest"], rows, size, recipe, origin, known["seconds"], (path,))


def join_states(states: Sequence[State]) -> State:
    """The state of a partition from those of its files; only an appended table has more than one."""
    if len(states) == 1:
        return states[0]
    return replace(
        states[-1],
        digest=hashlib.sha256("".join(sorted(state.digest for state in states)).encode()).hexdigest(),
        rows=sum(state.rows for state in states),
        size=sum(state.size for state in states),
        paths=tuple(path for state in states for path in state.paths),
    )
