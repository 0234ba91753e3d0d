"""One listener whose every personal value can be searched for goes through the whole graph: none is found outside the vault."""

import base64
import gzip
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from spotify_ai_assets.demo import write_world

PERSONAL = ("user_id", "display_name", "email", "ip_address", "user_agent", "device", "file_name", "track_name")


# The scanner ---------------------------------------------------------------------------------------------------------------


def spellings(value: str) -> dict[str, bytes]:
    """The ways in which a value may be written."""
    text = value.encode()
    # Base64 depends on where the value begins; what its neighbours decide is cut off.
    shifted = {f"base64+{shift}": base64.b64encode(b"\0" * shift + text)[4 if shift else 0 : -4] for shift in range(3)}
    utf_16 = {f"{form}": value.encode(form) for form in ("utf-16-le", "utf-16-be")}
    return {"utf-8": text, **utf_16, "hex": text.hex().encode(), "HEX": text.hex().upper().encode(), **shifted}


def readings(path: Path) -> Iterator[bytes]:
    """A file's name and bytes, and what they hold when decoded."""
    contents = path.read_bytes()
    yield os.fsencode(path.name)
    yield contents
    if contents.startswith(b"PAR1"):
        yield repr(pq.read_metadata(path).metadata).encode()
        for column in pl.read_parquet(path, hive_partitioning=False):
            texts = map(repr, column.drop_nulls().to_list()) if column.dtype.is_nested() else column.cast(pl.String).drop_nulls()
            yield "\n".join(texts).encode()
    elif contents.startswith(b"\x1f\x8b"):
        yield gzip.decompress(contents) if path.suffix == ".gz" and "part" not in path.name else b""
    elif contents.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif contents.startswith(b"SQLite format 3"):
        # A value may lie on two pages, so that the raw bytes do not show it.
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            yield "\n".join(database.iterdump()).encode()


def find(values: dict[str, str], folder: Path, *skipped: str) -> set[tuple[str, str]]:
    """Which values are where below a folder: names of values and of folders directly in it."""
    sought = {(name, form): spelling for name, value in values.items() for form, spelling in spellings(value).items()}
    found = set()
    for path in folder.rglob("*"):
        place = path.relative_to(folder).parts[0]
        if place in skipped:
            continue
        for text in readings(path) if path.is_file() else (os.fsencode(path.name),):
            found |= {(name, f"{path.relative_to(folder)} as {form}") for (name, form), spelling in sought.items() if spelling in text}
    return found


def test_the_scanner_finds_a_value_however_it_is_stored(tmp_path):
    value = {"user_id": "canaryuser0123"}
    text = value["user_id"]
    (tmp_path / "plain").write_text(f"x{text}x")
    (tmp_path / "wide").write_bytes(text.encode("utf-16-le"))
    (tmp_path / "hex").write_text(f"ab{text.encode().hex()}cd")
    for shift in range(3):
        (tmp_path / f"base64 {shift}").write_bytes(base64.b64encode(b"abc"[:shift] + text.encode() + b" and more"))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", text * 3)
    pl.DataFrame({"a": [text] * 50, "b": [1] * 50}).write_parquet(tmp_path / "table.parquet", compression="zstd")
    pl.DataFrame({"b": [1]}).write_parquet(tmp_path / "footer.parquet", metadata={"x": f"of {text}"})
    (tmp_path / text).mkdir()
    with closing(sqlite3.connect(tmp_path / "data.db")) as database:
        database.execute("create table a (b)")
        database.execute("insert into a values (?)", ("x" * 4090 + text,))
        database.commit()
    found = {where.split(" as ")[0] for _, where in find(value, tmp_path)}
    assert found == {path.name for path in tmp_path.iterdir()}
    assert find({"user_id": "canaryuser9999"}, tmp_path) == set()


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
