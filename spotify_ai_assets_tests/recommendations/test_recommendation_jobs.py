"""When recommendations are trained, refreshed and brought new tracks: each state is asked for once, only where there is something to do."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl
import pytest
from taste_world import COLD, GROUP, catalogue

from spotify_ai_assets.catalog.contracts import TEXT_EMBEDDINGS, TRACKS
from spotify_ai_assets.catalog.embedding import TextStudio
from spotify_ai_assets.contracts import SHARDS
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.recommendations.contracts import BLOCKS, EVALUATION, INTERACTIONS, MODEL, TABLES
from spotify_ai_assets.recommendations.jobs import (
    cold_tracks,
    daily_recommendations,
    recommendations_refresh,
    recommendations_training,
    weekly_recommendations,
)
from spotify_ai_assets.runs import ONLY_STALE, TRACE

pytestmark = GROUP
NEW = "spotify:" + "8" * 22
ON_THE_WAY = {"catalog/text_embeddings", "recommendations/track_index", "recommendations/artist_index", "recommendations/release"}


def tick(lake, instance):
    return cold_tracks.evaluate_tick(dg.build_sensor_context(instance=instance, resources={"lake": lake}))


def add_track(lake, track=NEW, name="Track new"):
    tracks = lake.scan(TRACKS.key).collect()
    fresh = tracks.filter(pl.col("track_id") == COLD).with_columns(track_id=pl.lit(track), name=pl.lit(name))
    lake.write(TRACKS.key, pl.concat([tracks, fresh]))


def names(keys):
    return {key.to_user_string() for key in keys}


def asked_at(schedule, instance, moment):
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=moment)
    [request] = schedule.evaluate_tick(context).run_requests
    return request


@pytest.mark.parametrize(
    ("schedule", "job", "cron"),
    [(weekly_recommendations, "recommendations_training", "0 4 * * 1"), (daily_recommendations, "recommendations_refresh", "30 6 * * *")],
)
def test_each_day_of_a_schedule_is_asked_for_once_over_all_shards_and_only_what_is_stale(instance, schedule, job, cron):
    monday = datetime(2026, 3, 2, 4, tzinfo=UTC)
    first, again, later = (asked_at(schedule, instance, each) for each in (monday, monday.replace(hour=7), monday.replace(day=9)))
    assert (first.run_key, again.run_key, later.run_key) == ("2026-03-02", "2026-03-02", "2026-03-09")
    tags = first.tags
    assert tags[ONLY_STALE] == "true" and tags[TRACE] != again.tags[TRACE]
    assert (tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]) == (SHARDS[0], SHARDS[-1])
    assert (schedule.job_name, schedule.cron_schedule, schedule.execution_timezone) == (job, cron, "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_jobs_hold_all_that_is_made_and_refreshing_trains_nothing():
    made = {key for key, table in TABLES.items() if table.reads} | {TEXT_EMBEDDINGS.key}
    trained = {MODEL.key, EVALUATION.key}
    for job, wanted in ((recommendations_training, made), (recommendations_refresh, made - trained)):
        assert names(defs().resolve_job_def(job.name).asset_layer.executable_asset_keys) == wanted
    assert cold_tracks.default_status == dg.DefaultSensorStatus.RUNNING and cold_tracks.job_name == recommendations_refresh.name


def test_nothing_is_asked_for_while_every_track_is_in_its_place(taste_world, lake, instance):
    for each in (taste_world.lake, lake):
        told = tick(each, instance)
        assert told.run_requests == [] and "every track" in told.skip_message


def test_a_new_track_is_asked_for_once_and_listeners_are_left_alone(own_taste_world, instance):
    lake = own_taste_world.lake
    add_track(lake)
    [request] = tick(lake, instance).run_requests
    [again] = tick(lake, instance).run_requests
    assert request.run_key == again.run_key and request.tags[TRACE] != again.tags[TRACE]
    assert names(request.asset_selection) == ON_THE_WAY
    assert request.tags[ONLY_STALE] == "true" and "dagster/asset_partition_range_start" not in request.tags
    add_track(lake, "spotify:" + "7" * 22, "Track newer")
    [more] = tick(lake, instance).run_requests
    assert more.run_key != request.run_key and names(more.asset_selection) == ON_THE_WAY


def test_what_is_asked_for_a_new_track_brings_it_in_without_touching_listeners_or_the_model(own_taste_world, instance):
    world = own_taste_world
    untouched = ("interactions", "evaluation", "model", "listener_index", "for_listeners", "similar_tracks", "radio")
    before = {name: world.lake.states(f"recommendations/{name}") for name in untouched}
    listeners = world.workshop.releases.describe(world.workshop.releases.current()).listener_index
    add_track(world.lake)
    [request] = tick(world.lake, instance).run_requests
    given = {"lake": world.lake, "settings": world.settings, "workshop": world.workshop, "texts": TextStudio(world.settings)}
    run_job(instance, recommendations_refresh.name, given, request.tags, request.asset_selection)
    release = world.workshop.releases.open_current()
    assert NEW in set(release.items["track_id"]) and NEW in release.tracks
    assert release.release.listener_index == listeners
    assert {name: world.lake.states(f"recommendations/{name}") for name in untouched} == before
    assert tick(world.lake, instance).run_requests == []


def test_while_no_model_serves_a_new_track_is_only_embedded(lake, instance):
    rows = catalogue()
    for key, frame in rows.items():
        lake.write(key, frame)
    [request] = tick(lake, instance).run_requests
    assert names(request.asset_selection) == {TEXT_EMBEDDINGS.key}


def test_what_only_concerns_plays_and_blocks_is_left_to_the_day(own_taste_world, instance):
    lake = own_taste_world.lake
    lake.write(INTERACTIONS.key, lake.scan(INTERACTIONS.key).collect().with_columns(pl.col("value") + 1))
    item = pl.DataFrame([(COLD, "", "", datetime(2026, 3, 12, tzinfo=UTC))], schema=BLOCKS.schema, orient="row")
    lake.write(BLOCKS.key, item)
    told = tick(lake, instance)
    assert told.run_requests == [] and "every track" in told.skip_message


def test_run_keys_hold_nothing_of_what_is_new(own_taste_world, instance):
    add_track(own_taste_world.lake, name="a private name")
    [request] = tick(own_taste_world.lake, instance).run_requests
    assert len(request.run_key) == 64 and "private" not in f"{request.run_key} {request.tags}"
