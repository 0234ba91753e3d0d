"""The records of a chain, and what is wrong with them: pure functions, for the database and for exported files.

A record's digest is SHA-256 over the digest before it and the canonical JSON of its number, time, kind and body, so a record that
is changed, dropped, inserted or moved breaks the chain from there on.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from spotify_ai_assets.errors import PermanentError

SENTENCES = 20
"""The most that are told of breaks."""


class ChainError(PermanentError):
    """A chain, or a copy of one, is damaged, or a record cannot be part of it."""


class Head(NamedTuple):
    """The end of a chain at some moment.

    Attributes:
        sequence: How many records it had; 0 of an empty chain.
        digest: Of its newest record; of an empty chain the digest of its name.
    """

    sequence: int
    digest: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        sequence: Its number, 1 for the first.
        at: When it was appended, by the clock of whoever did: clocks jump, so records are ordered by their numbers.
        kind: What happened.
        body: What there is to say of it, plain JSON.
        previous: Digest of the record before.
        digest: SHA-256 of the digest before and of the canonical JSON of number, time, kind and body, 64 hexadecimal digits.
    """

    sequence: int
    at: datetime
    kind: str
    body: Mapping[str, Any]
    previous: str
    digest: str

    def as_json(self) -> dict[str, Any]:
        """The record as one JSON object, as exports hold it."""
        return {
            "sequence": self.sequence,
            "at": to_text(self.at),
            "kind": self.kind,
            "body": dict(self.body),
            "previous": self.previous,
            "digest": self.digest,
        }


class Row(NamedTuple):
    """A record as it is stored, before anything is believed of it."""

    sequence: int
    at: str
    kind: str
    body: str
    previous: str
    digest: str
    once: str | None


def to_text(at: datetime) -> str:
    """A moment as records hold it: ISO 8601 in UTC with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises:
        ChainError: It has no such text, or none in UTF-8.
    """
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise ChainError("a record's body is not plain JSON") from None
    return text


def genesis(name: str) -> Head:
    """The head of an empty chain of this name: two chains have no record in common."""
    return Head(0, hashlib.sha256(f"chain {name}".encode()).hexdigest())


def digest_of(previous: str, sequence: int, at: str, kind: str, body: str) -> str:
    """A record's digest: SHA-256 of the digest before it and of the canonical JSON ``[sequence, at, kind, body]``.

    Args:
        previous: Digest of the record before.
        sequence: The record's number.
        at: Its time, as ``to_text`` writes it.
        kind: Its kind.
        body: Its body as canonical JSON.
    """
    return hashlib.sha256(f"{previous}[{sequence},{canonical(at)},{canonical(kind)},{body}]".encode()).hexdigest()


def find_breaks(name: str, records: Iterable[Record], anchors: Iterable[Head] = ()) -> list[str]:
    """What is wrong with a chain's records, in words.

    Args:
        name: The chain's name.
        records: All of them, in order.
        anchors: Heads that were witnessed.

    Returns:
        A sentence for each break, at most 20 of them; none where the chain is whole.
    """
    rows = (Row(*parts_of(each), once_of(each.body)) for each in records)
    return broken_links(name, rows, anchors)


def read_export(path: Path) -> Iterator[Record]:
    """The records of an exported chain, in order.

    Raises:
        ChainError: A line is no record.
        OSError: The file cannot be read.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield _read(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
                raise ChainError(f"line {number} of the exported chain is no record") from None


def _read(found: Mapping[str, Any]) -> Record:
    at = datetime.fromisoformat(found["at"])
    texts = found["kind"], found["previous"], found["digest"]
    if not isinstance(found["sequence"], int) or not isinstance(found["body"], dict) or not all(isinstance(each, str) for each in texts):
        raise TypeError
    return Record(found["sequence"], at.astimezone(UTC), texts[0], found["body"], *texts[1:])


def broken_links(name: str, rows: Iterable[Row], anchors: Iterable[Head]) -> list[str]:
    """As ``find_breaks``, of rows of which nothing is believed."""
    witnessed: dict[int, set[str]] = {}
    for anchor in anchors:
        witnessed.setdefault(anchor.sequence, set()).add(anchor.digest)
    found: list[str] = []
    last = genesis(name)
    if witnessed.pop(0, {last.digest}) != {last.digest}:
        found.append(f"a head of an empty chain was witnessed that is not of {name}")
    for row in rows:
        if len(found) >= SENTENCES:
            return found[:SENTENCES]
        found += _wrong(row, last)
        if witnessed.pop(row.sequence, {row.digest}) != {row.digest}:
            found.append(f"record {row.sequence} is not the one whose digest was witnessed")
        last = Head(row.sequence, row.digest)
    found += [f"the chain ends at record {last.sequence}, though record {number} was witnessed" for number in sorted(witnessed)]
    return found[:SENTENCES]


def _wrong(row: Row, last: Head) -> list[str]:
    """What is wrong with a row that follows another."""
    number, found = row.sequence, [] if _is_whole(row) else [f"record {row.sequence} was changed"]
    if not isinstance(number, int) or number <= last.sequence:
        return [*found, f"record {number} is not in its place"]
    if number > last.sequence + 1:
        gone = f"{last.sequence + 1} is" if number == last.sequence + 2 else f"{last.sequence + 1} to {number - 1} are"
        return [f"record {gone} missing", *found]
    return [*found, f"record {number} does not follow the record before it"] if row.previous != last.digest else found


def _is_whole(row: Row) -> bool:
    """Whether a row is what its digest says."""
    try:
        body = json.loads(row.body)
        told = digest_of(row.previous, row.sequence, row.at, row.kind, row.body)
        return told == row.digest and isinstance(body, dict) and canonical(body) == row.body and once_of(body) == row.once
    except (ValueError, TypeError, RecursionError, ChainError):
        return False


def once_of(body: Mapping[str, Any]) -> str | None:
    """The name of what a record tells of, where it may be told only once."""
    return body.get("once")


def parts_of(record: Record) -> tuple[int, str, str, str, str, str]:
    """What is stored of a record, its body as canonical JSON."""
    return record.sequence, to_text(record.at), record.kind, canonical(dict(record.body)), record.previous, record.digest
