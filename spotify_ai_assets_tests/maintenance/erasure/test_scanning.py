"""The byte scan finds a value wherever it is, tells it from a longer word, and says what it could not read."""

import base64
import gzip
import os
import sqlite3
import struct
import tracemalloc
import uuid
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard
from cryptography.fernet import Fernet
from hiding_places import KEY, PLACES, sqlite_deleted, zipped

from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.maintenance.erasure.decoding import Limits
from spotify_ai_assets.maintenance.erasure.forms import Needles
from spotify_ai_assets.maintenance.erasure.scanning import data_roots, scan

VALUE = "canaryuser0123"
SHORTER = "canary_12"


def found_in(folder: Path, needles: Needles, **options) -> set[str]:
    return {hit.path.split("/")[0] for hit in scan({"store": folder}, needles, **options).hits}


@pytest.mark.parametrize("value", [VALUE, SHORTER, "Zoë Ørsted-Müller"])
def test_a_value_is_found_in_every_hiding_place_and_another_in_none(tmp_path, value):
    for name, hide in PLACES.items():
        hide(tmp_path / name, value)
    result = scan({"store": tmp_path}, Needles.of(value), keys=[KEY])
    assert {hit.path.split("/")[0] for hit in result.hits} == set(PLACES)
    assert result.undecodable == ()
    assert not result.is_clean
    assert found_in(tmp_path, Needles.of("canaryuser9999", uuid.UUID(int=5).hex), keys=[KEY]) == set()


def test_numbers_and_uuids_are_found_in_binary_too(tmp_path):
    number, pseudonym = "1234567890123456", "661e6efafc09313a75273ece21d18ab5"
    np.save(tmp_path / "little.npy", np.array([5, int(number)]))
    np.save(tmp_path / "big.npy", np.array([5, int(number)], dtype=">i8"))
    pl.DataFrame({"a": [int(number)] * 999 + [5]}).write_parquet(tmp_path / "column.parquet", statistics=False)
    pl.DataFrame({"a": [{"b": [int(number)]}] * 999}).write_parquet(tmp_path / "nested.parquet", statistics=False)
    with closing(sqlite3.connect(tmp_path / "numbers.db")) as database:
        database.execute("create table a (b integer)")
        database.execute("insert into a values (?)", (int(number),))
        database.commit()
    (tmp_path / "16").write_bytes(b"ab" + uuid.UUID(pseudonym).bytes)
    (tmp_path / "16 mixed").write_bytes(b"ab" + uuid.UUID(pseudonym).bytes_le)
    (tmp_path / "16 in base64").write_bytes(base64.b64encode(b"ab" + uuid.UUID(pseudonym).bytes + b"cd"))
    (tmp_path / "dashes").write_text(str(uuid.UUID(pseudonym)).upper())
    result = scan({"store": tmp_path}, Needles.of(number, pseudonym))
    assert {hit.path for hit in result.hits} == {path.name for path in tmp_path.iterdir()}
    assert {hit.form for hit in result.hits} >= {"int64-le", "int64-be", "uuid-16", "uuid-16-le", "base64 of uuid-16", "utf-8 uuid upper"}


def test_counts_stand_by_store_value_and_form(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").write_text(f"{VALUE} and {VALUE}")
    (tmp_path / "b" / "x").write_bytes(gzip.compress(f"{VALUE} {VALUE.encode().hex()}".encode()))
    result = scan(data_roots(tmp_path), Needles.of_values({"one": VALUE}))
    told = [(hit.store, hit.place, hit.inside, hit.value, hit.form, hit.count) for hit in result.hits]
    assert told == [("a", "x", "", "one", "utf-8", 2), ("b", "x", "gzip", "one", "hex", 1), ("b", "x", "gzip", "one", "utf-8", 1)]
    assert (result.files, result.by_store["a"].hits, result.by_store["b"].hits) == (2, 2, 2)
    assert result.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/x"))


def test_a_value_over_the_edge_of_two_windows_is_found_once(tmp_path):
    for edge in range(-len(VALUE) - 1, 2):
        (tmp_path / f"at {edge}").write_bytes(b"\0" * (4 * 2**20 + edge) + VALUE.encode() + b"\0" * 99)
    (tmp_path / "at the end").write_bytes(b"\0" * (4 * 2**20) + VALUE.encode())
    hits = scan({"store": tmp_path}, Needles.of(VALUE)).hits
    assert {(hit.path, hit.count) for hit in hits} == {(path.name, 1) for path in tmp_path.iterdir()}


# Short and common values ----------------------------------------------------------------------------------------------------


def test_a_short_value_in_a_longer_word_is_somebody_else(tmp_path):
    (tmp_path / "text").write_text('{"a": "canary_123", "b": "my_canary_12"}')
    (tmp_path / "hex").write_text(b"canary_123".hex())
    (tmp_path / "wide").write_bytes("canary_123".encode("utf-16-le"))
    for shift in range(3):
        (tmp_path / f"base64 {shift}").write_bytes(base64.b64encode(b"  "[:shift] + b"canary_123"))
        (tmp_path / f"base64 before {shift}").write_bytes(base64.b64encode(b"abcdefgh"[: 3 + shift] + b"canary_12"))
    pl.DataFrame({"a": ["canary_123"] * 99}).write_parquet(tmp_path / "table")
    sqlite_deleted(tmp_path / "deleted", "canary_123")
    assert found_in(tmp_path, Needles.of(SHORTER)) == set()
    assert len(found_in(tmp_path, Needles.of("canary_123"))) == 8


def test_in_a_page_of_a_database_a_value_may_touch_its_neighbour(tmp_path):
    path = tmp_path / "vault.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma secure_delete = 0")
        database.execute("create table a (user, pseudonym)")
        database.executemany("insert into a values (?, ?)", [(f"canary_{n}", "661e6efa") for n in range(12, 40)])
        database.commit()
        database.execute("delete from a where user = 'canary_12'")
        database.commit()
    assert b"canary_12661e" in path.read_bytes()
    assert [(hit.inside, hit.form) for hit in scan({"store": tmp_path}, Needles.of(SHORTER)).hits] == [("", "utf-8")]


@pytest.mark.parametrize("value", ["bob", "12345678"])
def test_a_value_that_says_little_is_sought_in_text_alone(tmp_path, value):
    rng = np.random.default_rng(3)
    # Neither what looks like it in arbitrary bytes nor figures are anybody's id.
    (tmp_path / "bytes").write_bytes(rng.bytes(500) + b"\0" + value.encode() + b"\0" + rng.bytes(500))
    (tmp_path / "figures").write_text('{"size": 12345678, "times": [5,12345678,7]}\n2026-01-01,12345678,3\n')
    (tmp_path / "number.npy").write_bytes(struct.pack("<q", 12345678))
    texts = {"json": f'{{"user_id": "{value}"}}', "csv": f'"a","{value}","b"\n', "path": f"x/listener={value}/y"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    pl.DataFrame({"a": [value, "other"]}).write_parquet(tmp_path / "table", compression="zstd", statistics=False)
    result = scan({"store": tmp_path}, Needles.of(value))
    assert {hit.path for hit in result.hits} == {"json", "csv", "path", "table"}
    assert result.narrowed == ("user_id",)
    assert not any(form.startswith(("hex", "base64", "int64", "utf-16")) for form in result.forms)


def test_a_number_without_quotes_counts_beside_the_name_of_an_id(tmp_path):
    (tmp_path / "listens").write_text('{"user_id": 12345678}')
    assert found_in(tmp_path, Needles.of("12345678")) == {"listens"}


def test_nothing_to_seek_is_refused():
    for values in ({}, {"user_id": " "}):
        with pytest.raises(PermanentError, match="none of them empty"):
            Needles.of_values(values)


# What cannot be read --------------------------------------------------------------------------------------------------------

SMALL = Limits(depth=3, growth=10, free_bytes=2**20)


def bomb(levels: int) -> bytes:
    contents = b"\0" * 2**24
    for _ in range(levels):
        contents = gzip.compress(contents)
    return contents


@pytest.mark.parametrize(
    ("contents", "rule"),
    [
        (zipped("a", b"\0" * 2**24), "expands_too_far"),
        (bomb(1), "expands_too_far"),
        (bomb(2), "expands_too_far"),
        (zstandard.compress(b"\0" * 2**24), "expands_too_far"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"abc")))), "too_deep"),
        (gzip.compress(b"abc" * 99)[:20] + b"\xff" * 90, "corrupt"),
        (zipped("a", b"abc" * 99)[:-30], "corrupt"),
        (b"PAR1 and nothing", "corrupt"),
        (b"SQLite format 3\0" + b"\xff" * 5000, "corrupt"),
        (Fernet(Fernet.generate_key()).encrypt(b"abc"), "no_key"),
        (b"Obj\x01 and nothing", "corrupt"),
    ],
)
def test_what_cannot_be_decoded_is_told(tmp_path, contents, rule):
    (tmp_path / "odd").write_bytes(contents)
    (tmp_path / "whole").write_text(VALUE)
    result = scan({"store": tmp_path}, Needles.of(VALUE), limits=SMALL, keys=[KEY])
    assert [(each.path, each.rule) for each in result.undecodable] == [("odd", rule)]
    assert [hit.path for hit in result.hits] == ["whole"]
    assert not scan({"store": tmp_path}, Needles.of("canaryuser9999"), limits=SMALL, keys=[KEY]).is_clean


def test_an_encrypted_member_and_a_kept_file_without_key_are_told(tmp_path):
    archive = bytearray(zipped("a", b"abc"))
    archive[6] |= 1
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(archive)
    (tmp_path / "kept.fernet").write_bytes(Fernet(KEY).encrypt(b"abc"))
    told = {(each.path, each.rule) for each in scan({"store": tmp_path}, Needles.of(VALUE)).undecodable}
    assert told == {("secret.zip", "encrypted"), ("kept.fernet", "no_key")}


def test_a_bomb_is_never_held_in_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w") as member:
        for _ in range(64):
            member.write(b"\0" * 2**20)
    scan({"store": tmp_path}, Needles.of(VALUE))
    tracemalloc.start()
    result = scan({"store": tmp_path}, Needles.of(VALUE), limits=Limits(free_bytes=2**28))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.decoded == 64 * 2**20
    assert peak < 40 * 2**20


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert scan({"store": tmp_path}, Needles.of(VALUE)).is_clean


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(VALUE)
    look = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = scan({"store": tmp_path}, Needles.of(VALUE))
    assert [(each.path, each.rule) for each in result.undecodable] == [("closed", "unreadable")]
    assert [hit.path for hit in result.hits] == ["open/file"]


# What is told ---------------------------------------------------------------------------------------------------------------


def test_what_is_told_holds_no_name_that_a_person_is_in(tmp_path):
    for store in ("lake", "landing"):
        (tmp_path / store).mkdir()
        (tmp_path / store / f"of {VALUE}").write_text(VALUE)
    (tmp_path / "landing" / "Anna's listens.json").write_text(VALUE)
    result = scan(data_roots(tmp_path), Needles.of(VALUE))
    assert len(result.hits) == 5
    assert VALUE not in str(result.as_json())
    assert "Anna" not in str(result.as_json())
    assert {hit.path for hit in result.hits} == {f"of {VALUE}", "Anna's listens.json"}


def test_the_listing_knows_every_byte(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    first = scan({"store": tmp_path}, Needles.of(VALUE)).listing_sha256
    assert scan({"store": tmp_path}, Needles.of("canaryuser9999")).listing_sha256 == first
    (tmp_path / "b").write_text("twO")
    assert scan({"store": tmp_path}, Needles.of(VALUE)).listing_sha256 != first


def test_a_database_in_use_is_read_with_its_log_and_left_as_it_is(tmp_path):
    path = tmp_path / "live.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table a (b)")
        database.execute("insert into a values (?)", (f"{'x' * 4070}{VALUE}",))
        database.commit()
        inside = {(hit.path, hit.inside) for hit in scan({"store": tmp_path}, Needles.of(VALUE)).hits}
        assert ("live.db", "sqlite") in inside
    before = {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    assert found_in(tmp_path, Needles.of(VALUE)) == {"live.db"}
    assert {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == before


def test_servers_that_cannot_be_read_are_told(tmp_path):
    result = scan({}, Needles.of(VALUE), databases={"live": f"unix://{tmp_path}/none", "else": "mysql://secret@nowhere"})
    assert {(each.store, each.rule) for each in result.undecodable} == {("live", "unreadable"), ("else", "unreadable")}
    assert "secret" not in str(result.as_json())
