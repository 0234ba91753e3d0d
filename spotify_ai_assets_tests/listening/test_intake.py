import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from exports import BEGIN, NOW, account, counts, digests, extended, imports, lines, native, open_intake, rejections, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_ai_assets.catalog.contracts import TRACKS
from spotify_ai_assets.errors import ContractError, TransientError
from spotify_ai_assets.listening import intake as module
from spotify_ai_assets.listening import spool
from spotify_ai_assets.listening.contracts import CHART_ENTRIES, EVENTS, IMPORTS, KEPT_FILES, REJECTED
from spotify_ai_assets.listening.formats.native import FORMATS as NATIVE
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.identities import seeded_pseudonyms
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

PSEUDONYM = seeded_pseudonyms("test")


@pytest.fixture
def intake(lake, tmp_path):
    return open_intake(lake, tmp_path)


def take(intake, path, **options):
    (report,) = intake.take(path, **options)
    return report


# Counting ------------------------------------------------------------------------------------------------------------------


def test_every_record_is_stored_known_or_refused_with_its_row_and_rule(intake, lake, tmp_path):
    records = [native(0), native(0), native(1, played_ms=-5), native(2), b"{broken", native(3, started_at="2100-01-01T00:00:00Z")]
    path = write(tmp_path / "in" / "a.jsonl", lines(records))
    report = take(intake, path)
    assert report.as_json() == {
        "file": str(path),
        "format": "native_jsonl",
        "rows": 6,
        "stored": 2,
        "duplicate": 1,
        "rejected": 3,
        "reason": None,
    }
    assert rejections(lake) == [(3, "negative_duration"), (5, "malformed_json"), (6, "time_in_future")]
    refused = lake.scan(REJECTED.key).collect()
    assert set(refused["file_sha256"]) == {hashlib.sha256(path.read_bytes()).hexdigest()} and set(refused["rejected_at"]) == {NOW}
    (noted,) = imports(lake)
    assert [noted[name] for name in ("rows", "stored", "duplicate", "rejected")] == [6, 2, 1, 3]
    assert (noted["first_day"], noted["last_day"], noted["format"]) == (BEGIN.date(), BEGIN.date(), "native_jsonl")
    assert intake.touched == {EVENTS.key: {BEGIN.date()}, REJECTED.key: {None}, IMPORTS.key: {None}}


def test_a_file_that_is_imported_again_changes_nothing(intake, lake, tmp_path):
    path = write(tmp_path / "a.jsonl", lines([native(0), native(1), native(2, played_ms=-1)]))
    take(intake, path)
    versions = {key: lake.table(key).version() for key in (EVENTS.key, IMPORTS.key, REJECTED.key)}
    again = open_intake(lake, tmp_path)
    assert counts(take(again, path)) == (3, 0, 2, 1)
    assert {key: lake.table(key).version() for key in versions} == versions and again.touched == {}
    assert len(imports(lake)) == 1 and rejections(lake) == [(3, "negative_duration")]


def test_an_import_that_stores_more_of_a_known_file_is_what_is_noted_of_it(lake, tmp_path):
    path = write(tmp_path / "a.jsonl", lines([native(0), native(1, started_at="2026-08-01T00:00:00Z")]))
    assert counts(take(open_intake(lake, tmp_path), path)) == (2, 1, 0, 1)
    later = open_intake(lake, tmp_path, now=NOW + timedelta(days=60))
    assert counts(take(later, path)) == (2, 1, 1, 0)
    (noted,) = imports(lake)
    assert (noted["stored"], noted["duplicate"], noted["imported_at"]) == (1, 1, NOW + timedelta(days=60))
    assert rejections(lake) == [] and {IMPORTS.key, REJECTED.key} <= later.touched.keys()


def test_a_file_of_nothing_but_bad_rows_is_noted_in_parts(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_REJECTED_ROWS", 10)
    path = write(tmp_path / "a.jsonl", lines([native(number, played_ms=-1) for number in range(35)]))
    for _ in range(2):
        assert counts(take(open_intake(lake, tmp_path), path)) == (35, 0, 0, 35)
        assert rejections(lake) == [(row, "negative_duration") for row in range(1, 36)]


def test_a_file_larger_than_memory_is_stored_like_a_small_one(lake, tmp_path, monkeypatch):
    records = [native(number * 97, user_id=f"user {number % 11}") for number in range(900)]
    small, large = (write(tmp_path / name / "a.jsonl", lines(records)) for name in ("one", "two"))
    assert counts(take(open_intake(lake, tmp_path), small)) == (900, 900, 0, 0)
    monkeypatch.setattr(spool, "_IN_MEMORY_ROWS", 100)
    other = Lake(str(tmp_path / "other"), TABLES, FileLocks(tmp_path / "locks2"))
    assert counts(take(open_intake(other, tmp_path), large)) == (900, 900, 0, 0)
    assert digests(other) == digests(lake) and len(digests(lake)) > 50
    assert not any((tmp_path / "scratch").iterdir())


def test_progress_tells_the_file_and_the_records_so_far(lake, tmp_path):
    told = []
    path = write(tmp_path / "a.jsonl", lines([native(0), native(1)]))
    open_intake(lake, tmp_path, progress=lambda name, rows: told.append((name, rows))).take(path)
    assert told == [(str(path), 2)]


# Whose listens -------------------------------------------------------------------------------------------------------------


def test_real_ids_are_swapped_and_the_folder_or_the_setting_names_who_is_not_named(intake, lake, tmp_path):
    take(intake, write(tmp_path / "a.jsonl", lines([native(0)])))
    assert intake.listeners == {PSEUDONYM("real.user@example.invalid")}
    take(intake, write(tmp_path / "listener=anna berg" / "x" / "b.json", [extended(1)]))
    assert intake.listeners == {PSEUDONYM("anna berg")}
    take(intake, write(tmp_path / "c.json", [extended(2), extended(3, username="carl")]))
    assert intake.listeners == {PSEUDONYM("somebody"), PSEUDONYM("carl")}
    take(intake, write(tmp_path / "listener=anna berg" / "d.json", [extended(4)]), listener="dora")
    assert intake.listeners == {PSEUDONYM("dora")}
    stored = set(lake.scan(EVENTS.key).collect()["listener_id"])
    assert stored == {PSEUDONYM(user) for user in ("real.user@example.invalid", "anna berg", "somebody", "carl", "dora")}


@pytest.mark.parametrize("user", ["x" * 513, "\U0001f3b5" * 513])
def test_a_user_id_that_the_vault_does_not_take_is_a_rejected_row(intake, lake, tmp_path, user):
    path = write(tmp_path / "a.jsonl", lines([native(0), native(1, user_id=user), native(2)]))
    assert counts(take(intake, path)) == (3, 2, 0, 1)
    assert rejections(lake) == [(2, "bad_user_id")]


@pytest.mark.parametrize("listener", ["", "x" * 513, "nul\0", "surrogate\udcff"])
def test_a_listener_that_is_no_valid_id_refuses_only_rows_that_name_nobody(lake, tmp_path, listener):
    path = write(tmp_path / "a.json", [extended(0), extended(1, username="carl"), extended(2)])
    report = take(open_intake(lake, tmp_path, listener=listener), path)
    assert counts(report) == (3, 1, 0, 2)
    assert rejections(lake) == [(1, "bad_user_id"), (3, "bad_user_id")]


def test_a_folder_whose_name_is_no_text_still_imports(intake, lake, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/listener=\xff\xfe")
    path = write(Path(folder, "\udcff.json"), [extended(0), extended(1, username="carl")])
    report = take(intake, path)
    assert counts(report) == (2, 1, 0, 1) and rejections(lake) == [(1, "bad_user_id")]
    assert report.file.encode()  # valid text, so that it can be printed


@given(st.text(max_size=6) | st.text(min_size=510, max_size=514))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_user_id_no_file_fails(tmp_path_factory, user):
    folder = tmp_path_factory.mktemp("any")
    lake = Lake(str(folder / "lake"), TABLES, FileLocks(folder / "locks"))
    intake = open_intake(lake, folder)
    report = take(intake, write(folder / "a.jsonl", lines([native(0, user_id=user), native(1)])))
    assert report.rows == 2 and report.stored >= 1 and report.stored + report.rejected == 2
    if report.rejected:
        assert rejections(lake)[0][1] in ("bad_user_id", "missing_user", "malformed_json")
    assert len(intake.listeners) == report.stored


# Two exports of the same plays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["extended", "account"])
def test_account_data_and_extended_history_of_the_same_plays_are_one(lake, tmp_path, first):
    numbers = range(940, 980)  # 23:40 to 00:20
    whole = write(tmp_path / "extended.json", [extended(number) for number in numbers])
    short = write(tmp_path / "account.json", [account(number) for number in numbers])
    order = [whole, short] if first == "extended" else [short, whole]
    assert counts(take(open_intake(lake, tmp_path), order[0])) == (40, 40, 0, 0)
    before = digests(lake)
    assert len(before) == 2
    assert counts(take(open_intake(lake, tmp_path), order[1])) == (40, 0, 40, 0)
    assert digests(lake) == before


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_overlapping_exports_in_any_order_store_each_play_once(tmp_path_factory, data):
    """Around midnight, in parts, with repetitions; every play differs in length, so none is like another."""
    folder = tmp_path_factory.mktemp("any")
    lake = Lake(str(folder / "lake"), TABLES, FileLocks(folder / "locks"))
    seen: set[int] = set()
    for _ in range(data.draw(st.integers(2, 4))):
        numbers = data.draw(st.lists(st.integers(950, 970), unique=True, min_size=1, max_size=12))
        tell = data.draw(st.sampled_from([extended, account]))
        path = write(folder / "file.json", [tell(number) for number in numbers])
        report = take(open_intake(lake, folder), path)
        assert counts(report) == (len(numbers), len(set(numbers) - seen), len(set(numbers) & seen), 0)
        seen |= set(numbers)
    assert lake.scan(EVENTS.key).collect().height == len(seen)


# Archives ------------------------------------------------------------------------------------------------------------------


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in members:
            archive.writestr(name, contents)
    return path


def test_each_member_of_an_archive_has_its_own_report_and_note(intake, lake, tmp_path):
    members = [
        ("StreamingHistory0.json", json.dumps([account(0)])),
        ("../evil.json", json.dumps([account(1)])),
        ("Userdata.json", json.dumps({"username": "x"})),
        ("more.json", json.dumps([account(2), account(3)])),
    ]
    path = zipped(tmp_path / "export.zip", members)
    reports = intake.take(path)
    assert [report.file for report in reports] == [f"{path}!{name}" for name, _ in members]
    assert [(report.format, report.stored, report.reason) for report in reports] == [
        ("spotify_account", 1, None),
        (None, 0, "unsafe_path"),
        (None, 0, "not_a_listening_file"),
        ("spotify_account", 2, None),
    ]
    assert len({one["file_sha256"] for one in imports(lake)}) == 2
    assert not (tmp_path.parent / "evil.json").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_noted_apart(intake, lake, tmp_path):
    path = zipped(tmp_path / "a.json", [("a.json", json.dumps([extended(number)])) for number in range(3)])
    assert [counts(report) for report in intake.take(path)] == [(1, 1, 0, 0)] * 3
    assert sum(one["stored"] for one in imports(lake)) == 3 == len(imports(lake))


def test_what_was_read_of_a_broken_archive_is_reported(intake, lake, tmp_path):
    path = zipped(tmp_path / "a.zip", [(f"{number}.json", json.dumps([extended(number)])) for number in range(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"PK\x01\x02") - 250])
    reports = intake.take(path)
    assert reports[0].stored == 1 and reports[-1].format is None and reports[-1].reason == "truncated_zip"
    assert lake.scan(EVENTS.key).collect().height == sum(report.stored for report in reports) >= 1
    assert intake.touched[EVENTS.key] == {BEGIN.date()}


def test_what_could_be_read_of_a_file_that_breaks_off_is_stored(intake, lake, tmp_path):
    packed = gzip.compress(lines([native(number, user_id=hashlib.sha256(b"%d" % number).hexdigest()) for number in range(2000)]))
    report = take(intake, write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]))
    assert report.reason == "truncated_gzip" and report.is_broken
    assert 500 < report.stored < 1500 and (report.stored + 1, "truncated_gzip") in rejections(lake)
    assert counts(report)[0] == imports(lake)[0]["rows"]


# Charts and catalogues -----------------------------------------------------------------------------------------------------

CHART = "rank,uri,artist_names,track_name,source,peak_rank,previous_rank,days_on_chart,streams\n"


def test_a_published_chart_is_stored_once_however_often_it_comes(intake, lake, tmp_path):
    rows = [f"{rank},spotify:track:{rank:022},Band {rank},Song {rank},x,1,2,3,{1000 - rank}\n" for rank in range(1, 5)]
    text = CHART + "".join(rows) + "x,,,,,,,,\n"
    path = write(tmp_path / "regional-de-daily-2026-03-02.csv", text.encode())
    assert counts(take(intake, path)) == (5, 4, 0, 1)
    assert counts(take(intake, path)) == (5, 0, 4, 1)
    stored = lake.scan(CHART_ENTRIES.key).collect()
    assert stored["rank"].to_list() == [1, 2, 3, 4] and set(stored["country"]) == {"DE"} and set(stored["day"]) == {date(2026, 3, 2)}


def test_an_older_catalogue_imported_again_replaces_nothing_newer(intake, lake, tmp_path):
    def catalogue(name: str, title: str):
        record = {"type": "track", "id": "4uLU6hMCjMI75M1A2tKUQC", "name": title, "artists": [{"name": "Band"}], "duration_ms": 1}
        return write(tmp_path / name, lines([record]))

    old, new = catalogue("old.jsonl", "Old title"), catalogue("new.jsonl", "New title")
    assert [counts(take(intake, path)) for path in (old, new, old)] == [(1, 1, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0)]
    assert lake.scan(TRACKS.key).collect()["name"].to_list() == ["New title"]


# Faults of the platform ----------------------------------------------------------------------------------------------------


def test_a_fault_in_a_reader_puts_nothing_into_the_lake_and_tells_no_value(intake, lake, tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", lines([native(0), native(1)]))
    parse = NATIVE[0].parse

    def spoiled(member, now):
        for batch in parse(member, now):
            yield module.Batch(batch.frame.with_columns(platform=pl.lit("Anna's phone 198.51.100.9")), batch.rejected)

    monkeypatch.setattr(module, "detect", lambda member: module.Format("native_jsonl", "listens", lambda sample: True, spoiled))
    with pytest.raises(ContractError, match="platform breaks isin") as refused:
        intake.take(path)
    assert "Anna" not in str(refused.value) and "198" not in str(refused.value)
    assert digests(lake) == {} and imports(lake) == []


def test_a_full_disk_is_not_mistaken_for_a_broken_file(intake, lake, tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", lines([native(0)]))

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lake, "update", full)
    with pytest.raises(OSError, match="space"):
        intake.take(path)
    assert imports(lake) == []


def test_a_vault_that_does_not_answer_fails_the_import_and_nothing_is_stored(lake, tmp_path):
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "identities.db").write_bytes(b"this is no database, however long one may look at it" * 100)
    with pytest.raises((TransientError, Exception)) as refused:
        open_intake(lake, tmp_path).take(write(tmp_path / "a.jsonl", lines([native(0)])))
    assert "real.user" not in str(refused.value)
    assert digests(lake) == {}


def test_a_kept_file_is_registered_under_each_listener_once(intake, lake, tmp_path):
    take(intake, write(tmp_path / "a.jsonl", lines([native(0), native(1, user_id="b")])))
    for _ in range(2):
        intake.note_kept(intake.digest)
    kept = lake.scan(KEPT_FILES.key).collect()
    assert set(kept["listener_id"]) == {PSEUDONYM("real.user@example.invalid"), PSEUDONYM("b")} and kept.height == 2


# Kills ---------------------------------------------------------------------------------------------------------------------

IMPORT = """
import sys
from pathlib import Path
from exports import open_intake
from spotify_ai_assets.listening import spool
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.tables import TABLES
spool._IN_MEMORY_ROWS = 1000
folder = Path(sys.argv[1])
lake = Lake(str(folder / "lake"), TABLES, FileLocks(folder / "locks"))
intake = open_intake(lake, folder)
print("begin", flush=True)
for path in sys.argv[2:]:
    intake.take(Path(path))
"""


def start_import(folder, *paths):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", IMPORT, folder, *paths], stdout=subprocess.PIPE, env=environment)


def test_an_import_that_is_killed_at_any_moment_and_repeated_gives_the_undisturbed_lake(tmp_path):
    records = [
        native(number * 31, user_id=f"user {number % 5}", **({"played_ms": -1} if number % 50 == 0 else {})) for number in range(3000)
    ]
    paths = [write(tmp_path / f"{name}.jsonl", lines(part)) for name, part in (("a", records[:2000]), ("b", records[1000:]))]
    calm = tmp_path / "calm"
    started = time.monotonic()
    with start_import(calm, *paths) as running:
        assert running.wait() == 0
    took = time.monotonic() - started
    expected = digests(Lake(str(calm / "lake"), TABLES, FileLocks(calm / "locks")))
    assert len(expected) > 60
    rng, killed = random.Random(), 0
    for number in range(6):
        folder = tmp_path / f"killed {number}"
        with start_import(folder, *paths) as running:
            assert running.stdout.readline() == b"begin\n"
            time.sleep(rng.uniform(0.0, took * 0.6))
            running.send_signal(signal.SIGKILL)
        killed += running.returncode == -signal.SIGKILL
        lake = Lake(str(folder / "lake"), TABLES, FileLocks(folder / "locks"))
        before = lake.scan(EVENTS.key).collect().height
        intake = open_intake(lake, folder)
        reports = [report for path in paths for report in intake.take(path)]
        assert digests(lake) == expected
        assert sum(counts(report)[1] for report in reports) == lake.scan(EVENTS.key).collect().height - before
        assert [one["rows"] for one in imports(lake)] == [2000, 2000] and len(rejections(lake)) == 80
    assert killed >= 3


# Size ----------------------------------------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from pathlib import Path
from exports import open_intake
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.tables import TABLES
folder = Path(sys.argv[1])
lake = Lake(str(folder / "lake"), TABLES, FileLocks(folder / "locks"))
(report,) = open_intake(lake, folder).take(Path(sys.argv[2]))
print(report.stored, report.rejected, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
MEGABYTES = 600


def measure(folder, path) -> tuple[int, int, int]:
    """Rows stored and rejected, and the largest resident size in MiB."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run([sys.executable, "-c", MEASURE, folder, path], capture_output=True, text=True, env=environment, check=True)
    stored, rejected, peak = map(int, run.stdout.split())
    return stored, rejected, peak


def make_record(form: str, number: int) -> str:
    """About 300 bytes: 50 days and 3,001 listeners, no two records alike."""
    minute, user = number * 7919 % 72_000, f"user {number % 3001}"
    if form == "array":
        return json.dumps(extended(minute, username=user, ms_played=number % 300_000, pad="x" * 40))
    named = {} if form == "bad lines" else {"user_id": user}
    return json.dumps({name: value for name, value in native(minute, album_name="x" * 120).items() if name != "user_id"} | named)


def write_large(path: Path, form: str, megabytes: int) -> int:
    """Write a file of at least this size; gives the number of its records."""
    number = 0
    with path.open("w") as file:
        while file.tell() < megabytes * 1_000_000:
            for number in range(number, number + 10_000):  # noqa: B020 - goes on where it stopped
                file.write(("[" if number == 0 else ",\n") if form == "array" else "")
                file.write(make_record(form, number) + ("" if form == "array" else "\n"))
            number += 1
        file.write("]" if form == "array" else "")
    return number


@pytest.mark.slow
@pytest.mark.parametrize("form", ["lines", "array", "bad lines"])
def test_memory_does_not_grow_with_the_file(tmp_path, form):
    peaks = []
    for megabytes in (MEGABYTES // 2, MEGABYTES):
        records = write_large(tmp_path / "big.json", form, megabytes)
        stored, rejected, peak = measure(tmp_path / str(megabytes), tmp_path / "big.json")
        assert (rejected if form == "bad lines" else stored) == records
        peaks.append(peak)
    assert max(peaks) < 1500
    assert peaks[1] < peaks[0] + 250


def test_settings_open_the_same_lake_that_intake_fills(tmp_path):
    found = Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path)})
    lake = open_lake(found, TABLES)
    take(open_intake(lake, tmp_path), write(tmp_path / "a.jsonl", lines([native(0)])))
    assert digests(open_lake(found, TABLES)) == digests(lake) != {}
