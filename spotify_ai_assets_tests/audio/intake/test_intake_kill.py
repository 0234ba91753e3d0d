"""A run of intake that is killed, several times, and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from audio_files import noise, write_wav

from spotify_ai_assets.audio.analysis import EXTRACTOR
from spotify_ai_assets.audio.intake.store import Store

FILES, KILLS = 300, 3

SCRIPT = """
import json, sys
from pathlib import Path
from spotify_ai_assets.audio.intake.landing import GivenAudio
from spotify_ai_assets.audio.intake.sandbox import Pool
from spotify_ai_assets.audio.intake.store import Store
from spotify_ai_assets.audio.intake.taking import take_files

landing, data, log = map(Path, sys.argv[1:])

class Logged(Pool):
    def ask(self, task, path):
        if task == "analyse":
            with log.open("a") as file:
                file.write(path.name + "\\n")
        return super().ask(task, path)

rows = {}
with Logged(2) as pool:
    for taken in take_files(GivenAudio([landing]).files(), Store(data), pool):
        rows[taken.name] = [taken.file_id, taken.facts, taken.rule]
        print(taken.file_id, flush=True)
print(json.dumps(rows, sort_keys=True))
"""


def start(landing: Path, data: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(landing), str(data), str(data.with_suffix(".log"))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen) -> dict:
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return json.loads(told.splitlines()[-1])


def analyses(data: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (data / "artifacts/analyses" / EXTRACTOR).glob("*/*.npz")}


def log(data: Path) -> Counter[str]:
    return Counter(data.with_suffix(".log").read_text().split())


@pytest.mark.slow
@pytest.mark.xdist_group("audio_sandbox")
def test_a_killed_intake_goes_on_where_it_stopped(tmp_path):
    landing, data, undisturbed = tmp_path / "landing", tmp_path / "data", tmp_path / "undisturbed"
    for number in range(FILES):
        path = landing / str(number % 7) / f"{number}.wav"
        if number % 50 == 9:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"fLaC" + bytes(40 + number))  # a broken one now and then
        else:
            write_wav(path, noise(number, seconds=0.3))
    in_flight = set()
    for killed in range(1, KILLS + 1):
        process = start(landing, data)
        for _ in range(60):  # the first 60 files of each run, most of them known already
            process.stdout.readline()
        folder = data / "artifacts/analyses" / EXTRACTOR
        while sum(1 for _ in folder.glob("*/*.npz")) < killed * FILES // (KILLS + 2) and process.poll() is None:
            time.sleep(0.03)
        assert process.poll() is None, "it was over before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        known = set(analyses(data)) | {path.stem for path in (data / "artifacts/analyses" / EXTRACTOR).glob("*/*.json")}
        in_flight |= set(log(data)) - known
    result = finish(start(landing, data))
    # None is lost, and nothing differs from a run that nobody has disturbed.
    assert len(result) == FILES and sum(row[2] is None for row in result.values()) == FILES - 6
    assert result == finish(start(landing, undisturbed))
    assert analyses(data) == analyses(undisturbed) and len(analyses(data)) == FILES - 6
    # What was measured was not measured again; what was being measured at a kill was.
    counts = log(data)
    assert set(counts) == set(log(undisturbed)) and len(counts) == FILES
    assert {name for name, count in counts.items() if count > 1} <= in_flight and len(in_flight) <= 2 * KILLS
    assert max(counts.values()) <= 2
    # Nothing is half written.
    store = Store(data)
    leftovers = [path for path in data.rglob("*") if path.name.startswith(".")]
    assert len(leftovers) <= 4 * KILLS and store.sweep() == len(leftovers)
    for path in (data / "artifacts/audio").glob("*/*"):
        assert store.keep(path).file_id == path.name
