import polars as pl
import pytest

from spotify_ai_assets.demo.music import GENRES, compose_music
from spotify_ai_assets.demo.people import gather_people
from spotify_ai_assets.demo.scoring_recommendations import planted_tastes, score_recommendations
from spotify_ai_assets.recommendations.contracts import FOR_LISTENERS, INTERACTIONS

ARTISTS = pl.DataFrame({"artist_id": ["j1", "j2", "m1", "m2", "none"], "genre": ["jazz", "jazz", "metal", "metal", None]})
TASTES = pl.DataFrame({"listener_id": ["a", "b"], "taste": ["jazz", "metal"]})
PLAYED = {"a": ["j1"], "b": ["m1"], "c": ["j1", "m1"]}
"""What each listener likes; ``c`` is nobody whose taste was planted."""


def artist(track: str) -> str:
    return track.partition(" ")[0]


def interactions(played: dict[str, list[str]], value: float = 1.0) -> pl.DataFrame:
    rows = [(listener, track, artist(track), value) for listener, tracks in played.items() for track in tracks]
    columns = {name: INTERACTIONS.schema[name] for name in ("listener_id", "track_id", "artist_id", "value")}
    return pl.DataFrame(rows, schema=columns, orient="row")


def shelves(**found: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(listener, shelf, artist(track)) for shelf, each in found.items() for listener, tracks in each.items() for track in tracks]
    return pl.DataFrame(rows, schema={name: FOR_LISTENERS.schema[name] for name in ("listener_id", "shelf", "artist_id")}, orient="row")


OWN = {"a": ["j1", "j2"], "b": ["m1", "m2"]}
OTHERS = {"a": ["m1", "m2"], "b": ["j1", "j2"]}


def score(found: pl.DataFrame, played: dict[str, list[str]] = PLAYED, k: int = 20) -> dict[str, float | int]:
    return score_recommendations(found, interactions(played), ARTISTS, TASTES, k)


def test_shelves_of_ones_own_genre_score_one_and_of_another_zero() -> None:
    found = score(shelves(discovery=OWN, daily_mix=OTHERS))
    assert (found["discovery"], found["daily_mix"], found["listeners"]) == (1.0, 0.0, 2)
    half = score(shelves(discovery={"a": ["j1", "m1"], "b": ["m1", "m2"]}, daily_mix=OWN))
    assert (half["discovery"], half["daily_mix"]) == (0.75, 1.0)


def test_every_listener_counts_the_same_however_long_their_shelf() -> None:
    found = score(shelves(discovery={"a": ["j1"] * 9, "b": ["j1"]}))
    assert found["discovery"] == 0.5


def test_other_shelves_do_not_count_and_one_that_is_absent_scores_zero() -> None:
    found = score(shelves(discovery=OWN, fresh_releases=OTHERS))
    assert found["discovery"] == 1.0 and found["daily_mix"] == 0.0


def test_listeners_without_a_planted_taste_and_artists_without_a_genre_do_not_count() -> None:
    found = score(shelves(discovery={**OWN, "c": ["j1", "m1"], "a": ["j1", "none"]}))
    assert found["discovery"] == 1.0 and found["listeners"] == 2


def test_what_is_popular_scores_zero_with_those_of_another_genre() -> None:
    played = {f"{number}": ["m1", "m2"] for number in range(9)}
    only_a = shelves(daily_mix={"a": ["j1"]})
    found = score(only_a, {**played, "a": ["j1"]}, k=2)
    assert (found["daily_mix"], found["popular"], found["popular_unheard"]) == (1.0, 0.0, 0.0)
    assert found["chance"] == pytest.approx(1 / 3, abs=1e-4) and found["listeners"] == 1


def test_the_popular_that_a_listener_has_heard_gives_way_to_what_follows_beside_discovery_only() -> None:
    played = {"a": ["m1"], "1": ["m1"], "2": ["m1", "j2"], "3": ["m1", "j2"], "4": ["j1"]}
    found = score(shelves(discovery={"a": ["j1"]}), played, k=1)
    assert (found["popular"], found["popular_unheard"]) == (0.0, 1.0)


def test_plays_of_no_worth_make_nothing_popular_or_heard() -> None:
    liked, skipped = interactions({"1": ["j1"], "2": ["j1"]}), interactions({"a": ["j1"], "3": ["m1"], "4": ["m1"], "5": ["m1"]}, -0.2)
    found = score_recommendations(shelves(discovery={"a": ["j1"]}), pl.concat([liked, skipped]), ARTISTS, TASTES, k=1)
    assert (found["popular"], found["popular_unheard"], found["chance"]) == (1.0, 1.0, 1.0)


def test_an_empty_world_scores_zero() -> None:
    found = score(shelves(), {})
    assert set(found.values()) == {0}


def test_the_planted_tastes_of_a_seed_are_the_clusters_of_its_people() -> None:
    tastes = planted_tastes(7, 0.01)
    people = gather_people(7, 0.01, compose_music(7, 0.01))
    assert list(tastes) == people.ids[: people.listeners] and len(tastes) == people.listeners
    assert list(tastes.values()) == [GENRES[each] for each in people.cluster] and len(set(tastes.values())) > 3
    assert planted_tastes(7, 0.01) == tastes != planted_tastes(8, 0.01)
