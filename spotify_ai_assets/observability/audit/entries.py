"""What is recorded of a run, of what it made, of a promotion and of the configuration: pure functions to deeds.

Everything is said by name, count and digest. A list of inputs that grows with the days read is told by one digest for each table,
so that a record stays small however long the window is.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from spotify_ai_assets.contracts import WHOLE
from spotify_ai_assets.resources.audit import Deed, Who
from spotify_ai_assets.resources.chain_records import ChainError, canonical
from spotify_ai_assets.resources.texts import readable

LISTED_INPUTS = 8
"""The most partitions of one input that are told one by one."""

UNREADABLE = "unreadable"
"""Stands for the digest of what cannot be digested."""

_PARTITIONS = 100
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Made:
    """One materialisation.

    Attributes:
        table: The asset's key, such as ``listening/plays``.
        partition: The day or shard; empty for a whole.
        digest: Of its rows, as far as its event tells; empty where it tells none.
        rows: Number of rows.
        size: Bytes on disk.
        seconds: How long making it took.
    """

    table: str
    partition: str
    digest: str = ""
    rows: int = 0
    size: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The partition as inputs name it: ``key@partition``."""
        return name_partition(self.table, self.partition)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended.

    Attributes:
        run_id: The run.
        job: Its job.
        outcome: ``success``, ``failure`` or ``canceled``.
        who: Who launched it.
        trace_id: The trace that it belongs to.
        config: Its configuration.
        seconds: How long it took; ``None`` where that is not known.
        failed_steps: How many steps failed.
        made: What it made.
    """

    run_id: str
    job: str
    outcome: str
    who: Who
    trace_id: str
    config: Mapping[str, Any]
    seconds: float | None
    failed_steps: int
    made: tuple[Made, ...]


Inputs = Callable[[Made], Mapping[str, str] | None]
"""Gives the digests of what a partition was made from, by ``key@partition``; ``None`` where that is not known any more."""


def name_partition(table: str, partition: str) -> str:
    """A partition as inputs name it: ``key@partition``, a whole by its key alone."""
    return f"{table}@{partition}" if partition != WHOLE else table


def run_once(run_id: str) -> str:
    """The name under which the end of a run is recorded once."""
    return f"run:{run_id}"


def deeds_of_run(run: Finished, inputs: Inputs) -> list[Deed]:
    """What is recorded of a run: each table that it made, a hundred partitions a record, and then the job.

    Args:
        run: The run.
        inputs: What its partitions were made from.
    """
    by_table: dict[str, list[Made]] = defaultdict(list)
    for each in run.made:
        by_table[each.table].append(each)
    deeds = [
        _materialised(run, table, number, part, inputs)
        for table, made in by_table.items()
        for number, part in enumerate(_parts(made, _PARTITIONS))
    ]
    figures = {"materialised": len(run.made), "failed_steps": run.failed_steps, "seconds": run.seconds}
    told = {name: value for name, value in figures.items() if value is not None}
    config = {"config": digest_of_anything(run.config)}
    job = Deed("job", run.job, run.who, run.outcome, run.run_id, run.trace_id, config, {}, told, run_once(run.run_id))
    return [*deeds, job]


def deed_of_unreadable_run(run_id: str, job: str, outcome: str, error: str) -> Deed:
    """What is recorded of a run of which more cannot be: that it ended, and what kind of error its record gives.

    Args:
        run_id: The run.
        job: Its job.
        outcome: How it ended.
        error: The kind of the error.
    """
    figures = {"unreadable": 1}
    told = {"config": UNREADABLE, "error": error}
    return Deed("job", readable(job), {"kind": "unknown"}, outcome, run_id, "", told, {}, figures, run_once(run_id))


def _materialised(run: Finished, table: str, number: int, made: list[Made], inputs: Inputs) -> Deed:
    known = [inputs(each) for each in made]
    figures = {
        "partitions": len(made),
        "rows": sum(each.rows for each in made),
        "bytes": sum(each.size for each in made),
        "seconds": round(sum(each.seconds for each in made), 3),
        "inputs_unknown": sum(each is None for each in known),
    }
    read: dict[str, set[str]] = defaultdict(set)
    for each in known:
        for name, value in (each or {}).items():
            read[name].add(value)
    return Deed(
        "materialised",
        table,
        run.who,
        run_id=run.run_id,
        trace_id=run.trace_id,
        inputs=summarise_inputs({name: ",".join(sorted(values)) for name, values in read.items()}),
        outputs={each.name: each.digest for each in made},
        figures=figures,
        once=f"{run_once(run.run_id)}:{table}:{number}",
    )


def deed_of_event(made: Made, who: Who, run_id: str, once: str) -> Deed:
    """What is recorded of a materialisation that was reported outside of any run.

    Args:
        made: What was reported.
        who: Who made it, as far as that is known.
        run_id: The run that committed it to the lake, or empty.
        once: Names the event.
    """
    figures = {"partitions": 1, "rows": made.rows, "bytes": made.size, "seconds": made.seconds}
    return Deed("materialised", made.table, who, "reported", run_id, outputs={made.name: made.digest}, figures=figures, once=once)


def deed_of_pointer(artifact: str, event: Mapping[str, Any], who: Who) -> Deed:
    """What is recorded of a change of an artifact's pointers, such as a promotion.

    Args:
        artifact: Its name.
        event: An entry of its history.
        who: Who asked for it.
    """
    origin = event.get("origin") or {}
    gate = {} if event.get("gate") is None else {"gate": digest_of_anything(event["gate"])}
    return Deed(
        "promoted",
        artifact,
        who,
        str(event.get("event", "")),
        str(origin.get("dagster_run_id") or ""),
        inputs={**({"before": event["before"]} if event.get("before") else {}), **gate},
        outputs={"version": str(event.get("version", ""))},
        once=pointer_once(artifact, event),
    )


def pointer_once(artifact: str, event: Mapping[str, Any]) -> str:
    """The name under which a change of pointers is recorded once: what it says, digested."""
    return f"pointer:{hashlib.sha256(f'{artifact} {_text_of(event)}'.encode()).hexdigest()}"


def deed_of_configuration(now: Mapping[str, str], before: Mapping[str, str] | None, who: Who, after: int) -> Deed | None:
    """What is recorded of a changed configuration; ``None`` where it is as it was.

    Args:
        now: Digest of each setting.
        before: Those recorded last; ``None`` where none were.
        who: Whose process reads the configuration: who changed it is not known.
        after: Number of the record that tells of ``before``, so that two processes that see the same change record it once.
    """
    if now == before:
        return None
    changed = sorted(name for name in {*now, *(before or {})} if now.get(name) != (before or {}).get(name))
    told = {name: before[name] for name in changed if name in before} if before else {}
    once = f"configuration:{after}:{digest(canonical(now))}"
    subject = ", ".join(changed[:LISTED_INPUTS]) + (" …" if len(changed) > LISTED_INPUTS else "")
    return Deed(
        "configured", subject if before else "first seen", who, inputs=told, outputs=now, figures={"changed": len(changed)}, once=once
    )


def summarise_inputs(inputs: Mapping[str, str]) -> dict[str, str]:
    """Digests of inputs; of a table with many partitions one digest, under ``key@first..last``.

    Args:
        inputs: Digest by ``key@partition``.

    Returns:
        Sixteen digits each. That of many partitions is of their sorted lines ``key@partition=digest``.
    """
    by_table: dict[str, list[str]] = defaultdict(list)
    for name in sorted(inputs):
        by_table[name.partition("@")[0]].append(name)
    found: dict[str, str] = {}
    for table, names in by_table.items():
        if len(names) <= LISTED_INPUTS:
            found |= {name: inputs[name][:_DIGITS] if "," not in inputs[name] else digest(inputs[name]) for name in names}
        else:
            first, last = names[0].partition("@")[2], names[-1].partition("@")[2]
            found[f"{table}@{first}..{last}"] = digest("\n".join(f"{name}={inputs[name]}" for name in names))
    return found


def digest(text: str) -> str:
    """The first sixteen hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def digest_of_anything(value: object) -> str:
    """The digest of a value's JSON, also of one that records cannot hold, such as NaN or half a character; ``unreadable`` without any.

    What a record can hold has the digest of its canonical text.
    """
    text = _text_of(value)
    return digest(text) if text else UNREADABLE


def _text_of(value: object) -> str:
    """The canonical JSON of a value, else JSON of it as Python writes it, all in ASCII; empty where there is neither."""
    try:
        return canonical(value)
    except ChainError:
        try:
            return json.dumps(value, ensure_ascii=True, allow_nan=True, default=str)
        except (TypeError, ValueError, RecursionError):
            return ""


def _parts(values: Iterable[Made], size: int) -> Iterator[list[Made]]:
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part
