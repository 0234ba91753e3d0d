"""Drift of features: each shard against the others, each month against those before."""

from datetime import date

import numpy as np
import polars as pl

from spotify_ai_assets.audio.contracts import DRIFT
from spotify_ai_assets.audio.stability import FEATURES, compare_catalogue
from spotify_ai_assets.validation import require


def catalogue(count: int = 300, *, shards: int = 2, louder_shard: bool = False, louder_month: bool = False):
    """Features of files that landed in three months, and the files."""
    rng = np.random.default_rng(2)
    numbers = np.arange(count)
    columns = {name: rng.normal(10, 2, count) for name in FEATURES}
    columns["loudness"] = columns["loudness"] + 6 * (louder_shard & (numbers % shards == 1)) + 6 * (louder_month & (numbers % 3 == 2))
    features = pl.DataFrame({"shard": [f"{n % shards:02d}" for n in numbers], "file_id": [f"{n:064x}" for n in numbers], **columns})
    files = pl.DataFrame({"file_id": features["file_id"], "landed_on": [date(2026, 1 + n % 3, 1 + n % 28) for n in numbers]})
    return features, files


def changes(features, files) -> set[tuple[str, str]]:
    found = compare_catalogue(features, files)
    require(DRIFT, found)
    return set(found.filter(pl.col("change").is_in(["moderate", "major"])).select("comparison", "feature").iter_rows())


def test_each_shard_and_each_month_but_the_first_is_compared():
    found = compare_catalogue(*catalogue())
    require(DRIFT, found)
    assert set(found["comparison"]) == {"shard 00", "shard 01", "2026-02", "2026-03"}
    assert found.height == 4 * len(FEATURES) and set(found["feature"]) == set(FEATURES)
    row = found.filter(comparison="2026-03", feature="tempo").row(0, named=True)
    assert (row["files"], row["reference_files"]) == (100, 200)
    assert found.filter(comparison="2026-02")["reference_files"].unique().to_list() == [100]


def test_without_a_change_none_is_told():
    assert changes(*catalogue()) == set()


def test_a_louder_shard_and_a_louder_month_are_told_apart():
    assert {("shard 01", "loudness"), ("shard 00", "loudness")} == changes(*catalogue(louder_shard=True))
    assert ("2026-03", "loudness") in changes(*catalogue(louder_month=True))
    assert {feature for _, feature in changes(*catalogue(louder_month=True))} == {"loudness"}


def test_a_few_files_say_nothing():
    found = compare_catalogue(*catalogue(20))
    require(DRIFT, found)
    assert set(found["change"]) == {"unknown"}


def test_missing_features_are_not_counted():
    features, files = catalogue()
    silent = features.with_columns(tempo=pl.when(pl.col("shard") == "01").then(None).otherwise("tempo"))
    found = compare_catalogue(silent, files)
    require(DRIFT, found)
    row = found.filter(comparison="shard 01", feature="tempo").row(0, named=True)
    assert (row["files"], row["change"], row["median"]) == (0, "unknown", None)
