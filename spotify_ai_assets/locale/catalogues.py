"""Making of the gettext catalogues: collect the messages of the package, update ``.po``, compile ``.mo``.

For developers and tests only: it needs babel's message tools, and nothing of the platform imports it.
"""

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.locale import DOMAIN, FOLDER
from spotify_ai_assets.settings import LANGUAGES

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

MessageId = str | tuple[str, str]
"""A text, or its singular and plural."""

TRANSLATIONS = LANGUAGES[1:]
DOCUMENTED = ("assets.py", "checks.py", "jobs.py")
"""Modules whose decorated functions carry docstrings that the UI shows."""

_FORMS = {"_": 1, "translate": 1, "translate_plural": 2}
_PLACEHOLDER = re.compile(r"\{\w*\}")


def extract_messages(package: Path = FOLDER.parent) -> dict[MessageId, list[str]]:
    """Every text of the package that has to be translated.

    Args:
        package: Folder that is searched for modules and for ``templates/*.html``.

    Returns:
        Messages in the order of their first appearance, each with the files that hold it.

    Raises:
        ValueError: A marked text is built at run time (an f-string, a sum); the message names the file and the line.
    """
    found: dict[MessageId, list[str]] = defaultdict(list)
    for path in sorted([*package.rglob("*.py"), *package.rglob("templates/*.html")]):
        name = path.relative_to(package.parent).as_posix()
        source = path.read_text(encoding="utf-8")
        messages = _in_template(source, name) if path.suffix == ".html" else _in_module(ast.parse(source, name), name)
        for message in messages:
            if name not in found[message]:
                found[message].append(name)
    return dict(found)


def _in_module(tree: ast.Module, name: str) -> Iterator[MessageId]:
    if name.endswith(DOCUMENTED):
        for node in tree.body:
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.decorator_list
                and (text := ast.get_docstring(node, clean=False))
            ):
                yield inspect.cleandoc(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FORMS:
            texts = node.args[: _FORMS[node.func.id]]
            if any(isinstance(text, ast.JoinedStr | ast.BinOp) for text in texts):
                raise ValueError(f"{name}:{node.lineno}: a marked text is built at run time")
            literals = [text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)]
            if literals and len(literals) == _FORMS[node.func.id]:
                yield _message_id(literals)


def _in_template(source: str, name: str) -> Iterator[MessageId]:
    import jinja2
    from jinja2.ext import extract_from_ast

    for line, function, found in extract_from_ast(jinja2.Environment(autoescape=True).parse(source), tuple(_FORMS)):
        texts = [text for text in (found if isinstance(found, tuple) else (found,)) if text is not None]
        if len(texts) != _FORMS[function]:
            raise ValueError(f"{name}:{line}: a marked text is built at run time")
        yield _message_id(texts)


def _message_id(texts: list[str]) -> MessageId:
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def po_path(language: str, folder: Path = FOLDER) -> Path:
    """Where the translations of a language are edited."""
    return folder / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read_catalogue(language: str, folder: Path = FOLDER) -> "Catalog":
    """The edited translations of a language; an empty catalogue where there is no file yet."""
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import read_po

    path = po_path(language, folder)
    if path.exists():
        with path.open("rb") as file:
            return read_po(file, locale=language, domain=DOMAIN)
    return Catalog(
        locale=language,
        domain=DOMAIN,
        header_comment=f"# Texts of {DOMAIN} in another language; see locale/__init__.py.",
        project=DOMAIN,
        version="1",
        last_translator=DOMAIN,
        language_team=language,
        msgid_bugs_address=DOMAIN,
        revision_date=datetime.now(UTC),
        fuzzy=False,
    )


def update_catalogues(messages: dict[MessageId, list[str]], folder: Path = FOLDER) -> dict[str, list[str]]:
    """Bring the ``.po`` files in line with the code: add new messages, keep translations, drop what is gone.

    Args:
        messages: What ``extract_messages`` found.
        folder: Where the languages' folders lie.

    Returns:
        For each language what is left to do, as ``find_problems`` words it.
    """
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import write_po

    problems = {}
    for language in TRANSLATIONS:
        catalogue = read_catalogue(language, folder)
        # The old creation date keeps an update without news free of differences.
        template = Catalog(creation_date=catalogue.creation_date)
        for message, files in messages.items():
            template.add(message, locations=[(file, 0) for file in files])
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        path = po_path(language, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalogue, width=120, include_lineno=False)
        problems[language] = find_problems(catalogue, messages)
    return problems


def compile_catalogues(folder: Path = FOLDER) -> list[Path]:
    """Write each language's ``.mo`` from its ``.po`` and return the paths."""
    from babel.messages.mofile import write_mo

    paths = []
    for language in TRANSLATIONS:
        paths.append(po_path(language, folder).with_suffix(".mo"))
        with paths[-1].open("wb") as file:
            write_mo(file, read_catalogue(language, folder))
    return paths


def find_problems(catalogue: "Catalog", messages: dict[MessageId, list[str]]) -> list[str]:
    """What keeps a catalogue from being complete and true to the code.

    Args:
        catalogue: Translations of one language.
        messages: What ``extract_messages`` found.

    Returns:
        One line per missing, empty, unsure, obsolete or wrongly filled-in translation.
    """
    translated = {message.id: message for message in catalogue if message.id}
    problems = [f"obsolete: {message!r}" for message in [*translated, *catalogue.obsolete] if message not in messages]
    for message in messages:
        entry = translated.get(message)
        texts = [] if entry is None or not entry.string else [entry.string] if isinstance(entry.string, str) else [*entry.string]
        if entry is None or entry.fuzzy or not texts or not all(texts):
            problems.append(f"missing: {message!r}")
        elif any(_placeholders(text) != _placeholders(message) for text in texts):
            problems.append(f"placeholders differ: {message!r}")
    return problems


def _placeholders(message: MessageId) -> set[str]:
    texts = (message,) if isinstance(message, str) else message
    return {found for text in texts for found in _PLACEHOLDER.findall(text)}
