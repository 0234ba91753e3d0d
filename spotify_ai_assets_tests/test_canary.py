"""One listener whose every personal value can be searched for goes through the whole graph: none is found outside the vault."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spotify_ai_assets.demo import write_world
from spotify_ai_assets.maintenance.erasure.forms import Needles
from spotify_ai_assets.maintenance.erasure.scanning import data_roots, scan

PERSONAL = ("user_id", "display_name", "email", "ip_address", "user_agent", "device", "file_name", "track_name")


def find(values: dict[str, str], folder: Path, *skipped: str) -> set[tuple[str, str]]:
    """Which values are where below a folder: names of values and places of all that was found."""
    result = scan(data_roots(folder, leave_out=skipped), Needles.of_values(values))
    assert [each for each in result.undecodable if each.store not in ("landing", "quarantine")] == []
    return {(hit.value, f"{hit.store}/{hit.path} as {hit.form} in {hit.inside}") for hit in result.hits}


# The run -------------------------------------------------------------------------------------------------------------------

LANDING = """
from spotify_ai_assets.importing import run_import
from spotify_ai_assets.listening.landing import open_landing
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.runs import open_instance
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES
settings = Settings.from_environment()
with open_instance() as instance:
    run_import(instance, open_lake(settings, TABLES), settings, open_landing(settings))
"""

COMMAND = "from spotify_ai_assets.cli import main; main()"

FAULT = """
from spotify_ai_assets.listening import intake
detect = intake.detect
def fail(member):
    if "fault" in member.name:
        raise ValueError(f"cannot parse {member.path}: {member.head().decode()}")
    return detect(member)
intake.detect = fail
"""


class Run:
    """A data folder, and all that its processes printed."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.printed: list[str] = []

    def __call__(self, program: str, *arguments: str, status: int = 0) -> str:
        run = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "SPOTIFY_AI_DATA": str(self.data), "SPOTIFY_AI_PSEUDONYM_SEED": "canary"},
        )
        assert run.returncode == status, run.stderr[-4000:]
        self.printed += [run.stderr, run.stdout]
        return run.stdout

    def hide_files(self) -> None:
        """Leave out of what was printed last the names that the import command tells its caller."""
        document = json.loads(self.printed.pop())
        self.printed.append(json.dumps([{**one, "file": ""} for one in document["files"]]))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The canary's values, a landing spool full of them, and the finished run."""
    data = tmp_path_factory.mktemp("canary") / "data"
    truth = json.loads(write_world(data / "demo", scale=0.02, days=14, seed=5).read_text(encoding="utf-8"))
    (data / "demo" / "landing").rename(data / "landing")
    values = {name: truth["canary"][name] for name in PERSONAL}
    before = find(values, data)
    assert {name for name, where in before if where.startswith("landing/")} == set(PERSONAL), "else the scanner or the world is blind"
    return values, Run(data)


@pytest.mark.slow
def test_nothing_personal_leaves_the_vault(world, tmp_path):
    values, run = world
    run(LANDING)
    assert not any(path.is_file() for path in (run.data / "landing").rglob("*"))
    assert json.loads(run(COMMAND, "backfill", "run", "--json"))["refused"] == {}
    assert json.loads(run(COMMAND, "backfill", "verify", "--json"))["failed"] == []
    run(COMMAND, "status")

    folder = tmp_path / f"listener={values['user_id']}" / values["display_name"]
    folder.mkdir(parents=True)
    listen = {"ts": "2026-06-20T10:00:00Z", "ms_played": 1000, "ip_addr": values["ip_address"], "platform": values["device"]}
    good = {**listen, "master_metadata_track_name": "A song", "master_metadata_album_artist_name": "Somebody"}
    (folder / values["file_name"]).write_text(json.dumps([good, {**good, "ms_played": -1}]))
    (folder / f"{values['email']}.json.gz").write_bytes(gzip.compress(json.dumps([good] * 500).encode())[:-20])
    (folder / f"{values['email']}.txt").write_text(values["email"])
    told = json.loads(run(COMMAND, "import", str(tmp_path), "--json"))["files"]
    assert sorted(one["reason"] or "" for one in told) == ["", "not_a_listening_file", "truncated_gzip"]
    assert any(values["file_name"] in one["file"] for one in told), "whoever imports is told which file"
    run.hide_files()

    fault = tmp_path / "again" / f"fault {values['display_name']}.jsonl"
    fault.parent.mkdir()
    fault.write_text(json.dumps({"user_id": values["user_id"], "email": values["email"]}))
    run(f"{FAULT}\n{COMMAND}", "import", str(fault), status=1)
    spooled = run.data / "landing" / values["user_id"] / fault.name
    spooled.parent.mkdir(parents=True)
    spooled.write_bytes(fault.read_bytes())
    run(f"{FAULT}\n{LANDING}", status=1)
    assert spooled.exists(), "a fault of the platform costs nobody a file"

    # The landing spool holds what was not imported yet, the quarantine refused originals, demo the truth.
    assert find(values, run.data, "vault", "landing", "quarantine", "demo") == set()
    assert {where.split("/")[0] for _, where in find(values, run.data, "landing", "quarantine", "demo")} == {"vault"}
    assert all(len(path.name) == 64 for path in (run.data / "quarantine").iterdir())
    assert [name for name, value in values.items() if any(value in text for text in run.printed)] == []
    assert (run.data / "logs" / "platform.jsonl").stat().st_size and list((run.data / "dagster").rglob("*.db"))
