"""Words that databases hold whoever listens are no identifiers there."""

import pytest

from spotify_ai_assets.maintenance.erasure.cases import Person
from spotify_ai_assets.maintenance.erasure.evidence import look
from spotify_ai_assets.maintenance.erasure.vocabulary import is_own_word, own_words
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.stores import STORES
from spotify_ai_assets.tables import TABLES

WORDS = (
    "success",
    "SUCCESS",
    "Listening",
    "erasure",
    "dagster",
    "listening/plays",
    "listener_id",
    "daily_erasure",
    "ASSET_MATERIALIZATION",
)


@pytest.mark.parametrize("word", WORDS)
def test_what_the_platform_and_its_engines_write_is_its_own(word):
    assert is_own_word(word)


def test_keys_columns_and_stores_are_its_own_and_ids_of_people_are_not():
    assert own_words() >= {
        *TABLES,
        *(store.name for store in STORES),
        *(column.name for each in TABLES.values() for column in each.columns),
    }
    for value in ("user-of-number-7", "zoe.orsted", "5c41d07be5a2836f40b7d9e1c35a68ff", "success_of_anna_1987", "12345678901"):
        assert not is_own_word(value)


@pytest.mark.parametrize("word", ["success", "listening", "erasure"])
def test_such_an_id_is_sought_where_real_ids_are_and_as_a_whole_value(settings: Settings, word):
    texts = {
        "dagster/runs": f'{{"status": "{word}"}}',
        "lake/log": f'["{word}"]',
        "quarantine/theirs": f'{{"user": "{word}", "n": 1}}',
        "quarantine/of somebody else": f'{{"{word}": 1, "note": "a {word} story", "job": "{word}_job"}}',
        "landing/cells.csv": f"a,{word}\n",
    }
    for name, text in texts.items():
        (settings.data / name).parent.mkdir(exist_ok=True)
        (settings.data / name).write_text(text)
    roots = {name: settings.data / name for name in ("dagster", "lake", "quarantine", "landing")}
    found = look(settings, {"0": Person(word)}, roots, databases={})
    assert {f"{hit.store}/{hit.path}" for hit in found.hits} == {"quarantine/theirs", "landing/cells.csv"}
    assert found.by_store["dagster"].hits == found.by_store["lake"].hits == 0
