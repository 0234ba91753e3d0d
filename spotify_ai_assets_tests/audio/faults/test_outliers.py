"""Recordings that are unlike the others of their artist."""

import numpy as np
import pytest

from spotify_ai_assets.audio.faults.outliers import SCHEMA, find_outliers


def artists_of(rng: np.random.Generator, artists: int, tracks: int, spread: float = 0.3) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    vectors, names = {}, {}
    for artist in range(artists):
        centre = rng.normal(0, 1, 16)
        for track in range(tracks):
            vectors[f"{artist}-{track}"] = centre + spread * rng.normal(0, 1, 16)
            names[f"{artist}-{track}"] = f"artist {artist}"
    return vectors, names


def test_a_track_with_another_artists_name_is_found() -> None:
    vectors, names = artists_of(np.random.default_rng(0), 8, 9)
    names["3-4"] = "artist 5"
    found = find_outliers(vectors, names)
    assert found["file_id"].to_list() == ["3-4"]
    row = found.row(0, named=True)
    assert row["artist"] == "artist 5"
    assert row["distance"] > row["usual_distance"]
    assert row["distance"] > row["distance_to_others"]
    assert 0.5 <= row["score"] <= 1


def test_tracks_under_their_own_names_are_no_outliers() -> None:
    vectors, names = artists_of(np.random.default_rng(1), 20, 10)
    assert len(find_outliers(vectors, names)) <= 2


def test_a_track_unlike_all_others_is_unusual_but_not_wrong() -> None:
    vectors, names = artists_of(np.random.default_rng(2), 1, 12)
    vectors["0-0"] = -vectors["0-0"]
    assert find_outliers(vectors, names).is_empty()


def test_artists_with_few_tracks_are_not_judged() -> None:
    vectors, names = artists_of(np.random.default_rng(3), 6, 4)
    names["0-0"] = "artist 1"
    judged = find_outliers(vectors, names, least_score=0)
    assert set(judged["artist"]) == {"artist 1"}


def test_the_norm_of_a_vector_does_not_matter() -> None:
    vectors, names = artists_of(np.random.default_rng(4), 5, 8)
    names["1-1"] = "artist 2"
    longer = {name: vector * (1 + int(name[-1])) for name, vector in vectors.items()}
    assert find_outliers(vectors, names)["file_id"].to_list() == find_outliers(longer, names)["file_id"].to_list()


def test_equal_tracks_do_not_divide_by_their_scatter() -> None:
    vectors = {f"{number}": np.ones(4) for number in range(8)}
    judged = find_outliers(vectors, dict.fromkeys(vectors, "one"), least_score=0)
    assert judged["score"].is_finite().all()
    assert (judged["score"] < 0.5).all()


def test_nobody_has_no_outliers() -> None:
    found = find_outliers({}, {})
    assert found.is_empty()
    assert dict(found.schema) == SCHEMA
    assert find_outliers({"a": np.ones(3)}, {}).is_empty()


def test_vectors_that_are_not_finite_and_too_few_tracks_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        find_outliers({"a": np.array([np.nan, 1])}, {"a": "one"})
    with pytest.raises(ValueError, match="at least 5"):
        find_outliers({}, {}, least_tracks=2)
