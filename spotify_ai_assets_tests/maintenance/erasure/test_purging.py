"""What lies beside the lake loses a person and nothing else."""

import gzip
import sqlite3
from contextlib import closing

import pytest
from cryptography.fernet import Fernet

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.listening.landing import KEY_VARIABLE
from spotify_ai_assets.maintenance.erasure.cases import Person
from spotify_ai_assets.maintenance.erasure.purging import (
    clear_database,
    clear_stores,
    clear_stream,
    databases_below,
    has_locked_files,
    pattern_of,
    redact_log,
    remove_files,
    strike_from_database,
)
from spotify_ai_assets.recommendations.realtime.messages import decode_forget
from spotify_ai_assets.resources.stream import SpoolStream
from spotify_ai_assets.settings import Settings

WHO = "5c41d07be5a2836f40b7d9e1c35a68ff"


def test_an_identifier_is_struck_however_a_text_writes_it_and_only_as_a_word():
    pattern = pattern_of(['ann"a@x', WHO, "abc"])
    text = f'ann"a@x {{"a": "ann\\"a@x"}} ann%22a%40x {WHO.upper()} {b"ann" + b"x"} x{WHO} abc'
    assert pattern.sub("-", text) == f'- {{"a": "-"}} - - {b"ann" + b"x"} x{WHO} abc'
    assert pattern_of(["abc"]).sub("-", "abc") == "abc", "too short to be told from other words"


@pytest.mark.parametrize("name", ["platform.jsonl", "platform.jsonl.1.gz"])
def test_a_log_keeps_its_other_lines_and_its_bytes_that_are_no_text(tmp_path, name):
    content = f"one\n{WHO}\n".encode() + b"\xff\xfe two\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    path.chmod(0o640)
    assert redact_log(path, pattern_of([WHO])) and not redact_log(path, pattern_of([WHO]))
    found = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    assert found == b"one\n[erased]\n\xff\xfe two\n" and path.stat().st_mode & 0o777 == 0o640


def test_a_database_loses_texts_blobs_and_free_pages(tmp_path):
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute('create table "a ""b" (t text, b blob, n integer)')
        database.executemany('insert into "a ""b" values (?, ?, ?)', [(f"x {WHO}", f"{WHO}".encode(), 1), ("y", b"\xff\x00", 2)] * 50)
        database.execute('insert into "a ""b" select t, b, n from "a ""b"')
        database.commit()
        database.execute('delete from "a ""b" where rowid % 2 = 0')
        database.commit()
        assert databases_below(tmp_path) == [path]
        assert strike_from_database(path, pattern_of([WHO])) > 0
        clear_database(path)
        assert set(database.execute('select * from "a ""b"')) <= {("x [erased]", b"[erased]", 1), ("y", b"\xff\x00", 2)}
    assert not any(WHO.encode() in each.read_bytes() for each in tmp_path.iterdir())


def test_a_database_that_is_held_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("spotify_ai_assets.maintenance.erasure.purging._SQLITE_WAIT_S", 0.05)
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as database:
        database.execute("create table a (t)")
        database.execute("begin exclusive")
        with pytest.raises(TransientError, match="in use"):
            clear_database(tmp_path / "runs.db")


def test_files_go_with_the_folders_that_only_they_were_in(tmp_path):
    for name in ("a/anna/1", "a/anna/2", "a/bert/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert remove_files(tmp_path, ["a/anna/1", "a/anna/2", "a/anna/2", "gone"]) == 2
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "bert", "1"}


def test_messages_of_a_person_go_and_all_others_stay_in_their_order(settings: Settings):
    stream = SpoolStream(settings.stream)
    stream.append("listen", [b'{"listener_id": "a"}', f'{{"listener_id": "{WHO}"}}'.encode(), b'{"listener_id": "b"}'])
    stream.append("forget", [f'{{"listener_id": "{WHO}"}}'.encode()])
    assert clear_stream(settings, [WHO]) == (2, True)
    assert [message.body for message in stream.read(9, 0.0)] == [b'{"listener_id": "a"}', b'{"listener_id": "b"}']
    stream.close()
    assert clear_stream(settings, []) == (0, True)


def test_a_worker_that_reads_is_told_and_waited_for(settings: Settings):
    worker = SpoolStream(settings.stream)
    worker.append("listen", [f'{{"listener_id": "{WHO}"}}'.encode()])
    (held,) = worker.read(9, 0.0)
    assert clear_stream(settings, [WHO], wait_s=0.1) == (1, False)
    (told,) = worker.read(9, 0.0)
    assert (told.topic, decode_forget(told.body)) == ("forget", WHO)
    worker.acknowledge([held.id, told.id])
    worker.close()
    assert clear_stream(settings, [WHO]) == (0, True)


def test_what_says_what_a_row_is_stays_and_a_refusal_stops_nothing(tmp_path):
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table runs (run_id text primary key, status text, job_type text, body text, name text unique)")
        database.execute(
            "create table tags (run text references runs (run_id), value text, checked text check (checked not like '%erased%'))"
        )
        database.execute("insert into runs values (?, ?, ?, ?, ?)", [WHO] * 5)
        database.execute("insert into tags values (?, ?, ?)", [WHO] * 3)
        database.commit()
    assert strike_from_database(path, pattern_of([WHO])) == 2
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("select * from runs").fetchall() == [(WHO, WHO, WHO, "[erased]", WHO)]
        assert database.execute("select * from tags").fetchall() == [(WHO, "[erased]", WHO)]


@pytest.mark.parametrize("word", ["success", "listening", "erasure"])
def test_an_id_that_is_a_word_of_the_platform_destroys_no_database_and_no_log(settings: Settings, word):
    lines = {"logs/platform.jsonl": f'{{"outcome": "{word}"}}\n', "scratch/half": f'"{word}"', "quarantine/other": f"a {word} story"}
    for name, text in lines.items():
        (settings.data / name).parent.mkdir(parents=True)
        (settings.data / name).write_text(text)
    rows = [("1", word.upper(), f'{{"__class__": "{word}"}}')]
    (settings.data / "dagster").mkdir()
    with closing(sqlite3.connect(settings.data / "dagster" / "runs.db")) as database:
        database.execute("create table runs (run_id text primary key, status text, run_body text)")
        database.executemany("insert into runs values (?, ?, ?)", rows)
        database.commit()
    counts = clear_stores(settings, {"0": Person(word)}, [word])
    assert counts == {"files": 0, "logs": 0, "texts": 0, "databases": 1, "busy": 0}
    with closing(sqlite3.connect(settings.data / "dagster" / "runs.db")) as database:
        assert database.execute("select * from runs").fetchall() == rows
    assert {name: (settings.data / name).read_text() for name in lines} == lines


def test_kept_files_that_nobody_can_read_go_only_where_their_key_is_there(settings: Settings, monkeypatch):
    key, other = Fernet.generate_key(), Fernet.generate_key()
    kept = settings.data / "kept"
    kept.mkdir()
    contents = {"theirs": Fernet(key).encrypt(WHO.encode()), "others": Fernet(key).encrypt(b"x"), "lost": Fernet(other).encrypt(b"x")}
    for name, content in contents.items():
        (kept / f"{name}.fernet").write_bytes(content)
    for given in (None, "no key"):
        if given:
            monkeypatch.setenv(KEY_VARIABLE, given)
        assert clear_stores(settings, {"0": Person(WHO)}, [WHO])["files"] == 0 and has_locked_files(settings)
        assert {path.stem for path in kept.iterdir()} == set(contents)
    monkeypatch.setenv(KEY_VARIABLE, key.decode())
    assert clear_stores(settings, {"0": Person(WHO)}, [WHO])["files"] == 2 and not has_locked_files(settings)
    assert {path.stem for path in kept.iterdir()} == {"others"}
