"""The workplace of steps that train: what serves after a training, and what a training tells while it runs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest
from tiny_models import manifest, torch_parts

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.training.manifests import Manifest, Metric
from spotify_ai_assets.training.model_tables import model_table
from spotify_ai_assets.training.workplace import Workplace, if_enough

NAME = "audio/sound_model"
PASSING, FAILING = {"accuracy_low": 0.7, "ece": 0.05}, {"accuracy_low": 0.4, "ece": 0.05}


class Noted:
    """A tracked run that keeps what it was told."""

    def __init__(self, run_id: str = "tracked") -> None:
        self.run_id, self.metrics, self.texts = run_id, {}, {}

    def log_metrics(self, metrics: dict[str, float]) -> None:
        self.metrics |= metrics

    def log_text(self, text: str, file: str) -> None:
        self.texts[file] = text


@pytest.fixture
def place(settings: Settings) -> Workplace:
    """A workplace whose tracked runs are written nowhere."""
    place = Workplace(settings)
    vars(place)["tracking"] = SimpleNamespace(tag=lambda run_id, tags: None)
    return place


def serve(place: Workplace, run: Any = None, seed: int = 0, **options: Any) -> pl.DataFrame:
    return place.serve(run or Noted(), NAME, torch_parts(seed)[1], manifest(**options))


def events(place: Workplace) -> list[str]:
    return [event["event"] for event in place.registry.history(NAME)]


def served_by(place: Workplace) -> Manifest:
    entry = place.champion(NAME)
    assert entry
    return entry.manifest


def test_a_model_without_a_version_has_no_champion(place: Workplace) -> None:
    assert place.champion(NAME) is None
    place.registry.add(NAME, torch_parts()[1], manifest())
    assert place.champion(NAME) is None  # a challenger does not serve


def test_what_passes_its_gate_is_kept_and_serves(place: Workplace, caplog: pytest.LogCaptureFixture) -> None:
    run = Noted()
    with caplog.at_level(logging.INFO):
        rows = serve(place, run)
    champion = place.champion(NAME)
    assert champion and champion.manifest == manifest() and champion.origin == {"mlflow_run_id": "tracked"}
    assert rows.schema == model_table("training/image", "team:training").schema
    assert set(rows["model_version"]) == {champion.version} and rows.height == len(champion.manifest.metrics)
    assert events(place) == ["added", "promoted"] and f"version {champion.version} passed its gate" in caplog.text
    assert run.metrics == {"accuracy": 0.8, "accuracy/jazz": 0.6}
    assert run.texts == {"card.md": place.registry.card(NAME)}


def test_what_fails_its_gate_is_kept_and_the_champion_goes_on_serving(place: Workplace, caplog: pytest.LogCaptureFixture) -> None:
    before, run = serve(place), Noted("second")
    rows = serve(place, run, seed=1, figures=FAILING)
    assert rows.equals(before) and served_by(place).gate == manifest().gate
    assert events(place) == ["added", "promoted", "added", "refused"]
    challenger = place.registry.entry(NAME, "challenger")
    assert challenger.version not in set(rows["model_version"]) and f"version {challenger.version} does not serve" in caplog.text
    assert run.texts == {"card.md": place.registry.card(NAME, challenger.version)}


def test_where_the_first_version_fails_its_gate_nothing_serves_and_the_table_is_empty(place: Workplace) -> None:
    rows = serve(place, figures=FAILING)
    assert rows.is_empty() and rows.schema == model_table("training/image", "team:training").schema
    assert place.champion(NAME) is None and len(place.registry.entries(NAME)) == 1


def test_an_equal_training_serves_the_equal_version_and_is_no_event(place: Workplace) -> None:
    first = serve(place)
    assert serve(place, Noted("again")).equals(first) and events(place) == ["added", "promoted"]


def test_a_part_with_signs_that_tracking_refuses_is_named_without_them(place: Workplace) -> None:
    run = Noted()
    serve(place, run, metrics=(Metric("recall", 0.5, part="R&B (früh)"), Metric("recall", 0.4)))
    assert run.metrics == {"recall/R_B _fr_h_": 0.5, "recall": 0.4}


def test_the_origin_names_the_tracked_run_and_in_a_step_the_run_of_dagster(place: Workplace) -> None:
    run = Noted()
    assert place.origin(run) == {"mlflow_run_id": "tracked"}  # type: ignore[arg-type]
    step = place.at(SimpleNamespace(run=SimpleNamespace(run_id="dagster"), asset_key=dg.AssetKey(["audio", "sound_model"])))
    assert step.origin(run) == {"mlflow_run_id": "tracked", "dagster_run_id": "dagster"}  # type: ignore[arg-type]
    assert step.model == NAME and place.context is None


def test_the_watch_is_told_each_step_and_the_log_each_fiftieth(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, int, int]] = []
    place = Workplace(settings, watch=lambda *step: told.append(step))
    with caplog.at_level(logging.INFO):
        for done in range(1, 121):
            place.tell("members", done, 120)
        place.tell("rows", 150)
    assert told == [*(("members", done, 120) for done in range(1, 121)), ("rows", 150, 0)]
    assert caplog.messages == ["members: 50 of 120", "members: 100 of 120", "rows: 150"]


@pytest.fixture
def in_step(place: Workplace) -> Workplace:
    """The workplace in the step of the model."""
    step = place.at(SimpleNamespace(asset_key=dg.AssetKey(NAME.split("/"))))
    vars(step)["tracking"] = place.tracking
    return step


def test_too_little_to_learn_from_leaves_the_champion_and_says_why(
    place: Workplace, in_step: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    @if_enough
    def learn(read: Any, place: Workplace) -> pl.DataFrame:
        """Learn from nothing."""
        raise MissingInputError("only 3 clips have a label")

    assert learn.__name__ == "learn" and learn.__doc__ == "Learn from nothing."
    assert learn(None, in_step).is_empty()  # type: ignore[arg-type]
    before = serve(place)
    assert learn(None, in_step).equals(before) and events(place) == ["added", "promoted"]  # type: ignore[arg-type]
    assert f"{NAME}: nothing was trained: only 3 clips have a label" in caplog.text


def test_where_there_is_enough_the_training_answers_and_its_mistakes_are_not_hidden(in_step: Workplace) -> None:
    rows = pl.DataFrame({"metric": ["a"]})
    assert if_enough(lambda read, place: rows)(None, in_step) is rows  # type: ignore[arg-type]

    def fail(read: Any, place: Workplace) -> pl.DataFrame:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        if_enough(fail)(None, in_step)  # type: ignore[arg-type]


class Tracked:
    """Notes who is tracked under which name."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []

    @contextmanager
    def run(self, experiment: str, name: str) -> Iterator[Noted]:
        self.said.append(("run", experiment, name))
        yield Noted("alone")
        self.said.append(("ended",))

    @contextmanager
    def run_of(self, context: Any, experiment: str, name: str) -> Iterator[Noted]:
        self.said.append(("run of", context.run.run_id, experiment, name))
        yield Noted("in a step")
        self.said.append(("ended",))


def test_a_training_outside_of_a_step_is_tracked_by_itself(settings: Settings) -> None:
    place, tracking = Workplace(settings), Tracked()
    vars(place)["tracking"] = tracking
    with place.tracked(NAME) as run:
        assert run.run_id == "alone" and tracking.said == [("run", NAME, "audio sound_model")]
    assert tracking.said[1:] == [("ended",)]


def test_a_training_in_a_step_is_tracked_with_it_and_the_asset_names_the_tracked_run(settings: Settings) -> None:
    told: list[tuple[dict[str, str], dg.AssetKey]] = []
    step = SimpleNamespace(
        run=SimpleNamespace(run_id="dagster"),
        asset_key=dg.AssetKey(NAME.split("/")),
        add_asset_metadata=lambda metadata, asset_key: told.append((metadata, asset_key)),
    )
    place, tracking = Workplace(settings, step), Tracked()
    vars(place)["tracking"] = tracking
    with place.tracked(NAME):
        assert told == []
    assert tracking.said == [("run of", "dagster", NAME, "audio sound_model"), ("ended",)]
    assert told == [({"mlflow_run_id": "in a step"}, step.asset_key)]
    with pytest.raises(RuntimeError, match="broke"), place.tracked(NAME):
        raise RuntimeError("broke")
    assert len(told) == 1  # nothing is told of a training that broke


def test_each_part_lies_where_the_settings_say(settings: Settings) -> None:
    place = Workplace(settings)
    assert place.registry is place.registry and place.at(None).registry is not place.registry
    version = place.artifacts.publish("some/thing", {"a.json": b"{}"}, {}).version
    assert (settings.data / "artifacts" / "some" / "thing" / version / "a.json").read_bytes() == b"{}"
