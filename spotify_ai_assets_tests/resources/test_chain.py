import json
import sqlite3
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import at_once

from spotify_ai_assets.errors import PlatformError, SettingsError
from spotify_ai_assets.resources.chain import Chain, Entry
from spotify_ai_assets.resources.chain_records import ChainError, Head, Record, digest_of, find_breaks, genesis, read_export

AT = datetime(2026, 2, 28, 23, 59, 59, 999999, UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger/ledger.db"
    address = request.getfixturevalue("postgres")
    execute(address, "DROP TABLE IF EXISTS chain_records")
    return address


@pytest.fixture
def lite(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/ledger/ledger.db"


def execute(url: str, *statements: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def tamper(url: str, *statements: str) -> None:
    """Change records as somebody does who owns the database, past its guards."""
    if url.startswith("sqlite"):
        off = ["DROP TRIGGER chain_no_update", "DROP TRIGGER chain_no_delete"]
    else:
        off = ["DROP TRIGGER chain_no_change ON chain_records"]
    execute(url, *off, *statements)


def filled(url: str, count: int = 6, name: str = "audit") -> Chain:
    chain = Chain(url, name, lambda: AT)
    chain.append_all([Entry("deed" if number % 2 else "other", {"n": number, "text": "Ä\u0000'\"\\"}) for number in range(count)])
    return chain


def test_records_come_back_as_they_were_appended(url):
    chain = Chain(url, "audit", lambda: AT)
    first = chain.append("deed", {"b": [1, 2.5, None, True], "a": {"ü": "\n"}})
    second = chain.append("other", {})
    assert list(chain.records()) == [first, second] == [*reversed(list(chain.backwards()))]
    assert (first.sequence, first.kind, first.at, first.body) == (1, "deed", AT, {"b": [1, 2.5, None, True], "a": {"ü": "\n"}})
    assert second.previous == first.digest and first.previous == genesis("audit").digest
    assert chain.head() == Head(2, second.digest)
    assert chain.verify(chain.head(), Head(1, first.digest)) == []


def test_the_digest_is_that_of_the_documented_text(lite):
    record = Chain(lite, "audit", lambda: AT).append("deed", {"b": "ü", "a": 1})
    text = genesis("audit").digest + '[1,"2026-02-28T23:59:59.999999+00:00","deed",{"a":1,"b":"ü"}]'
    import hashlib

    assert record.digest == hashlib.sha256(text.encode()).hexdigest()


def test_an_empty_chain_is_whole_and_has_a_head(url):
    chain = Chain(url, "audit")
    assert chain.head() == genesis("audit") and chain.verify(genesis("audit")) == []
    assert list(chain.records()) == [] and chain.newest("deed") is None


def test_chains_of_one_database_do_not_mix(url):
    one, other = filled(url, 3, "audit"), filled(url, 2, "erasure")
    assert (one.head().sequence, other.head().sequence) == (3, 2)
    assert {record.digest for record in one.records()}.isdisjoint(record.digest for record in other.records())
    assert one.verify() == other.verify() == []
    assert other.verify(one.head()) != []


def test_records_are_found_by_kind_and_number(url):
    chain = filled(url, 2345)
    assert [record.body["n"] for record in chain.records("deed", after=2000)] == list(range(2001, 2345, 2))
    assert [record.sequence for record in chain.backwards("other")] == list(range(2345, 0, -2))
    newest = chain.newest("deed")
    assert newest and newest.body["n"] == 2343
    assert chain.newest("nothing") is None and chain.verify() == []


def test_what_may_be_told_once_is_told_once(url):
    chain = Chain(url, "audit")
    assert len(chain.append_all([Entry("deed", {"n": 1}, "a"), Entry("deed", {"n": 2}, "a"), Entry("deed", {"n": 3}, "b")])) == 2
    assert chain.append_all([Entry("deed", {"n": 4}, "b")]) == []
    assert [record.body for record in chain.records()] == [{"n": 1, "once": "a"}, {"n": 3, "once": "b"}]
    assert chain.known(["a", "b", "c"]) == {"a", "b"} and chain.known([]) == set()
    assert Chain(url, "erasure").known(["a"]) == set()
    assert chain.verify() == []


def test_of_several_records_all_or_none_are_appended(url):
    chain = filled(url, 1)
    with pytest.raises(ChainError):
        chain.append_all([Entry("deed", {}), Entry("deed", {"n": float("nan")})])
    assert chain.head().sequence == 1


@pytest.mark.parametrize(
    "body",
    [{"n": float("inf")}, {"s": "\ud800"}, {"x": object()}, {"b": b""}, {"once": "x"}, {"s": "x" * (1 << 20)}, {"n": 10**5000}],
)
def test_a_body_that_is_no_plain_json_is_refused_without_being_shown(lite, body):
    chain = Chain(lite, "audit")
    with pytest.raises(ChainError) as refused:
        chain.append("deed", body)
    assert "x" * 10 not in str(refused.value) and chain.head().sequence == 0


@pytest.mark.parametrize("kind", ["", "Deed", "a" * 65, "a\n", "1", "a\0"])
def test_a_kind_that_is_no_word_is_refused(lite, kind):
    with pytest.raises(ChainError):
        Chain(lite, "audit").append(kind, {})


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30)
@given(
    st.lists(
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda key: key != "once"), _JSON, max_size=4), max_size=4
    )
)
def test_any_json_is_kept_to_the_letter(tmp_path_factory, bodies):
    chain = Chain(f"sqlite:///{tmp_path_factory.mktemp('chain')}/ledger.db", "audit")
    chain.append_all([Entry("deed", body) for body in bodies])
    assert [record.body for record in chain.records()] == bodies
    assert chain.verify() == []


def test_keys_that_are_no_texts_do_not_break_the_chain(lite):
    chain = Chain(lite, "audit")
    chain.append("deed", {"figures": {1: "a"}})
    assert next(chain.records()).body == {"figures": {"1": "a"}} and chain.verify() == []


def test_times_are_kept_in_utc_and_may_go_back(lite):
    times = iter([AT, AT - timedelta(days=400), datetime(2028, 2, 29, 1, tzinfo=timezone(timedelta(hours=2)))])
    chain = Chain(lite, "audit", lambda: next(times))
    for _ in range(3):
        chain.append("deed", {})
    assert [record.at.isoformat() for record in chain.records()][1:] == ["2025-01-24T23:59:59.999999+00:00", "2028-02-28T23:00:00+00:00"]
    assert chain.verify() == []


# What somebody who owns the database may do ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE chain_records SET body = replace(body, '\"n\":3', '\"n\":4') WHERE sequence = 4", "record 4 was changed"),
        ("UPDATE chain_records SET body = '{ ' || substr(body, 2) WHERE sequence = 4", "record 4 was changed"),
        ("UPDATE chain_records SET at = '2026-02-28T23:59:59.999998+00:00' WHERE sequence = 4", "record 4 was changed"),
        ("UPDATE chain_records SET kind = 'other' WHERE sequence = 4", "record 4 was changed"),
        ("UPDATE chain_records SET once = 'x' WHERE sequence = 4", "record 4 was changed"),
        ("UPDATE chain_records SET digest = replace(digest, substr(digest, 1, 1), 'x') WHERE sequence = 4", "record 4 was changed"),
        ("UPDATE chain_records SET previous = digest WHERE sequence = 4", "record 4 does not follow the record before it"),
        ("DELETE FROM chain_records WHERE sequence = 4", "record 4 is missing"),
        ("DELETE FROM chain_records WHERE sequence IN (2, 3, 4)", "record 2 to 4 are missing"),
        ("UPDATE chain_records SET sequence = 9 WHERE sequence = 4", "record 4 is missing"),
        ("UPDATE chain_records SET chain = 'other' WHERE sequence = 4", "record 4 is missing"),
    ],
)
def test_a_changed_dropped_or_moved_record_is_named(url, change, told):
    chain = filled(url)
    tamper(url, change)
    assert told in chain.verify()


def test_two_records_that_changed_places_are_found(url):
    chain = filled(url)
    places = [f"UPDATE chain_records SET sequence = {to} WHERE sequence = {number}" for number, to in ((2, 99), (3, 2), (99, 3))]
    tamper(url, *places)
    assert {"record 2 was changed", "record 3 was changed"} <= set(chain.verify())


def test_an_inserted_record_is_found(url):
    chain = filled(url)
    at, previous = "2026-02-28T23:59:59.999999+00:00", "0" * 64
    row = f"'audit', 7, '{at}', 'deed', '{{}}', '{previous}', '{digest_of(previous, 7, at, 'deed', '{}')}', NULL"
    tamper(url, f"INSERT INTO chain_records VALUES ({row})")
    assert chain.verify() == ["record 7 does not follow the record before it"]


def test_a_chain_that_was_cut_off_is_found_by_a_witnessed_head(url):
    chain = filled(url)
    witnessed = chain.head()
    tamper(url, "DELETE FROM chain_records WHERE sequence > 4")
    assert chain.verify() == []
    assert chain.verify(witnessed) == ["the chain ends at record 4, though record 6 was witnessed"]


def test_a_chain_that_was_written_anew_is_found_by_a_witnessed_head(url):
    witnessed = filled(url).head()
    tamper(url, "DELETE FROM chain_records")
    chain = Chain(url, "audit", lambda: AT + timedelta(seconds=1))
    chain.append_all([Entry("deed", {"n": number}) for number in range(9)])
    assert chain.verify() == []
    assert chain.verify(witnessed) == ["record 6 is not the one whose digest was witnessed"]


def test_the_database_refuses_a_careless_change(url):
    chain = filled(url)
    for statement in ("UPDATE chain_records SET kind = 'x'", "DELETE FROM chain_records"):
        with pytest.raises(Exception, match="append-only"):
            execute(url, statement)
    assert chain.verify() == [] and chain.head().sequence == 6


def test_any_flipped_byte_of_a_record_in_the_file_is_found(tmp_path, lite):
    chain = filled(lite, 3)
    path = tmp_path / "ledger" / "ledger.db"
    whole = path.read_bytes()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT at, kind, body, previous, digest FROM chain_records").fetchall()
    connection.close()
    seen = 0
    for row in rows:
        start = whole.index(row[2].encode()) - len(row[0] + row[1])
        text = "".join(row).encode()
        assert whole[start : start + len(text)] == text, "the record lies in the file as one piece"
        for offset in range(start, start + len(text), 7):
            path.write_bytes(whole[:offset] + bytes([whole[offset] ^ (1 << (offset % 8))]) + whole[offset + 1 :])
            assert Chain(lite, "audit").verify() != [], f"byte {offset}"
            seen += 1
    path.write_bytes(whole)
    assert chain.verify() == [] and seen >= 80


def test_a_damaged_file_is_told_in_words(tmp_path, lite):
    chain = filled(lite, 200)
    path = tmp_path / "ledger" / "ledger.db"
    whole = bytearray(path.read_bytes())
    whole[4096:] = bytes(len(whole) - 4096)
    path.write_bytes(whole)
    told = Chain(lite, "audit").verify()
    assert told and "damaged" in " ".join(told)
    path.write_bytes(b"this is no database at all, whatever its name says" * 100)
    with pytest.raises(ChainError, match="damaged"):
        chain.append("deed", {})


# Copies ---------------------------------------------------------------------------------------------------------------------


def test_an_export_is_the_chain_and_shows_its_own_breaks(lite, tmp_path):
    chain, file = filled(lite), tmp_path / "out" / "chain.jsonl"
    assert chain.export(file) == chain.head()
    assert list(read_export(file)) == list(chain.records())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and [path.name for path in file.parent.iterdir()] == ["chain.jsonl"]
    lines = file.read_text().splitlines()
    assert find_breaks("audit", read_export(file), [chain.head()]) == []
    file.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert find_breaks("audit", read_export(file))
    file.write_text("\n".join(lines[:-1]))
    assert find_breaks("audit", read_export(file), [chain.head()]) == ["the chain ends at record 5, though record 6 was witnessed"]
    file.write_text("\n".join([lines[0], lines[1].replace('"n":1', '"n":2'), *lines[2:]]))
    assert find_breaks("audit", read_export(file)) == ["record 2 was changed"]


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", '{"sequence":"1"}', "nonsense"])
def test_a_line_that_is_no_record_is_told_by_its_number(lite, tmp_path, line):
    file = tmp_path / "chain.jsonl"
    filled(lite, 1).export(file)
    file.write_text(f"{file.read_text()}{line}\n")
    with pytest.raises(ChainError, match="line 2"):
        list(read_export(file))


def test_the_longer_of_two_copies_is_taken_over(url, tmp_path):
    chain = filled(url)
    copy = list(chain.records())
    tamper(url, "DELETE FROM chain_records WHERE sequence > 2")
    older = Chain(url, "audit")
    assert older.adopt(copy) == 4
    assert older.head() == Head(6, copy[-1].digest) and older.verify() == []
    assert older.adopt(copy) == older.adopt(copy[:3]) == older.adopt([]) == 0


def test_a_copy_that_tells_another_story_is_refused(lite, tmp_path):
    chain = filled(lite, 3)
    other = filled(f"sqlite:///{tmp_path}/other.db", 5)
    assert list(other.records())[2] == list(chain.records())[2], "so far they agree"
    fork = Chain(f"sqlite:///{tmp_path}/fork.db", "audit")
    fork.append_all([Entry("deed", {"n": 99})] * 5)
    with pytest.raises(ChainError, match="different stories"):
        chain.adopt(fork.records())
    with pytest.raises(ChainError, match="damaged"):
        chain.adopt(list(other.records())[1:])
    assert chain.adopt(other.records()) == 2


# Places ---------------------------------------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_alone(tmp_path, lite):
    filled(lite)
    assert stat.S_IMODE((tmp_path / "ledger").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ledger").iterdir()} == {0o600}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x", "nonsense", "postgresql+asyncpg://x@y/z"])
def test_an_address_that_is_no_database_is_refused_without_being_shown(url):
    with pytest.raises(SettingsError) as refused:
        Chain(url, "audit")
    assert "x@y" not in str(refused.value)


def test_a_server_that_is_not_there_is_told_without_its_address():
    with pytest.raises(PlatformError) as told:
        Chain("postgresql+psycopg2://someone:secret@127.0.0.1:1/nothing", "audit").append("deed", {})
    assert "secret" not in str(told.value) and "127.0.0.1" not in str(told.value)


# Many writers ---------------------------------------------------------------------------------------------------------------


def _write(arguments: tuple[str, int]) -> list[Record]:
    url, writer = arguments
    chain = Chain(url, "audit")
    return [chain.append("deed", {"writer": writer, "n": number}) for number in range(10)]


def test_eight_writers_make_one_chain(url):
    """The database is made by them too, all at once."""
    told = [record for records in at_once(_write, [(url, writer) for writer in range(8)]) for record in records]
    chain = Chain(url, "audit")
    kept = list(chain.records())
    assert sorted(told, key=lambda record: record.sequence) == kept and len(kept) == 80
    assert chain.verify() == []
    for writer in range(8):
        assert [record.body["n"] for record in kept if record.body["writer"] == writer] == list(range(10))


def _write_once(arguments: tuple[str, int]) -> int:
    url, number = arguments
    return len(Chain(url, "audit").append_all([Entry("deed", {"n": number}, f"event {number % 5}")]))


def test_of_eight_writers_that_tell_the_same_one_is_heard(url):
    assert sum(at_once(_write_once, [(url, number) for number in range(40)])) == 5
    assert Chain(url, "audit").verify() == []


def test_readers_are_not_held_up_by_a_writer(lite):
    chain = filled(lite)
    with sqlite3.connect(lite.removeprefix("sqlite:///"), isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert chain.head().sequence == 6 and chain.verify() == []
        connection.execute("ROLLBACK")
    connection.close()


def test_exports_replace_the_file_before_in_one_step(lite, tmp_path, monkeypatch):
    chain, file = filled(lite), tmp_path / "chain.jsonl"
    chain.export(file)
    before = file.read_text()
    chain.append("deed", {})
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        chain.export(file)
    assert file.read_text() == before and [path.name for path in tmp_path.glob("*chain*")] == ["chain.jsonl"]
    assert json.loads(before.splitlines()[0])["sequence"] == 1
