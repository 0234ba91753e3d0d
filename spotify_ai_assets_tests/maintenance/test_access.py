"""An export holds everything about one person, exactly, and nothing of anybody else."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from invented import day, land, listens
from taste_world import GROUP, TasteWorld, listener_id
from typer.testing import CliRunner

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.listening.contracts import EVENTS, KEPT_FILES, PLAYS
from spotify_ai_assets.maintenance import access
from spotify_ai_assets.maintenance.access import Exported, export_person, find_learnt, rows_of
from spotify_ai_assets.recommendations.realtime.live import LivePlay, open_live
from spotify_ai_assets.resources import open_lake, open_vault
from spotify_ai_assets.resources.audit import open_audit, open_ledger
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import LANGUAGES, Settings
from spotify_ai_assets.tables import TABLES

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
PEOPLE = ("ada", "<b>bob</b>", "carol-with-a-long-id")
FORMULA = '=HYPERLINK("http://evil.example";"click")'


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """Listens, plays, shelves and kept files of three people."""
    made = open_lake(settings, TABLES)
    pseudonyms = open_vault(settings).swap(PEOPLE)
    swapped = pl.col("listener_id").replace_strict({f"{number:032x}": pseudonyms[name] for number, name in enumerate(PEOPLE)})
    for number in range(2):
        rows = listens(day(number), listeners=len(PEOPLE)).with_columns(swapped)
        made.write(EVENTS.key, rows.with_columns(track_name=pl.lit(FORMULA), album_name=pl.lit("a\x00\r\n\u202eb")), day(number))
    kept = {"file_sha256": [f"{number:064x}" for number in range(3)], "listener_id": list(pseudonyms.values()), "kept_at": [NOW] * 3}
    made.write(KEPT_FILES.key, pl.DataFrame(kept, schema=KEPT_FILES.schema))
    shelves = TABLES["recommendations/for_listeners"]
    for name in PEOPLE:
        row = {column: _value(dtype) for column, dtype in shelves.schema.items()}
        row |= {"listener_id": pseudonyms[name], "shard": f"{PEOPLE.index(name):02}", "because": ["t1", "t2"], "shares": [0.25, 0.75]}
        row |= {column.name: column.allowed[0] for column in shelves.columns if column.allowed}
        made.write(shelves.key, pl.DataFrame([row], schema=shelves.schema), row["shard"])
    return made


def _value(dtype: pl.DataType) -> Any:
    return {pl.String: "x", pl.Int64: 1, pl.Int32: 1, pl.Float64: 0.5, pl.Float32: 0.5}.get(type(dtype))


def export(settings: Settings, lake: Lake, listener: str, name: str = "out.zip") -> tuple[Exported, dict[str, bytes]]:
    target = settings.data / "exports" / name
    done = export_person(listener, target, settings=settings, lake=lake, vault=open_vault(settings), now=NOW)
    assert target.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        return done, {each: archive.read(each) for each in archive.namelist()}


def test_it_holds_every_row_of_the_person_exactly_and_counts_them(settings: Settings, lake: Lake) -> None:
    done, files = export(settings, lake, "ada")
    pseudonym = open_vault(settings).find("ada")
    assert done.is_known
    assert done.files == len(files)
    expected = {}
    for key, table in TABLES.items():
        for column in (each.name for each in table.columns if each.personal == "pseudonym"):
            if rows := lake.scan(key).filter(pl.col(column) == pseudonym).collect().height:
                expected[key] = rows
    assert dict(done.tables) == expected
    assert set(expected) == {EVENTS.key, KEPT_FILES.key, "recommendations/for_listeners"}
    mine = lake.scan(EVENTS.key).filter(pl.col("listener_id") == pseudonym).collect().sort("day", *EVENTS.primary_key)
    told = json.loads(files["tables/listening.events.json"])
    restored = pl.DataFrame(told, schema={name: pl.String if dtype.is_temporal() else dtype for name, dtype in EVENTS.schema.items()})
    as_text = mine.with_columns(
        pl.col("day").cast(pl.String), pl.col("started_at").map_elements(lambda at: at.isoformat(), return_dtype=pl.String)
    )
    assert restored.equals(as_text), "each value, control characters and directions of text among them"
    assert json.loads(files["profile.json"]) == {"listener": "ada", "pseudonym": pseudonym, "exported_at": NOW.isoformat()}


def test_it_holds_nothing_of_anybody_else(settings: Settings, lake: Lake) -> None:
    vault = open_vault(settings)
    for name in PEOPLE:
        _, files = export(settings, lake, name)
        whole = b"".join(files.values())
        for other in set(PEOPLE) - {name}:
            pseudonym = vault.find(other)
            assert pseudonym is not None
            assert pseudonym.encode() not in whole
            if other != "ada":  # three letters are part of other words
                assert other.encode() not in whole


def test_csv_says_the_same_and_no_cell_is_a_formula(settings: Settings, lake: Lake) -> None:
    _, files = export(settings, lake, "ada")
    tables = {name.removesuffix(".csv") for name in files if name.endswith(".csv")}
    assert tables == {name.removesuffix(".json") for name in files if name.startswith("tables/") and name.endswith(".json")}
    for name in tables:
        told = json.loads(files[f"{name}.json"])
        rows = list(csv.DictReader(io.StringIO(files[f"{name}.csv"].decode())))
        assert len(rows) == len(told)
        assert all(list(row) == list(each) for row, each in zip(rows, told, strict=True))
        for row in rows:
            for cell in row.values():
                assert not cell.startswith(("=", "+", "@", "\t", "\r"))
                assert not cell.startswith("-") or float(cell)
    events = list(csv.DictReader(io.StringIO(files["tables/listening.events.csv"].decode())))
    assert {row["track_name"] for row in events} == {f"'{FORMULA}"}
    shelves = list(csv.DictReader(io.StringIO(files["tables/recommendations.for_listeners.csv"].decode())))
    assert json.loads(shelves[0]["because"]) == ["t1", "t2"]


def test_the_page_explains_each_table_in_three_languages_and_is_harmless(settings: Settings, lake: Lake) -> None:
    _, files = export(settings, lake, "<b>bob</b>")
    page = files["index.html"].decode()
    assert "<b>" not in page
    assert page.count("&lt;b&gt;bob&lt;/b&gt;") == 1 + len(LANGUAGES)
    assert "default-src 'none'" in page
    assert "<script" not in page
    for language in LANGUAGES:
        assert f'<section id="{language}" lang="{language}">' in page
    for name in files.keys() - {"index.html"}:
        if name.startswith("tables/"):
            assert page.count(f'href="{name}"') == len(LANGUAGES)
        else:
            assert page.count(f"<code>{name}</code>") == len(LANGUAGES)
    assert page.count("Pseudonym of the listener.") == 3 * len(LANGUAGES)


def test_what_lies_outside_of_tables_is_in_it(settings: Settings, lake: Lake) -> None:
    pseudonym = open_vault(settings).find("ada")
    assert pseudonym is not None
    live = open_live(settings)
    live.put({pseudonym: [LivePlay(1, "spotify:x", 1.0, NOW)], "f" * 32: [LivePlay(2, "spotify:y", 1.0, NOW)]}, NOW)
    live.close()
    for folder in ("listener=ada", "deep/listener=ada/more", "listener=ada2"):
        (settings.landing / folder).mkdir(parents=True)
        (settings.landing / folder / "file.json").write_text("{}")
    hashed = Suppression(settings).hash("user", "ada")
    ledger = open_ledger(settings)
    ledger.append("requested", {"request": "1", "user": hashed, "pseudonym": "0" * 64})
    ledger.append("requested", {"request": "2", "user": "1" * 64, "pseudonym": "2" * 64})
    _, files = export(settings, lake, "ada")
    assert [each["track_id"] for each in json.loads(files["played_lately.json"])] == ["spotify:x"]
    assert [each["file"] for each in json.loads(files["waiting_files.json"])] == [
        "deep/listener=ada/more/file.json",
        "listener=ada/file.json",
    ]
    assert [each["body"]["request"] for each in json.loads(files["records.json"])] == ["1"]
    _, files = export(settings, lake, "ada")
    assert [each["kind"] for each in json.loads(files["records.json"])] == ["requested", "exported"], "the first export is told of"


def test_an_export_is_recorded_without_the_person(settings: Settings, lake: Lake) -> None:
    done, _ = export(settings, lake, "carol-with-a-long-id")
    record = open_audit(settings).newest("exported")
    assert record is not None
    assert record.body["figures"]["rows"] == sum(done.tables.values())
    assert "carol" not in json.dumps(record.as_json())
    assert record.body["subject"] == Suppression(settings).hash("user", "carol-with-a-long-id")


def test_of_somebody_unknown_it_says_that_nothing_is_held_and_makes_no_pseudonym(settings: Settings, lake: Lake) -> None:
    done, files = export(settings, lake, "nobody")
    assert not done.is_known
    assert dict(done.tables) == {}
    assert "Nothing is held about you." in files["index.html"].decode()
    assert json.loads(files["profile.json"])["pseudonym"] is None
    assert open_vault(settings).find("nobody") is None
    assert not (settings.data / "live").exists()


def test_half_of_the_truth_is_no_answer(settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = export(settings, lake, "ada")

    def away(*_: object) -> None:
        raise TransientError("the live store does not answer")

    monkeypatch.setattr(access, "_played_lately", away)
    with pytest.raises(TransientError):
        export(settings, lake, "ada")
    with zipfile.ZipFile(settings.data / "exports" / "out.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == before
    assert [path.name for path in (settings.data / "exports").iterdir()] == ["out.zip"]


def test_tables_without_rows_of_the_person_are_left_out(lake: Lake) -> None:
    land(lake, range(5, 6))
    assert [table.key for table, _ in rows_of(lake, f"{1:032x}")] == [EVENTS.key]
    assert PLAYS.key not in [table.key for table, _ in rows_of(lake, f"{1:032x}")]


def test_the_command_writes_the_zip_and_tells_what_is_in_it(
    settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from spotify_ai_assets.cli import app

    monkeypatch.setenv("SPOTIFY_AI_DATA", str(settings.data))
    monkeypatch.setenv("SPOTIFY_AI_PSEUDONYM_SEED", "test")
    target = tmp_path / "mine.zip"
    answer = CliRunner().invoke(app, ["export", "--listener", "ada", "--to", str(target), "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["tables"][EVENTS.key] == 40
    assert zipfile.is_zipfile(target)


@GROUP
def test_what_the_recommender_has_learnt_is_what_the_release_holds(taste_world: TasteWorld) -> None:
    learnt = find_learnt(taste_world.settings, listener_id(3))
    assert learnt is not None
    current = taste_world.workshop.releases.open_current()
    assert learnt.release == current.version
    heard = taste_world.lake.scan(PLAYS.key).filter(pl.col("listener_id") == listener_id(3)).collect()["track_id"]
    assert set(learnt.history) | set(learnt.weightless) == set(heard)
    assert list(learnt.history.values()) == sorted(learnt.history.values(), reverse=True)
    assert len(learnt.vector) == current.listeners.dimensions
    assert find_learnt(taste_world.settings, "f" * 32) is None


@GROUP
def test_an_export_of_a_trained_world_is_the_persons_alone(own_taste_world: TasteWorld, tmp_path: Path) -> None:
    world = own_taste_world
    mine = listener_id(7)

    class OneKnown:
        def find(self, user: str) -> str:
            return mine

    done = export_person(
        "seven",
        tmp_path / "out.zip",
        settings=world.settings,
        lake=world.lake,
        vault=OneKnown(),
        now=NOW + timedelta(days=1),  # type: ignore[arg-type]
    )
    assert done.tables["recommendations/for_listeners"] > 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        whole = b"".join(archive.read(name) for name in archive.namelist())
    assert mine.encode() in whole
    assert not [number for number in range(60) if number != 7 and f'"{listener_id(number)}"'.encode() in whole]
