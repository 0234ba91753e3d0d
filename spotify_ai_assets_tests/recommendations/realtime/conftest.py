"""Fixtures of the stream's tests: a real Redis, streams and stores of both kinds."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.redis_server import RedisServer
from spotify_ai_assets.recommendations.realtime.live import Live, SqliteLive
from spotify_ai_assets.resources.stream import SpoolStream, Stream


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """One server for all tests of a process; each test finds it empty."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder).start()
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """An empty Redis."""
    import redis

    with redis.Redis.from_url(redis_process.url) as client:
        client.flushall()
    return redis_process


@pytest.fixture(params=["spool", "redis"])
def open_stream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Stream]]:
    """Opens one stream of each kind, again and again."""
    opened: list[Stream] = []

    def open_one(reader: str = "worker", **options: float) -> Stream:
        if request.param == "spool":
            opened.append(SpoolStream(tmp_path / "stream", pause_s=0.001))
        else:
            from spotify_ai_assets.resources.redis_stream import RedisStream

            opened.append(RedisStream(request.getfixturevalue("redis_server").url, reader, **options))
        return opened[-1]

    yield open_one
    for stream in opened:
        stream.close()


@pytest.fixture(params=["sqlite", "redis"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Live]:
    """A live store of each kind."""
    if request.param == "sqlite":
        store: Live = SqliteLive(tmp_path / "live" / "live.db")
    else:
        from spotify_ai_assets.recommendations.realtime.redis_live import RedisLive

        store = RedisLive(request.getfixturevalue("redis_server").url)
    yield store
    store.close()
