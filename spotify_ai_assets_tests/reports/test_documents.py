"""Figures as files: JSON that keeps its schema, CSV in which no cell is a formula."""

import csv
import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reading import HOSTILE, provenance_of
from report_frames import FIGURES, SUNDAY

from spotify_ai_assets.reports.contracts import SECTIONS
from spotify_ai_assets.reports.documents import FORMAT, SCHEMAS, read_k, schema_path, write_csv, write_json

each_report = pytest.mark.parametrize("key", list(FIGURES))


def _schema(key: str) -> dict:
    return json.loads(schema_path(key).read_text(encoding="utf-8"))


def _refusals(key: str, document: object) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    return [error.message for error in jsonschema.Draft202012Validator(_schema(key)).iter_errors(document)]


def _document(key: str, name: str = "Song", url: str | None = "https://example.org/runs/1") -> str:
    return write_json(key, FIGURES[key](name), SUNDAY, provenance_of(key, url=url))


def test_each_report_has_a_schema_and_each_schema_a_report() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert sorted(path.name for path in SCHEMAS.iterdir()) == sorted(schema_path(key).name for key in SECTIONS)
    for key in SECTIONS:
        jsonschema.Draft202012Validator.check_schema(_schema(key))


@each_report
def test_the_schema_names_the_sections_and_measures_of_the_contract(key: str) -> None:
    figure = _schema(key)["$defs"]["figure"]

    assert figure["properties"]["section"]["enum"] == list(SECTIONS[key])
    told = {each["properties"]["section"]["const"]: each["properties"]["measure"]["enum"] for each in figure["oneOf"]}
    assert told == {section: list(measures) for section, measures in SECTIONS[key].items()}
    assert _schema(key)["properties"]["report"]["const"] == key
    assert _schema(key)["properties"]["format"]["const"] == FORMAT


@each_report
@pytest.mark.parametrize("name", ["Song", *HOSTILE])
def test_a_document_keeps_its_schema_and_names_exactly(key: str, name: str) -> None:
    text = _document(key, name)
    document = json.loads(text)

    assert _refusals(key, document) == []
    assert text.isascii()
    assert document["figures"] == FIGURES[key](name).drop("day").to_dicts()
    assert {source["asset"] for source in document["sources"]} == set(provenance_of(key))
    assert document["day"] == "2026-05-31"


@each_report
@pytest.mark.parametrize(
    "change",
    [
        {"figures": [{"section": "headline", "measure": "streams"}]},
        {"report": "reports/nobody"},
        {"sources": [{"asset": "x"}]},
        {"extra": 1},
        {"k_anonymity": 0},
    ],
)
def test_a_document_that_breaks_the_schema_is_refused(key: str, change: dict) -> None:
    assert _refusals(key, json.loads(_document(key)) | change) != []


@each_report
def test_a_document_says_in_its_first_bytes_of_how_many_listeners_it_tells(key: str, tmp_path: Path) -> None:
    path = tmp_path / "day.json"
    assert read_k(path) == 0
    path.write_text(write_json(key, FIGURES[key]('"k_anonymity": 99,'), SUNDAY, provenance_of(key), 12))
    assert read_k(path) == 12
    assert _refusals(key, json.loads(path.read_text())) == []
    path.write_text(path.read_text().replace(' "k_anonymity": 12,\n', ""))
    assert read_k(path) == 0
    assert _refusals(key, json.loads(path.read_text())) != []


def test_a_measure_of_another_section_is_refused() -> None:
    document = json.loads(_document("reports/anomalies"))
    document["figures"][0]["measure"] = "growth"

    assert _refusals("reports/anomalies", document) != []


def test_an_address_that_is_none_of_the_web_is_left_out() -> None:
    assert {source["run_url"] for source in json.loads(_document("reports/cohorts", url="javascript:alert(1)"))["sources"]} == {None}


def _cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@each_report
def test_csv_holds_each_figure_once(key: str) -> None:
    figures = FIGURES[key]("Song")
    heading, *rows = _cells(write_csv(figures))

    assert heading == figures.columns
    assert len(rows) == figures.height
    assert [row[-2] for row in rows] == figures["measure"].to_list()
    assert [float(row[-1]) if row[-1] else None for row in rows] == pytest.approx(figures["value"].to_list())


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'x"),
        ("\rx", "'x"),
        (" =x", "' =x"),
        ("＝x", "'＝x"),
        ("\u202e=x", "'=x"),
        ("\x00=x", "'=x"),
        ("\u200b=x", "'\u200b=x"),
        ("\ufeff=x", "'\ufeff=x"),
        ("a=b", "a=b"),
        ('"; x,y', '"; x,y'),
        ("two\nlines", "twolines"),
    ],
)
def test_no_cell_begins_like_a_formula(name: str, cell: str) -> None:
    text = write_csv(pl.DataFrame({"label": [name], "value": [-1.5]}))

    assert _cells(text)[1] == [cell, "-1.5"]
    assert text.startswith('"label","value"\r\n"')


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_any_names_stay_in_their_cells(names: list[str]) -> None:
    rows = _cells(write_csv(pl.DataFrame({"label": names, "value": [1.0] * len(names)})))[1:]

    assert len(rows) == len(names)
    assert all(len(row) == 2 for row in rows)
    assert not [row for row in rows if re.match(r"\s*[=+\-@\t\r]", row[0])]
    assert all("".join(name.split()) in "".join(row[0].split()) for name, row in zip(names, rows, strict=True) if name.isalnum())


@each_report
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_no_formulas_in_any_csv(key: str, name: str) -> None:
    rows = _cells(write_csv(FIGURES[key](name)))[1:]

    assert not [cell for row in rows for cell in row[:-1] if re.match(r"\s*[=+\-@\t\r|%]", cell)]
