"""SQL that is put together: only identifiers from lists and quoted ones; values travel beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotify_ai_assets.settings import ROOT

RUNS_SQL = {"execute", "executemany", "executescript", "exec_driver_sql", "text", "sql", "query", "read_database"}
QUOTES = {"_identifier", "_quoted", "_literal", "quoted", "identifier", "literal"}
"""Functions that quote what they are given, wherever they are defined; each has tests of its own."""

REVIEWED = {
    ("maintenance/backup/databases.py", "name"): "made of a constant and hexadecimal digits beside it",
    ("maintenance/backup/databases.py", "kind"): "one of two constants beside it",
    ("maintenance/backup/databases.py", "quote(schema)"): "quoted by the dialect",
    ("maintenance/backup/databases.py", "quote(name)"): "quoted by the dialect",
    ("maintenance/backup/restoring.py", "table"): "of a constant of the module",
    ("maintenance/erasure/databases.py", "name"): "quoted by the server itself, with quote_ident",
    ("maintenance/erasure/purging.py", "name"): "a quoted column",
    ("observability/alerts/incidents.py", "still_open"): "a constant beside it",
    ("recommendations/realtime/live.py", "pragma"): "of a constant beside it",
    ("resources/chain.py", "compare"): "one of two constants beside it",
    ("resources/chain.py", "only"): "one of two constants beside it",
    ("resources/chain.py", "order"): "one of two constants beside it",
    ("resources/chain.py", "values"): "the names of the fields of a class, as parameters",
    ("resources/identities.py", "each"): "one of two constants of the class",
    ("resources/identities.py", "column"): "of the two columns of the module's table",
    ("resources/locks.py", "function"): "of a constant of the module",
    ("resources/private_database.py", "pragma"): "of a constant beside it",
    ("resources/run_history.py", "table"): "of a constant of the module",
    ("resources/warehouse.py", "query"): "made of quoted identifiers of contracts",
    ("resources/warehouse.py", "view"): "two quoted identifiers",
}
"""What else is written into SQL, each looked at: no text of it comes from data, configuration or a person."""


def joined(tree: ast.AST) -> Iterator[tuple[int, str, ast.expr]]:
    """What is written into the text of a statement: line, source and expression."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _runs_sql(call.func):
            for part in (part for argument in call.args[:1] for part in ast.walk(argument)):
                yield from ((value.lineno, ast.unparse(value), value) for value in _written(part))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


def _runs_sql(function: ast.expr) -> bool:
    """Whether a call takes SQL; a method ``text`` of something else than SQLAlchemy writes text."""
    if isinstance(function, ast.Attribute) and function.attr == "text":
        return _name(function.value) in ("sqlalchemy", "sa")
    return _name(function) in RUNS_SQL


def _written(part: ast.AST) -> list[ast.expr]:
    """What one part of an expression writes into text."""
    if isinstance(part, ast.FormattedValue):
        return [part.value]
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add | ast.Mod):
        return [side for side in (part.left, part.right) if not isinstance(side, ast.Constant | ast.JoinedStr | ast.BinOp)]
    if isinstance(part, ast.Call) and _name(part.func) == "format":
        return [part]
    return []


def is_safe(value: ast.expr) -> bool:
    """Whether it is quoted or a constant of a module."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name | ast.Attribute):
        return _name(value.func) in QUOTES
    return isinstance(value, ast.Constant) or (isinstance(value, ast.Name) and value.id.isupper())


def unreviewed(path: Path, source: str) -> list[str]:
    module = path.as_posix()
    found = joined(ast.parse(source))
    return [f"{module}:{line}: {text}" for line, text, value in found if not is_safe(value) and (module, text) not in REVIEWED]


def test_no_value_is_written_into_sql() -> None:
    package = ROOT / "spotify_ai_assets"
    sources = {path.relative_to(package): path.read_text() for path in sorted(package.rglob("*.py"))}
    assert [line for path, source in sources.items() for line in unreviewed(path, source)] == []


def test_every_reviewed_expression_is_still_there() -> None:
    package = ROOT / "spotify_ai_assets"
    for module, text in REVIEWED:
        assert any(found == text for _, found, _ in joined(ast.parse((package / module).read_text()))), (module, text)


@pytest.mark.parametrize(
    "line",
    [
        'db.execute(f"select * from t where a = {value}")',
        'db.execute("select * from t where a = " + value)',
        'db.execute("select * from %s" % value)',
        'db.execute("select * from {}".format(value))',
        'db.execute(text(f"delete from {config.table}"))',
        'db.execute(sqlalchemy.text(f"delete from {config.table}"))',
        'warehouse.query(f"select {column} from x")',
    ],
)
def test_a_value_written_into_sql_would_be_found(line: str) -> None:
    assert unreviewed(Path("made_up.py"), line)


@pytest.mark.parametrize("line", ['db.execute("select ?", (value,))', 'db.execute(f"select {COLUMNS} from {_quoted(name)}", (value,))'])
def test_values_beside_and_quoted_names_are_fine(line: str) -> None:
    assert unreviewed(Path("made_up.py"), line) == []
