"""What a browser would see of a page, for tests."""

from datetime import date
from html.parser import HTMLParser

import polars as pl
from report_frames import FIGURES, SUNDAY

from spotify_ai_assets.reports.pages.frame import Page, Provenance
from spotify_ai_assets.reports.publication import REPORTS

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=http://127.0.0.1:9/x onerror=alert(1)>",
    '" onmouseover="alert(1)" style="background:url(http://127.0.0.1:9/x)',
    "</title></style></svg><h1>mine</h1>",
    "<svg onload=alert(1)><use href='http://127.0.0.1:9/x#y'/></svg>",
    "]]></title><script>alert(1)</script><!--",
    "[link](javascript:alert(1)) **bold**",
    "![image](http://127.0.0.1:9/x)",
    "=HYPERLINK(http://127.0.0.1:9/x)",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\u202eelttil ,olleh\u2069",
    "nul\x00in\x1bside",
    "🎧👩‍👩‍👧 family",
    "{{ 7 * 7 }} {% include 'page.css' %} {0} {name}",
    "%s %(name)s ${HOME}",
    "long " * 200,
    "   ",
]


class Document(HTMLParser):
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

    @property
    def shape(self) -> list[str]:
        """The elements but those that only mark a name."""
        return [tag for tag in self.tags if tag not in ("bdi", "i")]


def provenance_of(key: str, day: date = SUNDAY, url: str | None = None) -> dict[str, tuple[Provenance, ...]]:
    """A made-up partition for each table behind a report, and its own."""
    keys = dict.fromkeys([*(reads.key for reads in REPORTS[key].table.reads), key])
    return {each: (Provenance(each, day.isoformat(), f"run-of-{each.partition('/')[2]}", "7", "ab12" * 16, url),) for each in keys}


def page_of(key: str, language: str = "en", name: str = "Song", url: str | None = None) -> str:
    """A page of a report with a row in each section, about items of a name."""
    return REPORTS[key].render(Page(FIGURES[key](name), SUNDAY, provenance_of(key, url=url)), language)


def render(key: str, figures: pl.DataFrame, language: str = "en", day: date = SUNDAY) -> str:
    """A page of a report without provenance."""
    return REPORTS[key].render(Page(figures, day), language)
