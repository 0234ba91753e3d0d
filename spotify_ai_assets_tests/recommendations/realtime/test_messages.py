"""Messages: rows survive them, and whatever a stranger writes is refused by a rule and harms no other."""

import gzip
import json
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from stream_rows import NOW, listens

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.recommendations.realtime.messages import BAD, decode, decode_forget, encode, encode_forget
from spotify_ai_assets.validation import violations


def changed(body: bytes, **values: object) -> bytes:
    return json.dumps({**json.loads(body), **values}).encode()


def test_rows_survive_their_messages():
    rows = listens(20).with_columns(
        track_name=pl.lit('Line\nbreak "quoted" ☂'),
        played_ms=pl.Series([None, *range(19)], dtype=pl.Int64),
        is_shuffle=pl.Series([None, True, False] * 6 + [True, None]),
        started_at=pl.col("started_at") + pl.duration(microseconds=123_457),
    )
    bodies = encode(rows)
    assert len(bodies) == 20 and not any(b"\n" in body for body in bodies)
    found = decode(bodies, NOW)
    assert_frame_equal(found.rows, rows)
    assert found.numbers == list(range(20)) and found.refused == {}


def test_no_messages_are_no_rows():
    found = decode([], NOW)
    assert found.rows.is_empty() and dict(found.rows.schema) == EVENTS.schema and found.refused == {}
    assert encode(found.rows) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"1 2", b"[" * 100_000, b'{"a": 1}\n{"a": 2}', b'{"started_at": 1e400}']
)
def test_what_is_no_message_is_refused_and_harms_no_other(body: bytes):
    good = encode(listens(3))
    found = decode([good[0], body, *good[1:]], NOW)
    assert list(found.refused) == [1]
    assert_frame_equal(found.rows, listens(3))
    assert found.numbers == [0, 2, 3]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"listener_id": "Jane Doe"}, "bad_listener_id"),
        ({"listener_id": None}, "bad_listener_id"),
        ({"track_id": None}, "bad_track_id"),
        ({"played_ms": -1}, "bad_played_ms"),
        ({"played_ms": 10**12}, "bad_played_ms"),
        ({"kind": "film"}, "bad_kind"),
        ({"country": "Sweden"}, "bad_country"),
        ({"platform": None}, "bad_platform"),
        ({"is_minute_grain": None}, "bad_is_minute_grain"),
        ({"started_at": None}, "bad_started_at"),
        ({"started_at": 0}, "time_before_2002"),
        ({"started_at": -(2**62)}, "time_before_2002"),
        ({"started_at": int((NOW + timedelta(days=2)).timestamp() * 1e6)}, "time_in_future"),
    ],
)
def test_a_row_that_breaks_its_contract_is_refused_by_its_rule(values: dict[str, object], rule: str):
    good = encode(listens(2))
    found = decode([changed(good[0], **values), good[1]], NOW)
    assert found.refused == {0: rule} and found.numbers == [1] and found.rows.height == 1


def test_values_of_another_type_are_refused_one_by_one():
    good = encode(listens(3))
    found = decode([changed(good[0], track_name={"a": 1}), good[1], changed(good[2], started_at="today")], NOW)
    assert found.numbers == [1] and set(found.refused) == {0, 2}


def test_somebodys_listens_can_be_refused_afterwards():
    rows = listens(6, listeners=2)
    bodies = [b"{", *encode(rows)]
    found = decode(bodies, NOW).refuse([rows["listener_id"][0]], "forgotten")
    assert found.refused == {0: BAD, 1: "forgotten", 3: "forgotten", 5: "forgotten"}
    assert found.numbers == [2, 4, 6] and found.rows["listener_id"].unique().to_list() == [rows["listener_id"][1]]


def test_whom_to_forget_survives_its_message():
    assert decode_forget(encode_forget("ab" * 16)) == "ab" * 16
    assert [decode_forget(body) for body in (b"", b"{}", b"[]", b'{"listener_id": 3}', b"\xff")] == [None] * 5


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=4,
)


@given(
    st.lists(
        st.one_of(st.binary(max_size=30), st.dictionaries(st.sampled_from([*EVENTS.schema, "x"]), json_values, max_size=6)), max_size=5
    )
)
def test_whatever_is_written_ends_as_a_row_that_keeps_its_contract_or_is_refused(told):
    good = encode(listens(1))
    bodies = [changed(good[0], **each) if isinstance(each, dict) else each for each in told]
    found = decode([*bodies, *good], NOW)
    assert sorted([*found.numbers, *found.refused]) == list(range(len(bodies) + 1))
    assert found.numbers[-1] == len(bodies) and violations(EVENTS, found.rows) == []
    assert dict(found.rows.schema) == EVENTS.schema


def test_a_message_that_begins_as_a_compressed_file_is_refused_and_not_unpacked():
    bodies = [gzip.compress(b"{}" * 1000), b"\x28\xb5\x2f\xfd", b"\x1f\x8b"]
    found = decode(bodies, NOW)
    assert found.rows.is_empty() and set(found.refused) == {0, 1, 2}
