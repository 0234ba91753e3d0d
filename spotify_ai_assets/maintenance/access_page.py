"""The page of an export: in three languages, what each file holds, what each column means, and where nothing is held.

It needs no network and no script, and a policy of its own forbids both. Every value is escaped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.locale import translate, translate_plural
from spotify_ai_assets.settings import LANGUAGES
from spotify_ai_assets.stores import STORES

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{border-bottom:1px solid #ccc;padding:.3rem;text-align:left;"
    "vertical-align:top}section{border-top:3px solid #1b1b1b;margin-top:3rem}code{overflow-wrap:anywhere}"
)
_NAMES = {"en": "English", "de": "Deutsch", "fr": "Français"}


@dataclass(frozen=True, slots=True)
class Section:
    """A table of which the person has rows.

    Attributes:
        table: Its contract.
        rows: How many.
        files: Path of its files in the zip, without their endings.
    """

    table: Table
    rows: int
    files: str


def render_page(listener: str, now: datetime, sections: list[Section], others: Mapping[str, int]) -> str:
    """The page.

    Args:
        listener: The real id.
        now: When the export was made.
        sections: The tables.
        others: Entries of the files beside tables, by name.
    """
    links = " · ".join(f'<a href="#{language}">{_NAMES[language]}</a>' for language in LANGUAGES)
    parts = "\n".join("\n".join(_in_language(language, listener, now, sections, others)) for language in LANGUAGES)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(listener)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<p>{links}</p>\n{parts}\n</body>\n</html>\n"
    )


def _in_language(language: str, listener: str, now: datetime, sections: list[Section], others: Mapping[str, int]) -> Iterator[str]:
    told = translate(
        "Everything that this platform held about {listener} on {day}, by Article 15 of the General Data Protection Regulation.", language
    )
    known = translate("Inside the platform you are known by a random pseudonym only; profile.json tells it beside your id.", language)
    twice = translate("Each table is there twice: JSON holds every value exactly, CSV opens in a spreadsheet.", language)
    stores = translate("All stores of the platform, and whether anything in them is about people:", language)
    rights = translate("You may ask for correction or erasure of all of this, and complain to a data protection authority.", language)
    yield f'<section id="{language}" lang="{language}">'
    yield _tag("h1", translate("What is held about you", language))
    yield _tag("p", told.format(listener=listener, day=now.date().isoformat()))
    if not sections and not any(others.values()):
        yield _tag("p", translate("Nothing is held about you.", language))
    yield _tag("p", known)
    yield _tag("h2", translate("Files beside tables", language))
    yield from _others(language, others)
    yield _tag("h2", translate("Tables", language))
    yield _tag("p", twice)
    for section in sections:
        yield from _table(language, section)
    yield _tag("h2", translate("Where else you might look", language))
    yield _tag("p", stores)
    yield from _stores(language)
    yield _tag("p", rights)
    yield "</section>"


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _row(name: str, text: str, last: object = None, language: str | None = None) -> str:
    """A row of a table: a name in the code's words, what it is, and a figure or word where there is one."""
    said = f'<td lang="{language}">{escape(text)}</td>' if language else _tag("td", text)
    return f"<tr><td><code>{escape(name)}</code></td>{said}{'' if last is None else _tag('td', str(last))}</tr>"


def _others(language: str, others: Mapping[str, int]) -> Iterator[str]:
    said = {
        "learnt.json": translate(
            "What the recommender that serves has learnt of you: weights of what you heard, and your place among tracks.", language
        ),
        "played_lately.json": translate("What you played since that recommender was made.", language),
        "waiting_files.json": translate("Your files that were not imported yet.", language),
        "records.json": translate("What the erasure ledger and the audit trail tell of you; they name you by a keyed hash only.", language),
    }
    yield "<table>"
    yield _row("profile.json", translate("Your id and your pseudonym.", language), 1)
    for name, count in others.items():
        yield _row(name, said.get(name, ""), count)
    yield "</table>"


def _table(language: str, section: Section) -> Iterator[str]:
    table = section.table
    rows = translate_plural("{count} row", "{count} rows", section.rows, language).format(count=section.rows)
    kept = (
        translate("Kept for {days} days.", language).format(days=table.retention_days)
        if table.retention_days is not None
        else translate("Kept until it is erased.", language)
    )
    yield f"<h3><code>{escape(table.key)}</code></h3>"
    files = " ".join(f'<a href="{escape(section.files)}.{ending}">{ending.upper()}</a>' for ending in ("csv", "json"))
    made = ", ".join(dict.fromkeys(reads.key for reads in table.reads if reads.key != table.key))
    origin = (
        translate("Made from: {tables}.", language).format(tables=made)
        if made
        else translate("From files and streams that you or others gave.", language)
    )
    yield f"<p>{escape(rows)} · {files} · {escape(kept)} {escape(origin)}</p>"
    yield "<table>"
    for column in table.columns:
        yield _row(column.name, column.description, language="en")
    yield "</table>"


def _stores(language: str) -> Iterator[str]:
    classes = {
        "none": translate("nothing about people", language),
        "derived": translate("facts about people", language),
        "pseudonym": translate("by pseudonym", language),
        "identity": translate("by your own id, until it is imported or its days are over", language),
    }
    yield "<table>"
    for store in STORES:
        yield _row(store.name, store.holds, classes[store.personal], language="en")
    yield "</table>"
