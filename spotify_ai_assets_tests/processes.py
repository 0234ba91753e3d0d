"""Real processes for tests: commands on a data folder of their own, and a Dagster webserver with its daemon.

Each server runs in a process group of its own and exactly that group is stopped.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TypeVar

from spotify_ai_assets.demo.world import write_world
from spotify_ai_assets.settings import ROOT

BIN = Path(sys.executable).parent
Given = TypeVar("Given")
Told = TypeVar("Told")
LOCATION = {"repositoryLocationName": "spotify_ai_assets", "repositoryName": "__repository__"}
FIRST, LAST = "2026-06-09", "2026-06-28"
"""The days of a demo world of 20 days."""


def environment(data: Path, *, home: Path | None = ROOT, **extra: str) -> dict[str, str]:
    """The variables of a process that works on a data folder, with DAGSTER_HOME or without."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "SPOTIFY_AI_"))}
    path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
    ours = {"SPOTIFY_AI_DATA": str(data), "SPOTIFY_AI_PSEUDONYM_SEED": "test", "PATH": path, "VIRTUAL_ENV": str(BIN.parent)}
    return kept | ours | ({"DAGSTER_HOME": str(home)} if home else {}) | extra


def run(command: str, *arguments: str, cwd: Path = ROOT, status: int | None = 0, **options: Any) -> str:
    """What a command of the virtual environment prints; options are those of ``environment``."""
    done = subprocess.run(
        [str(BIN / command), *arguments], cwd=cwd, env=environment(**options), capture_output=True, text=True, timeout=240
    )
    assert status is None or done.returncode == status, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def spotify_ai(data: Path, *arguments: str, status: int = 0, **options: Any) -> dict[str, Any]:
    """The JSON that a command of the platform prints."""
    return json.loads(run("spotify-ai", *arguments, "--json", status=status, data=data, **options))


def at_once(function: Callable[[Given], Told], arguments: Iterable[Given], processes: int = 8) -> list[Told]:
    """What a function of a module answers for at least as many arguments as processes, which begin together.

    They are spawned: a fork of this process would inherit the threads of polars as locks that nobody opens,
    and Dagster's handler of SIGTERM, behind which a ``multiprocessing.Pool`` can wait for its workers for ever.
    """
    context = multiprocessing.get_context("spawn")
    start = (context.Barrier(processes, timeout=300), function)
    with ProcessPoolExecutor(processes, context, initializer=_wait_for_the_others, initargs=start) as pool:
        return list(pool.map(function, arguments))


def _wait_for_the_others(barrier: Barrier, _function: Any) -> None:
    """Wait with the function's module already imported."""
    barrier.wait()


def import_demo(data: Path) -> None:
    """Import a small demo world of 20 days; nothing is made of it yet."""
    world = data.parent / f"{data.name}_world"
    write_world(world, scale=0.02, days=20)
    spotify_ai(data, "import", str(world / "landing"))


class Client:
    """A GraphQL client of a webserver.

    Args:
        port: Where it listens on this host.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def __call__(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Runs, the newest first, each with its tags as a mapping."""
        query = (
            "query($f: RunsFilter) { runsOrError(filter: $f, limit: 50)"
            " { ... on Runs { results { id jobName status tags { key value } } } } }"
        )
        found = self(query, f=filters or None)["runsOrError"]["results"]
        return [{**each, "tags": {tag["key"]: tag["value"] for tag in each["tags"]}} for each in found]

    def finished(self, run_id: str, seconds: float = 120) -> str:
        """The status of a run once it has ended."""
        return wait(lambda: next((each["status"] for each in self.runs(runIds=[run_id]) if each["status"] in ENDED), None), seconds)

    def launch(self, job: str, **options: Any) -> str:
        """Launch one run as the launchpad does.

        Args:
            job: A job, or ``__ASSET_JOB`` for assets.
            options: ``tags`` of the run, ``assets`` to select of the job, ``config``.
        """
        query = (
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename ... on LaunchRunSuccess { run { id } }"
            " ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } } }"
        )
        answer = self(query, p=execution(job, **options))["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["id"]


def execution(job: str, *, tags: dict[str, str], assets: list[str] | None = None, config: str = "{}") -> dict[str, Any]:
    """GraphQL's ExecutionParams."""
    selector: dict[str, Any] = {**LOCATION, "pipelineName": job}
    if assets is not None:
        selector |= {"assetSelection": [{"path": key.split("/")} for key in assets]}
    told = [{"key": key, "value": value} for key, value in tags.items()]
    return {"selector": selector, "runConfigData": config, "mode": "default", "executionMetadata": {"tags": told}}


ENDED = ("SUCCESS", "FAILURE", "CANCELED")


def wait(look: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true answer within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s")


@contextmanager
def serving(*command: str, log: Path, cwd: Path = ROOT, **options: Any) -> Iterator[Client]:
    """A webserver and a daemon, such as ``dagster dev``, until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("ab") as out:
        server = subprocess.Popen(
            [str(BIN / command[0]), *command[1:], "--host", "127.0.0.1", "--port", str(port)],
            cwd=cwd,
            env=environment(**options),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    client = Client(port)
    try:
        wait(lambda: server.poll() is None and healthy(client), 90)
        yield client
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


def healthy(client: Client) -> bool:
    """Whether the code location is loaded and every daemon beats."""
    found = client(
        "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }"
        " instance { daemonHealth { allDaemonStatuses { healthy required } } } }"
    )
    loaded = [
        entry["locationOrLoadError"]["__typename"] for entry in found["workspaceOrError"]["locationEntries"] if entry["locationOrLoadError"]
    ]
    beats = [each["healthy"] for each in found["instance"]["daemonHealth"]["allDaemonStatuses"] if each["required"]]
    return loaded == ["RepositoryLocation"] and bool(beats) and all(beats)
