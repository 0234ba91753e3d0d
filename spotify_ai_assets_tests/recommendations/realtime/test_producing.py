"""Producers: pseudonyms before anything leaves, the rules of intake, and a stream that may be away for a while."""

import json
from pathlib import Path

import polars as pl
import pytest
from stream_rows import NOW

from spotify_ai_assets.recommendations.realtime.messages import decode, decode_forget
from spotify_ai_assets.recommendations.realtime.producing import Producer, Sent
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.stream import SpoolStream, StreamError


def line(number: int, **values: object) -> dict[str, object]:
    told = {
        "user_id": f"user-{number % 3}",
        "started_at": f"2026-06-28T10:{number % 60:02}:00Z",
        "track_name": f"Track {number}",
        "artist_name": "Some Band",
        "played_ms": 200_000,
        "country": "se",
    }
    return {**told, **values}


def text(*lines: dict[str, object]) -> list[bytes]:
    return [json.dumps(each).encode() + b"\n" for each in lines]


@pytest.fixture
def spool(tmp_path: Path):
    stream = SpoolStream(tmp_path / "stream", pause_s=0.001)
    yield stream
    stream.close()


@pytest.fixture
def producer(spool, settings):
    return Producer(spool, open_vault(settings), listener="me", clock=lambda: NOW)


def add(parts) -> Sent:
    total = Sent()
    for part in parts:
        total += part
    return total


def test_lines_become_messages_under_pseudonyms(producer, spool, settings):
    sent = add(producer.send_lines(text(*(line(number) for number in range(10)))))
    assert (sent.rows, sent.sent, dict(sent.refused)) == (10, 10, {})
    messages = spool.read(100, 0)
    rows = decode([message.body for message in messages], NOW).rows
    vault = open_vault(settings)
    assert {vault.resolve(each) for each in rows["listener_id"].unique()} == {"user-0", "user-1", "user-2"}
    assert not any(b"user-" in message.body for message in messages)
    assert rows["country"].unique().to_list() == ["SE"] and rows["source"].unique().to_list() == ["stream"]


def test_what_breaks_a_rule_is_counted_and_not_sent(producer, spool):
    lines = text(line(1), line(2, track_name=""), line(3, started_at="2031-01-01T00:00:00Z"), line(4, user_id="x" * 600), line(5))
    sent = add(producer.send_lines(lines))
    assert (sent.rows, sent.sent) == (5, 2)
    assert dict(sent.refused) == {"missing_track": 1, "time_in_future": 1, "bad_user_id": 1}
    assert spool.waiting() == 2


def test_lines_that_are_no_listens_are_refused_together(producer, spool):
    assert dict(add(producer.send_lines([b"hello\n", b"world\n"])).refused) == {"not_a_listening_file": 1}
    assert add(producer.send_lines([b"\n"])).rows == 0
    assert spool.waiting() == 0


def test_a_file_of_any_known_format_can_be_sent(producer, spool, tmp_path: Path):
    record = {"ts": "2026-06-28T10:05:00Z", "ms_played": 200_000, "spotify_track_uri": "spotify:track:" + "a" * 22}
    names = {"master_metadata_track_name": "A", "master_metadata_album_artist_name": "B", "master_metadata_album_album_name": "C"}
    (tmp_path / "Streaming_History_Audio_2026_0.json").write_text(json.dumps([{**record, **names}]))
    sent = add(producer.send_file(tmp_path / "Streaming_History_Audio_2026_0.json"))
    assert (sent.rows, sent.sent) == (1, 1)
    rows = decode([message.body for message in spool.read(10, 0)], NOW).rows
    assert rows["track_id"].to_list() == ["spotify:" + "a" * 22]
    (tmp_path / "chart.csv").write_text("nothing,here\n1,2\n")
    assert add(producer.send_file(tmp_path / "chart.csv")).sent == 0


def test_a_listen_of_nobody_is_of_the_given_listener(producer, spool, settings, tmp_path: Path):
    frame = pl.DataFrame([line(1)]).rename({"user_id": "nobody"})
    record = {"endTime": "2026-06-28 10:05", "artistName": "B", "trackName": "A", "msPlayed": 200_000}
    (tmp_path / "StreamingHistory0.json").write_text(json.dumps([record]))
    assert frame.height == 1 and add(producer.send_file(tmp_path / "StreamingHistory0.json")).sent == 1
    rows = decode([message.body for message in spool.read(10, 0)], NOW).rows
    assert open_vault(settings).resolve(rows["listener_id"][0]) == "me"


def test_somebody_to_forget_is_told_by_pseudonym(producer, spool):
    producer.forget(["ab" * 16])
    (message,) = spool.read(10, 0)
    assert message.topic == "forget" and decode_forget(message.body) == "ab" * 16


def test_a_stream_that_is_away_is_tried_again_until_patience_ends(spool, settings, monkeypatch):
    failures = iter([StreamError("away"), StreamError("away")])
    original = spool.append

    def append(topic, bodies):
        if error := next(failures, None):
            raise error
        original(topic, bodies)

    monkeypatch.setattr(spool, "append", append)
    assert add(Producer(spool, open_vault(settings), clock=lambda: NOW).send_lines(text(line(1)))).sent == 1
    monkeypatch.setattr(spool, "append", lambda *_: (_ for _ in ()).throw(StreamError("away")))
    with pytest.raises(StreamError):
        add(Producer(spool, open_vault(settings), clock=lambda: NOW, patience_s=0.0).send_lines(text(line(1))))


def test_nothing_is_sent_of_somebody_who_is_to_be_forgotten(spool, settings):
    producer = Producer(spool, open_vault(settings), clock=lambda: NOW, erased=lambda users: {"user-1"} & set(users))
    sent = add(producer.send_lines(text(*(line(number) for number in range(9)))))
    assert (sent.rows, sent.sent, dict(sent.refused)) == (9, 6, {"erased_listener": 3})
    vault = open_vault(settings)
    assert vault.find("user-1") is None and vault.find("user-2") and spool.waiting() == 6
