import hashlib
import logging
import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from exports import counts, extended, imports, lines, native, open_intake, write

from spotify_ai_assets.errors import PlatformError, SettingsError
from spotify_ai_assets.importing import run_import
from spotify_ai_assets.listening import landing as module
from spotify_ai_assets.listening.contracts import EVENTS, KEPT_FILES
from spotify_ai_assets.listening.intake import FileReport
from spotify_ai_assets.listening.landing import KEY_VARIABLE, GivenFiles, encrypt, is_settled, list_files, open_landing, what_landed
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.settings import Settings

GOOD = FileReport("a", "native_jsonl", 2, 2)
TRUNCATED = FileReport("a", "native_jsonl", 2, 1, 0, 1, "truncated_gzip")
UNREADABLE = FileReport("a", None, 1, 0, 0, 1, "malformed_zip")
NO_DATA = FileReport("a", None, reason="not_a_listening_file")


def names(folder, found):
    return [str(path.relative_to(folder)) for path in found]


def import_all(spool, intake):
    """What the import job does."""
    for path in spool.files():
        reports = intake.take(path)
        spool.done(path, intake.digest, reports)


@pytest.fixture
def spool(tmp_path):
    return open_landing(Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path)}))


# Listing -------------------------------------------------------------------------------------------------------------------


def test_files_are_listed_in_order_without_hidden_unfinished_and_odd_ones(tmp_path):
    for name in ("b.json", "a/z.json", "a/.hidden.json", ".git/config", "c.json.part", "c.tmp", "d.crdownload", "a/e, <b>ü</b>.json"):
        write(tmp_path / name, b"x")
    (tmp_path / "link.json").symlink_to(tmp_path / "b.json")
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe.json")
    assert names(tmp_path, list_files(tmp_path)) == ["a/e, <b>ü</b>.json", "a/z.json", "b.json"]


def test_what_is_no_folder_is_listed_itself(tmp_path):
    file = write(tmp_path / "a.json", b"x")
    assert list_files(file) == [file] and list_files(tmp_path / "absent") == [tmp_path / "absent"]
    assert list_files(write(tmp_path / "b" / "c.json", b"x").parent) == [tmp_path / "b" / "c.json"]


def test_files_named_by_somebody_are_read_in_place_and_never_touched(lake, tmp_path):
    good = write(tmp_path / "in" / "a.jsonl", lines([native(0)]))
    write(tmp_path / "in" / "listener=x" / "b.json", [extended(1)])
    bad = write(tmp_path / "in" / "broken.json.gz", b"\x1f\x8b\x08broken")
    before = {path: (path.read_bytes(), path.stat()) for path in list_files(tmp_path / "in")}
    given = GivenFiles([tmp_path / "in", good, tmp_path / "absent.json"])
    assert given.keeps(datetime.now(UTC)) is False
    import_all(given, open_intake(lake, tmp_path))
    assert [(report.stored, report.reason) for report in given.reports][:1] == [(1, None)]
    assert [report.reason for report in given.reports] == [None, "malformed_gzip", None, None, "not_found"]
    assert {path: (path.read_bytes(), path.stat()) for path in list_files(tmp_path / "in")} == before and bad.exists()
    assert given.files() == [], "a second try takes only what is left"


def test_a_pipe_is_refused_and_not_waited_for(lake, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (report,) = open_intake(lake, tmp_path).take(tmp_path / "pipe.json")
    assert report == FileReport(str(tmp_path / "pipe.json"), None, reason="not_a_file")


# The spool -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reports", "settled"),
    [([GOOD], True), ([GOOD, NO_DATA], True), ([NO_DATA], False), ([TRUNCATED], False), ([GOOD, UNREADABLE], False), ([], False)],
)
def test_only_a_file_whose_data_was_all_read_is_settled(reports, settled):
    assert is_settled(reports) is settled


def test_imported_files_go_and_broken_ones_and_no_data_are_set_aside_by_digest(spool, lake, tmp_path):
    write(spool.folder / "listener=anna" / "deep" / "a.json", [extended(0)])
    texts = {name: write(spool.folder / "listener=berta" / name, name.encode()).read_bytes() for name in ("README.txt", "b.gz")}
    broken = write(spool.folder / "c.jsonl.gz", b"\x1f\x8b\x08" + b"broken").read_bytes()
    import_all(spool, open_intake(lake, tmp_path))
    assert list(spool.folder.rglob("*")) == [], "a folder's name may be a person's"
    aside = {hashlib.sha256(contents).hexdigest(): contents for contents in (*texts.values(), broken)}
    assert {path.name: path.read_bytes() for path in spool.aside.iterdir()} == aside
    assert spool.aside.stat().st_mode & 0o077 == 0
    assert [report.reason for report in spool.reports] == ["malformed_gzip", None, "not_a_listening_file", "not_a_listening_file"]
    assert not spool.kept.exists()


def test_a_folder_with_something_unfinished_in_it_stays(spool, lake, tmp_path):
    write(spool.folder / "x" / "a.json", [extended(0)])
    unfinished = write(spool.folder / "x" / "b.json.part", b"[")
    import_all(spool, open_intake(lake, tmp_path))
    assert list(spool.folder.rglob("*")) == [unfinished.parent, unfinished]


def test_a_file_that_grows_while_it_is_imported_stays_for_the_next_import(spool, lake, tmp_path):
    path = write(spool.folder / "a.jsonl", lines([native(0)]))
    intake = open_intake(lake, tmp_path)
    (listed,) = spool.files()
    reports = intake.take(listed)
    with path.open("ab") as file:
        file.write(lines([native(1)]))
    spool.done(listed, intake.digest, reports)
    assert path.exists()
    import_all(spool, intake)
    assert not path.exists() and lake.scan(EVENTS.key).collect().height == 2
    assert [counts(report) for report in spool.reports] == [(1, 1, 0, 0), (2, 1, 1, 0)]


def test_a_file_that_vanishes_or_cannot_be_opened_blocks_no_other(spool, lake, tmp_path):
    gone, good = (write(spool.folder / name, lines([native(number)])) for number, name in enumerate(("a.jsonl", "b.jsonl")))
    assert spool.files() == [gone, good]
    gone.unlink()
    intake = open_intake(lake, tmp_path)
    for path in (gone, good):
        reports = intake.take(path)
        spool.done(path, intake.digest, reports)
    assert [report.reason for report in spool.reports] == ["not_found", None] and not good.exists()


def test_a_file_that_cannot_be_removed_blocks_no_other_and_is_told_without_its_name(spool, lake, tmp_path, monkeypatch, caplog):
    stuck = write(spool.folder / "anna.jsonl", lines([native(0)]))
    other = write(spool.folder / "b.jsonl", lines([native(1)]))
    unlink = type(stuck).unlink

    def refuse(path):
        if path == stuck:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path)

    monkeypatch.setattr(type(stuck), "unlink", refuse)
    with caplog.at_level(logging.ERROR):
        import_all(spool, open_intake(lake, tmp_path))
    assert stuck.exists() and not other.exists() and len(imports(lake)) == 2
    (message,) = caplog.messages
    assert "Permission denied" in message and "anna" not in message


# Keeping -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(monkeypatch):
    key = Fernet.generate_key().decode()
    monkeypatch.setenv(KEY_VARIABLE, key)
    return key


def decrypt(path, key: str) -> bytes:
    return b"".join(Fernet(key).decrypt(line) for line in path.read_bytes().splitlines())


def test_a_kept_file_is_encrypted_and_decrypts_to_the_same_bytes(spool, lake, tmp_path, key, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 1000)
    spool.keep_days = 7
    contents = write(spool.folder / "listener=anna" / "a.jsonl", lines([native(number) for number in range(30)])).read_bytes()
    assert spool.keeps(datetime.now(UTC)) is True
    import_all(spool, open_intake(lake, tmp_path))
    (kept,) = spool.kept.iterdir()
    assert kept.name == hashlib.sha256(contents).hexdigest() + ".fernet"
    assert b"real.user" not in kept.read_bytes() and decrypt(kept, key) == contents
    assert list(spool.folder.rglob("*")) == [] and spool.kept.stat().st_mode & 0o077 == 0


def test_kept_files_go_when_their_days_are_over(spool, tmp_path, key):
    spool.keep_days = 3
    encrypt(write(tmp_path / "a", b"x"), spool.kept / "a.fernet")
    now = datetime.now(UTC)
    assert spool.keeps(now + timedelta(days=2)) and any(spool.kept.iterdir())
    assert spool.keeps(now + timedelta(days=4)) and not any(spool.kept.iterdir())
    encrypt(write(tmp_path / "a", b"x"), spool.kept / "a.fernet")
    spool.keep_days = 0
    assert spool.keeps(now + timedelta(minutes=1)) is False and not any(spool.kept.iterdir())


@pytest.mark.parametrize("value", [None, "", "no key", "é"])
def test_keeping_without_a_usable_key_is_refused_before_anything_is_imported(spool, monkeypatch, value):
    spool.keep_days = 1
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(KEY_VARIABLE, value)
    with pytest.raises(SettingsError, match=KEY_VARIABLE) as refused:
        spool.keeps(datetime.now(UTC))
    assert not value or value not in str(refused.value)


def test_an_interrupted_encryption_leaves_no_half_file_under_the_final_name(tmp_path, key, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(OSError, match="space"):
        encrypt(write(tmp_path / "a", b"x"), tmp_path / "kept" / "a.fernet")
    assert not (tmp_path / "kept" / "a.fernet").exists()


def test_the_job_keeps_and_registers_what_it_imported(instance, lake, tmp_path, key):
    environment = {"SPOTIFY_AI_DATA": str(tmp_path), "SPOTIFY_AI_KEEP_LANDING_DAYS": "2", "SPOTIFY_AI_PSEUDONYM_SEED": "test"}
    settings = Settings.from_environment(environment)
    contents = write(settings.landing / "listener=anna" / "a.jsonl", lines([native(0), native(1, user_id="b")])).read_bytes()
    broken = write(settings.landing / "b.gz", b"\x1f\x8b\x08\x00broken").read_bytes()
    spool = open_landing(settings)
    run_import(instance, lake, settings, spool)
    digest = hashlib.sha256(contents).hexdigest()
    assert decrypt(spool.kept / f"{digest}.fernet", key) == contents
    kept = lake.scan(KEPT_FILES.key).collect()
    assert set(kept["file_sha256"]) == {digest} and kept.height == 2
    assert set(kept["listener_id"]) == set(open_vault(settings).swap(["real.user@example.invalid", "b"]).values())
    assert [path.name for path in spool.aside.iterdir()] == [hashlib.sha256(broken).hexdigest()]


def test_the_job_imports_nothing_when_it_could_not_keep(instance, lake, tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    settings = Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path), "SPOTIFY_AI_KEEP_LANDING_DAYS": "2"})
    path = write(settings.landing / "a.jsonl", lines([native(0)]))
    with pytest.raises(PlatformError, match="import failed"):
        run_import(instance, lake, settings, open_landing(settings))
    assert path.exists() and lake.states(EVENTS.key) == {}


# The sensor ----------------------------------------------------------------------------------------------------------------


def test_a_run_key_follows_names_sizes_and_times_and_tells_none_of_them(spool):
    assert what_landed(spool.folder) is None and spool.files() == []
    spool.folder.mkdir(parents=True)
    assert what_landed(spool.folder) is None
    path = write(spool.folder / "anna.json", b"[]")
    one = what_landed(spool.folder)
    assert one == what_landed(spool.folder) and len(one) == 64 and "anna" not in one
    os.utime(path, ns=(1, 1))
    two = what_landed(spool.folder)
    path.rename(spool.folder / "berta.json")
    assert len({one, two, what_landed(spool.folder)}) == 3
