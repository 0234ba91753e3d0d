"""The three READMEs say the same, and what they say is true of the code."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer.main
from invented import day, listens

from spotify_ai_assets.cli import app
from spotify_ai_assets.listening import assets, contracts
from spotify_ai_assets.listening.contracts import PLAYS
from spotify_ai_assets.listening.formats import FORMATS
from spotify_ai_assets.listening.plays import clean_plays
from spotify_ai_assets.making import Inputs, make_partitions
from spotify_ai_assets.partitions import FIRST_DAY
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.resources.warehouse import Warehouse
from spotify_ai_assets.settings import ROOT
from spotify_ai_assets.staleness import Ledger
from spotify_ai_assets.tables import TABLES

FILES = ("README.md", "README.de.md", "README.fr.md")
every_readme = pytest.mark.parametrize("name", FILES)


@cache
def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_blocks(name: str, language: str | None = None) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", read(name), re.MULTILINE | re.DOTALL)
    return [code for told, code in found if language in (None, told)]


def without_comments(code: str) -> str:
    return re.sub(r"\s*# .*$", "", code, flags=re.MULTILINE)


def shell_lines(name: str) -> list[str]:
    return [line for code in code_blocks(name, "sh") for line in without_comments(code).splitlines() if line]


def commands() -> dict[tuple[str, ...], Any]:
    """Each command of ``spotify-ai`` by its words."""

    def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, command in getattr(group, "commands", {}).items():
            yield (*words, name), command
            yield from walk(command, (*words, name))

    found = dict(walk(typer.main.get_command(app), ()))
    return {words: command for words, command in found.items() if not getattr(command, "commands", None)}


def used_variables() -> set[str]:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "spotify_ai_assets").rglob("*.py")]
    return {name for source in sources for name in re.findall(r"SPOTIFY_AI_[A-Z_]*[A-Z]", source)}


@pytest.mark.parametrize("name", FILES[1:])
def test_a_translation_has_the_same_headings_in_the_same_order(name: str) -> None:
    levels = [re.findall(r"^(#+) ", re.sub(r"^```.*?^```$", "", read(each), flags=re.M | re.S), re.M) for each in (FILES[0], name)]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 10


@pytest.mark.parametrize("name", FILES[1:])
def test_a_translation_has_the_same_code(name: str) -> None:
    assert [without_comments(code) for code in code_blocks(name)] == [without_comments(code) for code in code_blocks(FILES[0])]


@pytest.mark.parametrize("name", FILES[1:])
def test_a_translation_has_the_same_rows_in_its_tables(name: str) -> None:
    rows = [re.findall(r"^\| (`.*?) \|", read(each), re.MULTILINE) for each in (FILES[0], name)]
    assert rows[0] == rows[1]


@every_readme
def test_every_command_is_shown_and_every_shown_one_exists(name: str) -> None:
    known, shown = commands(), set()
    for line in shell_lines(name):
        first, *words = shlex.split(line.partition(" | ")[0])
        if first != "spotify-ai":
            continue
        path = next((path for path in known if tuple(words[: len(path)]) == path), None)
        assert path, f"no such command: {line}"
        options = {option for parameter in known[path].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
        shown.add(path)
    assert shown == set(known)
    told = {tuple(words.split()) for words in re.findall(r"`spotify-ai ([a-z ]+)", read(name))}
    assert {words[0] for words in told} <= {path[0] for path in known}


@every_readme
def test_every_variable_is_documented_and_every_documented_one_is_used(name: str) -> None:
    assert set(re.findall(r"SPOTIFY_AI_[A-Z_]*[A-Z]", read(name))) == used_variables()
    in_the_table = re.findall(r"^\| `(SPOTIFY_AI_[A-Z_]+)` \|", read(name), re.MULTILINE)
    assert set(in_the_table) == used_variables()


@every_readme
def test_every_make_target_is_shown_and_every_shown_one_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"(?:^|`|=1 )make ([a-z-]+)", read(name), re.MULTILINE))
    assert shown == targets


@every_readme
def test_every_table_and_every_format_is_listed(name: str) -> None:
    listed = {word for row in re.findall(r"^\| (`.*?) \|", read(name), re.MULTILINE) for word in re.findall(r"`([^`]+)`", row)}
    assert set(TABLES) <= listed
    assert {form.name for form in FORMATS} <= listed


@every_readme
def test_every_file_that_is_linked_or_run_is_there(name: str) -> None:
    linked = re.findall(r"\]\((?!http)([^)]+)\)", read(name))
    assert {"LICENSE", "CHANGELOG.md"} <= set(linked)
    assert [path for path in [*linked, ".ci/run"] if not (ROOT / path).is_file()] == []


def test_the_picture_is_the_graph() -> None:
    (picture,) = code_blocks(FILES[0], "mermaid")
    keys = dict(re.findall(r'^\s*(\w+)\["([a-z_/]+)"\]$', picture, re.MULTILINE))
    assert set(keys.values()) == set(TABLES)
    drawn = {
        (keys[source], keys[target])
        for sources, targets in re.findall(r"^\s*(\w[\w &]*) --> (\w[\w &]*)$", picture, re.MULTILINE)
        for source in sources.split(" & ")
        for target in targets.split(" & ")
        if source in keys
    }
    assert drawn == {(reads.key, key) for key, table in TABLES.items() for reads in table.reads if reads.key != key}
    landed = {
        name
        for names in re.findall(r"^\s*(?:import_landing|audio_intake|block|keeping) --> (.*)$", picture, re.MULTILINE)
        for name in names.split(" & ")
    }
    assert {keys[node] for node in landed} == {key for key, table in TABLES.items() if not table.reads}


def test_the_sql_examples_run(lake: Lake) -> None:
    queries = [words[-1] for line in shell_lines(FILES[0]) if (words := shlex.split(line))[:2] == ["spotify-ai", "sql"]]
    assert len(queries) == 2
    assert [Warehouse(lake).query(query).height for query in queries] == [0, 0]


def test_the_notebook_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    *lines, last = code_blocks(FILES[0], "python")[0].splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"plays = {last}"]), names)
    assert names["plays"].schema == {name: TABLES["listening/plays"].schema[name] for name in ("day", "country", "played_ms")}


def test_the_example_of_a_new_asset_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, contract, function, asset = code_blocks(FILES[0], "python")
    names: dict[str, Any] = dict(vars(contracts))
    exec(contract, names)
    table = names["HOUR_DAYS"]
    monkeypatch.setattr(contracts, "HOUR_DAYS", table, raising=False)
    exec(function, hours := {})
    exec(asset, declared := vars(assets) | {"HOUR_DAYS": table, **hours})
    assert declared["hour_days"].key.to_user_string() == table.key

    lake = Lake(str(tmp_path), {**TABLES, table.key: table}, FileLocks(tmp_path / "locks"))
    for number in (0, 1):
        lake.write(PLAYS.key, clean_plays(listens(day(number)), day(number)), day(number))

    def make(read: Inputs) -> pl.DataFrame:
        return hours["count_hours"](read(PLAYS.key), read.day)

    upstream = {**lake.tables, PLAYS.key: replace(PLAYS, reads=())}  # plays are given here, not made
    monkeypatch.setattr(lake, "tables", upstream)
    made = list(make_partitions(table, make, [day(0), day(1)], lake, Ledger(lake.states), Origin(), only_stale=True))
    assert [each.reason for each in made] == ["", ""]
    assert lake.scan(table.key).select(pl.sum("plays"), pl.max("hour")).collect().row(0) == (120, 23)


def test_the_first_partition_is_the_one_that_is_told() -> None:
    assert all(FIRST_DAY.isoformat() in read(name) for name in FILES)
