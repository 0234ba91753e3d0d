"""The live store, in SQLite and in Redis: each play once, everybody sees it, nobody who is forgotten is in it."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_rows import NOW, listener, listens

from spotify_ai_assets.recommendations.interactions import COMPLETED, LEFT, SKIPPED
from spotify_ai_assets.recommendations.realtime.live import KEEP, KEEP_TOMBSTONES, LivePlay, SqliteLive, open_live, value_plays
from spotify_ai_assets.settings import Settings


def play(key: int, track: str = "name:1", value: float = 1.0, minutes: float = 0) -> LivePlay:
    return LivePlay(key, track, value, NOW + timedelta(minutes=minutes))


def test_plays_come_back_as_they_were_put_the_earliest_first(live):
    put = [play(2**64 - 1, "spotify:ä", -0.2, 3), play(0, "name:2", 0.5, 1), play(2**63, minutes=2)]
    assert live.put({listener(1): put, listener(2): [play(7)]}, NOW) == 4
    assert live.plays(listener(1)) == [put[1], put[2], put[0]]
    assert live.plays(listener(2)) == [play(7)] and live.plays(listener(3)) == []
    many = live.plays_of([listener(3), listener(1)])
    assert many == {listener(3): [], listener(1): live.plays(listener(1))}


def test_many_listeners_are_put_together(live):
    everybody = {listener(number): [play(number * 10 + each) for each in range(number % 4)] for number in range(1200)}
    count = sum(map(len, everybody.values()))
    assert (live.put(everybody, NOW), live.put(everybody, NOW)) == (count, 0)
    assert live.plays_of(everybody) == everybody
    live.put_vectors("a" * 16, {each: np.full(2, number, np.float32) for number, each in enumerate(everybody)})
    assert live.vector(listener(1100)).vector.tolist() == [1100.0, 1100.0]


def test_a_play_that_comes_twice_counts_once_and_the_first_stays(live):
    assert live.put({listener(1): [play(1, value=1.0)]}, NOW) == 1
    assert live.put({listener(1): [play(1, value=0.5), play(2)]}, NOW) == 1
    assert [each.value for each in live.plays(listener(1))] == [1.0, 1.0]
    assert live.put({}, NOW) == 0


def test_whoever_is_forgotten_is_gone_and_stays_so(live):
    live.put({listener(1): [play(1)], listener(2): [play(2)]}, NOW)
    live.put_vectors("0" * 16, {listener(1): np.ones(3, np.float32)})
    live.forget([listener(1)], NOW)
    live.forget([listener(1)], NOW)
    live.forget([], NOW)
    assert live.plays(listener(1)) == [] and live.vector(listener(1)) is None
    assert live.put({listener(1): [play(3)], listener(2): [play(4)]}, NOW) == 1
    live.put_vectors("0" * 16, {listener(1): np.ones(3, np.float32)})
    assert live.plays(listener(1)) == [] and live.vector(listener(1)) is None
    assert live.forgotten([listener(1), listener(2)]) == {listener(1)}
    assert len(live.plays(listener(2))) == 2


def test_plays_expire_after_fourteen_days(live):
    live.put({listener(1): [play(1)]}, NOW - KEEP)
    live.put({listener(1): [play(2)]}, NOW - KEEP + timedelta(seconds=1))
    assert live.expire(NOW) == 1
    assert [each.key for each in live.plays(listener(1))] == [2]


def test_a_vector_is_replaced_by_a_newer_one(live):
    assert live.vector(listener(1)) is None
    live.put_vectors("a" * 16, {listener(1): np.arange(4, dtype=np.float32)})
    live.put_vectors("b" * 16, {listener(1): np.arange(4, dtype=np.float64) / 3})
    found = live.vector(listener(1))
    assert found.release == "b" * 16 and found.vector.dtype == np.float32
    np.testing.assert_array_equal(found.vector, (np.arange(4) / 3).astype(np.float32))


def test_another_connection_sees_a_play_at_once(tmp_path: Path):
    writer, reader = SqliteLive(tmp_path / "live.db"), SqliteLive(tmp_path / "live.db")
    assert reader.plays(listener(1)) == []
    writer.put({listener(1): [play(1)]}, NOW)
    assert reader.plays(listener(1)) == [play(1)]
    writer.close()
    reader.close()


def test_no_byte_of_a_forgotten_listener_is_left_in_the_files(tmp_path: Path):
    live = SqliteLive(tmp_path / "live.db")
    everybody = {listener(number): [play(number * 1000 + each, f"name:of-{number}.") for each in range(40)] for number in range(300)}
    live.put(everybody, NOW)
    doomed = [listener(number) for number in range(0, 300, 7)]
    files = lambda: b"".join(path.read_bytes() for path in tmp_path.iterdir())  # noqa: E731
    assert doomed[3].encode() in files() and b"name:of-21." in files()
    live.forget(doomed, NOW)
    assert not [each for each in doomed if each.encode() in files()] and b"name:of-21." not in files()
    assert listener(1).encode() in files()
    live.close()


def test_tombstones_go_in_the_end(tmp_path: Path):
    live = SqliteLive(tmp_path / "live.db")
    live.forget([listener(1)], NOW)
    live.expire(NOW + KEEP_TOMBSTONES - timedelta(seconds=1))
    assert live.forgotten([listener(1)])
    live.expire(NOW + KEEP_TOMBSTONES)
    assert not live.forgotten([listener(1)])
    live.close()


def test_plays_are_valued_as_the_batch_values_them():
    events = listens(6).with_columns(kind=pl.Series(["track"] * 3 + ["episode", "audiobook", "track"]))
    found = {each.started_at: each for plays in value_plays(events).values() for each in plays}
    assert [found[moment].value for moment in events["started_at"][:3]] == [COMPLETED, SKIPPED, LEFT]
    assert len(found) == 4
    assert value_plays(events.clear()) == {}


def test_plays_of_several_days_are_valued_in_one_go():
    events = listens(40, step_s=7200)
    assert events["day"].n_unique() > 3
    assert sum(map(len, value_plays(events).values())) == 40
    assert value_plays(events) == value_plays(events.reverse()) == value_plays(events.vstack(events))


def test_the_settings_choose_the_store(tmp_path: Path):
    assert isinstance(open_live(Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path)})), SqliteLive)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.dictionaries(st.integers(0, 2), st.lists(st.integers(0, 5), max_size=4), max_size=3)),
            st.tuples(st.just("forget"), st.integers(0, 2)),
        ),
        max_size=8,
    )
)
def test_a_store_is_a_set_of_plays_less_the_forgotten(tmp_path_factory: pytest.TempPathFactory, steps):
    live = SqliteLive(tmp_path_factory.mktemp("live") / "live.db")
    known: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    gone: set[int] = set()
    for what, value in steps:
        if what == "forget":
            gone.add(value)
            known[value] = set()
            live.forget([listener(value)], NOW)
            continue
        new = sum(len(set(keys) - known[who]) for who, keys in value.items() if who not in gone)
        assert live.put({listener(who): [play(key) for key in keys] for who, keys in value.items()}, NOW) == new
        for who in value.keys() - gone:
            known[who] |= set(value[who])
    assert {who: {each.key for each in live.plays(listener(who))} for who in known} == known
    live.close()
