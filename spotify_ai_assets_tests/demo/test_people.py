import numpy as np
import pytest

from spotify_ai_assets.demo.music import GENRES, compose_music
from spotify_ai_assets.demo.people import EXPORTERS, NATIVE, PARQUET, gather_people, pick_genres


@pytest.mark.parametrize(("scale", "count"), [(0.02, 80), (1.0, 1_500), (4.0, 4_243)])
def test_listeners_grow_with_the_scale_but_slower(scale: float, count: int) -> None:
    assert gather_people(0, scale, compose_music(0, scale)).listeners == count


def test_most_of_what_is_heard_arrives_in_the_native_format() -> None:
    people = gather_people(0, 1.0, compose_music(0, 1.0))
    assert people.activity.sum() == pytest.approx(1.0)
    assert people.activity[people.route == NATIVE].sum() == pytest.approx(0.85)
    assert people.activity[people.route == PARQUET].sum() == pytest.approx(0.09)
    assert set(people.route[: len(EXPORTERS)]) == set(EXPORTERS)
    assert len(set(people.ids)) == people.listeners


def test_listeners_prefer_their_planted_taste() -> None:
    people = gather_people(0, 1.0, music := compose_music(0, 1.0))
    listener = np.repeat(np.arange(people.listeners), 20)
    genre = pick_genres(people, listener, np.random.default_rng(0).random(len(listener)))
    assert 0.6 < (genre == people.cluster[listener]).mean() < 0.8
    assert 0.6 < (music.genre[people.favourites] == people.cluster[:, None]).mean() < 0.8
    assert set(people.cluster) == set(range(len(GENRES)))


def test_an_admitted_account_changes_no_listener() -> None:
    people = gather_people(0, 0.1, compose_music(0, 0.1))
    more = people.admit(["x", "y"], ["IS", "DE"], [NATIVE, NATIVE])
    assert more.listeners == people.listeners
    assert more.ids[: people.listeners] == people.ids
    assert [more.countries[place] for place in more.country[-2:]] == ["IS", "DE"]
