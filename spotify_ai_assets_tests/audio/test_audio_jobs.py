"""When audio is taken, made again and trained: each state is asked for once, and only where there is something to do."""

import os
from datetime import UTC, datetime

import dagster as dg
import polars as pl
import pytest
from audio_world import settle, sound, write

from spotify_ai_assets.audio.jobs import FOLLOWING, audio_intake, audio_models, every_monday, landed_audio, stale_audio
from spotify_ai_assets.contracts import SHARDS
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.runs import ONLY_STALE, TRACE
from spotify_ai_assets.tables import TABLES

pytestmark = pytest.mark.xdist_group("audio_world")


@pytest.fixture
def spool(tmp_path):
    settings = settle(tmp_path / "data")
    return settings, settings.landing / "audio"


def tick(sensor, instance, **resources):
    return sensor.evaluate_tick(dg.build_sensor_context(instance=instance, resources=resources))


def land(folder, name="private name.wav", age=60.0):
    path = write(folder / name, sound("hiss", 1, 0.1))
    now = datetime.now(UTC).timestamp()
    os.utime(path, (now - age, now - age))
    return path


def asked(request) -> tuple[str, str, str]:
    tags = request.tags
    return tags[ONLY_STALE], tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]


def test_an_empty_spool_asks_for_nothing(spool, instance):
    settings, folder = spool
    for _ in range(2):
        told = tick(landed_audio, instance, settings=settings)
        assert told.run_requests == [] and "nothing has landed" in told.skip_message
        folder.mkdir(parents=True, exist_ok=True)


def test_what_landed_is_asked_for_once(spool, instance):
    settings, folder = spool
    land(folder)
    [first] = tick(landed_audio, instance, settings=settings).run_requests
    [again] = tick(landed_audio, instance, settings=settings).run_requests
    assert first.run_key == again.run_key and first.tags[TRACE] != again.tags[TRACE]
    assert asked(first) == ("true", SHARDS[0], SHARDS[-1])
    assert "private" not in f"{first.run_key} {first.tags}"
    land(folder, "deep/another.wav")
    [more] = tick(landed_audio, instance, settings=settings).run_requests
    assert more.run_key != first.run_key


def test_a_file_that_is_still_being_written_is_waited_for(spool, instance):
    settings, folder = spool
    land(folder, age=0.0)
    assert tick(landed_audio, instance, settings=settings).run_requests == []


def test_nothing_is_asked_for_while_nothing_is_stale(imported, trained, lake, instance):
    for each in (lake, imported.lake, trained.lake):
        told = tick(stale_audio, instance, lake=each)
        assert told.run_requests == [] and "nothing is stale" in told.skip_message


def test_what_is_stale_is_asked_for_once_and_nothing_else(trained, tmp_path, instance):
    world = trained.copy(tmp_path / "copy", instance)
    for key in ("audio/sound_model", "audio/encoder"):
        world.lake.write(key, world.rows(key).with_columns(model_version=pl.lit("0123456789abcdef")))
    [request] = tick(stale_audio, instance, lake=world.lake).run_requests
    stale = {"audio/predictions", "audio/explanations", "audio/embeddings", "audio/anomalies"}
    assert {each.to_user_string() for each in request.asset_selection} == stale
    assert asked(request) == ("true", SHARDS[0], SHARDS[-1])
    assert tick(stale_audio, instance, lake=world.lake).run_requests[0].run_key == request.run_key
    world.lake.write("audio/sound_model", trained.rows("audio/sound_model"))
    [other] = tick(stale_audio, instance, lake=world.lake).run_requests
    assert other.run_key != request.run_key
    assert {each.to_user_string() for each in other.asset_selection} == {"audio/embeddings", "audio/anomalies"}


def test_nothing_is_asked_for_while_audio_is_taken(trained, tmp_path, instance):
    world = trained.copy(tmp_path / "copy", instance)
    world.lake.write("audio/sound_model", world.rows("audio/sound_model").with_columns(model_version=pl.lit("0123456789abcdef")))
    run = dg.DagsterRun(job_name=audio_intake.name, status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    assert "being taken" in tick(stale_audio, instance, lake=world.lake).skip_message
    instance.report_run_failed(run)
    assert tick(stale_audio, instance, lake=world.lake).run_requests


def test_models_are_trained_on_mondays_where_they_learn_from_something_new(instance):
    monday = datetime(2026, 3, 2, 3, tzinfo=UTC)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=monday)
    [request] = every_monday.evaluate_tick(context).run_requests
    assert request.run_key == "2026-03-02" and request.tags[ONLY_STALE] == "true"
    assert (every_monday.cron_schedule, every_monday.execution_timezone) == ("0 3 * * 1", "UTC")


def test_the_jobs_hold_all_of_audio_and_what_runs_by_itself_is_running():
    intake = set(defs().resolve_job_def(audio_intake.name).asset_layer.executable_asset_keys)
    models = set(defs().resolve_job_def(audio_models.name).asset_layer.executable_asset_keys)
    named = {key: dg.AssetKey(key.split("/")) for key in TABLES if key.startswith("audio/")}
    assert models == {named[key] for key in named if TABLES[key].is_model}
    assert intake == {named[key] for key in (*FOLLOWING, "audio/files")}
    assert all(each.default_status == dg.DefaultSensorStatus.RUNNING for each in (landed_audio, stale_audio))
    assert every_monday.default_status == dg.DefaultScheduleStatus.RUNNING
