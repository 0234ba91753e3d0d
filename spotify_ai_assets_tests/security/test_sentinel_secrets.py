"""Planted secrets: every secret but the addresses of three databases has a value that stands nowhere else; after a full run none is
found in anything that was kept.

Vault, ledger and experiments are files of SQLite here, whose addresses have no place for a password: they come from files, and what
becomes of passwords within addresses is for the stream's, which has one, and for ``test_secrets.py``.

The platform's own byte scanner looks, decoded and in every form of writing, and first has to find the same values where they were
planted for it.
"""

import base64
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import environment, run, serving, wait

from benchmarks.redis_server import RedisServer
from spotify_ai_assets.demo.world import write_world
from spotify_ai_assets.maintenance.erasure.forms import Needles
from spotify_ai_assets.maintenance.erasure.scanning import scan
from spotify_ai_assets.settings import SECRETS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sentinels")]

DAYS = 3


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def planted(folder: Path, redis: RedisServer) -> tuple[dict[str, str], dict[str, str]]:
    """The environment with every variable of a secret, and what of each must appear nowhere, by the variable's name."""
    hidden = {name: f"planted-{number:02}-{os.urandom(12).hex()}" for number, name in enumerate(SECRETS)}
    keys = {name: os.urandom(32) for name in SECRETS if name.endswith("_KEY") and "PAGERDUTY" not in name}
    hidden |= {name: key.hex() for name, key in keys.items()}
    hidden["SPOTIFY_AI_LANDING_KEY"] = base64.urlsafe_b64encode(keys["SPOTIFY_AI_LANDING_KEY"]).decode()
    hidden["SPOTIFY_AI_SENTRY_DSN"] = os.urandom(16).hex()
    with redis_client(redis) as client:
        client.acl_setuser("platform", enabled=True, passwords=[f"+{hidden['SPOTIFY_AI_STREAM_URL']}"], categories=["+@all"], keys=["*"])
    nobody = f"127.0.0.1:{closed_port()}"
    told = hidden | {
        "SPOTIFY_AI_STREAM_URL": redis.url.replace("unix://", f"unix://platform:{hidden['SPOTIFY_AI_STREAM_URL']}@"),
        "SPOTIFY_AI_SENTRY_DSN": f"http://{hidden['SPOTIFY_AI_SENTRY_DSN']}@{nobody}/1",
        "SPOTIFY_AI_SLACK_WEBHOOK": f"http://{nobody}/services/{hidden['SPOTIFY_AI_SLACK_WEBHOOK']}",
        "SPOTIFY_AI_DEADMAN_URL": f"http://{nobody}/ping/{hidden['SPOTIFY_AI_DEADMAN_URL']}",
        "SPOTIFY_AI_PAGERDUTY_URL": f"http://{nobody}/v2/enqueue",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{nobody}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={hidden['OTEL_EXPORTER_OTLP_HEADERS']}",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"authorization={hidden['OTEL_EXPORTER_OTLP_TRACES_HEADERS']}",
        "SPOTIFY_AI_KEEP_LANDING_DAYS": "5",
        "SPOTIFY_AI_MODEL_SIZE": "demo",
    }
    # SQLite's addresses have no place for a password.
    for name, store in (("VAULT", "vault/identities.db"), ("LEDGER", "ledger/ledger.db"), ("TRACKING", "mlflow/mlflow.db")):
        del told[f"SPOTIFY_AI_{name}_URL"]
        file = folder / f"{name.lower()}-address"
        (folder / "data" / store).parent.mkdir(parents=True)
        file.write_text(f"sqlite:///{folder / 'data' / store}")
        told[f"SPOTIFY_AI_{name}_URL_FILE"] = str(file)
        del hidden[f"SPOTIFY_AI_{name}_URL"]
    return told, hidden


def redis_client(server: RedisServer):
    import redis

    return redis.Redis.from_url(server.url)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run left behind.

    Attributes:
        folder: Everything: the data folder, what was printed, the broker's files.
        hidden: The planted values by name.
    """

    folder: Path
    hidden: dict[str, str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A full run with secrets everywhere: import, daily run, stream, a failing job, a killed worker, refused alerts."""
    folder = tmp_path_factory.mktemp("sentinels")
    (folder / "broker").mkdir()
    redis = RedisServer(folder / "broker").start()
    try:
        told, hidden = planted(folder, redis)
        play(folder, told)
    finally:
        with redis_client(redis) as client:
            client.save()
        redis.kill()
    return Kept(folder, hidden)


def play(folder: Path, told: dict[str, str]) -> None:
    data, printed = folder / "data", folder / "printed"
    write_world(folder / "world", scale=0.01, days=DAYS)
    (data / "landing").mkdir(parents=True)
    for path in sorted((folder / "world" / "landing").rglob("*")):
        if path.is_file():
            path.rename(data / "landing" / f"{len(list((data / 'landing').iterdir()))}{''.join(path.suffixes)}")
    live = folder / "live.jsonl"
    listen = {"started_at": "2026-06-28T10:00:00Z", "track_name": "A", "artist_name": "B", "played_ms": 90_000}
    live.write_text("".join(json.dumps({**listen, "user_id": f"person-{number}"}) + "\n" for number in range(20)))
    texts = [run("spotify-ai", *arguments, data=data, **told) for arguments in (("send", str(live)), ("stream", "--until-empty"))]
    with serving("dagster", "dev", "--workspace", "workspace.yaml", "--verbose", log=printed, data=data, **told) as client:
        wait(lambda: [each for each in client.runs(pipelineName="import_landing") if each["status"] == "SUCCESS"], 240)
        wait(lambda: [each for each in client.runs(pipelineName="backfill") if each["status"] == "SUCCESS"], 240)
        client.finished(client.launch("promote_model", tags={}, config=json.dumps(PROMOTION)), 120)
        again = client.launch("backfill", tags={"dagster/partition": "2026-06-28"})
        pid = wait(lambda: next((each["tags"].get("spotify_ai/pid") for each in client.runs(runIds=[again])), None), 120)
        os.kill(int(pid), signal.SIGKILL)
        client.finished(again, 120)
    for arguments in (("status",), ("backfill", "verify"), ("models", "promote", "audio/nothing"), ("sql", "select 1 as a")):
        done = subprocess.run(
            [str(Path(sys.executable).parent / "spotify-ai"), *arguments], env=environment(data, **told), capture_output=True, text=True
        )
        texts += [done.stdout, done.stderr]
    (folder / "texts").write_text("\n".join(texts))


PROMOTION = {"ops": {"promote_version": {"config": {"model": "audio/nothing"}}}}


def test_the_run_left_what_is_to_be_searched(kept: Kept) -> None:
    folders = {path.name for path in (kept.folder / "data").iterdir()}
    assert {"lake", "dagster", "vault", "logs", "reports", "kept"} <= folders
    assert list((kept.folder / "data" / "kept").glob("*.fernet")), "the landing key was used"
    assert (kept.folder / "printed").stat().st_size
    assert list((kept.folder / "broker").rglob("*.rdb")) + list((kept.folder / "broker").rglob("*.aof"))
    statuses = set()
    with closing(sqlite3.connect(kept.folder / "data" / "dagster" / "history" / "runs.db")) as database:
        statuses = {status for (status,) in database.execute("select status from runs")}
    assert {"SUCCESS", "FAILURE"} <= statuses


def test_a_planted_secret_would_be_found(kept: Kept, tmp_path: Path) -> None:
    places = {}
    for name, value in kept.hidden.items():
        places[name] = tmp_path / "store" / name
        places[name].mkdir(parents=True)
        with closing(sqlite3.connect(places[name] / "runs.db")) as database:
            database.execute("create table runs (body text)")
            database.execute("insert into runs values (?)", (json.dumps({"config": {"value": value}}),))
            database.commit()
        (places[name] / "line.jsonl").write_text(json.dumps({"message": f"could not log in with {value}"}))
        (places[name] / "broker").write_bytes(base64.b64encode(f'{{"url": "redis://user:{value}@host"}}'.encode()))
    found = scan({"store": tmp_path / "store"}, Needles.of_values(kept.hidden))
    files = {hit.path for hit in found.hits if not hit.inside}
    for name in kept.hidden:
        assert {f"{name}/runs.db", f"{name}/line.jsonl", f"{name}/broker"} <= files


def test_no_secret_stands_in_anything_that_was_kept(kept: Kept) -> None:
    found = scan(
        {
            "data": kept.folder / "data",
            "printed": kept.folder / "printed",
            "texts": kept.folder / "texts",
            "broker": kept.folder / "broker",
        },
        Needles.of_values(kept.hidden),
        keys=[kept.hidden["SPOTIFY_AI_LANDING_KEY"].encode()],
    )
    assert found.files > 100
    assert sorted({(hit.value, hit.store, hit.path, hit.form) for hit in found.hits}) == []
