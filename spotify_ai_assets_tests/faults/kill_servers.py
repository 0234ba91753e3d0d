"""A platform as production runs it: code server, web server and daemon as processes of their own, each of which can be killed."""

import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import IO

from processes import BIN, Client, environment, healthy, wait

SERVERS = ("code_server", "webserver", "daemon")


class Servers:
    """The processes of a platform on one data folder; whoever supervises them starts again what died.

    Args:
        folder: For the log and the workspace file.
        data: The data folder.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self._data = data
        self._code_port, port = _free_port(), _free_port()
        self.client = Client(port)
        self._workspace = folder / "workspace.yaml"
        self._workspace.write_text(
            f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {self._code_port}, location_name: spotify_ai_assets}}\n"
        )
        self._log: IO[bytes] = (folder / "servers.log").open("ab")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str, executor: str = "in_process") -> None:
        """Start servers, and wait until the code is loaded and every daemon beats.

        Args:
            names: Which; all unless given.
            executor: How the steps of runs that this code server starts execute.
        """
        code = ["-m", "spotify_ai_assets.definitions", "--host", "127.0.0.1", "--port", str(self._code_port)]
        place = ["--workspace", str(self._workspace)]
        commands = {
            "code_server": ["dagster", "api", "grpc", *code, "--location-name", "spotify_ai_assets"],
            "webserver": ["dagster-webserver", *place, "--host", "127.0.0.1", "--port", self.client.url.rpartition(":")[2]],
            "daemon": ["dagster-daemon", "run", *place],
        }
        for name in names or SERVERS:
            program, *arguments = commands[name]
            self._running[name] = subprocess.Popen(
                [str(BIN / program), *arguments],
                env=environment(self._data, SPOTIFY_AI_EXECUTOR=executor),
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        wait(lambda: healthy(self.client), 120)
        if "code_server" in (names or SERVERS):  # the web server believes for a while that the old one is still there
            wait(self._reloaded, 120)

    def _reloaded(self) -> bool:
        query = (
            'mutation { reloadRepositoryLocation(repositoryLocationName: "spotify_ai_assets") { __typename'
            " ... on WorkspaceLocationEntry { locationOrLoadError { __typename } } } }"
        )
        entry = self.client(query)["reloadRepositoryLocation"]
        return (entry.get("locationOrLoadError") or {}).get("__typename") == "RepositoryLocation"

    def kill(self, name: str) -> None:
        """Kill one server and nothing else: what it started goes on."""
        self._running[name].kill()
        self._running[name].wait(10)

    def kill_all(self) -> None:
        """Kill every process, runs and their steps too, as a reboot does; each server leads a group of processes."""
        for server in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)

    def close(self) -> None:
        """Leave nothing running."""
        self.kill_all()
        self._log.close()


def children_of(pid: int) -> list[int]:
    """The processes that a process started, as Linux tells."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def command_of(pid: int) -> str:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
