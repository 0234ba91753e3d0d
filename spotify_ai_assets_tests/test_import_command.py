"""``spotify-ai import`` as a person or a script calls it: its output, its exit status, and what its failures tell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

KEYS = {"file", "format", "rows", "stored", "duplicate", "rejected", "reason"}


def listen(number: int, **changes) -> dict:
    time = f"2026-03-02T08:{number % 60:02}:00Z"
    return {"user_id": "real user", "started_at": time, "track_name": f"Song {number}", "artist_name": "Band", "played_ms": 1000, **changes}


def write(path: Path, *records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in records))
    return path


@pytest.fixture
def command(tmp_path):
    """Calls the command line with a data folder of its own."""

    def call(*arguments, patch: str = "", **environment: str) -> subprocess.CompletedProcess:
        program = f"{patch}\nfrom spotify_ai_assets.cli import main\nmain()"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env={**os.environ, "SPOTIFY_AI_DATA": str(tmp_path / "data"), "PYTHONUTF8": "1", "COLUMNS": "200", **environment},
        )

    return call


def files(run: subprocess.CompletedProcess) -> list[dict]:
    assert run.returncode == 0, run.stderr[-3000:]
    document = json.loads(run.stdout)
    assert document.keys() == {"files", "audio"} and not document["audio"] and all(one.keys() == KEYS for one in document["files"])
    assert all(one["rows"] == one["stored"] + one["duplicate"] + one["rejected"] for one in document["files"])
    return document["files"]


def test_every_file_is_told_with_every_key_and_the_second_time_all_is_known(command, tmp_path):
    folder = tmp_path / "in"
    write(folder / "a.jsonl", listen(0), listen(1, played_ms=-1), b"{", listen(2))
    write(folder / "b.txt", b"no data")
    write(folder / "c.gz", b"\x1f\x8b\x08broken")
    Path(folder, "empty.json").touch()
    write(Path(os.fsdecode(os.fsencode(folder) + b"/\xff[/red].jsonl")), listen(3))
    first = files(command("import", str(folder), "--json"))
    told = [(one["format"], one["rows"], one["stored"], one["duplicate"], one["rejected"], one["reason"]) for one in first]
    assert told == [
        ("native_jsonl", 4, 2, 0, 2, None),
        (None, 0, 0, 0, 0, "not_a_listening_file"),
        (None, 1, 0, 0, 1, "malformed_gzip"),
        (None, 0, 0, 0, 0, "empty_file"),
        ("native_jsonl", 1, 1, 0, 0, None),
    ]
    again = command("import", str(folder))
    assert again.returncode == 0, again.stderr[-3000:]
    assert "[/red]" in again.stdout and "malformed_gzip" in again.stdout
    third = files(command("import", str(folder), "--json"))
    assert [(one["stored"], one["duplicate"]) for one in third] == [(0, 2), (0, 0), (0, 0), (0, 0), (0, 1)]


def test_misuse_ends_with_two_and_a_failing_platform_with_one(command, tmp_path):
    path = write(tmp_path / "a.jsonl", listen(0))
    assert command("import").returncode == 2
    assert command("import", str(tmp_path / "absent.json")).returncode == 2
    (tmp_path / "folder.db").mkdir()
    for url in ("oracle://nowhere", f"sqlite:///{tmp_path / 'folder.db'}"):
        failed = command("import", str(path), "--json", SPOTIFY_AI_VAULT_URL=url)
        assert failed.returncode == 1 and failed.stdout == "" and "real user" not in failed.stderr


FAULT = """
from spotify_ai_assets.listening import intake
detect = intake.detect
def fail(member):
    if "secret" in member.name:
        raise KeyError("Anna Secretperson in " + str(member.path))
    return detect(member)
intake.detect = fail
"""


def test_a_fault_in_one_file_fails_the_run_without_its_name_and_the_others_are_imported(command, tmp_path):
    write(tmp_path / "in" / "a-secret-name.jsonl", listen(0))
    write(tmp_path / "in" / "b.jsonl", listen(1))
    failed = command("import", str(tmp_path / "in"), "--json", patch=FAULT)
    assert failed.returncode == 1 and failed.stdout == "", failed.stderr[-3000:]
    told = "".join(path.read_bytes().decode("latin-1") for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert "KeyError in" in told
    for text in (told, failed.stdout, failed.stderr):
        assert "Secretperson" not in text and "secret-name" not in text
    (one, other) = files(command("import", str(tmp_path / "in"), "--json"))
    assert (one["stored"], other["duplicate"]) == (1, 1)


def test_a_line_of_a_hundred_megabytes_goes_through_the_command(command, tmp_path):
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(listen(0)).encode() + b"\n" + b'{"user_id": "' + b"x" * 100_000_000 + b'"}\n')
        file.write(json.dumps(listen(1)).encode() + b"\n")
    (report,) = files(command("import", str(path), "--json"))
    assert (report["rows"], report["stored"], report["rejected"]) == (3, 2, 1)
    rejected = pl.read_parquet(tmp_path / "data" / "lake" / "listening" / "rejected" / "*.parquet")
    assert rejected["row"].to_list() == [2] and path.stat().st_size > 100_000_000
