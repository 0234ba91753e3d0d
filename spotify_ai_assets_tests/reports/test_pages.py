"""Every page of every report: one document that loads nothing, in three languages, where a name is only text."""

import http.server
import os
import re
import shutil
import subprocess
import threading
import unicodedata
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_reading import HOSTILE, Document, page_of, provenance_of
from report_frames import FIGURES, SUNDAY, year_rows

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.reports.contracts import SECTIONS, TABLES
from spotify_ai_assets.reports.pages.frame import NAME_LENGTH, Page, Provenance, isolated, readable
from spotify_ai_assets.reports.pages.index import MEASURES, render_home, render_index
from spotify_ai_assets.reports.pages.year_in_review import render_year
from spotify_ai_assets.reports.publication import REPORTS
from spotify_ai_assets.settings import LANGUAGES

each_report = pytest.mark.parametrize("key", list(REPORTS))
each_language = pytest.mark.parametrize("language", LANGUAGES)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066\u2067]")
HEADINGS = {
    "reports/daily_listening": ["headlines", "trend", "top", "artists", "platforms", "countries", "country-tops", "sources"],
    "reports/weekly_trends": ["headlines", "trend", "tracks", "artists", "changes", "moves", "countries", "forecasts", "sources"],
    "reports/anomalies": ["headlines", "hours", "trend", "incidents", "cases", "totals", "charts", "sources"],
    "reports/cohorts": ["headlines", "retention", "funnels", "genres", "shares", "sources"],
    "reports/year_in_review": ["headlines", "months", "tracks", "artists", "genres", "weekdays", "sources"],
}


@each_report
@each_language
def test_a_page_is_one_document_that_loads_nothing(key: str, language: str) -> None:
    html = page_of(key, language)
    page = Document(html)

    assert not {"script", "link:stylesheet", "iframe", "img", "object", "embed", "form", "use", "image", "foreignobject"} & set(page.tags)
    assert not [name for name, _value in page.attributes if name.startswith("on") or name in ("src", "srcset", "xlink:href", "data")]
    links = [value or "" for name, value in page.attributes if name == "href"]
    assert [link for link in links if re.match(r"[a-z]+:|//", link)] == ["data:,"]
    assert "default-src 'none'" in html
    assert "url(" not in html and "@import" not in html
    assert f'<html lang="{language}">' in html
    assert (page.tags.count("h1"), page.tags.count("title") > 1) == (1, True)


@each_report
def test_a_page_has_its_parts_in_their_order(key: str) -> None:
    html = page_of(key)

    assert re.findall(r'<h2 id="([^"]+)"', html) == HEADINGS[key]
    assert re.findall(r'<section aria-labelledby="([^"]+)"', html) == HEADINGS[key]
    assert "</html>" in html
    assert html.count("<svg") == html.count("</svg>")


@each_report
def test_languages_differ_in_words_only(key: str) -> None:
    shapes = [sorted(Document(page_of(key, language)).shape) for language in LANGUAGES]

    assert shapes[0] == shapes[1] == shapes[2]
    assert len({Document(page_of(key, language)).text for language in LANGUAGES}) == 3


@each_report
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text(key: str, name: str) -> None:
    language = LANGUAGES[HOSTILE.index(name) % 3]
    plain, html = Document(page_of(key, language)), page_of(key, language, name)
    page = Document(html)

    assert page.shape == plain.shape
    assert [each for each, _value in page.attributes] == [each for each, _value in plain.attributes]
    assert not CONTROL.search(html)
    shown = readable(name)
    assert not shown or page.names.count(shown) >= plain.names.count("Song") > 0


@given(st.text(max_size=300))
def test_any_name_leaves_the_pages_as_they_are(name: str) -> None:
    for key in ("reports/anomalies", "reports/cohorts"):
        page = Document(page_of(key, "en", name))
        assert page.shape == Document(page_of(key)).shape
        assert max((len(shown) for shown in page.names), default=0) <= NAME_LENGTH


def test_a_name_keeps_its_direction_to_itself() -> None:
    assert readable("\u202eabc\u2069") == "abc"
    assert isolated("a\u2069b") == "\u2068ab\u2069"
    assert readable("\u200b \u2028\ufeff") == ""
    assert readable("x" * 999) == "x" * (NAME_LENGTH - 1) + "…"
    assert unicodedata.category(isolated("")[0]) == "Cf"


@pytest.mark.parametrize(("language", "name"), [("en", "unknown"), ("de", "unbekannt"), ("fr", "inconnu")])
def test_an_unknown_genre_is_told_in_the_language_of_the_page(language: str, name: str) -> None:
    html = page_of("reports/cohorts", language, "unknown")

    assert f'<i class="column c0"></i><bdi>{name}</bdi>' in html
    assert f"\u2068{name}\u2069" in html


@each_report
def test_each_number_names_its_source(key: str) -> None:
    html = page_of(key)

    for number, (asset, (made,)) in enumerate(provenance_of(key).items(), start=1):
        assert f'id="source-{number}"' in html
        assert all(text in html for text in (asset, made.run_id, made.digest))
    assert set(re.findall(r'href="#(source-[0-9]+)"', html)) <= set(re.findall(r'id="(source-[0-9]+)"', html))
    assert len(re.findall(r'class="note" href="#source-', html)) == 7
    drawn = html.count('<p class="source">')
    assert drawn >= html.count("<h2") - 2


@each_report
def test_a_page_links_to_its_figures_as_files(key: str) -> None:
    html = page_of(key)

    assert re.findall(r'href="(\.\./[^"]+)"', html[html.index('id="sources"') :]) == [
        f"../{SUNDAY}.json",
        "../schema.json",
        f"../{SUNDAY}.csv",
    ]
    assert 'href="../../en/index.html"' in html
    assert 'href="index.html"' in html


def test_partitions_of_one_run_are_one_line_of_the_sources() -> None:
    days = [(SUNDAY - timedelta(days=ago)).isoformat() for ago in (2, 1, 0)]
    parts = tuple(Provenance("listening/country_days", day, run, "1", "ab", None) for day, run in zip(days, "aab", strict=True))
    html = REPORTS["reports/weekly_trends"].render(
        Page(FIGURES["reports/weekly_trends"]("Song"), SUNDAY, {"listening/country_days": parts}), "en"
    )

    rows = re.findall(r"<tr[^>]*><td class=\"number\">.*?</tr>", html[html.index('class="sources"') :])
    assert [re.sub("<[^>]+>", " ", row).split()[:5] for row in rows] == [
        ["1", "listening/country_days", "2026-05-31", "b", "1"],
        ["2026-05-29", "to", "2026-05-30,", "2", "partitions"],
    ]


@pytest.mark.parametrize(
    ("url", "linked"),
    [("https://dagster.example.org/runs/1", True), ("javascript:alert(1)", False), ("data:text/html,x", False), (None, False)],
)
@each_report
def test_only_web_addresses_become_links(key: str, url: str | None, linked: bool) -> None:
    html = page_of(key, url=url)

    assert (f'href="{url}"' in html) is linked
    assert "run-of-" in html


@each_report
def test_the_same_figures_give_the_same_page(key: str) -> None:
    assert page_of(key, "de") == page_of(key, "de")


@each_report
@each_language
def test_a_page_without_figures_is_still_a_page(key: str, language: str) -> None:
    page = Document(REPORTS[key].render(Page(TABLES[key].empty(), SUNDAY), language))

    assert len(page.figures) == 7
    assert page.tags.count("h1") == 1


def test_an_unsupported_language_is_refused() -> None:
    for key, report in REPORTS.items():
        with pytest.raises(SettingsError):
            report.render(Page(TABLES[key].empty(), SUNDAY), "es")
        with pytest.raises(SettingsError):
            render_index(key, TABLES[key].empty(), "es")
    with pytest.raises(SettingsError):
        render_home({}, "es")


@each_language
def test_the_index_lists_days_newest_first(language: str) -> None:
    days = [SUNDAY - timedelta(days=ago) for ago in (1, 0, 40)]
    one = FIGURES["reports/daily_listening"]("Song")
    figures = pl.concat([one.with_columns(day=pl.lit(day)) for day in days])

    html = render_index("reports/daily_listening", figures, language)

    assert re.findall(r'href="(\d{4}-\d\d-\d\d)\.html"', html) == ["2026-05-31", "2026-05-30", "2026-04-21"]
    assert len(re.findall("<h2", html)) == 2
    assert 'href="../../' in html


@each_report
def test_each_report_has_an_index_with_numbers(key: str) -> None:
    html = render_index(key, FIGURES[key]("Song"), "en")

    assert re.findall(r'href="(\d{4}-\d\d-\d\d)\.html"', html) == ["2026-05-31"]
    row = html[html.index("<tbody>") :]
    assert len(re.findall('<td class="number', row)) == len(MEASURES[key])
    assert set(MEASURES[key]) <= {*SECTIONS[key].get("headline", ()), *SECTIONS[key].get("total", ())}


def test_an_index_without_days_says_so() -> None:
    assert "There is no page yet." in render_index("reports/cohorts", TABLES["reports/cohorts"].empty(), "en")


@each_language
def test_the_list_of_reports_leads_to_the_newest_page_of_each(language: str) -> None:
    html = render_home({"reports/anomalies": [SUNDAY, SUNDAY - timedelta(days=1)]}, language)

    assert re.findall(r'href="(\.\./[^"]+)"', html[html.index("<main>") :]) == [
        f"../anomalies/{language}/index.html",
        f"../anomalies/{language}/{SUNDAY}.html",
    ]
    assert html.count("<article>") == len(REPORTS) == len(TABLES)


@each_language
def test_a_listeners_own_year_stands_alone_and_names_nobody(language: str) -> None:
    listener = "0123456789abcdef" * 2
    html = render_year(year_rows("Song", listener_id=listener, listeners=1), SUNDAY.replace(month=1, day=1), SUNDAY, language)
    page = Document(html)

    assert listener not in html
    assert [value for name, value in page.attributes if name == "href"] == ["data:,"]
    assert page.tags.count("h1") == 1
    assert page.names.count("Song") == 3
    assert set(page.figures) == {"genuine_hours", "genuine_streams", "genuine_plays", "days", "hours_a_day"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text_in_a_listeners_own_year(name: str) -> None:
    first = SUNDAY.replace(month=1, day=1)
    plain, page = (Document(render_year(year_rows(each), first, SUNDAY, "fr")) for each in ("Song", name))

    assert page.shape == plain.shape
    assert [each for each, _value in page.attributes] == [each for each, _value in plain.attributes]


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
@each_report
def test_a_browser_renders_the_page_and_asks_nobody(key: str, chromium: str, asked: tuple[str, list[str]], tmp_path: Path) -> None:
    address, paths = asked
    name = " ".join(HOSTILE).replace("http://127.0.0.1:9", address)[:NAME_LENGTH]

    document = _open(chromium, page_of(key, "de", name), tmp_path)

    page = Document(document)
    assert "2026" in page.text
    assert all(page.figures.values())
    assert "script" not in page.tags
    assert document.count("<h1") == 1
    assert paths == []


@pytest.mark.browser
@pytest.mark.parametrize("is_protected", [True, False])
def test_the_policy_stops_what_escaping_would_miss(chromium: str, asked: tuple[str, list[str]], tmp_path: Path, is_protected: bool) -> None:
    address, paths = asked
    smuggled = f"<img src='{address}/image'><script>document.title='taken'</script><link rel=stylesheet href='{address}/style'>"
    html = page_of("reports/anomalies").replace("</main>", f"{smuggled}</main>")
    if not is_protected:
        html = re.sub(r"<meta http-equiv=[^>]+>", "", html)

    document = _open(chromium, html, tmp_path)

    assert ("<title>taken</title>" in document) is not is_protected
    assert sorted(paths) == ([] if is_protected else ["/image", "/style"])
