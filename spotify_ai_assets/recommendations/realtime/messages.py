"""What a message of the stream looks like: a listen as ``listening/events`` has it, or whom to forget, as one line of JSON.

Whoever can write to the stream may write anything: each message is decoded into a row that keeps the promises of its table,
or refused by a rule. Times are microseconds since 1970, UTC.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import DAY, TIME, Column
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.listening.formats.rows import EARLIEST

SOURCE = "stream"
"""The ``source`` of rows that streamed in."""
BAD, FORGOTTEN = "bad_message", "forgotten_listener"
"""Rules: what is no message, and a listen of somebody who is to be forgotten."""

_SENT = {name: dtype for name, dtype in EVENTS.schema.items() if name not in (DAY, "source")}
_WIRE = {name: pl.Int64() if dtype == TIME else dtype for name, dtype in _SENT.items()}
_JSON_TYPES = {pl.String(): str, pl.Int64(): int, pl.Boolean(): bool}
_MICROS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Decoded:
    """Messages as rows; each is in exactly one of the two.

    Attributes:
        rows: Rows of ``listening/events``.
        numbers: The number of the message of each row, from 0.
        refused: The rule that each other message breaks, by its number.
    """

    rows: pl.DataFrame
    numbers: list[int]
    refused: dict[int, str]

    def refuse(self, listeners: Collection[str], rule: str) -> "Decoded":
        """The same with the listens of some listeners refused."""
        is_theirs = self.rows["listener_id"].is_in(list(listeners))
        refused = {number: rule for number, theirs in zip(self.numbers, is_theirs, strict=True) if theirs}
        kept = [number for number in self.numbers if number not in refused]
        return Decoded(self.rows.filter(~is_theirs), kept, self.refused | refused)


def encode(rows: pl.DataFrame) -> list[bytes]:
    """The messages of rows of ``listening/events``, one each."""
    wire = rows.select(pl.col(name).dt.timestamp("us") if dtype == TIME else pl.col(name) for name, dtype in _SENT.items())
    return wire.write_ndjson().encode().splitlines()


def decode(bodies: Sequence[bytes], now: datetime) -> Decoded:
    """The rows in messages.

    Args:
        bodies: Messages of the topic ``listen``.
        now: The present; listens more than a day later are refused.
    """
    wire, numbers, refused = _parse(bodies)
    rows = wire.with_columns(pl.col("started_at").cast(TIME), source=pl.lit(SOURCE)).with_columns(day=pl.col("started_at").dt.date())
    rows = rows.select(*EVENTS.schema)
    rules = _rules(now)
    if rows.select(pl.any_horizontal(broken.any() for _, broken in rules)).item():
        found = rows.select(pl.coalesce(pl.when(broken).then(pl.lit(rule)) for rule, broken in rules)).to_series()
        refused |= {number: rule for number, rule in zip(numbers, found, strict=True) if rule is not None}
        rows, numbers = rows.filter(found.is_null()), [number for number in numbers if number not in refused]
    return Decoded(rows, numbers, refused)


def encode_forget(listener: str) -> bytes:
    """The message that somebody is to be forgotten."""
    return json.dumps({"listener_id": listener}).encode()


def decode_forget(body: bytes) -> str | None:
    """Whom a message of the topic ``forget`` is about; ``None`` where it names nobody."""
    try:
        listener = json.loads(body)["listener_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return listener if isinstance(listener, str) else None


def _parse(bodies: Sequence[bytes]) -> tuple[pl.DataFrame, list[int], dict[int, str]]:
    """All at once, which is fast; where that fails one by one, so that a broken message harms no other."""
    if not bodies:
        return pl.DataFrame(schema=_WIRE), [], {}
    try:
        # What begins as a compressed file would be unpacked, however large it becomes.
        if bodies[0].startswith(b"{"):
            wire = pl.read_ndjson(b"\n".join(bodies), schema=_WIRE)
            if wire.height == len(bodies):
                return wire, list(range(len(bodies))), {}
    except (pl.exceptions.PolarsError, OSError):
        pass
    found = [_parse_one(body) for body in bodies]
    wire = pl.DataFrame([each for each in found if each is not None], schema=_WIRE, orient="row")
    refused = {number: BAD for number, each in enumerate(found) if each is None}
    return wire, [number for number, each in enumerate(found) if each is not None], refused


def _parse_one(body: bytes) -> tuple[Any, ...] | None:
    try:
        told = json.loads(body)
        row = tuple(told.get(name) for name in _WIRE)
        "".join(value for value in row if isinstance(value, str)).encode()
    except (ValueError, AttributeError, RecursionError):
        return None
    return row if all(_is_of(value, dtype) for value, dtype in zip(row, _WIRE.values(), strict=True)) else None


def _is_of(value: object, dtype: Any) -> bool:
    return value is None or (type(value) is _JSON_TYPES[dtype] and not (isinstance(value, int) and abs(value) > _MICROS))


def _rules(now: datetime) -> list[tuple[str, pl.Expr]]:
    """For each promise of a column, which rows break it."""
    rules = [(f"bad_{column.name}", broken) for column in EVENTS.columns if column.name != DAY for broken in _broken(column)]
    start = pl.col("started_at")
    return [*rules, ("time_before_2002", start < EARLIEST), ("time_in_future", start > now + timedelta(days=1))]


def _broken(column: Column) -> list[pl.Expr]:
    value, broken = pl.col(column.name), []
    if not column.nullable:
        broken.append(value.is_null())
    if column.minimum is not None:
        broken.append(value < column.minimum)
    if column.maximum is not None:
        broken.append(value > column.maximum)
    if column.allowed is not None:
        broken.append(~value.is_in(column.allowed))
    if column.pattern is not None:
        broken.append(~value.str.contains(f"^(?:{column.pattern})$"))
    return [each.fill_null(False) for each in broken]
