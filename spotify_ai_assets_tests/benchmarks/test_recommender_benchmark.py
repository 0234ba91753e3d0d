"""The benchmark of recommenders opens the test part once, after its settings are fixed, and counts as published tables do."""

import numpy as np
import pytest

from benchmarks import recommender
from benchmarks.recommender import FEW, MANY, PEER, Settings, find_settings, measure
from benchmarks.recommender_published import PUBLISHED
from spotify_ai_assets.recommendations.models.recipes import Recipe
from spotify_ai_assets.recommendations.public_sets import Lists, open_lists

SMALL = Settings(
    recipe={
        "members": {"cooccurrence": {}, "popularity": {}, "spectral": {"factors": 6}},
        "weights": {"cooccurrence": 0.5, "popularity": 0.0, "spectral": 1.0},
    },
    peer={"factors": 4, "alpha": 10.0, "regularization": 1.0, "iterations": 4},
    found={"trials": 0},
)


@pytest.fixture
def folder(tmp_path):
    """Four tastes; a listener hears half of the items of one in train, and the rest are spread over the other parts."""
    rng = np.random.default_rng(0)
    lines = {"train": [], "valid": [], "test": []}
    for listener in range(80):
        items = rng.permutation(np.arange(listener % 4, 60, 4))
        for part, of_part in zip(lines, (items[:8], items[8:11], items[11:]), strict=True):
            lines[part].append(" ".join(map(str, [listener, *of_part])))
    lines["test"].append("80 0 4")  # nobody knows this listener
    lines["test"].append("81")  # nor is there anything to foresee of this one
    for part, rows in lines.items():
        (tmp_path / f"{part}.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_settings_are_told_before_the_test_part_is_opened_and_it_is_opened_once(folder, monkeypatch, capfd):
    told_before: list[str] = []
    read = Lists.read_test

    def watched(lists: Lists):
        told_before.append(capfd.readouterr().err)
        return read(lists)

    monkeypatch.setattr(Lists, "read_test", watched)
    document = measure(folder, 10, settings=SMALL)
    (told,) = told_before
    assert SMALL.digest in told
    assert document["test_reads"] == 1
    assert document["settings"] == SMALL.digest


def test_a_taste_is_found_and_popularity_is_not_enough(folder):
    document = measure(folder, 10, settings=SMALL)
    figures = document["figures"]
    assert document["cases"] == 81
    assert document["ndcg"] == document["ours"] == figures["blend"]["ndcg@10"][0]
    assert document["ndcg"] > 0.4 > figures["popularity"]["ndcg@10"][0]
    assert set(figures) == {"blend", "cooccurrence", "popularity", "spectral", PEER}
    assert document["ratio"] == pytest.approx(document["ours"] / document["peer"], abs=0.001)
    assert document["train_cpu_s"] >= 0
    assert document["published"] == {}


def test_only_train_items_are_hidden(folder):
    lists = open_lists(folder)
    (answer, *_) = recommender._answers(Recipe.from_json(SMALL.recipe), SMALL.peer, lists.train).values()
    tops = answer(lists.train, np.arange(80), 12).tops
    assert lists.valid is not None
    dense = lists.train.toarray()
    assert not dense[np.arange(80)[:, None], tops].any()
    assert lists.valid.toarray()[np.arange(80)[:, None], tops].any()


def test_without_a_valid_part_a_tenth_of_train_is_held_out(folder):
    (folder / "valid.txt").unlink()
    lists = open_lists(folder)
    found = find_settings(lists.train, lists.valid, 1, 0)
    assert found.found["trials_each"] == 1
    Recipe.from_json(found.recipe)
    assert found.peer["factors"] > 0


@pytest.mark.parametrize("settings", [FEW, MANY])
def test_frozen_settings_make_a_recipe_and_say_what_they_cost(settings):
    recipe = Recipe.from_json(settings.recipe)
    assert max(recipe.weights.values()) == 1
    assert set(settings.peer) >= {"factors", "alpha", "regularization"}
    assert settings.found["cpu_s"] > 0
    assert settings.found["peer_trials"] > 0


def test_published_rows_are_of_the_splits_that_they_belong_to():
    assert PUBLISHED[810_128]["LightGCN"]["recall@20"] == 0.1820
    assert PUBLISHED[64_315]["LightGCN++"]["ndcg@10"] == 0.2171
