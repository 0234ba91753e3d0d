"""The image of a model in the lake: its rows follow the champion, and a rollback makes nothing but the answers stale."""

import pytest
from tiny_models import manifest, torch_parts

from spotify_ai_assets.contracts import by_key
from spotify_ai_assets.resources.lake import Lake, Origin, Recipe
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.training.images import champion_rows, record_champion
from spotify_ai_assets.training.model_tables import model_table
from spotify_ai_assets.training.registry import open_registry
from spotify_ai_assets.validation import require

NAME = "a/model"
MODEL = model_table(NAME, "team:a", "a/one", "a/two", "a/three")
ORIGIN = Origin("run", "trace")


@pytest.fixture
def registry(settings):
    return open_registry(settings)


@pytest.fixture
def image(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"), by_key(MODEL), FileLocks(tmp_path / "locks"))


def promote(registry, seed: int) -> str:
    registry.add(NAME, torch_parts(seed)[1], manifest(figures={"accuracy_low": 0.7 + seed / 100, "ece": 0.05}))
    return registry.promote(NAME)[0].version


def test_a_model_waits_for_the_first_two_of_its_inputs():
    assert [(each.key, each.awaited, each.drives) for each in MODEL.reads] == [
        ("a/one", True, False),
        ("a/two", True, False),
        ("a/three", False, False),
    ]
    assert MODEL.is_model and MODEL.partitioned_by is None


def test_there_are_no_rows_before_a_champion(registry):
    rows = champion_rows(registry, NAME)
    assert rows.is_empty() and rows.schema == MODEL.schema
    registry.add(NAME, torch_parts(0)[1], manifest(figures={"accuracy_low": 0.7, "ece": 0.05}))
    assert champion_rows(registry, NAME).is_empty()


def test_each_figure_of_the_champion_is_a_row(registry):
    version = promote(registry, 0)
    rows = champion_rows(registry, NAME)
    require(MODEL, rows)
    metrics = registry.entry(NAME).manifest.metrics
    assert rows.select("metric", "slice", "value", "low", "high", "cases").rows() == [
        (each.name, each.part, each.value, each.low, each.high, each.count) for each in metrics
    ]
    assert metrics and set(rows["model_version"]) == {version}


def test_another_champion_is_written_with_the_recipe_of_the_table(registry, image):
    first = promote(registry, 0)
    recipe = Recipe("1", {"a/one": "x"})
    image.write(NAME, champion_rows(registry, NAME), recipe=recipe)
    before = image.state(NAME, None)
    record_champion(image, registry, NAME, ORIGIN)
    assert image.state(NAME, None).digest == before.digest
    second = promote(registry, 1)
    record_champion(image, registry, NAME, ORIGIN)
    after = image.state(NAME, None)
    assert after.digest != before.digest and after.recipe == recipe
    assert set(image.scan(NAME).collect()["model_version"]) == {second}
    registry.rollback(NAME)
    record_champion(image, registry, NAME, ORIGIN)
    assert image.state(NAME, None).digest == before.digest
    assert set(image.scan(NAME).collect()["model_version"]) == {first}


def test_a_model_without_a_table_or_that_was_never_trained_here_is_left_alone(registry, image):
    promote(registry, 0)
    record_champion(image, registry, NAME, ORIGIN)
    assert image.states(NAME) == {}
    record_champion(image, registry, "no/such", ORIGIN)
