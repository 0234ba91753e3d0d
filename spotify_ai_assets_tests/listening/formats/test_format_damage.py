"""Any bytes at all: no exception but one, no record lost, none counted twice."""

import json
import tempfile
from pathlib import Path

import pytest
from format_reading import read_all, read_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import streams

NATIVE = {"user_id": "u1", "started_at": 1713636900, "track_name": "Amber Lanes", "artist_name": "Nine Kites"}
EXTENDED = {
    "ts": "2024-04-20T18:15:22Z",
    "ms_played": 1,
    "master_metadata_track_name": "Amber",
    "master_metadata_album_artist_name": "Nine Kites",
}
NATIVE_LINES = "\n".join(json.dumps({**NATIVE, "started_at": 1713636900 + i}) for i in range(200))
STARTS = {
    "nothing": b"",
    "lines": json.dumps(NATIVE).encode() + b"\n",
    "array": b"[" + json.dumps(EXTENDED).encode() + b",",
    "submission": b'{"listen_type": "import", "payload": [{"listened_at": 1, "track_metadata": {}},',
    "tsv": b"user_000001\t2009-05-04T23:08:57Z\tid\tNine Kites\t\tAmber\n",
    "csv": b"Artist,Track,Album,Time\n",
    "chart": b"rank,uri,artist_names,track_name,streams\n",
    "log": b"#AUDIOSCROBBLER/1.1\n",
    "gzip": b"\x1f\x8b\x08\x00",
    "zstd": b"\x28\xb5\x2f\xfd",
    "zip": b"PK\x03\x04",
    "parquet": b"PAR1",
    "utf-16": b"\xff\xfe",
}
PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b",", b"\n", b"\\", b"\\ud800", b"NaN", b"1e400", b"\0", b"\xff", b"9" * 30, b"[" * 2000]
    ),
    st.sampled_from([json.dumps(NATIVE).encode(), json.dumps(EXTENDED).encode()]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*NATIVE, *EXTENDED, "track_metadata", "payload"]), inner, max_size=4)
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(start=st.sampled_from(sorted(STARTS)), pieces=st.lists(PIECES, max_size=12))
def test_any_bytes_are_read_or_refused(start, pieces):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "regional-de-weekly-2023-02-09.csv"
        path.write_bytes(STARTS[start] + b"".join(pieces))
        try:
            results = read_all(path)  # checks schemas and that each record has one place
        except UnreadableFileError as error:
            assert error.rule
        else:
            assert all(result.format or result.reason or result.error for result in results)


TABLE = "Artist,Track,Album,Time\n" + "\n".join(f"Nine Kites,Amber {i},,{1713636900 + i}" for i in range(60))
TABS = "\n".join(f"user_1\t2009-05-04T23:08:{i:02d}Z\tid\tNine Kites\t\tAmber {i}" for i in range(60))
WHOLE = {
    "lines": "\n".join(json.dumps({**NATIVE, "started_at": 1713636900 + i}) for i in range(60)),
    "array in lines": "[\n" + ",\n".join(json.dumps({**EXTENDED, "ms_played": i}) for i in range(60)) + "\n]",
    "array": json.dumps([{**EXTENDED, "ms_played": i} for i in range(60)]).replace("}, {", "},\n{"),
    "table": TABLE,
    "tabs": TABS,
}


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    number=st.integers(2, 57),
    position=st.integers(0, 200),
    damage=st.sampled_from([b'"', b"{", b"}", b"\xff", b"\\", b"", b"]", b"[", b",", b"\0", b"\xc3"]),
    length=st.integers(0, 30),
)
def test_a_damaged_line_is_the_only_one_lost(kind, number, position, damage, length):
    lines = WHOLE[kind].encode().split(b"\n")
    line, before = lines[number], len(lines)
    # The comma between two records is not part of either.
    body, comma = (line[:-1], b",") if kind.startswith("array") and line.endswith(b",") else (line, b"")
    position %= len(body)
    lines[number] = body[:position] + damage + body[position + length :] + comma
    records = before - {"array in lines": 2, "table": 1}.get(kind, 0)
    with tempfile.TemporaryDirectory() as folder:
        result = read_bytes(Path(folder), b"\n".join(lines))
    assert result.error is None
    lost = records - len(result.rows)
    assert lost <= 1, result.rejected


@pytest.mark.parametrize("damage", ['{"user_id": "u1', "nonsense", "[1]", '{"user_id": "u1"} {}', '{"a": 1e400}', "{" * 5000, '{"a": NaN}'])
def test_one_damaged_line_among_many(tmp_path, damage):
    lines = NATIVE_LINES.split("\n")
    lines[77] = damage
    result = read_bytes(tmp_path, "\n".join(lines))
    assert (len(result.rows), [row for row, _ in result.rejected]) == (199, [78])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"user_id":"u","started_at":1713636900,"track_name":"a","track_name":"b","artist_name":"n"}', "a"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"a","track_name":"b","artist_name":"n","x":NaN}', "a"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"\\u0000a\\u0000","artist_name":"n"}', "a"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"a\tb","artist_name":"n"}', "a\tb"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"a\\udc00","artist_name":"n"}', "a\N{REPLACEMENT CHARACTER}"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"\\ud83d\\ude00","artist_name":"n"}', "\N{GRINNING FACE}"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"a","artist_name":"n","x":1e400}', "a"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"a","artist_name":"n","x":' + b"9" * 5000 + b"}", "a"),
        (b'{"user_id":"u","started_at":1713636900,"track_name":"a","artist_name":"n","played_ms":1.5}', "a"),
    ],
)
def test_unusual_json_is_read(tmp_path, line, expected):
    result = read_bytes(tmp_path, json.dumps(NATIVE).encode() + b"\n" + line)
    assert [row["track_name"] for row in result.rows] == ["Amber Lanes", expected]


def test_bytes_that_are_no_utf8_spoil_their_line_only(tmp_path):
    for text in (NATIVE_LINES.encode(), b"[" + NATIVE_LINES.encode().replace(b"\n", b",") + b"]", TABLE.encode(), TABS.encode()):
        damaged = text.replace(b"Nine Kites", b"Nine \xff Kites", 1)
        assert read_bytes(tmp_path, damaged).rejected == [(1, "bad_encoding")]


def test_a_line_beyond_all_bounds_is_one_rejected_record(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE", 10_000)
    monkeypatch.setattr(streams, "BLOCK", 4_000)
    monkeypatch.setattr(streams, "CHUNK", 1_000)
    first, *rest = NATIVE_LINES.split("\n")
    for length in (10_500, 100_000):
        long = json.dumps({**NATIVE, "x": "y" * length})
        result = read_bytes(tmp_path, "\n".join([first, long, *rest]))
        assert (len(result.rows), result.rejected) == (200, [(2, "line_too_long")])


def test_records_of_an_array_may_begin_with_different_keys(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK", 1_000)
    records = [dict(list(NATIVE.items())[i % 4 :] + list(NATIVE.items())[: i % 4]) for i in range(100)]
    result = read_bytes(tmp_path, json.dumps(records))
    assert (len(result.rows), result.rejected) == (100, [])


@pytest.mark.parametrize("title", ["}, {", '"},{"ts":', "]", '\\"}', "{"])
def test_brackets_in_names_are_no_structure(tmp_path, title):
    result = read_bytes(tmp_path, json.dumps([{**EXTENDED, "master_metadata_track_name": title}, EXTENDED] * 5))
    assert [row["track_name"] for row in result.rows] == [title, "Amber"] * 5
