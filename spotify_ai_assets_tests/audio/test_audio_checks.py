"""The checks of audio pass on what was made, and each finds what is broken."""

import dagster as dg
import polars as pl
import pytest
from audio_world import World

from spotify_ai_assets.audio import checks
from spotify_ai_assets.contracts import SHARDS, shard_of
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.tables import TABLES

pytestmark = pytest.mark.xdist_group("audio_world")

ALL = {name: value for name, value in vars(checks).items() if isinstance(value, dg.AssetChecksDefinition)}
NO_ERROR = {
    "few_files_are_rejected",
    "given_links_are_used",
    "labels_are_of_files",
    "one_extractor_measured_all",
    "explanations_are_complete",
    "features_do_not_drift",
}
"""Those that warn: what they find is the music's or the person's affair."""


def look(
    world: World, instance: dg.DagsterInstance, *names: str, shards: tuple[str, str] | None = None
) -> dict[str, dg.AssetCheckEvaluation]:
    chosen = [ALL[name] for name in names or ALL]
    job = dg.Definitions(
        asset_checks=chosen,
        jobs=[dg.define_asset_job("look", dg.AssetSelection.all_asset_checks())],
        resources={"lake": world.lake, "studio": world.studio},
    ).resolve_job_def("look")
    done = job.execute_in_process(instance=instance, tags=range_tags(*shards) if shards else {}, raise_on_error=False)
    return {each.check_name: each for each in done.get_asset_check_evaluations()}


def change(world: World, key: str, shard: str | None = None, **columns: pl.Expr | object) -> None:
    rows = world.rows(key) if shard is None else world.rows(key).filter(shard=shard)
    world.lake.write(key, rows.with_columns(**columns).cast(TABLES[key].schema), shard)


def test_what_was_made_passes_every_check(trained, instance):
    found = look(trained, instance)
    assert found.keys() == ALL.keys() and len(ALL) == 23
    assert [name for name, each in found.items() if not each.passed] == []


def test_each_check_has_words(trained):
    for definition in ALL.values():
        for spec in definition.check_specs:
            assert spec.description and spec.description.endswith(".")


def test_each_check_finds_what_is_broken(trained, tmp_path, instance):
    world = trained.copy(tmp_path / "copy", instance)
    shard = min(world.lake.states("audio/files"))
    stranger = next(f"{number:064x}" for number in range(100) if shard_of(f"{number:064x}") != shard)
    files = world.rows("audio/files").filter(shard=shard)
    world.lake.write("audio/files", pl.concat([files, files.head(1).with_columns(file_id=pl.lit(stranger))]), shard)
    rejected = world.rows("audio/rejected")
    both = rejected.head(1).with_columns(file_id=pl.lit(files["file_id"][0]))
    world.lake.write("audio/rejected", pl.concat([rejected, both]))
    change(world, "audio/given_links", file=pl.lit("no such ") + pl.col("track_id"))
    change(world, "audio/labels", file=pl.lit("no such ") + pl.col("file"))
    values = [{"item": "x", "artist": None, "feature": "valence", "value": 1.5}]
    world.lake.write("audio/perceptual_labels", pl.DataFrame(values, schema=TABLES["audio/perceptual_labels"].schema))
    change(world, "audio/track_links", track_id=pl.lit("gone"))
    change(world, "audio/features", shard, loudness=pl.lit(40.0), extractor=pl.lit("0123456789abcdef"))
    change(world, "audio/spectrograms", shard, mel=pl.lit(b"short"))
    change(world, "audio/fingerprints", shard, frames=pl.col("frames").list.head(1))
    change(world, "audio/evidence", shard, value=pl.lit(float("inf")))
    for key in ("audio/encoder", "audio/sound_model"):
        change(world, key, model_version=pl.lit("0123456789abcdef"))
    figure = pl.DataFrame([{"metric": "tracks", "slice": "", "value": 1.0, "model_version": "x"}], schema=TABLES["audio/encoder"].schema)
    world.lake.write("audio/perceptual_model", figure)
    change(world, "audio/embeddings", shard, embedding=pl.col("embedding").list.eval(pl.element() * 2))
    change(world, "audio/predictions", shard, probability=pl.col("probability") / 2)
    change(world, "audio/explanations", completeness_gap=pl.lit(0.5))
    share = [{"shard": shard_of(stranger), "file_id": stranger, "feature": "valence", "value": 0.5, "model_version": "x"}]
    world.lake.write("audio/perceptual", pl.DataFrame(share, schema=TABLES["audio/perceptual"].schema), shard_of(stranger))
    change(world, "audio/anomalies", other_file_id=pl.lit("f" * 64))
    change(world, "audio/drift", change=pl.lit("major"))
    found = look(world, instance)
    assert [name for name, each in found.items() if each.passed] == [] and found.keys() == ALL.keys()
    assert {name for name, each in found.items() if each.severity == dg.AssetCheckSeverity.WARN} == NO_ERROR
    texts = " ".join(str(each.metadata) for each in found.values())
    assert "no such" not in texts and "gone" not in texts


def test_a_run_of_some_shards_is_judged_by_these(trained, tmp_path, instance):
    world = trained.copy(tmp_path / "copy", instance)
    first, *_, last = sorted(world.lake.states("audio/spectrograms"))
    change(world, "audio/spectrograms", last, mel=pl.lit(b"short"))
    assert look(world, instance, "spectrograms_are_whole", shards=(first, first))["spectrograms_are_whole"].passed
    assert not look(world, instance, "spectrograms_are_whole", shards=(last, SHARDS[-1]))["spectrograms_are_whole"].passed
    assert not look(world, instance, "spectrograms_are_whole", shards=(SHARDS[0], SHARDS[-1]))["spectrograms_are_whole"].passed


def test_a_champion_whose_bytes_were_changed_is_no_champion(trained, tmp_path, instance):
    world = trained.copy(tmp_path / "copy", instance)
    version = world.studio.registry.entry("audio/sound_model").version
    (weights,) = [path for path in world.settings.data.rglob("model.safetensors") if version in str(path) and "sound_model" in str(path)]
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes() + b"x")
    assert not look(world, instance, "sound_model_is_kept")["sound_model_is_kept"].passed


def test_without_rows_nothing_is_broken(lake, settings, instance):
    world = World(settings, instance, settings.data)
    assert [name for name, each in look(world, instance).items() if not each.passed] == []
