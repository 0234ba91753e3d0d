"""The reverse proxy of ``deploy/proxy`` on real servers: who gets through, as what, and what no login gets through."""

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import FIRST, LOCATION, Client, execution, import_demo, serving, wait

from spotify_ai_assets.settings import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("proxy"),
    pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed"),
]

CONFIGURATION = ROOT / "deploy" / "proxy" / "Caddyfile"
HOST = "music.example"
OPERATOR, VIEWER = ("operator", "an operator's word"), ("viewer", "a viewer's word")
Login = tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Door:
    """One port of the proxy.

    Attributes:
        port: Where it listens.
        authority: Its own certificate authority.
        upstream: The server behind it, reached directly.
    """

    port: int
    authority: Path
    upstream: Client

    def __call__(
        self, login: Login, path: str = "/server_info", *, body: Any = None, host: str = "", name: str = HOST, **headers: str
    ) -> http.client.HTTPResponse:
        """An answer; its body is read."""
        context = ssl.create_default_context(cafile=str(self.authority))
        stream = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=30), server_hostname=name)
        connection = http.client.HTTPConnection(HOST, self.port)
        connection.sock = stream
        told = {name.replace("_", "-"): value for name, value in headers.items()} | {"Host": host or f"{HOST}:{self.port}"}
        if login:
            told["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        if body is not None:
            told["Content-Type"] = "application/json"
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), told)
        answer = connection.getresponse()
        if answer.status != 101:
            answer.text = answer.read().decode()  # type: ignore[attr-defined]
        stream.close()
        return answer

    def graphql(self, login: Login, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer."""
        answer = self(login, "/graphql", body={"query": query, "variables": variables})
        assert answer.status == 200, answer.status
        return json.loads(answer.text)  # type: ignore[attr-defined]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def hashed(word: str) -> str:
    told = subprocess.run(["caddy", "hash-password"], input=f"{word}\n{word}\n", capture_output=True, text=True, check=True)
    return told.stdout.strip().splitlines()[-1]


@contextmanager
def proxy(folder: Path, operators: Client, viewers: Client) -> Iterator[tuple[Door, Door]]:
    """The doors of operators and of viewers."""
    ports = free_port(), free_port()
    told = {
        "UI_HOST": HOST,
        "UI_PORT": str(ports[0]),
        "UI_VIEWER_PORT": str(ports[1]),
        "UI_UPSTREAM_PORT": operators.url.rpartition(":")[2],
        "UI_VIEWER_UPSTREAM_PORT": viewers.url.rpartition(":")[2],
        "UI_USER": OPERATOR[0],
        "UI_HASH": hashed(OPERATOR[1]),
        "UI_VIEWER_USER": VIEWER[0],
        "UI_VIEWER_HASH": hashed(VIEWER[1]),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    authority = folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    with (folder / "proxy.log").open("ab") as log:
        command = ["caddy", "run", "--config", str(CONFIGURATION), "--adapter", "caddyfile"]
        server = subprocess.Popen(command, env={**os.environ, **told}, stdout=log, stderr=log, start_new_session=True)
    doors = Door(ports[0], authority, operators), Door(ports[1], authority, viewers)
    try:
        wait(lambda: authority.exists() and answers(doors[0]) and answers(doors[1]), 30)
        yield doors
    finally:
        server.terminate()
        server.wait(10)


def answers(door: Door) -> bool:
    try:
        return door(None).status == 401
    except (OSError, ssl.SSLError):
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proxy")


@pytest.fixture(scope="module")
def doors(folder: Path) -> Iterator[tuple[Door, Door]]:
    """The proxy before a server with its daemon and a read-only one, both on one data folder."""
    data = folder / "data_folder"
    import_demo(data)
    with ExitStack() as stack:
        operators = stack.enter_context(serving("spotify-ai", "ui", log=folder / "operators.log", data=data))
        viewers = stack.enter_context(serving("spotify-ai", "ui", "--read-only", log=folder / "viewers.log", data=data))
        yield stack.enter_context(proxy(folder, operators, viewers))


@pytest.fixture(params=["operators", "viewers"])
def door(request: pytest.FixtureRequest, doors: tuple[Door, Door]) -> tuple[Door, Login, Login]:
    """A door, its own login and that of the other."""
    return (doors[0], OPERATOR, VIEWER) if request.param == "operators" else (doors[1], VIEWER, OPERATOR)


def test_nobody_gets_in_without_a_login_of_this_door(door: tuple[Door, Login, Login]) -> None:
    ask, login, other = door
    assert ask(None).status == 401
    assert ask(("operator", "wrong")).status == 401
    assert ask(other).status == 401, "viewers are no operators"
    assert ask(None, "/graphql", body={"query": "{ __typename }"}).status == 401
    assert "dagster_webserver_version" in ask(login).text  # type: ignore[attr-defined]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:3000", "music.example.evil.example", "xmusic.example"])
def test_a_foreign_host_is_refused_with_and_without_login(door: tuple[Door, Login, Login], host: str) -> None:
    ask, login, _ = door
    assert (ask(login, host=host).status, ask(None, host=host).status) == (421, 421)


def test_a_foreign_name_is_not_even_given_a_certificate(door: tuple[Door, Login, Login]) -> None:
    ask, login, _ = door
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(login, name="evil.example")


def test_what_another_site_makes_a_browser_send_is_refused(door: tuple[Door, Login, Login]) -> None:
    ask, login, _ = door
    for origin in ("https://evil.example", "null", f"https://{HOST}.evil.example", f"http://{HOST}"):
        assert ask(login, "/graphql", body={"query": "{ __typename }"}, Origin=origin).status == 403
    assert ask(login, "/graphql", body={"query": "{ __typename }"}, Origin=f"https://{HOST}:{ask.port}").status == 200


def test_a_web_socket_is_opened_for_our_own_site_alone(door: tuple[Door, Login, Login]) -> None:
    ask, login, _ = door
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": base64.b64encode(bytes(16)).decode(),
        "Sec_WebSocket_Protocol": "graphql-transport-ws",
    }
    assert ask(login, "/graphql", Origin=f"https://{HOST}:{ask.port}", **upgrade).status == 101
    assert ask(login, "/graphql", Origin="https://evil.example", **upgrade).status == 403
    assert ask(None, "/graphql", Origin=f"https://{HOST}:{ask.port}", **upgrade).status == 401


LAUNCH = (
    "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename ... on LaunchRunSuccess { run { runId } }"
    " ... on UnauthorizedError { message } ... on PythonError { message } } }"
)
WIPE = "mutation($k: [PartitionsByAssetSelector!]!) { wipeAssets(assetPartitionRanges: $k) { __typename } }"


def test_operators_may_launch_a_run(doors: tuple[Door, Door]) -> None:
    wanted = execution("backfill", tags={"dagster/partition": FIRST}, assets=["listening/plays"])
    answer = doors[0].graphql(OPERATOR, LAUNCH, p=wanted)["data"]["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    assert answer["run"]["runId"] in {each["id"] for each in doors[0].upstream.runs()}


def test_viewers_see_runs_and_change_nothing(doors: tuple[Door, Door]) -> None:
    viewers = doors[1]
    known = {each["id"] for each in viewers.upstream.runs()}
    assert known, "the import"
    query = "{ runsOrError(limit: 50) { ... on Runs { results { id } } } }"
    assert {each["id"] for each in viewers.graphql(VIEWER, query)["data"]["runsOrError"]["results"]} >= known
    answer = viewers.graphql(VIEWER, LAUNCH, p=execution("verify", tags={}))["data"]["launchRun"]
    assert answer["__typename"] == "UnauthorizedError", answer
    start = "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"
    sensor = {**LOCATION, "sensorName": "stale_days"}
    assert viewers.graphql(VIEWER, start, s=sensor)["data"]["startSensor"]["__typename"] == "UnauthorizedError"
    delete = "mutation($r: String!) { deleteRun(runId: $r) { __typename } }"
    assert viewers.graphql(VIEWER, delete, r=next(iter(known)))["data"]["deleteRun"]["__typename"] == "UnauthorizedError"
    wipe = viewers.graphql(VIEWER, WIPE, k=[{"assetKey": {"path": ["listening", "plays"]}}])
    assert wipe["data"]["wipeAssets"]["__typename"] == "UnauthorizedError"
    assert {each["id"] for each in viewers.upstream.runs()} >= known


def test_answers_may_not_be_framed_sniffed_or_kept(door: tuple[Door, Login, Login]) -> None:
    ask, login, _ = door
    headers = ask(login, "/").headers
    assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("DENY", "nosniff", "no-store")
    assert headers["Strict-Transport-Security"].startswith("max-age=")


def test_a_large_body_is_refused(door: tuple[Door, Login, Login]) -> None:
    ask, login, _ = door
    try:
        status = ask(login, "/graphql", body={"query": "x" * (11 << 20)}).status
    except OSError:  # the connection is closed before all of it was sent
        return
    assert status >= 400


def test_behind_the_proxy_everything_listens_on_loopback_alone(doors: tuple[Door, Door]) -> None:
    """Web servers and the code server, which has no login of its own either."""
    del doors
    mine = [each for each in psutil.Process().children(recursive=True) if each.name() != "caddy"]
    listening = [at.laddr for each in mine for at in each.net_connections("inet") if at.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert [at for at in listening if at.ip not in ("127.0.0.1", "::1")] == []


def test_the_log_of_the_proxy_holds_no_login(doors: tuple[Door, Door], folder: Path) -> None:
    doors[0](OPERATOR, Cookie="planted-cookie")
    written = (folder / "proxy.log").read_text()
    assert '"handled request"' in written
    for hidden in ("planted-cookie", OPERATOR[1], base64.b64encode(":".join(OPERATOR).encode()).decode()):
        assert hidden not in written
