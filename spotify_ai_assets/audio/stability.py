"""Whether features drift: between shards, which are drawn by digest and must not differ, and over the months in which files landed."""

import polars as pl

from spotify_ai_assets.audio.contracts import DRIFT
from spotify_ai_assets.audio.drift import compare_frames, compare_groups
from spotify_ai_assets.contracts import SHARD

FEATURES = (
    "tempo",
    "loudness",
    "energy",
    "danceability",
    "duration_ms",
    "centroid_hz_mean",
    "flatness_mean",
    "zcr_mean",
    "rms_mean",
    "onset_strength_mean",
)
"""The features that are compared."""

_NAMES = {"group": "comparison", "by_chance": "psi_by_chance", "values": "files", "reference_values": "reference_files"}


def compare_catalogue(features: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """Compare each shard with all others, and each month with what landed before it.

    Args:
        features: ``audio/features``.
        files: ``file_id`` and ``landed_on`` of ``audio/files``.

    Returns:
        Rows of ``audio/drift``.
    """
    shards = compare_groups(features.with_columns(pl.format("shard {}", SHARD).alias(SHARD)), SHARD, FEATURES)
    dated = features.join(files.select("file_id", month=pl.col("landed_on").dt.strftime("%Y-%m")), on="file_id")
    months = sorted(dated["month"].unique().to_list())
    over_time = [
        compare_frames(dated.filter(pl.col("month") < month), dated.filter(month=month), FEATURES, group=month) for month in months[1:]
    ]
    return pl.concat([shards, *over_time]).rename(_NAMES).select(*DRIFT.schema)
