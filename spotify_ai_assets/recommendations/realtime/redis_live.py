"""The live store on a Redis: a hash of plays for each listener, which expires as a whole after its last play.

Scripts do what must not be torn apart: look for the tombstone, add the plays that are new, renew the expiry.
"""

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import starmap
from typing import Any

import numpy as np
import redis

from spotify_ai_assets.recommendations.realtime.live import (
    KEEP,
    KEEP_TOMBSTONES,
    LiveError,
    LivePlay,
    LiveVector,
    from_micros,
    to_micros,
    tombstone,
)
from spotify_ai_assets.resources.redis_stream import connect

_PLAYS, _VECTORS, _FORGOTTEN = "spotify-ai:live:plays:", "spotify-ai:live:vector:", "spotify-ai:live:forgotten:"
_PIECE = 500
_PLAY = struct.Struct("<dqq")
"""Value, start in microseconds, and when it was put in seconds; the track follows."""
_PUT = """
local new, at = 0, 2
for i = 1, #KEYS, 2 do
  local last = at + 2 * tonumber(ARGV[at])
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    for j = at + 1, last, 2 do new = new + redis.call('HSETNX', KEYS[i], ARGV[j], ARGV[j + 1]) end
    redis.call('EXPIRE', KEYS[i], ARGV[1])
  end
  at = last + 1
end
return new
"""
_PUT_VECTORS = """
for i = 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then redis.call('SET', KEYS[i], ARGV[(i + 3) / 2], 'EX', ARGV[1]) end
end
"""


class RedisLive:
    """The store on a Redis.

    Args:
        url: Its address; it is printed nowhere, since it may hold a password.
    """

    def __init__(self, url: str) -> None:
        self._client = connect(url)
        self._put: Any = self._client.register_script(_PUT)
        self._put_vectors: Any = self._client.register_script(_PUT_VECTORS)

    def put(self, plays: Mapping[str, Sequence[LivePlay]], now: datetime) -> int:
        """A script for some hundred listeners; all or none of them."""
        put_s, keep_s, new = int(now.timestamp()), int(KEEP.total_seconds()), 0
        everybody = [listener for listener, each in plays.items() if each]
        with _answering():
            for start in range(0, len(everybody), _PIECE):
                some = everybody[start : start + _PIECE]
                told: list[Any] = [keep_s]
                for listener in some:
                    told.append(len(plays[listener]))
                    told += [part for play in plays[listener] for part in (play.key.to_bytes(8, "big"), _pack(play, put_s))]
                new += int(self._put(keys=[key for listener in some for key in (_PLAYS + listener, _stone(listener))], args=told))
        return new

    def plays(self, listener: str) -> list[LivePlay]:
        """One round trip."""
        return self.plays_of([listener])[listener]

    def plays_of(self, listeners: Collection[str]) -> dict[str, list[LivePlay]]:
        """One round trip for some hundred."""
        everybody, found = list(listeners), dict[str, list[LivePlay]]()
        with _answering():
            for start in range(0, len(everybody), _PIECE):
                some = everybody[start : start + _PIECE]
                pipeline = self._client.pipeline(transaction=False)
                for listener in some:
                    pipeline.hgetall(_PLAYS + listener)
                for listener, packed in zip(some, pipeline.execute(), strict=True):
                    found[listener] = sorted(starmap(_unpack, packed.items()), key=lambda play: (play.started_at, play.key))
        return found

    def put_vectors(self, release: str, vectors: Mapping[str, np.ndarray]) -> None:
        """A script for some hundred listeners."""
        everybody = list(vectors)
        with _answering():
            for start in range(0, len(everybody), _PIECE):
                some = everybody[start : start + _PIECE]
                packed = [release.encode() + b"\0" + np.ascontiguousarray(vectors[each], dtype="<f4").tobytes() for each in some]
                keys = [key for listener in some for key in (_VECTORS + listener, _stone(listener))]
                self._put_vectors(keys=keys, args=[int(KEEP.total_seconds()), *packed])

    def vector(self, listener: str) -> LiveVector | None:
        """One round trip."""
        with _answering():
            packed: Any = self._client.get(_VECTORS + listener)
        if packed is None:
            return None
        release, _, numbers = packed.partition(b"\0")
        return LiveVector(release.decode(), np.frombuffer(numbers, dtype="<f4").astype(np.float32))

    def forget(self, listeners: Collection[str], now: datetime) -> None:
        """The tombstone first: what another worker puts afterwards is refused."""
        with _answering():
            for listener in listeners:
                pipeline = self._client.pipeline(transaction=True)
                pipeline.set(_stone(listener), b"1", ex=int(KEEP_TOMBSTONES.total_seconds()))
                pipeline.delete(_PLAYS + listener, _VECTORS + listener)
                pipeline.execute()

    def forgotten(self, listeners: Iterable[str]) -> set[str]:
        """Some hundred in a round trip."""
        everybody, found = list(listeners), set[str]()
        with _answering():
            for start in range(0, len(everybody), _PIECE):
                piece = everybody[start : start + _PIECE]
                stones: Any = self._client.mget([_stone(listener) for listener in piece])
                found |= {listener for listener, stone in zip(piece, stones, strict=True) if stone}
        return found

    def expire(self, now: datetime) -> int:
        """Redis expires listeners and tombstones by itself; of active listeners the old plays are removed here."""
        oldest, removed = int((now - KEEP).timestamp()), 0
        with _answering():
            for name in self._client.scan_iter(match=_PLAYS + "*", count=1000):
                packed: Any = self._client.hgetall(name)
                old = [key for key, play in packed.items() if _PLAY.unpack_from(play)[2] <= oldest]
                # The client's types allow an answer that is awaited, which only its other class gives.
                removed += int(self._client.hdel(name, *old)) if old else 0  # type: ignore[arg-type]
        return removed

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _pack(play: LivePlay, put_s: int) -> bytes:
    return _PLAY.pack(play.value, to_micros(play.started_at), put_s) + play.track_id.encode()


def _unpack(key: bytes, packed: bytes) -> LivePlay:
    value, started_us, _ = _PLAY.unpack_from(packed)
    return LivePlay(int.from_bytes(key, "big"), packed[_PLAY.size :].decode(), value, from_micros(started_us))


def _stone(listener: str) -> str:
    return _FORGOTTEN + tombstone(listener).hex()


@contextmanager
def _answering() -> Iterator[None]:
    """Failures of Redis as those of the store, without its address."""
    try:
        yield
    except redis.RedisError as error:
        raise LiveError(f"the Redis of the live store does not answer: {type(error).__name__}") from None
