"""Hostile names through the whole pipeline: imported, made, published; wherever they come out, they are only text."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from processes import run, spotify_ai

from spotify_ai_assets.demo.names import HOSTILE_ARTISTS, HOSTILE_TITLES

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hostile_names")]

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday: the week after it has a report of its own."""
NAMES = (
    *HOSTILE_ARTISTS,
    *HOSTILE_TITLES,
    "![image](http://127.0.0.1:9/x)",
    "[link](javascript:alert(2))",
    "</script></title><svg onload=alert(3)>",
    '" onmouseover="alert(4)" x="',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\x1b[31mred\x1b]0;title\x07",
    "<iframe src=//127.0.0.1:9>",
)
LISTENERS = 24


def write_listens(path: Path) -> None:
    """A week in which every name is played by every listener."""
    rows = []
    for number, name in enumerate(NAMES):
        for listener in range(LISTENERS):
            for day in range(7):
                at = FIRST + timedelta(days=day, minutes=5 * (number * 3 + listener) % 1400, seconds=listener)
                rows.append(
                    {
                        "user_id": f"listener-{listener}",
                        "started_at": at.isoformat(),
                        "track_name": name,
                        "artist_name": NAMES[(number + 7) % len(NAMES)],
                        "album_name": name,
                        "played_ms": 200_000,
                        "country": ("DE", "FR")[listener % 2],
                    }
                )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which everything was made."""
    folder = tmp_path_factory.mktemp("hostile")
    write_listens(folder / "listens.jsonl")
    data = folder / "data"
    [told] = spotify_ai(data, "import", str(folder / "listens.jsonl"))["files"]
    assert told["stored"] == len(NAMES) * LISTENERS * 7
    assert spotify_ai(data, "backfill", "run")["refused"] == {}
    assert {each["status"] for each in spotify_ai(data, "status")["runs"]} == {"SUCCESS"}
    return data


class Tags(HTMLParser):
    """Elements and attributes, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def dangers(text: str) -> list[str]:
    """What of a document runs code or asks another server."""
    found = []
    for tag, attributes in Tags(text).found:
        if tag in ("script", "iframe", "object", "embed", "img", "base", "form"):
            found.append(tag)
        for name, value in attributes.items():
            target = (value or "").strip().lower()
            is_address = name in ("href", "src", "xlink:href", "action") and re.match(r"[a-z0-9+.-]*:|//", target)
            is_ours = target.startswith(("http://127.0.0.1:3000", "data:image/")) or (tag, target) == ("link", "data:,")  # no icon
            if name.startswith("on") or (is_address and not is_ours):
                found.append(f"{tag} {name}={value}")
    return found


def pages(data: Path) -> Iterator[Path]:
    yield from sorted((data / "reports").rglob("*.html"))


def test_a_document_in_which_a_name_ran_would_be_found() -> None:
    for name in NAMES:
        if name.startswith("<") and name[1].isalpha():
            assert dangers(f"<p>{name}</p>"), name
    assert dangers("<a href=' javascript:alert(1)'>x</a>") and dangers('<a href="//evil.example">x</a>')


def test_no_page_runs_or_loads_anything(data: Path) -> None:
    seen = list(pages(data))
    texts = [page.read_text(encoding="utf-8") for page in seen]
    assert any("alert(&#39;title&#39;)" in text or "alert('title')" in text for text in texts), "else the names are not on the pages"
    assert [(page.name, dangers(text)) for page, text in zip(seen, texts, strict=True) if dangers(text)] == []
    assert all("Content-Security-Policy" in text and "default-src 'none'" in text for text in texts)


def test_no_cell_of_a_table_file_is_a_formula(data: Path) -> None:
    files = sorted((data / "reports").rglob("*.csv"))
    assert files
    cells = []
    for path in files:
        with path.open(newline="", encoding="utf-8-sig") as file:
            cells += [(path.name, cell) for row in csv.reader(file) for cell in row if not re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)]
    assert any("HYPERLINK" in cell for _, cell in cells), "else the names are not in the files"
    assert [each for each in cells if re.match(r"\s*[=+\-@\t\r|%]", each[1])] == []


def test_every_published_document_is_json_with_the_names_as_they_are(data: Path) -> None:
    files = [path for path in (data / "reports").rglob("*.json")]
    assert files
    texts = {text for path in files for text in _texts(json.loads(path.read_text(encoding="utf-8")))}
    assert texts & set(NAMES)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def test_markdown_in_the_ui_holds_no_link_image_or_element(data: Path) -> None:
    """Each preview is one table: what could be markup in a name is written so that it is none."""
    previews = []
    for path in (data / "dagster").rglob("*.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            if database.execute("select 1 from sqlite_master where name = 'event_logs'").fetchone():
                events = [json.loads(event) for (event,) in database.execute("select event from event_logs")]
                previews += [text for event in events for text in _markdown(event)]
    assert any("alert" in text for text in previews), "else the names are not in the previews"
    for text in previews:
        bare = re.sub(r"!\[[^\]]*\]\(data:image/[a-z+]+;base64,[A-Za-z0-9+/=]*\)", "", text)  # the plots that the platform draws
        assert not re.search(r"(?<!\\)<[a-zA-Z/!]", bare), bare[:200]
        assert not re.search(r"(?<!\\)\]\(", bare), bare[:200]


def _markdown(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "md_str" in value:
            yield str(value["md_str"])
        for each in value.values():
            yield from _markdown(each)
    elif isinstance(value, list):
        for each in value:
            yield from _markdown(each)


def test_the_terminal_is_not_spoken_to(data: Path) -> None:
    told = run("spotify-ai", "sql", "select distinct track_name from listening.plays", data=data)
    assert "[31mred" in told
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told)
    # The table is still there, although one of the names drops it.
    assert {row["track_name"] for row in spotify_ai(data, "sql", "select distinct track_name from listening.plays")} & set(NAMES)  # type: ignore[index]
