from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
from tiny_models import ALLOWED, GATE, manifest, torch_parts

from spotify_ai_assets.resources.artifacts import ArtifactError, Artifacts
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.training.cards import card_markdown
from spotify_ai_assets.training.errors import ExtractorMismatchError, GateFailedError, UnknownModelError, UnsafeModelError
from spotify_ai_assets.training.gates import GateResult
from spotify_ai_assets.training.manifests import Manifest, Metric, installed_packages
from spotify_ai_assets.training.metrics import wilson_interval
from spotify_ai_assets.training.registry import Registry

NAME = "audio/sound_model"


@pytest.fixture
def registry(tmp_path):
    return Registry(Artifacts(tmp_path / "artifacts", FileLocks(tmp_path / "locks")), allowed=ALLOWED)


def add(registry, seed=0, **options):
    return registry.add(NAME, torch_parts(seed)[1], manifest(**options), {"dagster_run_id": f"run-{seed}"})


def aliases(registry):
    return {alias: entry.version for entry in registry.entries(NAME) for alias in entry.aliases}


def test_a_new_version_is_the_challenger_and_the_same_once_more_is_no_event(registry):
    entry = add(registry)
    assert entry.aliases == ("challenger",) and entry.origin == {"dagster_run_id": "run-0"}
    assert entry.manifest == manifest()
    assert add(registry) == entry
    assert [event["event"] for event in registry.history(NAME)] == ["added"]


def test_a_manifest_comes_back_as_it_was():
    given = manifest(metrics=(Metric.of("accuracy", wilson_interval(8, 10), part="jazz"),))
    assert Manifest.from_json(given.as_json()) == given
    assert Manifest.from_json(manifest(gate=None).as_json()).gate is None
    assert installed_packages("numpy", "no_such_package_of_anyone") == {"numpy": np.__version__}


def test_a_promoted_version_serves_and_a_rollback_restores_the_one_before(registry):
    versions = []
    for seed in range(3):
        versions.append(add(registry, seed).version)
        registry.promote(NAME)
        assert aliases(registry) == {"champion": versions[-1]}
    assert registry.rollback(NAME).version == versions[1]
    assert registry.rollback(NAME).version == versions[0]
    with pytest.raises(UnknownModelError, match="no champion before"):
        registry.rollback(NAME)
    registry.promote(NAME, versions[2])
    assert registry.rollback(NAME).version == versions[0]
    events = [(event["event"], event["version"], event.get("before")) for event in registry.history(NAME)]
    assert events[-5:] == [
        ("promoted", versions[2], versions[1]),
        ("rolled back", versions[1], versions[2]),
        ("rolled back", versions[0], versions[1]),
        ("promoted", versions[2], versions[0]),
        ("rolled back", versions[0], versions[2]),
    ]


def test_a_version_that_fails_its_gate_is_refused_and_the_refusal_is_kept(registry):
    good = add(registry, 0).version
    registry.promote(NAME)
    bad = add(registry, 1, figures={"accuracy_low": 0.41, "ece": 0.02}).version
    with pytest.raises(GateFailedError, match=r"right more often than chance: 0\.41, needed > 0\.5"):
        registry.promote(NAME, origin={"dagster_run_id": "r2"})
    assert aliases(registry) == {"champion": good, "challenger": bad}
    refused = registry.history(NAME)[-1]
    assert (refused["event"], refused["version"], refused["origin"]) == ("refused", bad, {"dagster_run_id": "r2"})
    assert [check["passed"] for check in refused["gate"]["checks"]] == [False, True]


def test_a_version_that_no_gate_has_judged_is_refused(registry):
    add(registry, gate=None)
    with pytest.raises(GateFailedError, match="no gate has judged it"):
        registry.promote(NAME)
    assert "no gate has judged" not in card_markdown(NAME, manifest()).lower()
    registry.promote(NAME, result=GATE.judge({"accuracy_low": 0.9, "ece": 0.0}))
    assert aliases(registry)["champion"]


def test_a_result_handed_in_cannot_outvote_the_one_that_is_kept(registry):
    add(registry, figures={"accuracy_low": 0.1, "ece": 0.0})
    with pytest.raises(GateFailedError):
        registry.promote(NAME, result=GATE.judge({"accuracy_low": 0.9, "ece": 0.0}))
    good = add(registry, 1).version
    with pytest.raises(GateFailedError):
        registry.promote(NAME, good, result=GateResult("enough", GATE.judge({}).checks))


def test_figures_against_a_champion_of_yesterday_do_not_count(registry):
    first = add(registry, 0).version
    registry.promote(NAME)
    against_first = add(registry, 1, against=first).version
    second = add(registry, 2, against=first).version
    registry.promote(NAME, second)
    with pytest.raises(GateFailedError, match="compared with the champion of now"):
        registry.promote(NAME, against_first)
    registry.rollback(NAME)
    assert registry.promote(NAME, against_first)[0].version == against_first
    assert registry.promote(NAME, against_first)[0].version == against_first  # once more is no event
    assert [event["event"] for event in registry.history(NAME)][-2:] == ["rolled back", "promoted"]


def test_bytes_that_were_changed_are_neither_promoted_nor_restored_nor_opened(registry, tmp_path):
    first = add(registry, 0).version
    registry.promote(NAME)
    second = add(registry, 1).version
    path = tmp_path / "artifacts" / NAME / second / "model.safetensors"
    path.chmod(0o644)
    path.write_bytes(torch_parts(0)[1]["model.safetensors"])
    with pytest.raises(ArtifactError, match=r"model\.safetensors was changed"):
        registry.promote(NAME)
    with pytest.raises(ArtifactError, match="was changed"):
        registry.open(NAME, second, extractor="extractor-1")
    third = add(registry, 2).version
    registry.promote(NAME)
    path = tmp_path / "artifacts" / NAME / first / "card.md"
    path.chmod(0o644)
    path.write_text("better than it was")
    with pytest.raises(ArtifactError, match=r"card\.md was changed"):
        registry.rollback(NAME)
    assert aliases(registry)["champion"] == third


def test_another_extractor_is_refused_and_the_right_one_answers(registry):
    entry = add(registry)
    with pytest.raises(ExtractorMismatchError, match=r"of extractor extractor-1, these are of extractor-2"):
        registry.open(NAME, "challenger", extractor="extractor-2")
    with pytest.raises(ExtractorMismatchError, match="these are of none"):
        registry.open(NAME, "challenger", extractor="")
    with pytest.raises(UnknownModelError, match="there is no champion"):
        registry.open(NAME, extractor="extractor-1")
    with pytest.raises(ArtifactError, match="16 hexadecimal"):
        registry.open(NAME, "latest", extractor="extractor-1")
    opened = registry.open(NAME, "challenger", extractor="extractor-1")
    assert opened.entry == entry
    answers = opened.model.predict(np.zeros((2, 6, 20), np.float32))
    assert answers.shape == (2, 3) and np.allclose(answers.sum(1), 1)


def test_files_that_could_hold_code_are_not_added(registry):
    with pytest.raises(UnsafeModelError, match=r"model\.pkl"):
        registry.add(NAME, {"model.pkl": b"\x80\x04"}, manifest())
    with pytest.raises(UnsafeModelError, match="a model is one of"):
        registry.add(NAME, torch_parts()[1], replace(manifest(), kind="joblib"))
    assert registry.names() == []


def test_the_card_says_all_that_is_known(registry):
    add(registry, is_demo=True)
    card = registry.card(NAME, "challenger")
    for said in (
        "Tiny demo configuration",
        "erasure-7",
        "2026-01-01 – 2026-01-31",
        "0.7 – 0.87",
        "accuracy&#58; jazz",
        "extractor-1",
        "mixup",
    ):
        assert said in card, said
    assert "Clips of less than 5 s." in card and "0, 1, 2" in card and "passed" in card and "torch 2.13.0" in card
    assert "[noise](x)" not in card  # a label cannot become a link
    assert "Tiny demo" not in card_markdown(NAME, manifest())
    assert "nothing is claimed" in card_markdown(NAME, manifest(metrics=()))


def test_a_tracked_version_is_told_to_its_run(tmp_path):
    told = []
    tracking = SimpleNamespace(tag=lambda run_id, tags: told.append((run_id, tags)))
    registry = Registry(Artifacts(tmp_path, FileLocks(tmp_path / "locks")), tracking)  # type: ignore[arg-type]
    entry = registry.add(NAME, torch_parts()[1], manifest(), {"mlflow_run_id": "m1"})
    assert told == [("m1", {"model": NAME, "model_version": entry.version})]


def test_models_of_every_make_are_kept_and_opened(registry, tmp_path):
    for parts in (tiny_models.own_parts(), tiny_models.onnx_parts(), tiny_models.huggingface_parts(tmp_path / "ast")):
        registry.add(f"made/{parts[0]}", parts[1], manifest(parts))
        model = registry.open(f"made/{parts[0]}", "challenger", extractor="extractor-1").model
        assert model.predict(np.zeros((1, *parts[3].shape[1:]), np.float32)).shape == (1, 3)
    assert registry.names() == ["made/huggingface", "made/onnx", "made/own"]


def test_what_is_kept_beside_models_is_not_taken_for_one(tmp_path):
    artifacts = Artifacts(tmp_path, FileLocks(tmp_path / "locks"))
    artifacts.publish("made/index", {"vectors": b"1"}, {"rows": 1})
    registry = Registry(artifacts)
    add(registry)
    assert registry.names() == [NAME]
