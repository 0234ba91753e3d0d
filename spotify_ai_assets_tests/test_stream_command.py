"""``spotify-ai send`` and ``stream`` in real processes: from a file to the lake, the store and the instance; and SIGTERM."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from processes import environment
from typer.testing import CliRunner

from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS
from spotify_ai_assets.recommendations.realtime.live import SqliteLive
from spotify_ai_assets.recommendations.realtime.worker import Report
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.stream import SpoolStream
from spotify_ai_assets.settings import ROOT, Settings
from spotify_ai_assets.stream_cli import streaming
from spotify_ai_assets.stream_runs import report_stream
from spotify_ai_assets.tables import TABLES

COMMAND = [sys.executable, "-c", "from spotify_ai_assets.stream_cli import streaming; streaming()"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Settings:
    """Settings of an embedded platform, in the environment too."""
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {"SPOTIFY_AI_DATA": str(tmp_path / "data"), "SPOTIFY_AI_PSEUDONYM_SEED": "test", "DAGSTER_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SPOTIFY_AI_STREAM_URL", raising=False)
    return Settings.from_environment()


def write_listens(path: Path, count: int, first: int = 0) -> Path:
    lines = [
        {
            "user_id": f"user-{number % 11}",
            "started_at": 1_782_000_000_000_000 + number,
            "track_name": f"Track {number % 40}",
            "artist_name": f"Band {number % 5}",
            "played_ms": 200_000,
        }
        for number in range(first, first + count)
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def assert_counted(settings: Settings, count: int) -> None:
    """Each listen is in the lake once, in the store once, and in the notes."""
    lake = open_lake(settings, TABLES)
    rows, noted = lake.scan(EVENTS.key).collect(), lake.scan(IMPORTS.key).collect()
    assert rows.height == rows["started_at"].n_unique() == noted["stored"].sum() == count
    assert noted.filter(pl.col("rows") != pl.col("stored") + pl.col("duplicate") + pl.col("rejected")).is_empty()
    live = SqliteLive(settings.data / "live" / "live.db")
    keys = [play.key for listener in rows["listener_id"].unique() for play in live.plays(listener)]
    live.close()
    assert len(keys) == len(set(keys)) == count
    assert SpoolStream(settings.stream).waiting() == 0


def test_listens_of_a_file_go_through_the_stream_to_the_lake_and_the_store(here: Settings, tmp_path: Path):
    runner, file = CliRunner(), write_listens(tmp_path / "listens.jsonl", 60)
    sent = runner.invoke(streaming, ["send", str(file), "--json"])
    assert json.loads(sent.stdout) == {"rows": 60, "sent": 60, "refused": {}}
    taken = runner.invoke(streaming, ["stream", "--until-empty", "--json"])
    assert taken.exit_code == 0, taken.output
    total = json.loads(taken.stdout)
    assert (total["messages"], total["visible"], total["stored"], total["days"]) == (60, 60, 60, ["2026-06-21"])
    assert_counted(here, 60)
    import dagster as dg

    from spotify_ai_assets.runs import open_instance

    with open_instance() as instance:
        found = instance.fetch_materializations(dg.AssetRecordsFilter(dg.AssetKey(["listening", "events"])), limit=5).records
    assert [record.partition_key for record in found] == ["2026-06-21"]
    metadata = found[0].asset_materialization.metadata
    assert metadata["stream_stored"].value == 60 and metadata["stream_lag_p95_s"].value >= 0
    assert metadata["dagster/partition_row_count"].value == 60


def test_lines_from_standard_input_are_sent_and_a_table_is_printed(here: Settings, tmp_path: Path):
    lines = write_listens(tmp_path / "listens.jsonl", 3).read_bytes()
    found = CliRunner().invoke(streaming, ["send", "-"], input=lines)
    assert found.exit_code == 0 and "3" in found.stdout and SpoolStream(here.stream).waiting() == 3
    printed = CliRunner().invoke(streaming, ["stream", "--until-empty"])
    assert printed.exit_code == 0 and "Messages" in printed.stdout


def test_misuse_is_told(here: Settings, tmp_path: Path):
    assert CliRunner().invoke(streaming, ["send", str(tmp_path / "none")]).exit_code == 2
    assert CliRunner().invoke(streaming, ["stream", "--reader", "no such name"]).exit_code == 2
    (tmp_path / "empty.txt").write_text("hello")
    assert CliRunner().invoke(streaming, ["send", str(tmp_path / "empty.txt"), "--json"]).exit_code == 1


def test_nothing_stored_is_told_to_nobody(here: Settings, instance):
    assert report_stream(instance, open_lake(here, TABLES), Report()) == 0


def start_worker(data: Path, home: Path, *options: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        arguments = [*COMMAND, "stream", "--reader", "test", "--batch-seconds", "0.3", "--batch-rows", "400", *options]
        return subprocess.Popen(arguments, cwd=ROOT, env=environment(data, home=home), stdout=file, stderr=file)


def wait_for(look, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_commits_what_waits(here: Settings, tmp_path: Path):
    worker = start_worker(here.data, Path(os.environ["DAGSTER_HOME"]), "--batch-seconds", "3600", "--json", log=tmp_path / "log")
    runner, live = CliRunner(), SqliteLive(here.data / "live" / "live.db")
    runner.invoke(streaming, ["send", str(write_listens(tmp_path / "listens.jsonl", 200)), "--json"])
    from spotify_ai_assets.resources import open_vault

    pseudonym = open_vault(here).swap(["user-0"])["user-0"]
    wait_for(lambda: live.plays(pseudonym))
    live.close()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0, (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "log").read_text().strip().rpartition("\n")[2])["stored"] == 200
    assert_counted(here, 200)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_worker_on_a_spool_may_be_killed_at_any_point(here: Settings, tmp_path: Path, seed: int):
    """SIGKILL at random times after its first commit, again and again, while listens keep coming."""
    rng, runner, count = random.Random(seed), CliRunner(), 6600
    home = Path(os.environ["DAGSTER_HOME"])
    pieces = [write_listens(tmp_path / f"{first}.jsonl", 200, first) for first in range(0, count, 200)]
    kills = 0
    worker = start_worker(here.data, home, log=tmp_path / "log")
    lake = open_lake(here, TABLES)
    for number, piece in enumerate(pieces, 1):
        assert runner.invoke(streaming, ["send", str(piece), "--json"]).exit_code == 0
        if number % 6 == 0:
            before = lake.scan(EVENTS.key).select(pl.len()).collect().item()
            wait_for(lambda before=before: lake.scan(EVENTS.key).select(pl.len()).collect().item() > before)
            time.sleep(rng.random() * 0.6)
            worker.kill()
            worker.wait()
            kills += 1
            worker = start_worker(here.data, home, log=tmp_path / "log")
    wait_for(lambda: SpoolStream(here.stream).waiting() == 0)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0, (tmp_path / "log").read_text()
    assert kills == 5
    assert_counted(here, count)
