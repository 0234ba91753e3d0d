"""Pages show the figures as they are, in three languages, and nothing of a name but its letters."""

import http.server
import os
import re
import shutil
import subprocess
import threading
import unicodedata
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_frames import DAY, artist_row, chart_row, country_row, summarise

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.reports.contracts import DAILY_LISTENING
from spotify_ai_assets.reports.notation import Notation
from spotify_ai_assets.reports.pages import NAME_LENGTH, Provenance, Quality, render_index, render_page, write_pages
from spotify_ai_assets.settings import LANGUAGES

NOTHING = DAILY_LISTENING.empty()
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=http://127.0.0.1:9/x onerror=alert(1)>",
    '" onmouseover="alert(1)" style="background:url(http://127.0.0.1:9/x)',
    "</title></style></svg><h1>mine</h1>",
    "[link](javascript:alert(1)) **bold**",
    "=HYPERLINK(http://127.0.0.1:9/x)",
    "\u202eelttil ,olleh",
    "nul\x00in\x1bside",
    "🎧👩‍👩‍👧 family",
    "{{ 7 * 7 }} {% include 'page.css' %} {0} {name}",
    "   ",
]


class _Page(HTMLParser):
    """Elements, attributes and text of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.figures: dict[str, str] = {}
        self.names: list[str] = []
        self.text = ""
        self._figure: str | None = None
        self._in_name = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._figure = dict(attrs).get("data-measure")
        self._in_name = tag == "bdi"
        if self._in_name:
            self.names.append("")

    def handle_endtag(self, tag: str) -> None:
        self._figure, self._in_name = None, False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._figure:
            self.figures[self._figure] = data
        if self._in_name:
            self.names[-1] += data


def _figures(*names: str) -> pl.DataFrame:
    charts = (chart_row(rank, name, name) for rank, name in enumerate(names, start=1))
    national = (chart_row(rank, name, name, country="DE") for rank, name in enumerate(names, start=1))
    return summarise(
        charts=(*charts, *national),
        artists=tuple(artist_row(f"{name}{number}", 900 - number) for number, name in enumerate(names)),
        countries=(country_row("DE", 80_000), country_row("FR", 8_000, "web")),
        listeners=("a", "b"),
        sessions=(False,),
    )


def _provenance(url: str | None = None) -> dict[str, Provenance]:
    assets = ("listening/charts", "listening/country_days", "listening/artist_days")
    return {asset: Provenance(asset, DAY.isoformat(), f"run-of-{asset[10:]}", "7", "ab12" * 16, url) for asset in assets}


def _page(language: str = "en", names: tuple[str, ...] = ("Song",), trend: pl.DataFrame = NOTHING, **other: object) -> str:
    return render_page(_figures(*names), trend, _provenance(), language, DAY, **other)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_the_figures_in_the_language(language: str) -> None:
    html = _page(language)
    page, notation = _Page(html), Notation(language)

    headline = dict(_figures("Song").filter(section="headline").select("measure", "value").iter_rows())
    for measure, value in headline.items():
        write = notation.percent if measure.endswith("_rate") else notation.decimal if measure == "played_hours" else notation.whole
        assert page.figures[measure] == write(value)
    assert f'<html lang="{language}">' in html
    assert {"en": "Friday, May 1, 2026", "de": "Freitag, 1. Mai 2026", "fr": "vendredi 1 mai 2026"}[language] in page.text
    assert {"en": "Hours played", "de": "Gespielte Stunden", "fr": "Heures d’écoute"}[language] in page.text


def test_bars_add_up_to_the_headline() -> None:
    countries = tuple(
        country_row(code, 80 + number)
        for number, code in enumerate(["DE", "FR", "US", "GB", "ES", "IT", "SE", "PL", "NL", "AT", "CH", "BR"])
    )
    html = render_page(summarise(countries=countries), NOTHING, {}, "en", DAY)

    section = html[html.index('id="countries"') : html.index("</table>", html.index('id="countries"'))]
    bars = [int(number) for number in re.findall(r'<td class="number">(\d+)</td>', section)]
    assert len(bars) == 10
    assert sum(bars) == sum(80 + number for number in range(12))
    assert "3 other countries" in section


def test_a_page_without_plays_says_so() -> None:
    html = render_page(summarise(), NOTHING, {}, "en", DAY)

    assert "Nobody played anything on this day." in html
    assert _Page(html).figures["skip_rate"] == "–"


def test_changes_compare_with_the_day_before_and_the_week_before() -> None:
    def earlier(days: int, streams: int, **other: object) -> pl.DataFrame:
        day = DAY - timedelta(days=days)
        return summarise(countries=(country_row("DE", streams, day=day, **other),), day=day)

    page = _Page(_page(trend=pl.concat([earlier(1, 80_000, skips=50_000), earlier(7, 176_000), earlier(8, 1)])))

    card = page.text[page.text.index("Streams") : page.text.index("Hours played")]
    assert re.findall(r"([+−±][\d.]+%|[+−±][\d.]+ pp)\s+(vs\. \w+, \w+ \d+)", card)[:2] == [
        ("+10.0%", "vs. Thu, Apr 30"),
        ("−50.0%", "vs. Fri, Apr 24"),
    ]
    assert re.search(r"Skip rate.*?−30\.0 pp\s+vs\. Thu, Apr 30", page.text, re.DOTALL)


def test_a_first_day_has_nothing_to_compare_with() -> None:
    assert _page().count("no earlier day to compare with") == 7


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ({"previous_rank": None, "movement": None, "is_new": True}, "new"),
        ({"previous_rank": None, "movement": None}, "back"),
        ({"previous_rank": 4, "movement": 3}, "▲up 3"),
        ({"previous_rank": 1, "movement": -2}, "▼down 2"),
        ({}, "=unchanged"),
    ],
)
def test_movement_is_told_in_words_and_signs(entry: dict[str, object], shown: str) -> None:
    html = render_page(summarise(charts=(chart_row(1, **entry),)), NOTHING, {}, "en", DAY)

    assert shown in re.sub("<[^>]+>", "", html[html.index('class="rank"') :].split("</td>")[0])


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_hostile_name_is_only_text(name: str, language: str) -> None:
    plain, page = _Page(_page(language)), _Page(_page(language, (name,)))

    tags = [tag for tag in page.tags if tag not in ("bdi", "i")]
    assert tags == [tag for tag in plain.tags if tag not in ("bdi", "i")]
    assert [key for key, _value in page.attributes] == [key for key, _value in plain.attributes]
    assert not any(unicodedata.category(char) == "Cc" and char != "\n" for char in page.text)
    shown = name.replace("\x00", "").replace("\x1b", "").strip()
    assert page.names.count(shown) == (4 if shown else 0)


@given(st.text(max_size=300))
def test_any_name_leaves_the_page_as_it_is(name: str) -> None:
    page = _Page(_page("en", (name,)))

    assert [tag for tag in page.tags if tag not in ("bdi", "i")] == [tag for tag in _Page(_page("en")).tags if tag not in ("bdi", "i")]
    assert max((len(shown) for shown in page.names), default=0) <= NAME_LENGTH


def test_each_number_names_its_source() -> None:
    html = _page()

    for made in _provenance().values():
        assert made.asset in html
        assert made.run_id in html
        assert made.digest in html
    assert html.count('href="#source-2"') >= 5
    assert 'id="source-2"' in html


@pytest.mark.parametrize(
    ("url", "linked"),
    [("https://dagster.example.org/runs/1", True), ("javascript:alert(1)", False), ("data:text/html,x", False), (None, False)],
)
def test_only_web_addresses_become_links(url: str | None, linked: bool) -> None:
    html = render_page(_figures("Song"), NOTHING, _provenance(url), "en", DAY)

    assert (f'href="{url}"' in html) is linked
    assert "run-of-charts" in html


def test_the_quality_box_counts_imports_and_checks() -> None:
    quality = Quality(2, 110, 100, 7, {"bad_timestamp": 1, "<b>rule</b>": 2}, 9, ("charts_are_complete",))
    text = _Page(_page(quality=quality)).text

    for label, number in (
        ("Rows read", 110),
        ("Rows stored", 100),
        ("Duplicate rows", 7),
        ("Rejected rows", 3),
        ("<b>rule</b>", 2),
        ("bad_timestamp", 1),
    ):
        assert re.search(rf"{re.escape(label)}\s*{number}\b", text)
    assert "9 checks passed" in text
    assert "1 check failed" in text
    assert "charts_are_complete" in text
    assert "Quality" not in _Page(_page()).text


def test_the_same_figures_give_the_same_page() -> None:
    assert _page("de") == _page("de")


def test_an_unsupported_language_is_refused() -> None:
    with pytest.raises(SettingsError):
        _page("es")
    with pytest.raises(SettingsError):
        render_index(NOTHING, "es")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_index_lists_days_newest_first(language: str) -> None:
    days = [DAY - timedelta(days=ago) for ago in (1, 0, 40)]
    figures = pl.concat([summarise(countries=(country_row("DE", 8_000, day=day),), day=day) for day in days])

    html = render_index(figures, language)

    assert re.findall(r'href="(\d{4}-\d\d-\d\d)\.html"', html) == ["2026-05-01", "2026-04-30", "2026-03-22"]
    assert html.count(Notation(language).whole(8_000)) == 3
    assert len(re.findall("<h2", html)) == 3


def test_an_index_without_days_says_so() -> None:
    assert "There is no page yet." in render_index(NOTHING, "en")


def test_a_page_is_written_whole_in_each_language(tmp_path: Path) -> None:
    paths = write_pages(tmp_path, DAY, {"en": "old", "fr": "vieux"})
    write_pages(tmp_path, DAY, {"en": "new é"})
    write_pages(tmp_path, "index", {"en": "list"})

    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["en/2026-05-01.html", "fr/2026-05-01.html"]
    assert paths[0].read_bytes() == "new é".encode()
    assert paths[0].stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["2026-05-01.html", "2026-05-01.html", "index.html"]


def test_a_failed_write_leaves_the_old_page_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = write_pages(tmp_path, DAY, {"en": "old"})

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_pages(tmp_path, DAY, {"en": "new"})

    assert [(each.name, each.read_text()) for each in path.parent.iterdir()] == [("2026-05-01.html", "old")]


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing, and CI must run this")
        pytest.skip("chromium is not installed")
    return found


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a web server and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    thread.join()
    server.server_close()


def _open(chromium: str, html: str, folder: Path) -> str:
    """The document as the browser built it."""
    (folder / "page.html").write_text(html, encoding="utf-8")
    quiet = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "disable-quic", "disable-gpu")
    command = [chromium, "--headless", "--no-sandbox", *(f"--{name}" for name in quiet), f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=2000", "--dump-dom", (folder / "page.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout


@pytest.mark.browser
def test_a_browser_renders_the_page_and_asks_nobody(chromium: str, asked: tuple[str, list[str]], tmp_path: Path) -> None:
    address, paths = asked
    names = tuple(name.replace("http://127.0.0.1:9", address) for name in HOSTILE)

    document = _open(chromium, _page("de", names), tmp_path)

    page = _Page(document)
    assert "Freitag, 1. Mai 2026" in page.text
    assert page.figures["streams"] == "88.000"
    assert "script" not in page.tags
    assert document.count("<h1") == 1
    assert paths == []


@pytest.mark.browser
@pytest.mark.parametrize("is_protected", [True, False])
def test_the_policy_stops_what_escaping_would_miss(chromium: str, asked: tuple[str, list[str]], tmp_path: Path, is_protected: bool) -> None:
    address, paths = asked
    smuggled = f"<img src='{address}/image'><script>document.title='taken'</script><link rel=stylesheet href='{address}/style'>"
    html = _page().replace("</main>", f"{smuggled}</main>")
    if not is_protected:
        html = re.sub(r"<meta http-equiv=[^>]+>", "", html)

    document = _open(chromium, html, tmp_path)

    assert ("<title>taken</title>" in document) is not is_protected
    assert sorted(paths) == ([] if is_protected else ["/image", "/style"])
