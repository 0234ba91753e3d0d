"""The stream on a Redis: one Redis Stream with one group of readers.

A message that a reader was given stays pending under the reader's name until it is acknowledged. A reader that is started again
under its name is given these first; what a reader leaves that never comes back goes to another after some minutes.

``append`` keeps its promise when Redis does: with ``appendonly yes`` and ``appendfsync always``.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from spotify_ai_assets.resources.stream import TOPICS, Message, StreamError, Topic
from spotify_ai_assets.resources.traceparent import parse, working

KEY, GROUP = "spotify-ai:listens", "workers"
_PIECE = 1000
_TIMEOUT_S = 10.0
_ABANDONED_S = 300.0
"""A message that is pending for so long belongs to a dead reader: a living one commits every half minute."""
_LOOK_S = 30.0
_FIRST = "0-0"
_SENT_BY = "traceparent"
"""The field of an entry that carries the trace of its sender."""


def connect(url: str) -> redis.Redis:
    """A client that fails at once and says so, since who uses it knows better what to do meanwhile."""
    return redis.Redis.from_url(
        url, protocol=2, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0), retry_on_error=[]
    )


class RedisStream:
    """A stream on a Redis 6.2 or later.

    Args:
        url: ``redis://…``, ``rediss://…`` or ``unix://…``; it is printed nowhere, since it may hold a password.
        reader: The reader's name, one for each process that reads at the same time.
        key: Name of the Redis Stream.
        abandoned_s: How long a message of another reader is pending before it counts as abandoned.
    """

    def __init__(self, url: str, reader: str, key: str = KEY, abandoned_s: float = _ABANDONED_S) -> None:
        self._client = connect(url)
        self._reader = reader
        self._key = key
        self._abandoned_ms = int(abandoned_s * 1000)
        self._own = _FIRST
        """The last of its own pending messages that this reader was given again; empty once it has them all."""
        self._claimed = _FIRST
        self._next_look = 0.0

    def append(self, topic: Topic, bodies: Sequence[bytes]) -> None:
        """Send in few round trips; Redis answers when all of a piece is in its log."""
        sent_by = (_SENT_BY, str(context)) if (context := working()) else ()
        with _talking():
            for start in range(0, len(bodies), _PIECE):
                pipeline = self._client.pipeline(transaction=False)
                for body in bodies[start : start + _PIECE]:
                    pipeline.execute_command("XADD", self._key, "*", topic, body, *sent_by)
                pipeline.execute()

    def read(self, count: int, wait_s: float) -> list[Message]:
        """Own pending messages, then abandoned ones, then new ones.

        After a failure all pending ones come again: Redis may have given some with an answer that never arrived.
        """
        try:
            with _talking():
                if self._own and (again := self._in_group(lambda: self._read_own(count))):
                    return again
                if time.monotonic() >= self._next_look and (left := self._in_group(lambda: self._read_abandoned(count))):
                    return left
                return self._in_group(lambda: self._read_after(">", count, max(1, round(wait_s * 1000))))
        except StreamError:
            self._own = _FIRST
            raise

    def acknowledge(self, ids: Collection[str]) -> None:
        """Take messages off the pending ones and out of the stream, both or neither."""
        every = list(ids)
        with _talking():
            for start in range(0, len(every), _PIECE):
                piece = every[start : start + _PIECE]
                pipeline = self._client.pipeline(transaction=True)
                pipeline.execute_command("XACK", self._key, GROUP, *piece)
                pipeline.execute_command("XDEL", self._key, *piece)
                pipeline.execute()

    def waiting(self) -> int:
        """Its length: what is acknowledged is not in it any more."""
        with _talking():
            return int(cast(int, self._client.execute_command("XLEN", self._key)))

    def remove(self, is_doomed: Callable[[bytes], bool]) -> int:
        """Take messages out of the stream, read or not; gives how many. One that a reader holds comes to it no second time."""
        place, doomed = "-", list[str]()
        while True:
            with _talking():
                found: Any = self._client.execute_command("XRANGE", self._key, place, "+", "COUNT", _PIECE)
            entries = [(_text(each[0]), _pairs(each[1])) for each in found]
            doomed += [name for name, fields in entries if any(map(is_doomed, fields.values()))]
            if len(entries) < _PIECE:
                break
            place = f"({entries[-1][0]}"
        try:
            self.acknowledge(doomed)
        except StreamError:
            with _talking():  # nobody has ever read it: there is no group to acknowledge in
                for start in range(0, len(doomed), _PIECE):
                    self._client.execute_command("XDEL", self._key, *doomed[start : start + _PIECE])
        return len(doomed)

    def scrub(self) -> None:
        """Have Redis write its files anew; it does so beside its other work."""
        with _talking():
            if int(cast("dict[str, Any]", self._client.info("persistence")).get("aof_enabled", 0)):
                with suppress(redis.ResponseError):  # it is at it already
                    self._client.execute_command("BGREWRITEAOF")

    def is_durable(self) -> bool | None:
        """Whether Redis answers only for what is on its disk; ``None`` where it does not tell."""
        with _talking():
            try:
                known = [cast("dict[Any, Any]", self._client.config_get(name)) for name in ("appendonly", "appendfsync")]
            except redis.ResponseError:
                return None
        return {_text(value) for each in known for value in each.values()} == {"yes", "always"}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read_own(self, count: int) -> list[Message]:
        while found := self._entries(self._command_after(self._own, count)):
            self._own = found[-1][0]
            if messages := self._messages(found):
                return messages
        self._own = ""
        return []

    def _read_abandoned(self, count: int) -> list[Message]:
        answer: Any = self._client.execute_command(
            "XAUTOCLAIM", self._key, GROUP, self._reader, self._abandoned_ms, self._claimed, "COUNT", count
        )
        self._claimed = _text(answer[0])
        if self._claimed == _FIRST:
            self._next_look = time.monotonic() + _LOOK_S
        return self._messages([(_text(entry[0]), entry[1]) for entry in answer[1] if entry and entry[0]])

    def _read_after(self, place: str, count: int, wait_ms: int) -> list[Message]:
        return self._messages(self._entries(self._command_after(place, count, "BLOCK", wait_ms)))

    def _command_after(self, place: str, count: int, *options: object) -> Any:
        return self._client.execute_command(
            "XREADGROUP", "GROUP", GROUP, self._reader, "COUNT", count, *options, "STREAMS", self._key, place
        )

    def _entries(self, answer: Any) -> list[tuple[str, Any]]:
        if not answer:
            return []
        entries = next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]
        return [(_text(each[0]), each[1]) for each in entries]

    def _messages(self, entries: list[tuple[str, Any]]) -> list[Message]:
        """The messages of entries; one that was removed meanwhile is pending without a body and is let go of."""
        gone = [place for place, fields in entries if not fields]
        if gone:
            self._client.execute_command("XACK", self._key, GROUP, *gone)
        return [_message(place, _pairs(fields)) for place, fields in entries if fields]

    def _in_group(self, read: Callable[[], list[Message]]) -> list[Message]:
        try:
            return read()
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
        with suppress(redis.ResponseError):  # another reader made it
            self._client.execute_command("XGROUP", "CREATE", self._key, GROUP, "0", "MKSTREAM")
        return read()


def _message(place: str, fields: dict[bytes, bytes]) -> Message:
    accepted_at = datetime.fromtimestamp(int(place.partition("-")[0]) / 1000, UTC)
    topic = next((topic for topic in TOPICS if topic.encode() in fields), "")
    sent_by = parse(fields.get(_SENT_BY.encode(), b"").decode(errors="replace"))
    return Message(place, topic, fields.get(topic.encode(), b""), accepted_at, sent_by)


def _pairs(fields: Any) -> dict[bytes, bytes]:
    return fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def _talking() -> Iterator[None]:
    """Failures of Redis as those of the stream, without its address."""
    try:
        yield
    except redis.RedisError as error:
        raise StreamError(f"the Redis of the stream does not answer: {type(error).__name__}") from None
