"""The platform's own vocabulary: words that databases, logs and files hold whoever listens, so that they say nothing of a person.

Somebody may call themselves ``success`` or ``listening``. Dagster's databases are full of the one, the keys of tables of the other;
to seek them there proves nothing, and to strike them destroys the databases. Whatever the platform, Dagster and MLflow write of
their own accord stands in their source: keys of tables and their parts, columns, jobs, ops, resources, schedules, statuses, types of
events, names of stores and fields.
"""

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from spotify_ai_assets.stores import STORES
from spotify_ai_assets.tables import TABLES

_WORD = re.compile(r"[^\W\d]\w*")
_SOURCES = (("spotify_ai_assets", ""), ("dagster", ""), ("mlflow", "entities"), ("mlflow", "store"))
"""Packages, and folders in them, whose words are in what they write."""


def is_own_word(value: str) -> bool:
    """Whether a value is a word that the platform, Dagster or MLflow writes of its own accord, in upper or lower case."""
    return value.strip().casefold() in own_words()


@cache
def own_words() -> frozenset[str]:
    """All words of the vocabulary in lower case: those of the sources, and names that are made of several."""
    words = {store.name for store in STORES}
    for table in TABLES.values():
        words |= {table.key, table.key.replace("/", "."), *table.key.split("/"), *(column.name for column in table.columns)}
    for package, folder in _SOURCES:
        for path in _modules(package, folder):
            words.update(_WORD.findall(path.read_text(errors="replace")))
    return frozenset(each.casefold() for each in words)


def _modules(package: str, folder: str) -> Iterator[Path]:
    """The modules of a package, which is not imported for that; of the platform's own not those of the demo, whose people are invented."""
    found = importlib.util.find_spec(package)
    for root in (found.submodule_search_locations if found else None) or ():
        for path in (Path(root) / folder).rglob("*.py"):
            if not path.is_relative_to(Path(root) / "demo"):
                yield path
