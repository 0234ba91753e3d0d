"""The command line: help in three languages, exit status, JSON, and text from outside that stays text."""

import gzip
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from spotify_ai_assets import cli, locale
from spotify_ai_assets.locale import translate
from spotify_ai_assets.settings import LANGUAGES, ROOT
from spotify_ai_assets.tables import TABLES

GROUP = re.compile(r"spotify_ai_assets\.(terminal|\w+_cli)")
"""The modules of which the command line is made."""

HELP_OF_TYPER = {"help", "install_completion", "show_completion"}
"""Options whose texts are typer's own."""

MISUSES = (
    ["frobnicate"],
    ["sql"],
    ["status", "surplus"],
    ["status", "--frobnicate"],
    ["import"],
    ["import", "not-there.json"],
    ["demo", "--scale", "0"],
    ["demo", "--days", "none"],
    ["backfill", "frobnicate"],
    ["backfill", "plan", "--from", "2026-02-30"],
    ["lake", "frobnicate"],
)


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty data folder with an instance of its own, for all tests here."""
    folder, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("home")
    configuration = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    del configuration["python_logs"]  # nothing closes the log file before its process ends
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOTIFY_AI_DATA", str(folder))
        patch.setenv("SPOTIFY_AI_PSEUDONYM_SEED", "test")
        patch.setenv("DAGSTER_HOME", str(home))
        yield folder


def run(*arguments: str, module: ModuleType = cli) -> Any:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(module.app, list(arguments))


def load() -> ModuleType:
    """Another copy of the command line and of its groups: their texts are chosen when they are imported."""
    locale._language_of_settings.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        groups = [name for name in sys.modules if GROUP.fullmatch(name)]
        for group in groups:
            patch.delitem(sys.modules, group)
        spec = importlib.util.spec_from_file_location("another_cli", cli.__file__)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for group in groups:
            del sys.modules[group]
    locale._language_of_settings.cache_clear()
    return module


def in_language(language: str) -> ModuleType:
    """A copy whose texts are of another language."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOTIFY_AI_LANG", language)
        return load()


def helps(module: ModuleType) -> dict[str, str]:
    """The help of each group, command, argument and option by its words."""
    found = {}

    def walk(command: Any, words: str) -> None:
        found[words] = command.help
        for parameter in command.params:
            if parameter.name not in HELP_OF_TYPER:
                found[f"{words} {parameter.opts[0]}"] = parameter.help
        for name, below in getattr(command, "commands", {}).items():
            walk(below, f"{words} {name}")

    walk(typer.main.get_command(module.app), "spotify-ai")
    return found


@pytest.fixture(scope="module")
def english() -> dict[str, str]:
    return helps(in_language("en"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_has_help_in_each_language(language: str, english: dict[str, str]) -> None:
    module = in_language(language)
    found = helps(module)

    assert found == {words: translate(text, language) for words, text in english.items()}
    assert all(found.values())
    assert [words for words in found if (found[words] == english[words]) != (language == "en")] == []
    shown = run("backfill", "run", "--help", module=module)
    assert shown.exit_code == 0
    assert " ".join(found["spotify-ai backfill run"].split()) in " ".join(shown.stdout.split())


@pytest.mark.parametrize("arguments", MISUSES, ids=" ".join)
def test_a_misuse_ends_with_status_2(arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sql", "delete from listening.plays"], "QueryError: a query is one SELECT"),
        (["sql", "select 1; select 2"], "QueryError: 2 statements"),
        (["sql", "select * from read_csv('/etc/passwd')"], "QueryError: "),
        (["sql", 'select "[/bold]" from listening.plays'], 'QueryError: Binder Error: Referenced column "[/bold]"'),
        (["backfill", "plan", "--select", "nonsense"], "MissingInputError: no table that is made from others is called nonsense"),
    ],
    ids=["delete", "two", "file", "unknown column", "unknown table"],
)
def test_what_fails_ends_with_status_1_and_one_sentence(arguments: list[str], said: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(said)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("SPOTIFY_AI_LANG", "tlh"), ("SPOTIFY_AI_KEEP_LANDING_DAYS", "-1"), ("SPOTIFY_AI_LAKE", "/a%b")]
)
def test_an_unusable_setting_is_told_in_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    result = run("status", module=load())

    assert result.exit_code == 1
    assert result.stderr.startswith("SettingsError: ")
    assert result.stderr.count("\n") == 1


def test_a_refused_statement_is_told_in_one_line() -> None:
    assert run("sql", "drop table listening.plays").stderr.count("\n") == 1


def test_sql_prints_json() -> None:
    result = run("sql", "--json", "select 'Ä [b]' as name, 1 as number union all select null, 2 order by number")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == [{"name": "Ä [b]", "number": 1}, {"name": None, "number": 2}]


def test_sql_prints_a_table_of_at_most_200_rows() -> None:
    result = run("sql", "select range as number from range(300)")

    assert "│ 199 " in result.stdout
    assert "│ 200 " not in result.stdout
    assert result.stderr.startswith("300 rows")


def test_a_value_that_looks_like_markup_is_printed_as_it_is() -> None:
    result = run("sql", "select '[/b] [red]x :smile:' as name")

    assert result.exit_code == 0
    assert "[/b] [red]x :smile:" in result.stdout


def test_status_prints_json_of_every_table() -> None:
    result = run("status", "--json")

    assert result.exit_code == 0
    assert [table["table"] for table in json.loads(result.stdout)["tables"]] == list(TABLES)


def test_status_prints_a_table_too() -> None:
    result = run("status")

    assert result.exit_code == 0
    assert all(key in result.stdout for key in TABLES)


def test_nothing_is_stale_in_an_empty_lake() -> None:
    told, planned, made = run("backfill", "plan"), run("backfill", "plan", "--json"), run("backfill", "run", "--json")

    assert told.stdout == "Nothing is stale.\n"
    assert json.loads(planned.stdout) == {"stale": [], "seconds": {}}
    assert json.loads(made.stdout) == {"days": 0, "made": 0, "changed": 0, "refused": {}, "failed": {}, "runs": []}
    assert (told.exit_code, planned.exit_code, made.exit_code) == (0, 0, 0)


def test_the_care_of_an_empty_lake_finds_nothing() -> None:
    assert run("lake", "mend").stdout == "Everything is whole.\n"
    assert json.loads(run("lake", "vacuum", "--dry-run", "--json").stdout) == dict.fromkeys(TABLES, 0)


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SPOTIFY_AI_LISTENER", "nobody")
    return tmp_path


def test_an_import_tells_what_became_of_each_file(own_data: Path) -> None:
    fields = {"user_id": "someone", "started_at": "2026-03-02T10:00:00Z", "track_name": "Amber Lanes", "artist_name": "Nine Kites"}
    lines = [fields, fields, {**fields, "started_at": "yesterday"}]
    listens = own_data / "listens [1].jsonl.gz"
    listens.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    (own_data / "notes.txt").write_text("no data\n")

    imported = run("import", "--json", str(listens), str(own_data / "notes.txt"))

    assert imported.exit_code == 0
    first, second = json.loads(imported.stdout)["files"]
    assert first == {"file": str(listens), "format": "native_jsonl", "rows": 3, "stored": 1, "duplicate": 1, "rejected": 1, "reason": None}
    assert (second["format"], second["reason"]) == (None, "not_a_listening_file")
    planned = json.loads(run("backfill", "plan", "--json", "--select", "listening/plays").stdout)
    assert planned["stale"] == [{"table": "listening/plays", "partition": "2026-03-02", "reasons": ["never made"]}]


def test_the_listener_of_an_import_owns_what_names_nobody(own_data: Path) -> None:
    history = own_data / "StreamingHistory_music_0.json"
    history.write_text(json.dumps([{"endTime": "2026-03-02 10:00", "artistName": "A", "trackName": "T", "msPlayed": 40_000}]))

    for name in ("anna", "bert", "anna"):
        assert run("import", "--listener", name, str(history)).exit_code == 0

    counted = run("sql", "--json", "select count(distinct listener_id) as listeners, count(*) as listens from listening.events")
    assert json.loads(counted.stdout) == [{"listeners": 2, "listens": 2}]


def test_a_year_of_one_listener_is_reviewed_and_written_as_a_page(own_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "listens.jsonl"
    rows = [
        {
            "user_id": user,
            "started_at": f"2025-03-{number % 28 + 1:02d}T10:00:00Z",
            "track_name": f"Song {number % 5}",
            "artist_name": "A\x1b[2J",
        }
        for user in ("anna", "ben")
        for number in range(40)
    ]
    file.write_text("\n".join(json.dumps(row | {"played_ms": 60_000}) for row in rows))
    assert run("import", str(file), "--json").exit_code == 0
    page = tmp_path / "year.html"
    done = run("review", "--listener", "anna", "--year", "2025", "--page", str(page), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    (total,) = [row for row in told["rows"] if row["section"] == "total"]
    assert (told["first"], told["last"], total["streams"], total["listeners"]) == ("2025-01-01", "2025-12-31", 40, 1)
    assert "listener_id" not in total
    assert "Song 1" in page.read_text()
    assert page.stat().st_mode & 0o077 == 0, "a listener's own page is for its owner"
    everybody = json.loads(run("review", "--from", "2025-03-01", "--to", "2025-03-10", "--json").stdout)
    (total,) = [row for row in everybody["rows"] if row["section"] == "total"]
    assert (total["streams"], total["listeners"], total["days"]) == (40, 2, 10)
    shown = run("review").stdout
    assert "Song 1" in shown
    assert "\x1b" not in shown, "a name says nothing to the terminal"
    within = json.loads(run("review", "--year", "2025", "--from", "2025-03-05", "--json").stdout)
    assert (within["first"], within["last"]) == ("2025-03-05", "2025-12-31")
    backwards = run("review", "--from", "2025-03-10", "--to", "2025-03-01")
    assert backwards.exit_code == 1
    assert "no day lies in this range" in backwards.stderr
    unknown = run("review", "--listener", "nobody")
    assert unknown.exit_code == 1
    assert "nobody" not in unknown.stderr
