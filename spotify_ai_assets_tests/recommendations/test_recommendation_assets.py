"""Recommendations as assets: trained, gated, released and published as one graph, and what a service says is what was published."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import dagster as dg
import numpy as np
import polars as pl
import pytest
from taste_world import COLD, DAYS, FIRST, GROUP, LISTENERS, TASTES, TRACKS_EACH, artist_id, listener_id, play_day, taste_of, track_id

from spotify_ai_assets.backfill import run_backfill, run_checks, select_tables
from spotify_ai_assets.catalog.contracts import TRACKS
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.recommendation_runs import refresh_recommendations
from spotify_ai_assets.recommendations.agreement import compare_with_live
from spotify_ai_assets.recommendations.blocking import change_blocks
from spotify_ai_assets.recommendations.contracts import FOR_LISTENERS, TABLES
from spotify_ai_assets.recommendations.manifests import index_name
from spotify_ai_assets.recommendations.serving.recommender import Recommender
from spotify_ai_assets.recommendations.trainings import RECIPE
from spotify_ai_assets.validation import require

pytestmark = GROUP


def rows(world, name):
    return world.lake.scan(f"recommendations/{name}").collect()


def taste_of_track(track: str) -> int:
    return int(track.removeprefix("spotify:")) // TRACKS_EACH


def test_every_table_is_made_and_keeps_its_contract(taste_world):
    for table in TABLES.values():
        found = taste_world.lake.scan(table.key).collect()
        if table.reads:
            assert found.height, table.key
        require(table, found)


def test_all_checks_pass(taste_world, monkeypatch):
    for name, value in (("DATA", str(taste_world.settings.data)), ("TEXT_MODEL", "ngrams"), ("MODEL_SIZE", "demo")):
        monkeypatch.setenv(f"SPOTIFY_AI_{name}", value)
    with dg.DagsterInstance.ephemeral() as instance:
        found = run_checks(defs(), instance)
    assert not [name for name in found["failed"] if name.startswith("recommendations")]
    assert not [name for name in found["warned"] if name.startswith("recommendations")]


def test_the_planted_tastes_are_recovered(taste_world):
    shelves = rows(taste_world, "for_listeners").filter(pl.col("shelf") == "discovery", pl.col("track_id") != COLD)
    own = [taste_of(int(listener, 16)) == taste_of_track(track) for listener, track in shelves.select("listener_id", "track_id").rows()]
    assert shelves["listener_id"].n_unique() == LISTENERS and np.mean(own) > 0.8


def test_the_winner_beats_popularity_and_the_table_says_by_how_much(taste_world):
    found = rows(taste_world, "evaluation").filter(pl.col("metric") == "ndcg", pl.col("slice") == "")
    values = {(recipe, table): value for recipe, table, value in found.select("recipe", "table", "value").rows()}
    for table in ("discovery", "daily_mix"):
        assert values["challenger", table] > values["popularity", table]
    assert {"popularity", "cooccurrence", "challenger"} <= set(found["recipe"])


def test_a_track_that_nobody_has_played_lies_among_those_that_read_like_it(taste_world):
    near = rows(taste_world, "similar_tracks").filter(pl.col("track_id") == COLD).sort("rank")
    assert near.height and set(near["reason"]) == {"content"}
    assert np.mean([taste_of_track(each) == 0 for each in near["similar_track_id"]]) > 0.5


def test_a_service_says_what_was_published(taste_world):
    published = rows(taste_world, "for_listeners")
    service = Recommender(taste_world.settings)
    for number in (0, 1, 42):
        for shelf in ("daily_mix", "discovery", "fresh_releases", "back_catalogue"):
            mine = published.filter(pl.col("listener_id") == listener_id(number), pl.col("shelf") == shelf).sort("rank")
            answer = service.recommend(listener_id(number), shelf, k=20, explain=True)
            assert [each.track_id for each in answer] == mine["track_id"].to_list()
            assert [each.score for each in answer] == pytest.approx(mine["score"].to_list())
            assert [each.reason.say("de") for each in answer] == mine["reason_de"].to_list()


def test_sentences_differ_by_language_and_name_no_listener(taste_world):
    found = rows(taste_world, "for_listeners")
    told = found.select("reason_en", "reason_de", "reason_fr").unique()
    assert all(len({*row}) == 3 for row in told.head(50).rows())
    assert not any(str(listener) in sentence for listener in found["listener_id"].unique().head(5) for sentence in told["reason_en"])


def test_reasons_name_tracks_of_the_listeners_own_history(taste_world):
    shelves = rows(taste_world, "for_listeners").filter(pl.col("reason") == "plays").explode("because")
    liked = rows(taste_world, "interactions").select("listener_id", because="track_id")
    assert shelves.join(liked, on=["listener_id", "because"], how="anti").is_empty()


def test_live_plays_and_the_next_days_batch_agree(taste_world):
    found = compare_with_live(taste_world.lake, taste_world.workshop, least_plays=20)
    assert found.listeners == LISTENERS and found.overlap >= 0.9


def test_a_second_training_makes_nothing(own_taste_world):
    before = {key: {name: state.paths for name, state in own_taste_world.lake.states(key).items()} for key in TABLES}
    own_taste_world.train()
    assert {key: {name: state.paths for name, state in own_taste_world.lake.states(key).items()} for key in TABLES} == before


def test_equal_plays_give_the_equal_model_and_release(own_taste_world):
    registry, releases = own_taste_world.workshop.registry, own_taste_world.workshop.releases
    model, release = registry.entry("recommendations/model").version, releases.current()
    own_taste_world.train(only_stale=False)
    assert registry.entry("recommendations/model").version == model and releases.current() == release


def test_a_worse_challenger_stays_out_and_the_table_says_why(own_taste_world, monkeypatch):
    from spotify_ai_assets.recommendations.models import tuning
    from spotify_ai_assets.recommendations.models.recipes import Recipe

    world, real = own_taste_world, tuning.tune
    champion = world.workshop.registry.entry("recommendations/model").manifest.config["recipe"]

    def tune_badly(*given, **named):
        return replace(real(*given, **named), recipe=Recipe({"popularity": {}}, {"popularity": 1.0}))

    monkeypatch.setattr(tuning, "tune", tune_badly)
    world.train(only_stale=False)
    served = world.workshop.registry.entry("recommendations/model").manifest
    assert served.config["recipe"] == champion
    kept = [each for each in world.workshop.artifacts.versions(RECIPE) if each.facts["recipe"]["members"] == {"popularity": {}}]
    assert len(kept) == 1 and not kept[0].facts["gate"]["passed"] and kept[0].facts["winner"] == champion
    with dg.DagsterInstance.ephemeral() as instance:
        found = run_checks(defs(), instance)
    assert "recommendations/evaluation:the_challenger_holds" in found["warned"]
    assert "recommendations/evaluation:something_may_serve" not in found["failed"]


def test_a_new_track_costs_one_vector_and_is_there_without_a_training(own_taste_world):
    world = own_taste_world
    model = world.workshop.registry.entry("recommendations/model").version
    tracks = world.lake.scan(TRACKS.key).collect()
    fresh = tracks.filter(pl.col("track_id") == COLD).with_columns(track_id=pl.lit("spotify:" + "8" * 22))
    world.lake.write(TRACKS.key, pl.concat([tracks, fresh]))
    with dg.DagsterInstance.ephemeral() as instance:
        refresh_recommendations(instance, world.lake, world.workshop)
    assert world.workshop.registry.entry("recommendations/model").version == model
    service = Recommender(world.settings)
    assert "spotify:" + "8" * 22 in {each.track_id for each in service.similar_tracks(COLD, 20)}


def test_what_is_blocked_leaves_shelves_and_services(own_taste_world):
    world = own_taste_world
    top = rows(world, "for_listeners").filter(pl.col("shelf") == "daily_mix")["track_id"].value_counts(sort=True)["track_id"][0]
    service = Recommender(world.settings)
    change_blocks(world.lake, top, "", "", is_blocked=True)
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = run_backfill(defs(), instance, world.lake, select_tables([FOR_LISTENERS.key]), None, None)
    assert not outcome.refused and top not in set(rows(world, "for_listeners")["track_id"])
    fresh = Recommender(world.settings)
    assert top not in {each.track_id for number in range(10) for each in fresh.recommend(listener_id(number), "daily_mix", k=20)}
    assert service.recommend(listener_id(0))


def test_a_forgotten_listener_and_track_leave_no_byte_and_no_recommendation(own_taste_world):
    from spotify_ai_assets.recommendations.removal import forget

    world = own_taste_world
    gone_listener, gone_track = listener_id(5), track_id(3)
    forget(world.workshop.artifacts, listeners=[gone_listener], tracks=[gone_track])
    service = Recommender(world.settings)
    assert gone_track not in {each.track_id for number in range(LISTENERS) for each in service.recommend(listener_id(number), k=20)}
    folder = world.settings.data / "artifacts"
    for noun in ("track", "artist", "listener"):
        for path in (folder / index_name(noun)).rglob("*"):
            if path.is_file() and path.name != "pointers.json":
                content = path.read_bytes()
                assert gone_listener.encode() not in content and gone_track.encode() not in content, path.name


def test_a_late_day_reaches_shelves_by_the_daily_refresh_without_a_training(own_taste_world):
    world, day = own_taste_world, FIRST + timedelta(days=DAYS)
    before = world.workshop.releases.current()
    loved = track_id(2 * TRACKS_EACH + 29)
    events = play_day(day).with_columns(
        track_id=pl.when(pl.col("listener_id") == listener_id(0)).then(pl.lit(loved)).otherwise("track_id"),
        artist_id=pl.when(pl.col("listener_id") == listener_id(0)).then(pl.lit(artist_id(2 * TRACKS_EACH + 29))).otherwise("artist_id"),
    )
    world.land(day, events)
    with dg.DagsterInstance.ephemeral() as instance:
        refresh_recommendations(instance, world.lake, world.workshop)
    assert world.workshop.releases.current() != before
    history = Recommender(world.settings).history(listener_id(0))
    tracks = world.workshop.current.items["track_id"]
    assert loved in set(tracks.gather(history.items.tolist()))
    assert world.workshop.releases.rollback() == before and TASTES == 4
    assert json.loads(json.dumps(world.workshop.releases.history()[-1]))["event"] == "rolled back"


def test_too_few_days_make_no_interactions_and_no_failure(own_taste_world):
    world = own_taste_world
    shutil.rmtree(world.settings.data / "lake" / "recommendations")
    for number in range(2, DAYS):
        for key in ("listening/listener_track_days",):
            world.lake.write(key, world.lake.tables[key].empty(), FIRST + timedelta(days=number))
    world.train()
    assert rows(world, "interactions").is_empty() and rows(world, "for_listeners").is_empty()
