"""The command that imports audio, killed again and again: nothing lost, nothing measured twice, and the same rows as without."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from processes import BIN, environment, run

from spotify_ai_assets.audio.contracts import EVIDENCE, FEATURES, FILES, FINGERPRINTS, SPECTROGRAMS
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.settings import ROOT, Settings
from spotify_ai_assets.tables import TABLES

MANY, KILLS, WORKERS = 300, 3, 2
MEASURED = (FILES, FEATURES, SPECTROGRAMS, FINGERPRINTS, EVIDENCE)


def write_files(folder: Path) -> None:
    import soundfile

    folder.mkdir()
    for number in range(MANY):
        noise = np.random.default_rng(number).normal(0, 0.1, 6_615).astype(np.float32)
        soundfile.write(folder / f"{number:03}.wav", noise, 22_050)


def analyses(data: Path) -> dict[str, int]:
    """When each analysis was written, in nanoseconds."""
    return {path.stem: path.stat().st_mtime_ns for path in (data / "artifacts" / "analyses").glob("*/*/*.npz")}


def digests(data: Path) -> dict[str, dict[str, str]]:
    lake = open_lake(Settings.from_environment({"SPOTIFY_AI_DATA": str(data)}), TABLES)
    return {table.key: {name: state.digest for name, state in lake.states(table.key).items()} for table in MEASURED}


@pytest.mark.slow
def test_an_import_of_300_files_that_is_killed_loses_and_repeats_nothing(tmp_path: Path) -> None:
    write_files(tmp_path / "files")
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    killed, plain = tmp_path / "killed", tmp_path / "plain"
    begun = environment(killed, SPOTIFY_AI_AUDIO_WORKERS=str(WORKERS))
    written: dict[str, int] = {}
    for _ in range(KILLS):
        command = [str(BIN / "spotify-ai"), "import", str(tmp_path / "files")]
        process = subprocess.Popen(
            command, cwd=ROOT, env=begun, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        goal, deadline = len(written) + chance.randint(20, 90), time.monotonic() + 240
        while len(analyses(killed)) < goal and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        now = analyses(killed)
        assert len(now) >= goal
        assert {name: now[name] for name in written} == written, "an analysis was made again"
        written = now
    run("spotify-ai", "import", str(tmp_path / "files"), data=killed)
    after = analyses(killed)
    assert {name: after[name] for name in written} == written
    run("spotify-ai", "import", str(tmp_path / "files"), data=plain)
    found = digests(killed)
    assert found == digests(plain)
    assert sum(1 for _ in (killed / "artifacts" / "audio").glob("*/*")) == MANY
    assert not list((killed / "artifacts" / "audio").glob(".*.part"))
