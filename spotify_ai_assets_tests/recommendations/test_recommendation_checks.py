"""The checks of recommendations: each passes on what was made, and each finds what is broken."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from taste_world import COLD, DAYS, FIRST, GROUP, LISTENERS, TASTES, TRACKS_EACH, TasteWorld, artist_id, listener_id, track_id

from spotify_ai_assets.contracts import SHARDS, shard_of
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.recommendations import checks
from spotify_ai_assets.recommendations.contracts import BLOCKS
from spotify_ai_assets.recommendations.publishing import count_broken
from spotify_ai_assets.recommendations.trainings import RECIPE
from spotify_ai_assets.tables import TABLES
from spotify_ai_assets.training.gates import GateCheck, GateResult

pytestmark = GROUP

ALL = {name: value for name, value in vars(checks).items() if isinstance(value, dg.AssetChecksDefinition)}
NO_ERROR = {"blocks_name_items", "the_challenger_holds", "folding_in_agrees", "shelves_are_full"}
"""Those that do not keep what is behind them from being made."""
SHELF = ("listener_id", "shelf", "rank")


def look(world, *names, shards=None):
    chosen = [ALL[name] for name in names or ALL]
    job = dg.Definitions(
        asset_checks=chosen,
        jobs=[dg.define_asset_job("look", dg.AssetSelection.all_asset_checks())],
        resources={"lake": world.lake, "workshop": world.workshop},
    ).resolve_job_def("look")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, tags=range_tags(*shards) if shards else {}, raise_on_error=False)
    return {each.check_name: each for each in done.get_asset_check_evaluations()}


def read(world, name):
    return world.lake.scan(f"recommendations/{name}").collect()


def write(world, name, rows, shard=None):
    key = f"recommendations/{name}"
    world.lake.write(key, rows.select(list(TABLES[key].schema)).cast(TABLES[key].schema), shard)


def figures(found, name):
    return {label: value.value for label, value in found[name].metadata.items()}


def test_each_check_has_words_and_all_pass_on_what_was_made(taste_world):
    found = look(taste_world)
    assert found.keys() == ALL.keys() and [name for name, each in found.items() if not each.passed] == []
    assert all(spec.description.endswith(".") for each in ALL.values() for spec in each.check_specs)
    assert {spec.name for each in ALL.values() for spec in each.check_specs if not spec.blocking} == NO_ERROR
    assert figures(found, "shelves_keep_their_word")["listeners"] == LISTENERS
    assert figures(found, "folding_in_agrees")["listeners"] == LISTENERS


def test_where_nothing_was_made_nothing_is_broken(lake, settings):
    found = look(TasteWorld(settings, lake))
    assert found.keys() == ALL.keys() and [name for name, each in found.items() if not each.passed] == []


def break_interactions(world):
    rows = read(world, "interactions")
    write(world, "interactions", rows.with_columns(last_on=pl.lit(rows["last_on"].max())))
    return {"nothing_is_from_the_future"}


def miss_a_play(world):
    rows = read(world, "interactions")
    write(world, "interactions", rows.slice(1))
    return {"nothing_is_from_the_future"}


def block_a_stranger(world):
    write(world, "blocks", blocks(("spotify:unknown", "", ""), (COLD, "ZZ", ""), (artist_id(3), "ZZ", "")))
    return {"blocks_name_items"}


def lower_recall(world):
    for noun in ("track", "artist", "listener"):
        is_recall = pl.col("metric") == "recall_at_10"
        write(world, f"{noun}_index", read(world, f"{noun}_index").with_columns(value=pl.when(is_recall).then(0.969).otherwise("value")))
    return {"tracks_are_found", "artists_are_found", "listeners_are_found"}


def serve_another_release(world):
    write(world, "release", read(world, "release").with_columns(release=pl.lit("0123456789abcdef")))
    return {"the_release_serves"}


def repeat_on_a_shelf(world):
    replace_places(world, 1, pl.col("rank") == 2, "track_id", "artist_id")
    return {"shelves_keep_their_word"}


def shorten_a_shelf(world):
    rows = shard_rows(world)
    listener = rows["listener_id"][0]
    write_shard(world, rows.filter((pl.col("listener_id") != listener) | (pl.col("shelf") != "daily_mix") | (pl.col("rank") < 10)))
    return {"shelves_are_full"}


def recommend_for_itself(world):
    write(world, "similar_artists", read(world, "similar_artists").with_columns(similar_artist_id="artist_id"))
    for name in ("similar_tracks", "radio"):
        rows = first_shard(read(world, name))
        write(world, name, rows.with_columns(similar_track_id="track_id"), rows["shard"][0])
    return {"no_track_is_like_itself", "no_artist_is_like_themselves", "the_radio_goes_on"}


def recommend_twice(world):
    write(world, "similar_artists", twice(read(world, "similar_artists"), "artist"))
    for name in ("similar_tracks", "radio"):
        rows = first_shard(read(world, name))
        write(world, name, twice(rows, "track"), rows["shard"][0])
    return {"no_track_is_like_itself", "no_artist_is_like_themselves", "the_radio_goes_on"}


def first_shard(rows):
    return rows.filter(pl.col("shard") == rows["shard"].min())


def twice(rows, noun):
    return rows.with_columns(pl.col(f"similar_{noun}_id").first().over(f"{noun}_id", order_by="rank"))


def shard_rows(world):
    """The rows of the first shard that has listeners."""
    return first_shard(read(world, "for_listeners")).sort(SHELF)


def write_shard(world, rows):
    write(world, "for_listeners", rows, rows["shard"][0])


def replace_places(world, number, where, *columns):
    """Put what stands at a rank of the daily mix of a shard's first listener at other ranks of that shelf too."""
    rows = shard_rows(world)
    listener = rows["listener_id"][0]
    [given] = rows.filter(pl.col("listener_id") == listener, pl.col("shelf") == "daily_mix", pl.col("rank") == number).to_dicts()
    is_meant = (pl.col("listener_id") == listener) & (pl.col("shelf") == "daily_mix") & where
    write_shard(world, rows.with_columns(pl.when(is_meant).then(pl.lit(given[name])).otherwise(name).alias(name) for name in columns))


def blocks(*items):
    rows = [(*item, datetime(2026, 3, 12, tzinfo=UTC)) for item in items]
    return pl.DataFrame(rows, schema=BLOCKS.schema, orient="row")


@pytest.mark.parametrize(
    "break_it",
    [
        break_interactions,
        miss_a_play,
        block_a_stranger,
        lower_recall,
        serve_another_release,
        repeat_on_a_shelf,
        shorten_a_shelf,
        recommend_for_itself,
        recommend_twice,
    ],
    ids=lambda each: each.__name__,
)
def test_each_check_finds_what_is_broken_and_no_other_does(own_taste_world, break_it):
    broken = break_it(own_taste_world)
    wanted = [name for name in ALL if name != "folding_in_agrees"]  # which looks at plays, and takes its time
    found = look(own_taste_world, *wanted)
    assert {name for name, each in found.items() if not each.passed} == broken
    warned = {name for name, each in found.items() if not each.passed and each.severity == dg.AssetCheckSeverity.WARN}
    assert warned == broken & NO_ERROR


def test_a_day_that_was_other_live_than_in_the_batch_is_told(own_taste_world):
    lake, last = own_taste_world.lake, FIRST + timedelta(days=DAYS - 1)
    rows = lake.scan("listening/events").filter(day=last).collect()
    numbers = rows["track_id"].str.strip_prefix("spotify:").cast(pl.Int64)

    def tell(number):
        """Other plays in the stream, 190 s after those before, of a taste that is nobody's who hears them."""
        moved = [track_id((each + 2 * TRACKS_EACH + 7 * number) % (TASTES * TRACKS_EACH)) for each in numbers]
        return rows.with_columns(pl.col("started_at") + timedelta(seconds=190 * number), track_id=pl.Series(moved))

    lake.write("listening/events", pl.concat([tell(number) for number in range(12)]), last)
    [found] = look(own_taste_world, "folding_in_agrees").values()
    assert not found.passed and not found.blocking
    assert found.metadata["overlap_at_50"].value < checks.LEAST_OVERLAP and found.metadata["listeners"].value == LISTENERS


def test_a_run_of_some_shards_looks_at_these_alone(own_taste_world):
    shard = repeat_on_a_shelf(own_taste_world) and shard_rows(own_taste_world)["shard"][0]
    others = [each for each in SHARDS if each > shard]
    [found] = look(own_taste_world, "shelves_keep_their_word", shards=(shard, shard)).values()
    assert not found.passed and found.metadata["twice"].value == 1
    [found] = look(own_taste_world, "shelves_keep_their_word", shards=(others[0], others[-1])).values()
    assert found.passed and 0 < found.metadata["listeners"].value < LISTENERS


@pytest.mark.parametrize("does_champion_stand", [True, False])
def test_a_recipe_that_failed_its_gate_may_only_serve_nothing_beside_a_champion_that_stands(own_taste_world, does_champion_stand):
    world, artifacts = own_taste_world, own_taste_world.workshop.artifacts
    rows = read(world, "evaluation")
    [version] = rows.filter(recipe="challenger")["recipe_version"].unique()
    facts = artifacts.describe(RECIPE, version).facts
    gate = GateResult.from_json(facts["gate"])
    failed = replace(gate, checks=(*gate.checks, GateCheck("above the champion", -0.25, ">", 0.0)))
    winner = facts["recipe"] if not does_champion_stand else {"members": {"popularity": {}}, "weights": {"popularity": 1.0}}
    kept = artifacts.publish(RECIPE, {"evaluation.json": b"[]"}, {**facts, "gate": failed.as_json(), "winner": winner}, {}).version
    is_challenger = pl.col("recipe") == "challenger"
    write(world, "evaluation", rows.with_columns(recipe_version=pl.when(is_challenger).then(pl.lit(kept)).otherwise("recipe_version")))
    found = look(world, "something_may_serve", "the_challenger_holds")
    assert found["something_may_serve"].passed == does_champion_stand and not found["the_challenger_holds"].passed
    assert found["something_may_serve"].severity == dg.AssetCheckSeverity.ERROR
    assert "above the champion: -0.25, needed > 0" in figures(found, "something_may_serve")["challenger"]
    assert figures(found, "the_challenger_holds")["above the champion"] == "-0.25"


# What stands on shelves ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf_of(taste_world):
    """Gives rows of ``for_listeners`` by listener, shelf and tracks."""
    sample = read(taste_world, "for_listeners").head(1)

    def rows(listener, shelf, *tracks):
        lists = pl.DataFrame({"track_id": tracks, "rank": range(1, len(tracks) + 1)}, schema={"track_id": pl.String, "rank": pl.Int64})
        artists = [artist_id(0) if track == COLD else artist_id(int(track.removeprefix("spotify:"))) for track in tracks]
        return (
            sample.drop("track_id", "rank")
            .join(lists, how="cross")
            .with_columns(
                listener_id=pl.lit(listener),
                shelf=pl.lit(shelf),
                shard=pl.lit(shard_of(listener)),
                artist_id=pl.Series(artists, dtype=pl.String),
            )
        )

    return rows


def count(taste_world, rows, *blocked, most=2):
    return count_broken(rows, blocks(*blocked), taste_world.workshop, most)


SOME = [track_id(number) for number in (0, 3, 6, 9)]  # of four artists


def test_a_shelf_that_keeps_its_word_has_nothing_broken(taste_world, shelf_of):
    rows = pl.concat([shelf_of(listener_id(0), shelf, *SOME) for shelf in ("daily_mix", "back_catalogue")])
    assert count(taste_world, rows) == dict.fromkeys(("twice", "too_many_of_an_artist", "blocked", "heard"), 0)


def test_a_track_that_stands_twice_is_counted_by_shelf_and_listener(taste_world, shelf_of):
    rows = pl.concat([shelf_of(listener_id(0), "daily_mix", *SOME, SOME[0]), shelf_of(listener_id(1), "daily_mix", *SOME)])
    assert count(taste_world, rows)["twice"] == 1
    assert count(taste_world, pl.concat([rows, shelf_of(listener_id(0), "back_catalogue", *SOME)]))["twice"] == 1


def test_a_third_track_of_an_artist_is_one_too_many(taste_world, shelf_of):
    same = [track_id(0), track_id(1), track_id(2)]
    assert artist_id(0) == artist_id(2) != artist_id(3)
    rows = pl.concat([shelf_of(listener_id(0), "daily_mix", *same[:2], *SOME[1:]), shelf_of(listener_id(0), "back_catalogue", same[2])])
    assert count(taste_world, rows)["too_many_of_an_artist"] == 0
    more = pl.concat([rows, shelf_of(listener_id(1), "daily_mix", *same)])
    assert count(taste_world, more)["too_many_of_an_artist"] == 1 and count(taste_world, more, most=3)["too_many_of_an_artist"] == 0


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ((SOME[1], "", ""), 2),
        ((SOME[1], "DE", ""), 1),  # the first listener lives there, the second in France
        ((SOME[1], "FR", ""), 1),
        ((SOME[1], "ZZ", ""), 0),
        ((SOME[1], "", listener_id(0)), 1),
        ((SOME[1], "FR", listener_id(0)), 0),
        ((SOME[1], "", listener_id(9)), 0),
        ((artist_id(3), "", ""), 2),
        ((artist_id(3), "DE", listener_id(0)), 1),
        ((track_id(200), "", ""), 0),
    ],
)
def test_what_is_blocked_is_counted_for_whom_it_is_meant(taste_world, shelf_of, block, expected):
    rows = pl.concat([shelf_of(listener_id(number), "daily_mix", *SOME) for number in (0, 4)])
    assert count(taste_world, rows, block)["blocked"] == expected


def test_a_track_blocked_in_two_ways_is_counted_once(taste_world, shelf_of):
    rows = shelf_of(listener_id(0), "daily_mix", *SOME)
    assert count(taste_world, rows, (SOME[1], "", ""), (SOME[1], "DE", ""), (artist_id(3), "", ""))["blocked"] == 1


def test_what_was_heard_is_counted_only_where_all_is_to_be_new(taste_world, shelf_of):
    served = taste_world.workshop.stock.histories
    row = served.row(listener_id(0))
    heard = served.histories.items[row.indices].tolist()
    skipped = served.weightless_of(listener_id(0))
    assert skipped, "some of them skip a track and like others"
    new = next(each for each in served.histories.items.tolist() if each not in {*heard, *skipped})
    for shelf, expected in (("discovery", 2), ("fresh_releases", 2), ("daily_mix", 0), ("back_catalogue", 0)):
        assert count(taste_world, shelf_of(listener_id(0), shelf, *heard[:2], new))["heard"] == expected
        assert count(taste_world, shelf_of(listener_id(0), shelf, *skipped[:1], new))["heard"] == min(expected, 1)
    assert count(taste_world, shelf_of(f"{0xABC:032x}", "discovery", *heard[:2]))["heard"] == 0  # somebody without a history
