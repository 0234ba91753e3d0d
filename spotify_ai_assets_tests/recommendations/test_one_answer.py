"""Batch, service and stream give a listener one answer from one release."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from taste_world import DAYS, FIRST, GROUP, listener_id, play_day

from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
from spotify_ai_assets.recommendations.manifests import index_name
from spotify_ai_assets.recommendations.realtime.folding import Folding
from spotify_ai_assets.recommendations.realtime.live import open_live, value_plays
from spotify_ai_assets.recommendations.serving.recommender import Recommender

pytestmark = GROUP
SHELVES = ("daily_mix", "discovery", "fresh_releases", "back_catalogue")


@pytest.mark.parametrize("number", [0, 7, 33])
def test_plays_that_the_release_holds_change_nothing_when_they_stream_in_again(own_taste_world, number):
    world, who = own_taste_world, listener_id(number)
    live = open_live(world.settings)
    for ago in range(1, 4):
        live.put(value_plays(play_day(FIRST + timedelta(days=DAYS - ago))), datetime.now(UTC))
    assert live.plays(who)
    published = world.lake.scan("recommendations/for_listeners").filter(pl.col("listener_id") == who).sort("rank").collect()
    by_service, by_stream = Recommender(world.settings), Recommender(world.settings, live)
    for shelf in SHELVES:
        mine = published.filter(pl.col("shelf") == shelf)
        for answer in (by_service.recommend(who, shelf, k=20), by_stream.recommend(who, shelf, k=20)):
            assert [each.track_id for each in answer] == mine["track_id"].to_list(), shelf
            assert [each.score for each in answer] == pytest.approx(mine["score"].to_list())


def test_the_worker_places_a_listener_where_the_batch_does(own_taste_world):
    world, who = own_taste_world, listener_id(3)
    releases = world.workshop.releases
    live = open_live(world.settings)
    live.put(value_plays(play_day(FIRST + timedelta(days=DAYS - 1))), datetime.now(UTC))
    Folding(releases, live)([who])
    pinned = releases.describe(releases.current()).pins[index_name("listener")]
    index = VectorIndex.from_files(world.workshop.artifacts.fetch(index_name("listener"), pinned))
    assert np.allclose(live.vector(who).vector, index.vectors_of([who])[0], atol=1e-5)
