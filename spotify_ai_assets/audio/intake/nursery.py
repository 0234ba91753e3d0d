"""The warm process that forks the children of the sandbox, seen from outside; ``worker.py`` is what runs in it."""

import json
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.resources.traceparent import child_environment

_START_SECONDS = 600
"""The first start after an installation compiles the kernels."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class Child:
    """A process that measures files.

    Attributes:
        number: Its process id.
        link: Requests go in, answers come out.
    """

    number: int
    link: socket.socket


class Nursery:
    """The warm process that forks children and learns how they ended.

    Args:
        module: What it runs.

    Attributes:
        resident_bytes: Its memory once it is warm, which each child begins with and shares.

    Raises:
        PlatformError: It does not start.
    """

    def __init__(self, module: str) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_START_SECONDS)
        with tempfile.TemporaryFile() as told:
            with theirs:  # closed here before anything is heard, so that the end of the process is
                self._process = subprocess.Popen(
                    [sys.executable, "-m", module, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=told,
                    pass_fds=[theirs.fileno()],
                    env=child_environment() | dict.fromkeys(_THREADS, "1"),
                    start_new_session=True,  # a Ctrl-C in the terminal is this process's to handle
                )
            try:
                self.resident_bytes: int = self._hear()["resident"]
            except (OSError, ValueError) as error:
                self.close()
                told.seek(0)
                last = told.read()[-2000:].decode(errors="replace").strip().rsplit("\n", 1)[-1]
                raise PlatformError(f"the processes that measure audio do not start: {last}") from error

    def fork(self, memory_bytes: int, cpu_seconds: int) -> Child:
        """A new child.

        Args:
            memory_bytes: Most that may be resident in it.
            cpu_seconds: Most processor time for each file.

        Raises:
            OSError: The warm process is gone.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            asked = {"do": "fork", "memory": memory_bytes, "cpu": cpu_seconds}
            socket.send_fds(self._control, [json.dumps(asked).encode()], [theirs.fileno()])
        return Child(self._hear()["child"], ours)

    def bury(self, child: Child, patience: float) -> int | None:
        """See that a child has ended, and tell how it did: the negative number of a signal or its status; ``None`` if unknown.

        Args:
            child: The child.
            patience: Seconds that it has to end by itself.
        """
        child.link.close()
        try:
            self._control.sendall(json.dumps({"do": "bury", "child": child.number, "patience": patience}).encode())
            return self._hear()["status"]
        except (OSError, ValueError):
            return None

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, and with it all children."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _hear(self) -> dict[str, Any]:
        line = b""
        while not line.endswith(b"\n"):
            part = self._control.recv(4096)
            if not part:
                raise ConnectionResetError("the warm process has ended")
            line += part
        return json.loads(line)
