"""The checks of audio beyond the contracts: does every file have its rows, are vectors vectors, and are numbers possible?"""

import dagster as dg
import polars as pl

from spotify_ai_assets.audio.contracts import (
    ANOMALIES,
    DRIFT,
    EMBEDDINGS,
    ENCODER,
    EVIDENCE,
    EXPLANATIONS,
    FEATURES,
    FILES,
    FINGERPRINTS,
    GIVEN_LINKS,
    LABELS,
    PERCEPTUAL,
    PERCEPTUAL_LABELS,
    PERCEPTUAL_MODEL,
    PREDICTIONS,
    REJECTED,
    SOUND_MODEL,
    SPECTROGRAMS,
    TRACK_LINKS,
)
from spotify_ai_assets.contracts import SHARD, SHARDS, Table, shard_of
from spotify_ai_assets.loading import check
from spotify_ai_assets.partitions import run_shards
from spotify_ai_assets.resources.artifacts import ArtifactError
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.training.errors import UnknownModelError

_MOST_REJECTED = 0.5
_UNIT = 1e-3
_COMPLETENESS = 0.01


def _rows(context: dg.AssetCheckExecutionContext, table: Table) -> pl.LazyFrame:
    """The rows of the shards that the run made; of a run without shards all."""
    lake: Lake = context.resources.lake
    shards = run_shards(context.op_execution_context.run.tags)
    rows = lake.scan(table.key)
    return rows.filter(pl.col(SHARD).is_in(shards)) if table.is_sharded and shards and len(shards) < len(SHARDS) else rows


def _verdict(broken: int, *, blocking: bool = True, **metadata: float) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=broken == 0, severity=severity, metadata={"broken": broken, **metadata})


def _count(rows: pl.LazyFrame) -> int:
    return rows.select(pl.len()).collect().item()


@check(FILES, blocking=True, required_resource_keys={"lake"})
def files_lie_in_their_shard(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each file is in the shard that its digest names."""
    rows = _rows(context, FILES).select(SHARD, "file_id").collect()
    return _verdict(sum(shard_of(file_id) != shard for shard, file_id in rows.iter_rows()), files=rows.height)


@check(FILES, required_resource_keys={"lake", "studio"})
def originals_are_kept(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The bytes of each file are in the store."""
    store = context.resources.studio.store
    ids = _rows(context, FILES).select("file_id").collect()["file_id"]
    return _verdict(sum(not store.has(file_id) for file_id in ids), files=len(ids))


@check(REJECTED, required_resource_keys={"lake"})
def few_files_are_rejected(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Less than half of all files that landed were rejected, and none is taken and rejected at once."""
    lake: Lake = context.resources.lake
    rejected, files = lake.scan(REJECTED.key), lake.scan(FILES.key)
    both = _count(rejected.join(files, on="file_id", how="semi"))
    bad, good = _count(rejected), _count(files)
    too_many = int(bad > _MOST_REJECTED * (bad + good))
    return _verdict(both + too_many, blocking=False, rejected=bad, taken=good)


@check(GIVEN_LINKS, required_resource_keys={"lake"})
def given_links_are_used(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each given link names a file that landed."""
    return _named_files(context, GIVEN_LINKS, "file")


@check(LABELS, required_resource_keys={"lake"})
def labels_are_of_files(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each label is of a file that landed."""
    return _named_files(context, LABELS, "file")


@check(PERCEPTUAL_LABELS, required_resource_keys={"lake"})
def perceptual_labels_are_between_0_and_1(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each label is a number from 0 to 1."""
    rows = context.resources.lake.scan(PERCEPTUAL_LABELS.key)
    return _verdict(_count(rows.filter(~pl.col("value").is_between(0, 1))), labels=_count(rows))


def _named_files(context: dg.AssetCheckExecutionContext, table: Table, column: str) -> dg.AssetCheckResult:
    lake: Lake = context.resources.lake
    files = lake.scan(FILES.key).select("file_id", "name").collect()
    named = lake.scan(table.key).select(column).collect()[column]
    unknown = (~(named.is_in(files["file_id"].implode()) | named.is_in(files["name"].implode()))).sum()
    return _verdict(int(unknown), blocking=False, rows=len(named))


@check(TRACK_LINKS, blocking=True, required_resource_keys={"lake"})
def links_name_tracks(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each link is between a file that is there and a track that is there, or that its recording id names."""
    lake: Lake = context.resources.lake
    links = lake.scan(TRACK_LINKS.key)
    lost = links.filter(pl.col("method") != "mbid").join(lake.scan("catalog/tracks"), on="track_id", how="anti")
    return _verdict(_count(lost) + _count(links.join(lake.scan(FILES.key), on="file_id", how="anti")), links=_count(links))


@check(FEATURES, blocking=True, required_resource_keys={"lake"})
def every_file_has_features(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each file has features."""
    return _covers(context, FEATURES)


@check(FEATURES, blocking=True, required_resource_keys={"lake"})
def features_are_possible(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No file is louder than its peak, beats lie within it, and what ends its silence comes after what begins it."""
    rows = _rows(context, FEATURES)
    broken = rows.filter(
        (pl.col("loudness") > pl.col("true_peak_dbtp") + 6)
        | (pl.col("beats_ms").list.max() > pl.col("duration_ms") + 100)
        | (pl.col("silence_start_ms") > pl.col("duration_ms"))
    )
    return _verdict(_count(broken), files=_count(rows))


@check(FEATURES, required_resource_keys={"lake"})
def one_extractor_measured_all(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """All files were measured by one extractor, so that their numbers can be compared."""
    found = context.resources.lake.scan(FEATURES.key).select(pl.col("extractor").n_unique()).collect().item()
    return _verdict(max(found - 1, 0), blocking=False, extractors=found)


@check(SPECTROGRAMS, blocking=True, required_resource_keys={"lake"})
def spectrograms_are_whole(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each spectrogram has 64 bytes for each of its frames."""
    rows = _rows(context, SPECTROGRAMS)
    return _verdict(_count(rows.filter(pl.col("mel").bin.size() != 64 * pl.col("frames"))), files=_count(rows))


@check(FINGERPRINTS, blocking=True, required_resource_keys={"lake"})
def landmarks_have_frames(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each landmark has its frame."""
    rows = _rows(context, FINGERPRINTS)
    return _verdict(_count(rows.filter(pl.col("hashes").list.len() != pl.col("frames").list.len())), files=_count(rows))


@check(EVIDENCE, blocking=True, required_resource_keys={"lake"})
def evidence_is_finite(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each measurement is a finite number."""
    rows = _rows(context, EVIDENCE)
    return _verdict(_count(rows.filter(~pl.col("value").is_finite())), measurements=_count(rows))


@check(ENCODER, required_resource_keys={"lake", "studio"})
def encoder_is_kept(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The champion is in the registry, whole, and the one that the table tells of."""
    return _is_kept(context, ENCODER)


@check(SOUND_MODEL, required_resource_keys={"lake", "studio"})
def sound_model_is_kept(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The champion is in the registry, whole, and the one that the table tells of."""
    return _is_kept(context, SOUND_MODEL)


@check(PERCEPTUAL_MODEL, required_resource_keys={"lake", "studio"})
def perceptual_model_is_kept(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The champion is in the registry, whole, and the one that the table tells of."""
    return _is_kept(context, PERCEPTUAL_MODEL)


def _is_kept(context: dg.AssetCheckExecutionContext, table: Table) -> dg.AssetCheckResult:
    versions = context.resources.lake.scan(table.key).select(pl.col("model_version").unique()).collect()["model_version"].to_list()
    if not versions:
        return dg.AssetCheckResult(passed=True, metadata={"champions": 0})
    studio = context.resources.studio
    try:
        champion = studio.registry.entry(table.key).version
        studio.artifacts.fetch(table.key, champion)
    except (ArtifactError, UnknownModelError):
        return _verdict(1, champions=len(versions))
    return _verdict(int(versions != [champion]), champions=len(versions))


@check(EMBEDDINGS, required_resource_keys={"lake"})
def embeddings_are_unit_vectors(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each embedding has the same size and length 1."""
    rows = _rows(context, EMBEDDINGS).select(
        size=pl.col("embedding").list.len(), norm=pl.col("embedding").list.eval(pl.element().cast(pl.Float64) ** 2).list.sum().sqrt()
    )
    found = rows.collect()
    broken = found.filter((pl.col("norm") - 1).abs() > _UNIT).height + max(found["size"].n_unique() - 1, 0)
    return _verdict(broken, files=found.height)


@check(EMBEDDINGS, required_resource_keys={"lake"})
def every_file_has_an_embedding(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each file has an embedding, once there is an encoder."""
    return _covers(context, EMBEDDINGS, ENCODER)


@check(PREDICTIONS, required_resource_keys={"lake"})
def probabilities_add_up(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """The probabilities of a file's classes add up to 1."""
    sums = _rows(context, PREDICTIONS).group_by("file_id").agg(pl.sum("probability"))
    return _verdict(_count(sums.filter((pl.col("probability") - 1).abs() > _UNIT)), files=_count(sums))


@check(EXPLANATIONS, required_resource_keys={"lake"})
def explanations_are_complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Attributions leave at most a hundredth of what they explain unexplained."""
    rows = context.resources.lake.scan(EXPLANATIONS.key)
    return _verdict(_count(rows.filter(pl.col("completeness_gap") > _COMPLETENESS)), blocking=False, explanations=_count(rows))


@check(PERCEPTUAL, required_resource_keys={"lake"})
def estimates_are_of_files(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each estimate is of a file that has features."""
    return _verdict(_count(_rows(context, PERCEPTUAL).join(context.resources.lake.scan(FEATURES.key), on="file_id", how="anti")))


@check(ANOMALIES, required_resource_keys={"lake"})
def anomalies_are_of_files(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Each anomaly is of a file that is there, and so is the other file that it names."""
    lake: Lake = context.resources.lake
    rows, files = lake.scan(ANOMALIES.key), lake.scan(FILES.key)
    others = rows.filter(pl.col("other_file_id") != "").join(files, left_on="other_file_id", right_on="file_id", how="anti")
    return _verdict(_count(rows.join(files, on="file_id", how="anti")) + _count(others), anomalies=_count(rows))


@check(DRIFT, required_resource_keys={"lake"})
def features_do_not_drift(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No feature has changed its distribution much, between shards or since earlier months."""
    rows = context.resources.lake.scan(DRIFT.key)
    return _verdict(_count(rows.filter(pl.col("change") == "major")), blocking=False, comparisons=_count(rows))


def _covers(context: dg.AssetCheckExecutionContext, table: Table, awaited: Table | None = None) -> dg.AssetCheckResult:
    files = _rows(context, FILES)
    missing = _count(files.join(context.resources.lake.scan(table.key), on="file_id", how="anti"))
    waits = awaited is not None and not _count(context.resources.lake.scan(awaited.key))
    return _verdict(0 if waits else missing, files=_count(files), missing=missing)
