"""``spotify-ai metrics`` and ``spotify-ai health`` as real processes: served, scraped, stopped, refused, printed."""

import json
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from invented import require
from processes import BIN, environment, run, spotify_ai
from typer.testing import CliRunner

from spotify_ai_assets.maintenance.health.contracts import COMPONENTS
from spotify_ai_assets.metrics_cli import metrics
from spotify_ai_assets.observability.metrics.families import FAMILIES

pytestmark = pytest.mark.xdist_group("metrics")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


def names(text: bytes) -> set[str]:
    return {line.split()[2].decode() for line in text.splitlines() if line.startswith(b"# TYPE")}


def check(text: bytes) -> None:
    require(promtool := shutil.which("promtool"), "promtool of Debian's package prometheus is not installed")
    done = subprocess.run([str(promtool), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics") / "data"


def test_the_endpoint_is_scraped_with_the_code_location_loaded_and_stops_when_told(data: Path):
    log = data.parent / "log"
    with log.open("wb") as err:
        server = subprocess.Popen([str(BIN / "spotify-ai"), "metrics", "serve", "--port", "0"], env=environment(data), stderr=err)
    try:
        end = time.monotonic() + 120
        while "http://" not in log.read_text() and time.monotonic() < end and server.poll() is None:
            time.sleep(0.2)
        url = next(word for word in log.read_text().split() if word.startswith("http://"))
        text = get(url)
        check(text)
        assert names(text) <= set(FAMILIES)
        assert b'dagster_code_location_load_error{location="spotify_ai_assets"} 0.0' in text
        assert b'dagster_active_runs{job_name="check_health",location="spotify_ai_assets",status="queued"} 0.0' in text
        assert b'asset_key="listening/plays"' in text
        began = time.monotonic()
        get(url)
        assert time.monotonic() - began < 10  # two seconds where nobody else works
        health = json.loads(get(url.replace("/metrics", "/health")))
        assert tuple(health["components"]) == COMPONENTS
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0, log.read_text()
    assert "Stopped." in log.read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_an_address_of_others_is_refused_in_words(host):
    done = CliRunner().invoke(metrics, ["serve", "--host", host, "--port", "0"])
    assert done.exit_code == 1 and "--public" in done.stderr


@pytest.mark.slow
def test_health_is_told_kept_and_shown_by_the_textfile_and_a_failing_part_is_status_one(data: Path):
    keys = data / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    (keys / "invented.key").write_bytes(b"short")
    told = spotify_ai(data, "health", "--record", status=1)
    assert (told["grade"], told["components"]["secrets"]["grade"]) == ("failing", "failing")
    assert told["components"]["backups"]["grade"] == "warning"
    text = run("spotify-ai", "metrics", "textfile", data=data).encode()
    check(text)
    assert {"spotify_ai_asset_rows", "dagster_exporter_last_scrape_success", "spotify_ai_disk_free_bytes"} <= names(text)
    assert b'spotify_ai_health_grade{component="backups"} 1.0' in text
    assert b'spotify_ai_chain_records{chain="audit"} 1.0' in text
