import pytest
from demo_worlds import DAYS, FIRST, SCALE, SEED, Cast, World, make_world

from spotify_ai_assets.demo.music import compose_music
from spotify_ai_assets.demo.people import gather_people
from spotify_ai_assets.demo.planted import hide


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), seed=SEED, scale=SCALE, days=DAYS)


@pytest.fixture(scope="session")
def clean_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("clean"), seed=SEED, scale=SCALE, days=DAYS, clean=True)


@pytest.fixture(scope="session")
def cast() -> Cast:
    music = compose_music(SEED, SCALE)
    plan, people = hide(SEED, SCALE, FIRST, DAYS, music, gather_people(SEED, SCALE, music))
    return Cast(music, people, plan)
