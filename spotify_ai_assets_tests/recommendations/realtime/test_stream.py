"""The stream, carried by a folder and by a Redis: nothing accepted is lost, whoever dies."""

from pathlib import Path

import pytest

from spotify_ai_assets.resources.stream import SpoolStream, StreamError, open_stream
from spotify_ai_assets.settings import Settings


def read_all(stream, count: int = 100) -> list:
    found = []
    while messages := stream.read(count, 0.01):
        found += messages
    return found


def test_messages_come_in_their_order_with_their_topic(open_stream):
    stream = open_stream()
    stream.append("listen", [b'{"a": 1}', b'{"a": 2}'])
    stream.append("forget", [b'{"b": 3}'])
    stream.append("listen", [])
    found = read_all(stream)
    assert [(message.topic, message.body) for message in found] == [
        ("listen", b'{"a": 1}'),
        ("listen", b'{"a": 2}'),
        ("forget", b'{"b": 3}'),
    ]
    assert len({message.id for message in found}) == 3
    assert all(message.accepted_at.tzinfo for message in found)


def test_a_reader_is_given_each_message_once(open_stream):
    stream = open_stream()
    stream.append("listen", [b"%d" % number for number in range(10)])
    assert len(read_all(stream)) == 10
    assert read_all(stream) == []
    assert stream.waiting() == 10


def test_a_reader_that_is_started_again_goes_on_with_what_it_had_not_acknowledged(open_stream):
    stream = open_stream()
    for number in range(6):
        stream.append("listen", [b"%d" % number])
    first = read_all(stream, 1)
    stream.acknowledge([message.id for message in first[:4]])
    stream.close()
    again = open_stream()
    again.append("listen", [b"6"])
    assert [message.body for message in read_all(again)] == [b"4", b"5", b"6"]


def test_what_is_acknowledged_is_gone_and_acknowledging_twice_is_no_error(open_stream):
    stream = open_stream()
    stream.append("listen", [b"1", b"2", b"3"])
    ids = [message.id for message in read_all(stream)]
    stream.acknowledge(ids[:1])
    stream.acknowledge(ids[:1])
    assert stream.waiting() == 2
    stream.acknowledge(ids)
    stream.acknowledge([])
    stream.scrub()
    assert stream.waiting() == 0
    stream.close()
    assert read_all(open_stream()) == []


def test_a_message_is_any_text_of_one_line(open_stream):
    bodies = ['{"name": "Ärger ☂ \\n"}'.encode(), b"no json", b"", b"\xff\x00"]
    stream = open_stream()
    stream.append("listen", bodies)
    assert [message.body for message in read_all(stream)] == bodies


def test_a_second_process_does_not_read_the_same_spool(tmp_path: Path):
    first, second = SpoolStream(tmp_path), SpoolStream(tmp_path)
    first.append("listen", [b"1"])
    assert first.read(10, 0)
    with pytest.raises(StreamError, match="already"):
        second.read(10, 0)
    first.close()
    assert [message.body for message in second.read(10, 0)] == [b"1"]
    second.close()


def test_a_spool_refuses_a_message_of_two_lines_and_ignores_what_is_half_written(tmp_path: Path):
    stream = SpoolStream(tmp_path)
    with pytest.raises(ValueError, match="one line"):
        stream.append("listen", [b"1\n2"])
    stream.append("listen", [b"1"])
    (tmp_path / ".00000000000000000001-abc.listen").write_bytes(b"half")
    (tmp_path / "00000000000000000002-abc.listen").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"hello\n")
    assert [message.body for message in stream.read(10, 0)] == [b"1"]
    assert {path.name for path in tmp_path.glob("0*")} == {message.id.partition(":")[0] for message in stream.read(0, 0)} | {
        path.name for path in tmp_path.glob("0*") if path.read_bytes() == b"1\n"
    }
    stream.close()


def test_an_abandoned_message_goes_to_another_reader(redis_server):
    from spotify_ai_assets.resources.redis_stream import RedisStream

    dead, living = RedisStream(redis_server.url, "dead"), RedisStream(redis_server.url, "living", abandoned_s=0.0)
    dead.append("listen", [b"1", b"2"])
    assert len(dead.read(10, 0.01)) == 2
    dead.close()
    assert [message.body for message in living.read(10, 0.01)] == [b"1", b"2"]
    living.close()


def test_a_redis_that_is_killed_and_started_again_has_lost_nothing(redis_server):
    from spotify_ai_assets.resources.redis_stream import RedisStream

    stream = RedisStream(redis_server.url, "worker")
    stream.append("listen", [b"%d" % number for number in range(2000)])
    held = stream.read(500, 0.01)
    redis_server.kill()
    with pytest.raises(StreamError, match="does not answer"):
        stream.read(10, 0.01)
    redis_server.start()
    stream.acknowledge([message.id for message in held])
    assert [int(message.body) for message in read_all(stream)] == list(range(500, 2000))
    assert stream.is_durable() is True
    stream.close()


def test_messages_whose_answer_was_lost_on_its_way_come_again(redis_server, monkeypatch):
    import redis

    from spotify_ai_assets.resources.redis_stream import RedisStream

    stream = RedisStream(redis_server.url, "worker")
    stream.append("listen", [b"1", b"2"])
    original = stream._command_after

    def lose(place: str, *arguments: object) -> object:
        answer = original(place, *arguments)
        if place == ">":
            raise redis.ConnectionError("gone")
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(stream, "_command_after", lose)
        with pytest.raises(StreamError):
            stream.read(10, 0.01)
    stream.append("listen", [b"3"])
    assert [message.body for message in read_all(stream)] == [b"1", b"2", b"3"]
    stream.close()


def test_a_message_that_was_removed_while_pending_is_passed_over(redis_server):
    from spotify_ai_assets.resources.redis_stream import KEY, RedisStream, connect

    stream = RedisStream(redis_server.url, "worker")
    stream.append("listen", [b"1", b"2"])
    first = stream.read(10, 0.01)
    connect(redis_server.url).execute_command("XDEL", KEY, first[0].id)
    stream.close()
    again = RedisStream(redis_server.url, "worker")
    assert [message.body for message in read_all(again)] == [b"2"]
    again.close()


def test_an_error_of_redis_does_not_tell_its_address():
    from spotify_ai_assets.resources.redis_stream import RedisStream

    with pytest.raises(StreamError) as raised:
        RedisStream("redis://:secret-word@127.0.0.1:1/0", "worker").append("listen", [b"1"])
    assert "secret-word" not in str(raised.value) and raised.value.__cause__ is None


def test_the_settings_choose_the_stream(tmp_path: Path):
    assert isinstance(open_stream(Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path)})), SpoolStream)
    carried = open_stream(Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path), "SPOTIFY_AI_STREAM_URL": "redis://127.0.0.1:1"}))
    assert type(carried).__name__ == "RedisStream"
    carried.close()
