"""Trainings of audio's models: what passes its gate serves, what does not is kept, and both are on record."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest
from audio_world import LABELS, World, quick_recipes, read_inputs, settle

from spotify_ai_assets.audio import answers, trainings
from spotify_ai_assets.audio.contracts import ENCODER, FEATURES, PERCEPTUAL, PERCEPTUAL_MODEL, SOUND_MODEL
from spotify_ai_assets.audio.jobs import FOLLOWING
from spotify_ai_assets.audio.models import sound_classifier
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.audio_runs import train_models
from spotify_ai_assets.contracts import SHARDS, shard_of
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.staleness import Ledger, plan
from spotify_ai_assets.tables import TABLES
from spotify_ai_assets.training.jobs import run_promotion, run_rollback
from spotify_ai_assets.validation import require

pytestmark = pytest.mark.xdist_group("audio_world")


@dataclass
class Bench:
    """A copy of the trained world in which a model is trained without Dagster's loop."""

    world: World
    table: object

    @property
    def studio(self) -> Studio:
        return Studio(self.world.settings)

    def learn(self) -> pl.DataFrame:
        learn = {SOUND_MODEL.key: trainings.learn_sounds, ENCODER.key: trainings.learn_encoder}[self.table.key]
        with quick_recipes():
            return learn(self.world.inputs(self.table), self.studio)


@pytest.fixture
def bench(trained, tmp_path, instance) -> Bench:
    return Bench(trained.copy(tmp_path / "copy", instance), SOUND_MODEL)


@pytest.fixture(scope="module")
def judged(trained) -> dict:
    return {each.name: each for each in trained.studio.registry.entry(SOUND_MODEL.key).manifest.metrics if not each.part}


def test_a_sound_model_that_passes_its_gate_serves(trained, judged):
    entry = trained.studio.registry.entry(SOUND_MODEL.key)
    manifest = entry.manifest
    assert entry.aliases == ("champion",) and manifest.gate.passed and manifest.is_demo
    assert manifest.labels == LABELS and manifest.config["groups"] == "artist"
    assert judged["accuracy"].value >= 0.9 and judged["accuracy"].low > 1 / 3 and judged["clips"].value == 24
    assert manifest.data.cases == 24 and set(trained.rows("audio/features")["extractor"]) == {manifest.extractor}
    rows = trained.rows(SOUND_MODEL.key)
    require(SOUND_MODEL, rows)
    assert set(rows["model_version"]) == {entry.version}
    assert set(rows.filter(metric="recall")["slice"]) == set(LABELS)
    assert not (trained.settings.data / "scratch/trainings").exists() or not list((trained.settings.data / "scratch/trainings").iterdir())


def test_the_encoder_that_serves_is_the_one_that_has_earned_it(trained):
    entry = trained.studio.registry.entry(ENCODER.key)
    found = {(each.name, each.part): each for each in entry.manifest.metrics}
    default = entry.manifest.config["default"]
    assert {part for name, part in found if name == "retrieval"} >= {"learnt", "random", "hand", default}
    assert found["retrieval", default].low > found["chance", ""].value and entry.manifest.gate.passed
    assert found["retrieval", "hand"].count <= 12
    gains = [each.low for (name, part), each in found.items() if name.endswith("_gain") and part.startswith(f"{default} over")]
    assert bool(gains and min(gains) > 0) == entry.manifest.config["has_earned_it"]


def test_the_runs_of_mlflow_and_dagster_name_each_other(trained):
    tracking, registry = trained.studio.tracking, trained.studio.registry
    for table in (SOUND_MODEL, ENCODER):
        [record] = trained.instance.fetch_materializations(dg.AssetRecordsFilter(asset_key(table)), limit=5).records
        tracked = record.asset_materialization.metadata["mlflow_run_id"].value
        assert tracking.find(table.key, "dagster_run_id", record.run_id) == [tracked]
        entry = registry.entry(table.key)
        assert entry.origin == {"mlflow_run_id": tracked, "dagster_run_id": record.run_id}
        assert tracking.find(table.key, "model_version", entry.version) == [tracked]
        assert tracked in trained.instance.get_run_by_id(record.run_id).tags.values()
        shown = record.asset_materialization.metadata
        assert shown["champion"].value == entry.version and "card" in shown
    assert {"confusion", "reliability"} <= record_of(trained, SOUND_MODEL).keys()


def record_of(world, table) -> dict:
    [record] = world.instance.fetch_materializations(dg.AssetRecordsFilter(asset_key(table)), limit=1).records
    return dict(record.asset_materialization.metadata)


def test_a_model_of_shuffled_labels_stays_the_challenger_and_the_table_tells_of_the_champion(bench, caplog):
    before, champion = bench.world.rows(SOUND_MODEL.key), bench.studio.registry.entry(SOUND_MODEL.key).version
    labels = bench.world.rows("audio/labels")
    mixed = np.random.default_rng(5).permutation(labels["label"].to_numpy())
    bench.world.lake.write("audio/labels", labels.with_columns(label=pl.Series(mixed)))
    with caplog.at_level(logging.WARNING):
        rows = bench.learn()
    assert rows.sort("metric", "slice").equals(before.sort("metric", "slice"))
    challenger = bench.studio.registry.entry(SOUND_MODEL.key, "challenger")
    assert challenger.version != champion == bench.studio.registry.entry(SOUND_MODEL.key).version
    assert not challenger.manifest.gate.passed
    assert [each["event"] for each in bench.studio.registry.history(SOUND_MODEL.key)][-2:] == ["added", "refused"]
    assert "does not serve" in caplog.text and "by its interval" in caplog.text


def test_an_equal_training_is_the_equal_version(bench):
    registry = bench.studio.registry
    before, history = registry.entries(SOUND_MODEL.key), registry.history(SOUND_MODEL.key)
    rows = bench.learn()
    assert registry.entries(SOUND_MODEL.key) == before and registry.history(SOUND_MODEL.key) == history
    champion = registry.entry(SOUND_MODEL.key)
    assert set(rows["model_version"]) == {champion.version} and champion.manifest.gate.against is None


@pytest.mark.parametrize("dropout", [0.2, 0.99])
def test_another_recipe_is_compared_with_that_of_the_champion_on_the_same_clips(bench, monkeypatch, dropout):
    registry = bench.studio.registry
    champion = registry.entry(SOUND_MODEL.key)
    monkeypatch.setattr(sound_classifier, "DEMO", replace(sound_classifier.DEMO, dropout=dropout))
    rows = bench.learn()
    [other] = [each for each in registry.entries(SOUND_MODEL.key) if each.version != champion.version]
    gate = other.manifest.gate
    assert other.manifest.config["recipe"]["dropout"] == dropout and gate.against == champion.version
    [compared] = [check for check in gate.checks if "the champion's recipe on the same clips" in check.name]
    assert compared.passed == (dropout == 0.2) and gate.passed == compared.passed
    assert set(rows["model_version"]) == {registry.entry(SOUND_MODEL.key).version} == {(other if gate.passed else champion).version}


@pytest.mark.parametrize(
    ("table", "measured"), [(SOUND_MODEL, "audio/spectrograms"), (ENCODER, "audio/spectrograms"), (ENCODER, "audio/features")]
)
def test_rows_of_several_extractors_train_nothing_and_leave_the_champion(bench, caplog, table, measured):
    world, registry = bench.world, bench.studio.registry
    entries, history, known = registry.entries(table.key), registry.history(table.key), world.rows(table.key)
    shard = shard_of(world.id_of("pulse ann 1.wav"))
    rows = world.rows(measured)
    world.lake.write(measured, rows.filter(shard=shard).with_columns(extractor=pl.lit("0123456789abcdef")), shard)
    studio = Studio(world.settings, SimpleNamespace(asset_key=asset_key(table)))
    learn = {SOUND_MODEL.key: trainings.learn_sounds, ENCODER.key: trainings.learn_encoder}[table.key]
    with caplog.at_level(logging.WARNING):
        made = learn(world.inputs(table), studio)
    assert f"{table.key}: nothing was trained: the rows must be measured by one extractor, not 2" in caplog.text
    assert "0123456789abcdef" in caplog.text and rows["extractor"][0] in caplog.text
    assert made.sort("metric", "slice").equals(known.sort("metric", "slice"))
    assert registry.entries(table.key) == entries and registry.history(table.key) == history


def test_files_without_a_label_may_be_measured_by_another_extractor(bench):
    before = bench.studio.registry.entries(SOUND_MODEL.key)
    labelled = set(trainings._labelled_files(bench.world.inputs(SOUND_MODEL))["file_id"])
    mels = bench.world.rows("audio/spectrograms")
    shards = {shard_of(each) for each in labelled}
    bare = next(each for each in mels["file_id"] if shard_of(each) not in shards)
    other = mels.filter(file_id=bare).with_columns(extractor=pl.lit("0123456789abcdef"))
    bench.world.lake.write("audio/spectrograms", other, shard_of(bare))
    bench.learn()
    assert bench.studio.registry.entries(SOUND_MODEL.key) == before


def test_without_artist_or_fold_nothing_is_claimed(bench):
    labels = bench.world.rows("audio/labels").with_columns(artist=pl.lit(None, pl.String))
    bench.world.lake.write("audio/labels", labels)
    bench.learn()
    manifest = bench.studio.registry.entry(SOUND_MODEL.key).manifest
    assert manifest.config["groups"] == "none" and {each.name for each in manifest.metrics} == {"clips", "classes"}
    assert any("nothing is claimed" in limit for limit in manifest.limits)
    assert manifest.gate.gate == "unvalidated sound model" and manifest.gate.passed


def test_official_folds_go_before_artists_and_labels_by_digest_before_names(imported):
    labels = imported.rows("audio/labels").with_columns(fold=pl.lit("1"))
    file_id = imported.id_of("song ann 1.wav")
    extra = pl.DataFrame([{"file": file_id, "label": "ballad", "artist": "ann", "fold": "2"}], schema=labels.schema)
    tables = {"audio/labels": pl.concat([labels, extra])}

    def read(key: str) -> pl.LazyFrame:
        return tables[key].lazy() if key in tables else imported.lake.scan(key)

    clips = trainings._labelled_clips(read)
    assert clips.height == 24 and clips["file_id"].is_unique().all() and clips["file_id"].is_sorted()
    assert clips.filter(file_id=file_id)["label"].item() == "ballad"
    files = trainings._labelled_files(read)
    assert "mel" not in files.columns and set(files["file_id"]) == set(clips["file_id"])
    assert clips.select(files.columns).equals(files.sort("file_id"))
    groups, known_by = trainings._groups(clips)
    assert known_by == "fold" and sorted(groups) == ["1"] * 23 + ["2"]
    assert trainings._groups(clips.with_columns(fold=None))[1] == "artist"
    some = clips.with_columns(fold=None, artist=pl.when(pl.col("label") == "hiss").then(None).otherwise("artist"))
    assert trainings._groups(some) == (None, "none")


def test_a_rollback_restores_the_champion_and_makes_its_answers_stale(bench):
    world, registry = bench.world, bench.studio.registry
    first = registry.entry(SOUND_MODEL.key).version
    labels = world.rows("audio/labels").with_columns(artist=pl.lit(None, pl.String))
    world.lake.write("audio/labels", labels)
    with quick_recipes():
        train_models(world.instance, world.lake, world.studio, SOUND_MODEL.key)
    second = registry.entry(SOUND_MODEL.key).version
    assert second != first and set(world.rows(SOUND_MODEL.key)["model_version"]) == {second}
    assert stale(world) == {"audio/predictions", "audio/explanations"}
    run_rollback(world.instance, world.lake, world.settings, SOUND_MODEL.key)
    assert registry.entry(SOUND_MODEL.key).version == first
    assert set(world.rows(SOUND_MODEL.key)["model_version"]) == {first}
    assert stale(world) == set()  # the rows of the first champion are there yet: nothing was made by the second
    run_promotion(world.instance, world.lake, world.settings, SOUND_MODEL.key, second)
    assert stale(world) == {"audio/predictions", "audio/explanations"}
    assert [run.job_name for run in world.instance.get_runs()] == ["promote_model", "rollback_model", "audio_models"]


def stale(world: World) -> set[str]:
    return {each.key for each in plan(TABLES, FOLLOWING, [], Ledger(world.lake.states))}


def test_without_labels_nothing_is_trained_and_the_log_says_so(imported, tmp_path, instance):
    world = imported.copy(tmp_path / "copy", instance)
    world.lake.write("audio/labels", world.rows("audio/labels").clear())
    for table in (SOUND_MODEL, PERCEPTUAL_MODEL):
        train_models(instance, world.lake, world.studio, table.key)
        assert world.lake.states(table.key) == {}
        assert instance.get_latest_materialization_event(asset_key(table)) is None
    told = [entry.user_message for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
    assert "audio/sound_model: not made, since it waits for audio/labels" in told
    assert "audio/perceptual_model: not made, since it waits for audio/perceptual_labels" in told
    assert not (world.settings.data / "mlflow").exists()


def test_an_unknown_model_is_refused_before_any_run(imported, instance):
    for name in ("audio/files", "no/such"):
        with pytest.raises(MissingInputError, match="no model is called"):
            train_models(instance, imported.lake, imported.studio, name)
    assert instance.get_runs() == []


# The perceptual model: a hundred tracks whose features were measured of other sounds and changed a little ---------------------


@pytest.fixture(scope="module")
def perceived(imported, tmp_path_factory) -> Iterator[World]:
    """A lake of a hundred files by twelve artists; valence follows a feature, liveness nothing at all."""
    folder = tmp_path_factory.mktemp("perceived")
    lake = open_lake(settle(folder), TABLES)
    rng = np.random.default_rng(3)
    measured = imported.rows("audio/features")
    count = 100
    ids = [f"{number:064x}" for number in range(count)]
    features = measured[rng.integers(0, measured.height, count)].with_columns(
        file_id=pl.Series(ids), shard=pl.Series([shard_of(each) for each in ids])
    )
    brightness = rng.uniform(0, 1, count)
    features = features.with_columns(
        centroid_hz_mean=pl.Series(500 + 3000 * brightness), rolloff_hz_mean=pl.Series(900 + 6000 * brightness)
    )
    file = imported.rows("audio/files").head(1).drop("shard", "file_id", "name", "isrc")
    names = features.select("shard", "file_id", name="file_id", isrc=pl.lit(None, pl.String))
    files = names.join(file, how="cross").select(*TABLES["audio/files"].schema)
    for shard in SHARDS:
        for key, rows in (("audio/features", features.select(*FEATURES.schema)), ("audio/files", files)):
            if (mine := rows.filter(shard=shard)).height:
                lake.write(key, mine, shard)
    values = {"valence": np.clip(0.15 + 0.7 * brightness + rng.normal(0, 0.03, count), 0, 1), "liveness": rng.uniform(0, 1, count)}
    labels = [
        {"item": each, "artist": f"artist {number % 12}", "feature": feature, "value": float(found[number])}
        for feature, found in values.items()
        for number, each in enumerate(ids)
    ]
    lake.write("audio/perceptual_labels", pl.DataFrame(labels, schema=TABLES["audio/perceptual_labels"].schema))
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(settle(folder), instance, folder)


def test_a_perceptual_model_serves_the_labels_that_beat_guessing(perceived):
    studio = Studio(perceived.settings)
    rows = trainings.learn_perception(perceived.inputs(PERCEPTUAL_MODEL), studio)
    require(PERCEPTUAL_MODEL, rows)
    entry = studio.registry.entry(PERCEPTUAL_MODEL.key)
    assert entry.manifest.labels == ("valence",) and entry.manifest.gate.passed
    assert set(rows.filter(metric="mae")["slice"]) == {"valence", "liveness"}
    assert rows.filter(metric="r2", slice="valence")["low"].item() > 0.5
    perceived.lake.write(PERCEPTUAL_MODEL.key, rows)
    shard = min(perceived.lake.states("audio/features"))
    made = answers.perceive_files(read_inputs(perceived.lake, PERCEPTUAL, shard), studio)
    require(PERCEPTUAL, made)
    assert set(made["feature"]) == {"valence"} and set(made["model_version"]) == {entry.version}
    given = perceived.rows("audio/perceptual_labels").filter(feature="valence").select(file_id="item", given="value")
    assert made.join(given, on="file_id").select((pl.col("value") - pl.col("given")).abs().mean()).item() < 0.15


def test_features_of_several_extractors_train_no_perceptual_model(perceived, tmp_path, instance, caplog):
    world = perceived.copy(tmp_path / "copy", instance)
    features = world.rows("audio/features")
    shard = features["shard"][0]
    world.lake.write("audio/features", features.filter(shard=shard).with_columns(extractor=pl.lit("0123456789abcdef")), shard)
    studio = Studio(world.settings, SimpleNamespace(asset_key=asset_key(PERCEPTUAL_MODEL)))
    before = studio.registry.names()
    with caplog.at_level(logging.WARNING):
        rows = trainings.learn_perception(world.inputs(PERCEPTUAL_MODEL), studio)
    assert "nothing was trained: the rows must be measured by one extractor, not 2" in caplog.text
    assert rows.schema == PERCEPTUAL_MODEL.schema and studio.registry.names() == before


def test_perceptual_labels_of_too_few_tracks_train_nothing(perceived, tmp_path, instance, caplog):
    world = perceived.copy(tmp_path / "copy", instance)
    world.lake.write("audio/perceptual_labels", world.rows("audio/perceptual_labels").head(12))
    context = SimpleNamespace(asset_key=asset_key(PERCEPTUAL_MODEL))
    with caplog.at_level(logging.WARNING):
        rows = trainings.learn_perception(world.inputs(PERCEPTUAL_MODEL), Studio(world.settings, context))
    assert "nothing was trained" in caplog.text and rows.schema == PERCEPTUAL_MODEL.schema


@pytest.mark.parametrize("item", ["file_id", "name", "track_id", "bare track", "isrc"])
def test_perceptual_labels_find_their_files_by_any_name(imported, item):
    file_id = imported.id_of("pulse ann 1.wav")
    row = imported.rows("audio/files").filter(file_id=file_id).with_columns(isrc=pl.lit("USABC2600001"))
    names = {"file_id": file_id, "name": "pulse ann 1.wav", "track_id": "track:ann", "bare track": "ann", "isrc": "USABC2600001"}
    schema = TABLES["audio/perceptual_labels"].schema
    label = pl.DataFrame([{"item": names[item], "artist": None, "feature": "valence", "value": 0.25}], schema=schema)
    tables = {"audio/files": row, "audio/perceptual_labels": label}

    def read(key: str) -> pl.LazyFrame:
        return tables[key].lazy() if key in tables else imported.lake.scan(key)

    found = trainings._labelled_tracks(read)
    assert found.select("file_id", "valence", "artist").rows() == [(file_id, 0.25, "artist:" + "0" * 20)]
