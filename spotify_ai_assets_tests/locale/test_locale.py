"""Every text has a German and a French translation, and the catalogues agree with the code."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo
from babel.messages.pofile import write_po

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.locale import translate, translate_plural
from spotify_ai_assets.locale.catalogues import (
    TRANSLATIONS,
    MessageId,
    compile_catalogues,
    extract_messages,
    find_problems,
    po_path,
    read_catalogue,
    update_catalogues,
)


@pytest.fixture(scope="module")
def messages() -> dict[MessageId, list[str]]:
    return extract_messages()


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_every_text_is_translated_and_none_is_left_over(language: str, messages: dict[MessageId, list[str]]) -> None:
    assert find_problems(read_catalogue(language), messages) == []


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_the_compiled_catalogue_is_that_of_its_source(language: str) -> None:
    with po_path(language).with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)

    assert _translations(compiled) == _translations(read_catalogue(language))
    assert len(_translations(compiled)) > 50


def _translations(catalogue: Catalog) -> dict[str, str]:
    """Messages and translations as text: the two formats come as lists and tuples."""
    return {repr(_plain(message.id)): repr(_plain(message.string)) for message in catalogue if message.id}


def _plain(text: object) -> object:
    return tuple(text) if isinstance(text, list | tuple) else text


def test_a_text_is_translated() -> None:
    assert translate("Plays", "de") == "Wiedergaben"
    assert translate("Plays", "fr") == "Écoutes"
    assert translate("Plays", "en") == "Plays"


def test_an_unknown_text_stays_english_and_an_empty_one_empty() -> None:
    assert translate("A text without translation", "de") == "A text without translation"
    assert translate("", "de") == ""


def test_a_number_chooses_the_form() -> None:
    forms = ("{count} other country", "{count} other countries")

    assert [translate_plural(*forms, count, "de") for count in (0, 1, 2)] == [
        "{count} weitere Länder",
        "{count} weiteres Land",
        "{count} weitere Länder",
    ]
    assert [translate_plural(*forms, count, "en") for count in (0, 1, 2)] == [forms[1], forms[0], forms[1]]


def test_an_unsupported_language_is_refused() -> None:
    with pytest.raises(SettingsError, match="en, de, fr"):
        translate("Plays", "../de")


@pytest.mark.parametrize(("language", "expected"), [(None, "Plays"), ("", "Plays"), ("fr", "Écoutes")])
def test_the_settings_choose_the_language(language: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SPOTIFY_AI_LANG"}
    code = "import sys; from spotify_ai_assets.locale import translate; print(ascii(translate('Plays')), 'babel' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | ({} if language is None else {"SPOTIFY_AI_LANG": language}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.split() == [ascii(expected), "False"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one message of each kind."""
    folder = tmp_path / "package"
    (folder / "domain" / "templates").mkdir(parents=True)
    (folder / "domain" / "texts.py").write_text(
        'HELLO = _("Hello {name}", language), translate("two " "parts"), _(word)\n'
        'DAYS = translate_plural("{count} day", "{count} days", 3)\n'
    )
    (folder / "domain" / "templates" / "page.html").write_text("<p>{{ _('On paper') }} {{ translate_plural('one', 'many', n) }}</p>")
    (folder / "domain" / "checks.py").write_text(
        '@asset_check\ndef is_fine():\n    """Is it?\n\n    It is.\n    """\n\ndef count():\n    """Not shown."""\n'
    )
    return folder


def test_each_kind_of_text_is_found(package: Path) -> None:
    assert extract_messages(package) == {
        inspect.cleandoc("Is it?\n\n    It is.\n    "): ["package/domain/checks.py"],
        "On paper": ["package/domain/templates/page.html"],
        ("one", "many"): ["package/domain/templates/page.html"],
        "Hello {name}": ["package/domain/texts.py"],
        "two parts": ["package/domain/texts.py"],
        ("{count} day", "{count} days"): ["package/domain/texts.py"],
    }


@pytest.mark.parametrize(("file", "text"), [("texts.py", 'x = _(f"Hello {name}")\n'), ("templates/page.html", "{{ _('Hello ' ~ name) }}")])
def test_a_text_built_at_run_time_is_refused(package: Path, file: str, text: str) -> None:
    (package / "domain" / file).write_text(text)

    with pytest.raises(ValueError, match=f"package/domain/{file}:1: a marked text is built at run time"):
        extract_messages(package)


def test_an_update_keeps_translations_and_drops_what_is_gone(tmp_path: Path) -> None:
    update_catalogues({"kept": ["a.py"], "gone": ["a.py"]}, tmp_path)
    catalogue = read_catalogue("de", tmp_path)
    for message in ("kept", "gone"):
        entry = catalogue.get(message)
        assert entry is not None
        entry.string = "übersetzt"
    with po_path("de", tmp_path).open("wb") as file:
        write_po(file, catalogue)

    problems = update_catalogues({"kept": ["b.py"], "new": ["b.py"]}, tmp_path)
    updated = read_catalogue("de", tmp_path)
    first = po_path("de", tmp_path).read_bytes()
    update_catalogues({"kept": ["b.py"], "new": ["b.py"]}, tmp_path)

    assert problems["de"] == ["missing: 'new'"]
    assert {message.id: message.string for message in updated if message.id} == {"kept": "übersetzt", "new": ""}
    assert po_path("de", tmp_path).read_bytes() == first
    assert [path.exists() for path in compile_catalogues(tmp_path)] == [True, True]


def test_each_fault_of_a_catalogue_is_named(tmp_path: Path) -> None:
    catalogue = read_catalogue("de", tmp_path)
    catalogue.add("old", "alt")
    catalogue.add("empty", "")
    catalogue.add("unsure", "vielleicht", flags=["fuzzy"])
    catalogue.add("{count} rows", "{anzahl} Zeilen")
    catalogue.add(("{count} day", "{count} days"), ("{count} Tag", ""))
    catalogue.add("good {name}", "gut {name}")
    wanted: list[MessageId] = ["empty", "unsure", "{count} rows", ("{count} day", "{count} days"), "good {name}", "absent"]

    assert find_problems(catalogue, {message: ["a.py"] for message in wanted}) == [
        "obsolete: 'old'",
        "missing: 'empty'",
        "missing: 'unsure'",
        "placeholders differ: '{count} rows'",
        "missing: ('{count} day', '{count} days')",
        "missing: 'absent'",
    ]
