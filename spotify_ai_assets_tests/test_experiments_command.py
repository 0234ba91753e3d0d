"""``spotify-ai experiment`` as a person or a script calls it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from spotify_ai_assets.experiments_cli import experiment
from spotify_ai_assets.recommendations.experiments.assignment import assign

SHARES = ("--variant", "control=50", "--variant", "blend=50")


def run(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(experiment, list(arguments))


def test_units_get_their_variants_in_words_and_as_json() -> None:
    expected = {unit: assign("autumn", unit, {"control": 50, "blend": 50}) for unit in ("a", "b", "c")}
    told = run("assign", "autumn", "a", "b", "c", *SHARES, "--json")
    assert json.loads(told.stdout) == {"experiment": "autumn", "assigned": expected}
    assert expected["a"] in run("assign", "autumn", "a", *SHARES).stdout


@pytest.mark.parametrize("variant", ["blend", "=5", "blend=many", "blend=0", "blend=inf"])
def test_a_variant_without_a_share_is_explained(variant: str) -> None:
    told = run("assign", "autumn", "a", "--variant", variant)
    assert told.exit_code == 2
    assert "such as" in told.output


def test_exposures_that_fit_pass_and_others_end_with_status_one(tmp_path: Path) -> None:
    units = [str(number) for number in range(500)]
    log = pl.DataFrame({"unit": units, "variant": [assign("autumn", unit, {"control": 50, "blend": 50}) for unit in units]})
    log.write_parquet(tmp_path / "sound.parquet")
    log[:250].vstack(log[:250]).write_csv(tmp_path / "twice.csv")
    log.with_columns(variant=pl.lit("blend")).write_ndjson(tmp_path / "lost.jsonl")
    assert json.loads(run("check", "autumn", str(tmp_path / "sound.parquet"), *SHARES, "--json").stdout)["is_sound"]
    twice = run("check", "autumn", str(tmp_path / "twice.csv"), *SHARES, "--json")
    assert sum(json.loads(twice.stdout)["counts"].values()) == 250, "a unit counts once however often it was seen"
    lost = run("check", "autumn", str(tmp_path / "lost.jsonl"), *SHARES)
    assert lost.exit_code == 1
    assert "another variant" in lost.stdout
    unknown = run("check", "autumn", str(tmp_path / "sound.parquet"), "--variant", "control=1")
    assert unknown.exit_code == 2
    assert "no share" in unknown.output


@pytest.fixture
def shelves() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    picked = rng.random(400) < 0.5
    return pl.DataFrame(
        {
            "shelf_id": np.arange(400),
            "rank": 1,
            "reward": picked.astype(float),
            "propensity": 0.5,
            "target_propensity": np.where(picked, 0.6, 0.4),
        }
    )


def test_an_estimate_is_told_with_its_interval_and_effective_size(tmp_path: Path, shelves: pl.DataFrame) -> None:
    shelves.write_csv(tmp_path / "log.csv")
    told = json.loads(run("estimate", str(tmp_path / "log.csv"), "--json").stdout)
    assert told["snips"]["low"] < told["snips"]["value"] < told["snips"]["high"]
    assert told["gain"]["low"] > 0
    assert told["is_covered"]
    assert told["effective_shelves"] < told["shelves"] == 400
    assert "count like" in run("estimate", str(tmp_path / "log.csv")).stdout


def test_an_estimate_that_the_log_does_not_cover_is_told(tmp_path: Path, shelves: pl.DataFrame) -> None:
    shelves.with_columns(target_propensity=0.1 * pl.col("target_propensity")).write_csv(tmp_path / "log.csv")
    assert "does not hold" in run("estimate", str(tmp_path / "log.csv")).stdout


def test_logs_without_propensities_are_refused_in_words(tmp_path: Path, shelves: pl.DataFrame) -> None:
    shelves.drop("propensity").write_csv(tmp_path / "log.csv")
    told = run("estimate", str(tmp_path / "log.csv"))
    assert told.exit_code == 1
    assert "PropensityError: an estimate needs the column propensity" in told.output


def test_interleaved_shelves_say_who_is_preferred(tmp_path: Path) -> None:
    log = pl.DataFrame({"listener_id": np.arange(60), "team": ["ours"] * 45 + ["theirs"] * 15, "picks": 1})
    log.write_csv(tmp_path / "log.csv")
    told = json.loads(run("interleave", str(tmp_path / "log.csv"), "--json").stdout)
    assert (told["ours"], told["theirs"], told["winner"]) == (45, 15, "ours")
    assert "0.750" in run("interleave", str(tmp_path / "log.csv")).stdout
    log.with_columns(picks=0).write_csv(tmp_path / "ties.csv")
    assert "neither" in run("interleave", str(tmp_path / "ties.csv")).stdout
    log.with_columns(team=pl.lit("mine")).write_csv(tmp_path / "mine.csv")
    assert run("interleave", str(tmp_path / "mine.csv")).exit_code == 2


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("log.xlsx", b"", "a .parquet"),
        ("log.parquet", b"no parquet", "cannot be read"),
        ("log.csv", b"listener_id,team\n1,ours\n", "no column picks"),
        ("log.csv", b"listener_id,team,picks\n1,ours,\n", "a value of picks is missing"),
    ],
)
def test_logs_that_cannot_be_read_are_refused_in_words(tmp_path: Path, name: str, content: bytes, rule: str) -> None:
    (tmp_path / name).write_bytes(content)
    told = run("interleave", str(tmp_path / name))
    assert told.exit_code == 1
    assert rule in told.output
