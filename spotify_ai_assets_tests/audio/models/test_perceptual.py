import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from spotify_ai_assets.audio.models.perceptual import FOLDS, Trained, _learn_calibration, _split, predict, train
from spotify_ai_assets.audio.models.perceptual_evidence import collect_evidence, collect_reliability, correlate_ranks
from spotify_ai_assets.errors import ContractError, MissingInputError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "spotify-audio-features" / "spotify_songs.csv.gz"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small products on several threads wait for each other where the machine is busy."""
    with threadpool_limits(1):
        yield


def world(tracks: int = 300, artists: int = 40, seed: int = 0, signal: float = 1.0) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Features and labels: valence is a bent function of three features and noise, speechiness is noise."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(tracks, 3))
    timbre = rng.normal(size=(tracks, 4))
    drive = signal * (values[:, 0] + 0.8 * np.abs(timbre[:, 0]) - 0.5 * values[:, 1]) + 0.3 * rng.normal(size=tracks)
    features = pl.DataFrame(
        {
            "file_id": [f"file {number}" for number in range(tracks)],
            "tempo": 120 + 20 * values[:, 0],
            "loudness": -14 + 4 * values[:, 1],
            "energy": values[:, 2],
            "key": rng.integers(12, size=tracks),
            "timbre": pl.Series(timbre.tolist(), dtype=pl.List(pl.Float32)),
        }
    )
    labels = pl.DataFrame({"valence": 1 / (1 + np.exp(-drive)), "speechiness": rng.random(tracks) ** 3})
    return features, labels, [f"artist {number % artists}" for number in range(tracks)]


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(*world(), seed=0)


def test_what_can_be_learned_is_learned_and_noise_is_not(trained):
    valence, speechiness = trained.evidence.sort("label", descending=True).to_dicts()
    assert valence["r2"] > 0.6
    assert valence["is_better"]
    assert valence["mae"] < 0.7 * valence["mae_mean"]
    assert valence["mae"] < 0.7 * valence["mae_shuffled"]
    assert valence["r2_low"] < valence["r2"] < valence["r2_high"]
    assert speechiness["r2"] < 0.1
    assert not speechiness["is_better"]


def test_predictions_of_other_tracks_are_as_good_as_the_evidence_says(trained):
    features, labels, _ = world(400, seed=1)
    answer = predict(trained.arrays, trained.meta, features)
    error = float((answer["valence"] - labels["valence"]).abs().mean())
    row = trained.evidence.filter(pl.col("label") == "valence").row(0, named=True)
    assert row["mae_low"] - 0.02 < error < row["mae_high"] + 0.02
    assert all(answer[name].is_between(0, 1).all() for name in answer.columns)


def test_the_state_survives_json_and_npz_without_objects(trained):
    buffer = io.BytesIO()
    np.savez(buffer, **trained.arrays)
    buffer.seek(0)
    meta = json.loads(json.dumps(trained.meta))
    features = world(50, seed=2)[0]
    with np.load(buffer, allow_pickle=False) as arrays:
        again = predict(dict(arrays), meta, features)
    assert again.equals(predict(trained.arrays, trained.meta, features))


def test_the_same_seed_trains_the_same_model_and_the_order_of_columns_does_not_matter(trained):
    features, labels, groups = world()
    again = train(features, labels, groups, 0)
    assert all(np.array_equal(again.arrays[name], trained.arrays[name]) for name in trained.arrays)
    assert again.meta == trained.meta
    assert again.evidence.equals(trained.evidence)
    shuffled = features.select(features.columns[::-1])
    assert predict(trained.arrays, trained.meta, shuffled).equals(predict(trained.arrays, trained.meta, features))


def test_without_artists_nothing_is_claimed():
    features, labels, _ = world(120)
    blind = train(features, labels.select("valence"), None, 0)
    assert blind.evidence is None
    assert blind.reliability is None
    assert not blind.meta["has_evidence"]
    assert predict(blind.arrays, blind.meta, features).height == 120


def test_few_artists_are_no_evidence():
    features, labels, groups = world(120, artists=6)
    assert train(features, labels.select("valence"), groups, 0).evidence is None


def test_tracks_without_artist_are_learned_from_but_not_scored():
    features, labels, groups = world(160)
    known = [name if number % 4 else None for number, name in enumerate(groups)]
    row = train(features, labels.select("valence"), known, 0).evidence.row(0, named=True)
    assert row["tracks"] == 120


def test_an_artist_that_carries_the_label_alone_is_not_mistaken_for_understanding():
    """Each artist has one timbre and one valence, drawn apart: within artists both agree, between artists nothing does."""
    rng = np.random.default_rng(5)
    artist = np.repeat(np.arange(30), 10)
    features = pl.DataFrame({"timbre": pl.Series((rng.normal(size=(30, 8))[artist] + 0.01 * rng.normal(size=(300, 8))).tolist())})
    labels = pl.DataFrame({"valence": rng.random(30)[artist]})
    row = train(features, labels, [f"artist {number}" for number in artist], 0).evidence.row(0, named=True)
    assert row["r2"] < 0.15
    assert not row["is_better"]


def test_an_artist_is_never_split_and_folds_are_about_equal():
    rng = np.random.default_rng(0)
    artists = rng.integers(-1, 40, size=500)
    part = _split(artists, FOLDS, rng)
    assert all(len(set(part[artists == name])) == 1 for name in range(40))
    assert len(set(part[artists == -1])) > 1
    assert np.ptp(np.bincount(part)) < 30


def test_missing_features_count_as_the_median(trained):
    features = world(3, seed=3)[0]
    holes = features.with_columns(
        pl.lit(None, pl.Float64).alias("tempo"), pl.lit(float("nan")).alias("loudness"), timbre=pl.lit(None, pl.List(pl.Float32))
    )
    answer = predict(trained.arrays, trained.meta, holes)
    assert answer["valence"].is_finite().all()


def test_an_absurd_value_does_not_leave_the_range(trained):
    features = world(3, seed=3)[0].with_columns(pl.lit(1e30).alias("tempo"))
    assert predict(trained.arrays, trained.meta, features)["valence"].is_between(0, 1).all()


def test_other_features_than_those_of_training_are_refused(trained):
    features = world(3)[0]
    with pytest.raises(ContractError, match="lack tempo"):
        predict(trained.arrays, trained.meta, features.drop("tempo"))
    with pytest.raises(ContractError, match="another length"):
        predict(trained.arrays, trained.meta, features.with_columns(timbre=pl.lit([1.0])))
    with pytest.raises(ContractError, match="format"):
        predict(trained.arrays, trained.meta | {"format": 99}, features)


def test_too_little_to_learn_from_is_refused():
    features, labels, groups = world(39)
    with pytest.raises(MissingInputError):
        train(features, labels, groups, 0)
    with pytest.raises(ContractError, match="same rows"):
        train(features, labels.head(10), groups, 0)
    with pytest.raises(ContractError, match="numeric"):
        train(features.select("file_id"), labels, groups, 0)


def test_a_label_with_gaps_is_learned_from_what_there_is():
    features, labels, groups = world(200)
    gaps = labels.with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then("valence").alias("valence"))
    trained = train(features, gaps.select("valence"), groups, 0)
    assert trained.meta["labels"]["valence"]["tracks"] == 100


def test_a_constant_label_is_predicted_as_it_is():
    features, _, groups = world(80)
    trained = train(features, pl.DataFrame({"valence": [0.25] * 80}), groups, 0)
    np.testing.assert_allclose(predict(trained.arrays, trained.meta, features)["valence"], 0.25, atol=0.02)


@pytest.mark.parametrize("tracks", [60, 500])
def test_calibration_rises_and_removes_a_bias(tracks):
    rng = np.random.default_rng(0)
    raw = rng.random(tracks)
    values = np.clip(raw**2 + 0.05 * rng.normal(size=tracks), 0, 1)
    places, heights = _learn_calibration(raw, values)
    assert (np.diff(places) > 0).all()
    assert (np.diff(heights) >= 0).all()
    assert np.abs(np.interp(raw, places, heights) - values).mean() < 0.6 * np.abs(raw - values).mean()


def test_predictions_that_run_against_the_labels_are_flattened():
    raw = np.linspace(0, 1, 100)
    places, heights = _learn_calibration(raw, 1 - raw)
    np.testing.assert_allclose(np.interp(raw, places, heights), 0.5)


def test_intervals_are_wider_where_tracks_of_an_artist_err_together():
    rng = np.random.default_rng(0)
    values = rng.random(400)
    artist = np.repeat(np.arange(20), 20)
    together = values + rng.normal(size=20)[artist] * 0.2
    apart = values + rng.normal(size=400) * 0.2
    widths = []
    for guess in (together, apart):
        row = collect_evidence("valence", values, guess, artist, {"mean": np.full(400, 0.5)}, 0).row(0, named=True)
        assert row["mae_low"] < row["mae"] < row["mae_high"]
        widths.append(row["mae_high"] - row["mae_low"])
    assert widths[0] > 1.5 * widths[1]


def test_reliability_of_true_probabilities_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    guess = rng.random(5_000)
    table = collect_reliability("valence", np.clip(guess + 0.1 * rng.normal(size=5_000), 0, 1), guess)
    assert table.height == 10
    assert table["tracks"].sum() == 5_000
    assert (table["predicted"] - table["observed"]).abs().max() < 0.05


def test_rank_correlation_takes_ties_by_their_mean():
    assert correlate_ranks(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40])) == pytest.approx(1)
    assert correlate_ranks(np.array([1.0, 1, 2]), np.array([3.0, 3, 1])) == pytest.approx(-1)
    assert correlate_ranks(np.ones(3), np.arange(3.0)) == 0


def test_valence_that_people_know_is_partly_explained_by_other_real_features():
    """Tests the machinery on real labels: the inputs are a service's own features, not ours, so the figure says nothing about ours."""
    if not SHARED.is_file():
        pytest.skip("the shared data are not here")
    songs = pl.read_csv(SHARED).unique("track_id", maintain_order=True).sample(1_200, seed=0).filter(pl.col("track_artist").is_not_null())
    inputs = songs.select("danceability", "energy", "tempo", "loudness", "acousticness", "instrumentalness", "speechiness", "liveness")
    row = train(inputs, songs.select("valence"), songs["track_artist"].to_list(), 0).evidence.row(0, named=True)
    assert row["is_better"]
    assert 0.1 < row["r2"] < 0.5
    assert row["calibration_error"] < 0.05
