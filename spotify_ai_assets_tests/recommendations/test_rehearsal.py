"""The rehearsal of recipes: who is measured beside whom, who wins, and what is told of it."""

import numpy as np
import polars as pl
import pytest
from taste_world import GROUP

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.recommendations import pictures, rehearsal
from spotify_ai_assets.recommendations.contracts import EVALUATION, FOR_LISTENERS, INTERACTIONS, RADIO, SIMILAR_ARTISTS, SIMILAR_TRACKS
from spotify_ai_assets.recommendations.models import tuning
from spotify_ai_assets.recommendations.models.contract import Facts
from spotify_ai_assets.recommendations.models.recipes import Recipe
from spotify_ai_assets.recommendations.models.weighing import Earning
from spotify_ai_assets.recommendations.rehearsal import LEAST_LISTENERS, rehearse
from spotify_ai_assets.recommendations.trainings import kept_recipe, rehearse_recipes, show_evaluation
from spotify_ai_assets.resources.plots import plot_markdown
from spotify_ai_assets.training.errors import UnknownModelError
from spotify_ai_assets.training.metrics import Interval

pytestmark = GROUP

NEIGHBOURS = Recipe({"cooccurrence": {"shrink": 2.0}}, {"cooccurrence": 1.0})
POPULAR = Recipe({"popularity": {}}, {"popularity": 1.0})
MIXED = Recipe({"cooccurrence": {"shrink": 2.0}, "ease": {}}, {"cooccurrence": 1.0, "ease": 0.0})

EARNED = Earning("cooccurrence", 1.0, Interval(0.3, 0.25, 0.35, 60), Interval(0.1, 0.05, 0.15, 60))


def read(world, name):
    return world.lake.scan(f"recommendations/{name}").collect()


def know(histories):
    return Facts(
        countries=histories.countries.tolist(),
        ages=histories.ages,
        artists=np.arange(len(histories.items), dtype=np.int32) // 3,
    )


@pytest.fixture
def tune_to(monkeypatch):
    """Gives the recipe that the search is to find, since these tests are about what comes after it."""
    asked = []

    def choose(recipe):
        def tune(train, valid, **named):
            asked.append((train, valid, named))
            return tuning.Tuned(recipe, (), (EARNED,), {"ease": "too many items"})

        monkeypatch.setattr(tuning, "tune", tune)
        return asked

    return choose


@pytest.fixture(scope="module")
def liked(taste_world):
    return read(taste_world, "interactions")


def test_a_search_sees_neither_the_test_window_nor_what_was_heard_before(liked, tune_to):
    asked = tune_to(NEIGHBOURS)
    rehearse(liked, know, trials=3)
    [(train, valid, named)] = asked
    pairs = liked.filter(pl.col("value") > 0)
    assert train.nnz == pairs.filter(part="train").select("listener_id", "track_id").n_unique()
    assert train.multiply(valid).nnz == 0 and 0 < valid.nnz <= pairs.filter(part="valid").height
    assert (named["trials"], named["k"], named["facts"].ages.size) == (3, rehearsal.K, train.nnz)


def test_baselines_earned_members_and_the_challenger_are_measured_on_both_tables(liked, tune_to):
    tune_to(MIXED)
    told = []
    found = rehearse(liked, know, trials=3, watch=lambda *step: told.append(step))
    assert set(found.rows["recipe"]) == {"popularity", "cooccurrence", "challenger"}  # a member without a weight is not fitted
    assert told == [("rehearsal", done, 3) for done in (1, 2, 3)]
    assert set(found.rows["table"]) == {"discovery", "daily_mix"} and found.trials == 0
    versions = dict(found.rows.select("recipe", "recipe_version").unique().iter_rows())
    assert versions["challenger"] == MIXED.digest and found.challenger == found.winner == MIXED
    assert found.rows.select(EVALUATION.primary_key).n_unique() == found.rows.height
    assert found.gate.passed and found.gate.against is None
    assert found.earnings == ({"member": "cooccurrence", "weight": 1.0, "alone": 0.3, "gain": 0.1, "gain_low": 0.05},)
    assert found.skipped == {"ease": "too many items"}


def test_the_recipe_of_the_champion_is_fitted_anew_and_measured_beside_another(liked, tune_to):
    tune_to(NEIGHBOURS)
    found = rehearse(liked, know, POPULAR, "0123456789abcdef", trials=3)
    figures = ndcg(found)
    assert figures["champion"] == figures["popularity"] < figures["challenger"]
    assert set(found.rows.filter(recipe="champion")["recipe_version"]) == {POPULAR.digest}
    assert found.gate.passed and found.gate.against == "0123456789abcdef" and found.winner == NEIGHBOURS
    assert {"discovery_gain", "daily_mix_gain"} <= names_of_gains(found)


def test_a_challenger_that_loses_leaves_the_champions_recipe_the_winner(liked, tune_to):
    tune_to(POPULAR)
    found = rehearse(liked, know, NEIGHBOURS, "0123456789abcdef", trials=3)
    assert not found.gate.passed and found.winner == NEIGHBOURS and found.challenger == POPULAR
    assert ndcg(found)["challenger"] < ndcg(found)["champion"]


def test_without_a_champion_a_challenger_that_fails_is_the_winner_whose_gate_says_so(liked, tune_to):
    tune_to(POPULAR)
    found = rehearse(liked, know, trials=3)
    assert not found.gate.passed and found.winner == POPULAR and "champion" not in set(found.rows["recipe"])


def test_the_champions_own_recipe_is_compared_with_nothing(liked, tune_to):
    tune_to(NEIGHBOURS)
    found = rehearse(liked, know, NEIGHBOURS, "0123456789abcdef", trials=3)
    assert "champion" not in set(found.rows["recipe"]) and found.gate.against is None and found.gate.passed


@pytest.mark.parametrize("part", ["valid", "test"])
def test_too_few_that_come_back_in_a_window_rehearse_nothing(liked, tune_to, part):
    asked = tune_to(NEIGHBOURS)
    few = liked.filter((pl.col("part") != part) | pl.col("listener_id").is_in(sorted(set(liked["listener_id"]))[: LEAST_LISTENERS - 1]))
    with pytest.raises(MissingInputError, match=rf"only \d+ listeners hear something new in the {part} window, {LEAST_LISTENERS} are"):
        rehearse(few, know, trials=3)
    assert len(asked) == (part == "test")


def test_who_hears_only_what_they_know_foresees_nothing(liked, tune_to):
    tune_to(NEIGHBOURS)
    again = liked.filter(part="train").with_columns(part=pl.lit("valid"))
    with pytest.raises(MissingInputError, match="only 0 listeners"):
        rehearse(pl.concat([liked.filter(part="train"), again]), know, trials=3)


def ndcg(found):
    rows = found.rows.filter(pl.col("metric") == "ndcg", pl.col("slice") == "", pl.col("table") == "discovery")
    return dict(rows.select("recipe", "value").iter_rows())


def names_of_gains(found):
    """The figures of the checks that are about the champion's recipe, by the names of their tables."""
    return {f"{each.name.partition(':')[0]}_gain" for each in found.gate.checks if "champion's recipe" in each.name}


# What is kept and told ----------------------------------------------------------------------------------------------------


def test_too_few_listeners_leave_an_empty_table_a_warning_and_no_recipe(own_taste_world, caplog):
    world = own_taste_world
    few = read(world, "interactions").filter(pl.col("listener_id").is_in(sorted(set(read(world, "interactions")["listener_id"]))[:5]))
    before = len(world.workshop.artifacts.versions("recommendations/recipe"))
    frames = {"recommendations/interactions": few}
    rows = rehearse_recipes(lambda key: (frames[key] if key in frames else world.lake.scan(key).collect()).lazy(), world.workshop)
    assert rows.equals(EVALUATION.empty()) and "nothing was rehearsed: only" in caplog.text
    assert len(world.workshop.artifacts.versions("recommendations/recipe")) == before


def test_an_evaluation_that_tells_of_no_recipe_or_of_two_has_none(taste_world):
    rows = read(taste_world, "evaluation")
    assert kept_recipe(taste_world.workshop, rows)["trials"] > 0
    other = rows.with_columns(recipe_version=pl.lit("0123456789abcdef"))
    for bad in (rows.filter(pl.col("recipe") != "challenger"), rows.clear(), pl.concat([rows, other])):
        with pytest.raises(MissingInputError, match="no recipe was rehearsed"):
            kept_recipe(taste_world.workshop, bad)


def test_the_evaluation_is_shown_as_tables_with_the_gate_and_what_members_earned(taste_world):
    rows = read(taste_world, "evaluation")
    shown = show_evaluation(taste_world.workshop, rows.lazy())
    assert shown.keys() == {"recipes", "gate", "blend"}
    kept = kept_recipe(taste_world.workshop, rows)
    recipes = shown["recipes"].splitlines()
    assert [line for line in recipes if line.startswith("**")] == ["**daily_mix**", "**discovery**"]
    tables = [line for line in recipes if line.startswith("|")]
    assert {line.count("|") for line in tables} == {7} and tables[0].split(" | ")[1:3] == ["recall", "ndcg"]
    best = rows.filter(pl.col("metric") == "ndcg", pl.col("slice") == "", pl.col("table") == "daily_mix").sort("value")["value"][-1]
    assert f"{best:.4g}" in tables[2]  # the best is the first
    checks = shown["gate"].splitlines()[2:]
    assert len(checks) == len(kept["gate"]["checks"]) and all(line.startswith("| ✓ | ") for line in checks)
    earned = dict(line.strip("| ").split(" | ")[:2] for line in shown["blend"].splitlines()[2:])
    assert earned == {name: f"{weight:.4g}" for name, weight in kept["recipe"]["weights"].items()}


def test_of_nothing_nothing_is_shown(taste_world):
    assert show_evaluation(taste_world.workshop, EVALUATION.empty().lazy()) == {}
    assert pictures.present_recommender(taste_world.workshop, EVALUATION.empty().lazy()) == {}


def test_the_card_of_the_recommender_is_that_of_the_version_that_serves(taste_world, tmp_path):
    shown = pictures.present_recommender(taste_world.workshop, read(taste_world, "model").lazy())
    assert shown == {"card": taste_world.workshop.registry.card("recommendations/model")} and shown["card"].startswith("# recommendations")
    assert pictures.present_evaluation(taste_world.workshop, read(taste_world, "evaluation").lazy()).keys() >= {"gate"}
    with pytest.raises(UnknownModelError):
        taste_world.workshop.registry.card("recommendations/other")


@pytest.mark.parametrize(
    ("table", "draw"),
    [
        (INTERACTIONS, pictures.interactions_by_part),
        (EVALUATION, pictures.ndcg_by_recipe),
        (FOR_LISTENERS, pictures.reasons_of_shelves),
        (SIMILAR_TRACKS, pictures.reasons_of_tracks),
        (SIMILAR_ARTISTS, pictures.reasons_of_tracks),
        (RADIO, pictures.reasons_of_tracks),
    ],
    ids=lambda each: getattr(each, "key", getattr(each, "__name__", "")),
)
def test_plots_are_drawn_of_public_columns_alone(taste_world, table, draw):
    rows = taste_world.lake.scan(table.key).select(table.public_columns)
    plot = draw(rows)
    assert len(plot.x) == len(plot.y) > 0 and all(value is not None and value > 0 for value in plot.y)
    if table != EVALUATION:
        assert sum(plot.y) == rows.select(pl.len()).collect().item()
    else:
        assert list(plot.y) == sorted(plot.y) and {"popularity", "challenger"} <= set(plot.x)
    assert plot_markdown(*plot).startswith("![")
