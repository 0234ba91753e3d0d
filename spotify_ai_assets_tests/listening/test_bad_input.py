"""What must never crash an import, block another file or lose a good row."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from exports import counts, digests, extended, imports, lines, native, open_intake, rejections, write

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.listening.landing import list_files

GOOD = [native(number, track_name=f"Kept {number}") for number in range(3)]


def between(*bad: object) -> bytes:
    """Good listens with bad ones between them."""
    return lines([GOOD[0], *bad, GOOD[1], GOOD[2]])


def take(lake, folder, contents: bytes, name: str = "a.jsonl"):
    (report,) = open_intake(lake, folder).take(write(folder / name, contents))
    return report


def titles(lake) -> list[str]:
    return sorted(lake.scan(EVENTS.key).collect()["track_name"])


KEPT = ["Kept 0", "Kept 1", "Kept 2"]


@pytest.mark.parametrize(
    ("rule", "record"),
    [
        ("malformed_json", b'{"user_id": "a", "started_at": "2026-03-0'),
        ("malformed_json", json.dumps(native(9)).encode("utf-16-le")),
        ("malformed_json", b"\x00" * 64),
        ("bad_encoding", b'{"user_id": "\xff\xfe", "started_at": 1772524800}'),
        ("malformed_json", b"[" * 5000),
        ("malformed_row", b"null"),
        ("nan_duration", b'{"user_id":"a","started_at":1772524800,"track_name":"t","artist_name":"b","played_ms":"NaN"}'),
        ("bad_duration", native(9, played_ms="a minute")),
        ("bad_duration", native(9, played_ms="1e999")),
        ("negative_duration", native(9, played_ms=-1)),
        ("duration_too_long", native(9, played_ms=10**12)),
        ("time_before_2002", native(9, started_at="1900-01-01T00:00:00Z")),
        ("time_in_future", native(9, started_at="2100-01-01T00:00:00Z")),
        ("bad_time", native(9, started_at="yesterday")),
        ("missing_time", native(9, started_at=None)),
        ("missing_user", native(9, user_id="")),
        ("bad_user_id", native(9, user_id="u" * 600)),
        ("missing_track", native(9, track_name="\0 \0")),
        ("missing_artist", native(9, artist_name=None)),
        ("name_too_long", native(9, track_name="x" * 5000)),
        ("wrong_type", native(9, track_name=["a", {"b": 1}])),
    ],
)
def test_a_bad_record_is_refused_by_its_rule_and_its_neighbours_are_kept(lake, tmp_path, rule, record):
    report = take(lake, tmp_path, between(record))
    assert report.reason is None and counts(report) == (4, 3, 0, 1)
    assert rejections(lake) == [(2, rule)] and titles(lake) == KEPT


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert('x')</script>",
        "[a](http://x) **b** | c | `d`",
        'comma, "quote"; semicolon',
        "שלום עולם",
        "\u202eevil\u202c",
        "🎵👩‍👩‍👧 e\u0301",
        "=cmd|' /C calc'!A0",
        "[/red] {x} %s \\n",
        "x" * 2000,
    ],
)
def test_an_odd_name_is_kept_as_it_is(lake, tmp_path, name):
    report = take(lake, tmp_path, between(native(9, track_name=name, artist_name=name, user_id=name[:512])))
    assert counts(report) == (4, 4, 0, 0)
    assert titles(lake) == sorted([*KEPT, name])


def test_keys_that_repeat_in_a_record_and_in_a_file_count_once(lake, tmp_path):
    twice = b'{"user_id":"a","user_id":"b","started_at":1772524800,"track_name":"t","track_name":"u","artist_name":"x"}'
    report = take(lake, tmp_path, between(twice, twice, GOOD[0]))
    assert counts(report) == (6, 4, 2, 0) and titles(lake) == [*KEPT, "t"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_in_another_encoding_with_its_mark_is_read(lake, tmp_path, encoding):
    report = take(lake, tmp_path, between(native(9, track_name="Übung")).decode().encode(encoding))
    assert counts(report) == (4, 4, 0, 0)


def test_text_in_an_old_encoding_loses_its_own_rows_only(lake, tmp_path):
    latin = json.dumps(native(9, track_name="Übung"), ensure_ascii=False).encode("latin-1")
    assert counts(take(lake, tmp_path, between(latin))) == (4, 3, 0, 1)
    assert titles(lake) == KEPT


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "empty_file"),
        (b" \n\n", "empty_file"),
        (b"\x00" * 5000, "not_a_listening_file"),
        (os.urandom(5000), "not_a_listening_file"),
        (b"PAR1" + b"x" * 500, "malformed_parquet"),
        (b"PK\x03\x04" + b"x" * 500, "truncated_zip"),
        (b"\x1f\x8b\x08\x00broken", "truncated_gzip"),
        (b"\x28\xb5\x2f\xfdbroken", "malformed_zstd"),
        (b'{"playlists": [{"pid": 1}]}', "playlists"),
        (b"%PDF-1.7 hello", "not_a_listening_file"),
        (b"[" * 100_000, "not_a_listening_file"),
        (gzip.compress(gzip.compress(b"x")), "nested_archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_no_data_says_why_and_the_next_is_imported(lake, tmp_path, contents, reason):
    intake = open_intake(lake, tmp_path)
    paths = [write(tmp_path / "in" / "a.bin", contents), write(tmp_path / "in" / "b.jsonl", lines(GOOD))]
    reports = [report for path in list_files(tmp_path / "in") for report in intake.take(path)]
    bad, good = reports[:-1], reports[-1]
    assert len(bad) == 1 and bad[0].format is None and counts(bad[0])[1] == 0
    assert bad[0].reason == reason
    assert counts(good) == (3, 3, 0, 0) and titles(lake) == KEPT and paths[0].exists()


def test_members_of_archives_cannot_leave_them(lake, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("../../evil.json", "/abs/evil.json", "C:\\evil.json", "fine.json"):
            archive.writestr(name, json.dumps([extended(len(name))]))
    reports = open_intake(lake, tmp_path).take(write(tmp_path / "in" / "a.zip", packed.getvalue()))
    assert [report.reason for report in reports] == ["unsafe_path"] * 3 + [None]
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        link = tarfile.TarInfo("link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        contents = json.dumps([extended(70)]).encode()
        entry = tarfile.TarInfo("fine.json")
        entry.size = len(contents)
        archive.addfile(entry, io.BytesIO(contents))
    reports = open_intake(lake, tmp_path).take(write(tmp_path / "in" / "b.tar.gz", tarred.getvalue()))
    assert [report.reason for report in reports] == ["unsafe_link", None]
    assert lake.scan(EVENTS.key).collect().height == 2
    assert not [path for path in tmp_path.rglob("*evil*")]


def test_a_line_of_a_hundred_megabytes_is_one_rejected_row(lake, tmp_path):
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(lines(GOOD[:1]))
        file.write(b'{"user_id":"a","track_name":"')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + lines(GOOD[1:]))
    (report,) = open_intake(lake, tmp_path).take(path)
    assert counts(report) == (4, 3, 0, 1) and titles(lake) == KEPT
    assert [row for row, _ in rejections(lake)] == [2]


UNREADABLE = """
import os, sys
from pathlib import Path
from exports import open_intake
from spotify_ai_assets.listening.landing import GivenFiles
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.tables import TABLES
def take(folder, data):
    intake = open_intake(Lake(str(data / "lake"), TABLES, FileLocks(data / "locks")), data)
    given = GivenFiles([folder])
    for path in given.files():
        reports = intake.take(path)
        given.done(path, intake.digest, reports)
    return given

folder = Path(sys.argv[1])
take(folder / "in" / "a.jsonl", folder / "warm")  # all modules are loaded as long as they can be read
os.setgid(65534)
os.setuid(65534)
given = take(folder / "in", folder / "data")
for report in given.reports:
    print(Path(report.file).relative_to(folder), report.stored, report.reason, sep="|")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
def test_folders_and_files_without_permission_are_told_and_block_nothing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    write(folder / "in" / "a.jsonl", lines(GOOD[:1]))
    write(folder / "in" / "closed.jsonl", lines(GOOD[:1])).chmod(0)
    write(folder / "in" / "dark" / "b.jsonl", lines(GOOD[:1])).parent.chmod(0)
    write(folder / "in" / "listed" / "c.jsonl", lines(GOOD[:1])).parent.chmod(0o744)
    write(folder / "in" / "z.jsonl", lines(GOOD[1:]))
    (folder / "data").mkdir()
    os.chown(folder / "data", 65534, 65534)
    opened = [parent for parent in (folder, *folder.parents) if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001]
    modes = {parent: parent.stat().st_mode for parent in opened}
    try:
        for parent in opened:
            parent.chmod(modes[parent] | 0o011)
        run = subprocess.run(
            [sys.executable, "-c", UNREADABLE, folder],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
    finally:
        for parent in opened:
            parent.chmod(modes[parent])
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines() == [
        "in/a.jsonl|1|None",
        "in/closed.jsonl|0|permission_denied",
        "in/dark|0|permission_denied",
        "in/listed/c.jsonl|0|permission_denied",
        "in/z.jsonl|2|None",
    ]


def test_a_folder_that_cannot_be_listed_does_not_hide_the_others(lake, tmp_path, monkeypatch):
    closed = write(tmp_path / "in" / "b" / "x.jsonl", lines(GOOD)).parent
    good = [write(tmp_path / "in" / name / "x.jsonl", lines(GOOD)) for name in ("a", "c")]
    scandir = os.scandir

    def refuse(path="."):
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list_files(tmp_path / "in") == [good[0], closed, good[1]]


def test_everything_at_once_adds_up(lake, tmp_path):
    records = [native(number) if number % 3 else b"{" * (number % 7 + 1) for number in range(400)]
    packed = gzip.compress(lines(records))
    for number in range(6):
        write(tmp_path / "in" / f"{number}.gz", packed[: len(packed) * (number + 1) // 6])
    intake = open_intake(lake, tmp_path)
    reports = [report for path in list_files(tmp_path / "in") for report in intake.take(path)]
    assert [counts(report)[0] for report in reports][-1] == 400
    assert sum(report.stored for report in reports) == lake.scan(EVENTS.key).collect().height == 266
    assert sum(one["rejected"] for one in imports(lake)) == len(rejections(lake)) and digests(lake)
