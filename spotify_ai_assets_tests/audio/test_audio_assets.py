"""The intake of audio as runs: what is made, what waits, what is shown, and what is made again."""

import base64
import json
import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from audio_world import BY_MODELS, CLIPPED, COPY, FEATURE_TABLES, HOSTILE, ORIGINAL, SHOWN, digest, digests, states

from spotify_ai_assets.audio.intake.landing import GivenAudio
from spotify_ai_assets.audio.jobs import FOLLOWING
from spotify_ai_assets.audio.models import sound_classifier
from spotify_ai_assets.audio_runs import run_audio_intake
from spotify_ai_assets.contracts import SHARDS, shard_of
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.runs import ONLY_STALE
from spotify_ai_assets.staleness import Ledger, plan
from spotify_ai_assets.tables import TABLES
from spotify_ai_assets.training.errors import ExtractorMismatchError
from spotify_ai_assets.validation import require

pytestmark = pytest.mark.xdist_group("audio_world")

MADE = ("audio/files", *FEATURE_TABLES, "audio/track_links", "audio/anomalies", "audio/drift")
WAITING = (*BY_MODELS, "audio/perceptual")


def materialisations(world, key) -> list[dg.AssetMaterialization]:
    found = world.instance.fetch_materializations(dg.AssetRecordsFilter(asset_key(TABLES[key])), limit=1000).records
    return [record.asset_materialization for record in found]


def metadata(world, key) -> dict:
    """All that was told of a table, the newest first."""
    told: dict = {}
    for each in materialisations(world, key):
        told = {**each.metadata, **told}
    return told


def pictures(told: dict) -> dict[str, bytes]:
    mark = "](data:image/png;base64,"
    texts = {name: value.value for name, value in told.items() if isinstance(value, dg.MarkdownMetadataValue)}
    return {name: base64.b64decode(text.split(mark)[1].rstrip(")")) for name, text in texts.items() if mark in text}


def stale(lake) -> set[str]:
    return {each.key for each in plan(TABLES, FOLLOWING, [], Ledger(lake.states))}


def test_all_that_needs_no_model_is_made_by_the_import(imported):
    for key in MADE:
        rows = imported.rows(key)
        require(TABLES[key], rows)
        assert rows.height, key
    files = set(imported.rows("audio/files")["file_id"])
    assert len(files) == 26
    for key in FEATURE_TABLES:
        assert set(imported.rows(key)["file_id"]) == files
        assert imported.lake.states(key).keys() == imported.lake.states("audio/files").keys()
    assert set(imported.rows("audio/track_links")["method"]) == {"csv"}
    assert imported.rows("audio/rejected").height == 2
    assert stale(imported.lake) == set()


def test_what_awaits_a_model_is_not_recorded_before_there_is_one(imported):
    for key in (*WAITING, "audio/encoder", "audio/sound_model", "audio/perceptual_model"):
        assert imported.lake.states(key) == {} and materialisations(imported, key) == [], key
    runs = imported.instance.get_runs()
    logs = [entry.user_message for run in runs for entry in imported.instance.all_logs(run.run_id)]
    for key in set(WAITING) - {"audio/explanations"}:  # behind predictions, which gave nothing, its step is left out
        assert any(text.startswith(f"{key}: not made, since it waits for") for text in logs), key


def test_contracts_and_all_other_checks_of_the_import_pass(imported):
    found = {}
    for run in imported.instance.get_runs(dg.RunsFilter(job_name="audio_intake")):
        for entry in imported.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            event = entry.get_dagster_event().event_specific_data
            found[event.asset_key.to_user_string(), event.check_name] = event.passed
    assert {key for key, check in found if check == "contract"} >= set(MADE) - {"audio/files"}
    assert ("audio/features", "every_file_has_features") in found and ("audio/files", "files_lie_in_their_shard") in found
    assert [check for check, passed in found.items() if not passed] == []


def test_people_see_pictures_and_counts_but_no_name_of_a_file(imported):
    for key, least in {"audio/features": 5, "audio/spectrograms": 2, "audio/files": 1, "audio/labels": 1, "audio/anomalies": 2}.items():
        shown = pictures(metadata(imported, key))
        assert len(shown) >= least, key
        assert all(picture.startswith(b"\x89PNG") for picture in shown.values())
    assert {"spectrogram", "waveform"} <= pictures(metadata(imported, "audio/spectrograms")).keys()
    assert any(name.startswith("fault_") for name in pictures(metadata(imported, "audio/anomalies")))
    for key in TABLES:
        if key.startswith("audio/") and (told := metadata(imported, key)):
            assert told["dagster/partition_row_count"].value > 0
            texts = [value.value for value in told.values() if isinstance(value, dg.MarkdownMetadataValue)]
            assert all(len(text.encode()) <= 16_384 for text in texts), key


def test_the_history_holds_no_name_of_a_file(imported):
    private = {"secret", "broken.flac", "hiss ann", "song dee", str(imported.given), imported.given.name + "/"}
    for run in imported.instance.get_runs():
        told = json.dumps(run.tags) + json.dumps(run.run_config, default=str)
        told += "".join(
            f"{entry.user_message} {entry.dagster_event.event_specific_data if entry.dagster_event else ''}"
            for entry in imported.instance.all_logs(run.run_id)
        )
        assert not [each for each in private if each in told], run.job_name


def test_the_importer_reports_audio_and_leaves_the_rest_to_listening(imported):
    listens, audio = imported.reports
    assert [Path(each.file).name for each in listens] == ["notes.txt"]
    found = {each.file: each for each in audio}
    assert len(found) == 30 and found[SHOWN].format == "wav" and found["labels.csv"].format == "audio/labels"
    assert {each.file for each in audio if each.rule} == {"broken.flac", "broken.wav"}
    assert all(each.is_new for each in audio) and sum(each.is_measured for each in audio) == 28
    assert ("files of audio", 28, 28) in imported.told
    assert (imported.given / HOSTILE).exists()


def test_planted_faults_are_found_and_drawn(imported):
    rows = imported.rows("audio/anomalies")
    assert rows["score"].is_between(0, 1).all()
    clipped = rows.filter(pl.col("fault") == "clipping", pl.col("file_id") == imported.id_of(CLIPPED)).row(0, named=True)
    assert clipped["picture"].startswith(b"\x89PNG") and json.loads(clipped["evidence"])["clipped_runs"] > 10
    pair = {imported.id_of(COPY), imported.id_of(ORIGINAL)}
    copies = rows.filter(pl.col("fault").str.ends_with("duplicate"), pl.col("file_id").is_in(list(pair)))
    assert copies.select("fault", "severity").rows() == [("exact_duplicate", "severe")]
    assert set(copies.row(0)[:3]) >= pair


def test_a_second_import_makes_nothing(imported, tmp_path, instance):
    world = imported.copy(tmp_path / "copy", instance)
    before = states(world.lake)
    reports = run_audio_intake(instance, world.lake, world.studio, GivenAudio([world.given / "labels.csv", world.given / CLIPPED]))
    assert [(each.format, each.is_new, each.is_measured) for each in reports] == [("audio/labels", False, False), ("wav", False, False)]
    assert states(world.lake) == before
    [run] = instance.get_runs()
    assert run.tags[ONLY_STALE] == "true"
    assert run.tags["dagster/asset_partition_range_start"] == SHARDS[0] and run.tags["dagster/asset_partition_range_end"] == SHARDS[-1]


def test_models_answer_once_they_are_there_and_name_the_champion(trained):
    for key, model in {"audio/embeddings": "audio/encoder", "audio/predictions": "audio/sound_model"}.items():
        rows = trained.rows(key)
        require(TABLES[key], rows)
        champion = trained.studio.registry.entry(model).version
        assert set(rows["model_version"]) == set(trained.rows(model)["model_version"]) == {champion}
        assert set(rows["file_id"]) == set(trained.rows("audio/files")["file_id"])
    rows = trained.rows("audio/explanations")
    require(TABLES["audio/explanations"], rows)
    assert set(rows["label"]) == {"hiss", "pulse", "song"}
    assert set(rows["model_version"]) == {trained.studio.registry.entry("audio/sound_model").version}
    assert all(picture.startswith(b"\x89PNG") and len(picture) <= 12_288 for picture in rows["picture"])
    assert rows["bands"].list.sum().is_close(1.0, abs_tol=1e-3).all()
    assert trained.lake.states("audio/perceptual") == {}
    assert stale(trained.lake) == set()


def test_predictions_are_those_of_the_model_itself(trained):
    from spotify_ai_assets.audio.answers import read_classifier
    from spotify_ai_assets.audio.measurements import unpack_mels

    rows = trained.rows("audio/spectrograms").sort("file_id")
    studio = trained.studio
    model = read_classifier(studio, studio.registry.entry("audio/sound_model").version)
    expected = sound_classifier.predict(model, unpack_mels(rows))
    wide = trained.rows("audio/predictions").pivot("label", index="file_id", values="probability").sort("file_id")
    assert wide["file_id"].to_list() == rows["file_id"].to_list()
    assert wide.select(model.classes).to_numpy() == pytest.approx(expected, abs=1e-5)
    ranked = trained.rows("audio/predictions").sort("file_id", "rank")
    assert ranked["rank"].to_list() == [1, 2, 3] * rows.height
    assert ranked.group_by("file_id").agg(pl.col("probability").diff().max())["probability"].max() <= 0
    given = dict(trained.rows("audio/labels").select("file", "label").iter_rows())
    best = ranked.filter(rank=1).join(trained.rows("audio/files").select("file_id", "name"), on="file_id")
    right = [row["label"] == given[row["name"]] for row in best.iter_rows(named=True) if row["name"] in given]
    assert len(right) == 23 and sum(right) >= 21


def test_embeddings_are_those_of_the_encoder_itself(trained):
    from safetensors.numpy import load

    from spotify_ai_assets.audio.embedding import WEIGHTS, fit_hand, lay_out
    from spotify_ai_assets.audio.measurements import unpack_mels
    from spotify_ai_assets.audio.models import encoder

    rows = trained.rows("audio/spectrograms").join(trained.rows("audio/features").drop("shard", "extractor"), on="file_id").sort("file_id")
    registry = trained.studio.registry
    entry = registry.entry("audio/encoder")
    weights = load(trained.studio.artifacts.read("audio/encoder", entry.version, WEIGHTS))
    model = encoder.EncoderModel(weights, {"config": entry.manifest.config["recipe"]})
    parts = {"learnt": lambda: encoder.embed(model, unpack_mels(rows)), "hand": lambda: fit_hand(rows).apply(lay_out(rows)[1])}
    expected = encoder.combine(*(parts[each]() for each in entry.manifest.config["parts"]))
    found = trained.rows("audio/embeddings").sort("file_id")
    assert found["file_id"].to_list() == rows["file_id"].to_list()
    assert found["embedding"].to_list() == [pytest.approx(vector, abs=1e-4) for vector in expected.tolist()]


def test_measurements_of_another_extractor_are_refused(trained, tmp_path, instance):
    from spotify_ai_assets.audio.answers import classify_files, embed_files

    world = trained.copy(tmp_path / "copy", instance)
    shard = min(world.lake.states("audio/spectrograms"))
    for key in ("audio/spectrograms", "audio/features"):
        rows = world.lake.scan(key).filter(shard=shard).collect().with_columns(extractor=pl.lit("0123456789abcdef"))
        world.lake.write(key, rows, shard)
    for answer, table in ((embed_files, "audio/embeddings"), (classify_files, "audio/predictions")):
        with pytest.raises(ExtractorMismatchError, match="0123456789abcdef"):
            answer(world.inputs(TABLES[table], shard), world.studio)


def test_no_answer_is_made_from_measurements_of_several_extractors(trained, tmp_path, instance):
    from spotify_ai_assets.audio.answers import embed_files, explain_classes

    world = trained.copy(tmp_path / "copy", instance)
    shard = shard_of(world.rows("audio/explanations")["file_id"][0])
    for key, answer, table, partition in (
        ("audio/features", embed_files, "audio/embeddings", shard),
        ("audio/spectrograms", explain_classes, "audio/explanations", None),
    ):
        rows = world.lake.scan(key).filter(shard=shard).collect().with_columns(extractor=pl.lit("0123456789abcdef"))
        world.lake.write(key, rows, shard)
        with pytest.raises(MissingInputError, match="one extractor, not 2: 0123456789abcdef"):
            answer(world.inputs(TABLES[table], partition), world.studio)
    assert embed_files(world.inputs(TABLES["audio/embeddings"], other_shard(world, shard)), world.studio).height


def other_shard(world, shard: str) -> str:
    return next(each for each in sorted(world.lake.states("audio/spectrograms")) if each != shard)


def test_a_changed_label_makes_no_answer_stale_and_a_changed_link_only_what_follows_it(trained, tmp_path, instance):
    world = trained.copy(tmp_path / "copy", instance)
    labels = world.rows("audio/labels")
    world.lake.write("audio/labels", labels.with_columns(label=pl.col("label").replace("song", "tune")))
    assert stale(world.lake) == set()
    models = {each.key: each.reasons for each in plan(TABLES, ["audio/encoder", "audio/sound_model"], [], Ledger(world.lake.states))}
    assert models == {"audio/encoder": ("input changed: audio/labels",), "audio/sound_model": ("input changed: audio/labels",)}
    world.lake.write("audio/given_links", world.rows("audio/given_links").head(2))
    assert stale(world.lake) == {"audio/track_links", "audio/anomalies"}
    before = digests(world.lake, *FEATURE_TABLES, *BY_MODELS)
    run_audio_intake(instance, world.lake, world.studio, GivenAudio([]))
    assert stale(world.lake) == set() and world.rows("audio/track_links").height == 2
    assert digests(world.lake, *FEATURE_TABLES, *BY_MODELS) == before


def test_the_cache_of_analyses_may_be_lost_and_gives_the_same_rows(imported, tmp_path, instance, measuring):
    from spotify_ai_assets.audio.assets import _file_ids
    from spotify_ai_assets.audio.measurements import tabulate_features

    world = imported.copy(tmp_path / "copy", instance)
    shutil.rmtree(world.settings.data / "artifacts/analyses")
    shard = min(world.lake.states("audio/files"))
    studio = world.studio
    studio.__dict__["pool"] = measuring
    made = tabulate_features(shard, studio.analyses(_file_ids(world.inputs(TABLES["audio/features"], shard))))
    assert made.sort("file_id").equals(world.lake.scan("audio/features").filter(shard=shard).collect().sort("file_id"))
    (path,) = [path for path in (world.given).glob(HOSTILE[:2] + "*")]
    assert digest(path) in set(world.rows("audio/features")["file_id"])
