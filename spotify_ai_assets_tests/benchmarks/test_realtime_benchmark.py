"""The benchmark of the stream, small: worker and Redis are really killed, and every listen is counted."""

import pytest

from benchmarks import realtime
from benchmarks.realtime_world import World


def test_no_two_listens_of_a_world_are_one_play(settings):
    from datetime import UTC, datetime

    import polars as pl

    world, now = World(listeners=20, tracks=200), datetime(2026, 6, 28, tzinfo=UTC)
    frames = [world.listens(300, now, first).frame for first in (0, 300, realtime.PROBES)]
    assert pl.concat(frames).select("user", "started_at").n_unique() == 900
    assert world.listens(300, now).frame.equals(frames[0])


@pytest.mark.slow
def test_nothing_is_lost_or_counted_twice_when_worker_and_redis_are_killed():
    found = realtime.measure(rate=400, seconds=15, listeners=500, tracks=500, seed=3)
    assert (found["lost"], found["double"], found["lost_live"], found["double_live"], found["missed"]) == (0, 0, 0, 0, 0)
    assert found["is_balanced"] and found["rejected"] == 0
    assert found["sent"] > 12_000 and found["rounds"] > 50 and found["killed_probes"] > 10
    assert found["changed_share"] > 0.5
