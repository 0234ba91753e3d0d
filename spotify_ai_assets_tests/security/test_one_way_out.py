"""There is one way out: no module but the guard opens connections to addresses of the web."""

import ast

import pytest

from spotify_ai_assets.settings import ROOT

CLIENTS = {"urllib.request", "http.client", "requests", "httpx", "aiohttp", "urllib3", "ftplib", "smtplib", "telnetlib", "websockets"}
GUARD = "resources/outgoing.py"


def clients(source: str) -> set[str]:
    """The web clients that a module imports, wherever in it; what only type checkers import is left out."""
    tree = ast.parse(source)
    unread = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for each in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return {name for name in found if name in CLIENTS or name.partition(".")[0] in CLIENTS}


def test_no_module_but_the_guard_imports_a_web_client() -> None:
    package = ROOT / "spotify_ai_assets"
    found = {path.relative_to(package).as_posix(): clients(path.read_text()) for path in sorted(package.rglob("*.py"))}
    assert found.pop(GUARD)
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import requests",
        "from urllib import request",
        "import urllib.request as u",
        "def f():\n    from http import client",
        "import httpx, json",
    ],
)
def test_a_web_client_would_be_found(source: str) -> None:
    assert clients(source)


def test_other_imports_are_none() -> None:
    assert clients("from urllib.parse import urlsplit\nfrom http.server import HTTPServer\nif TYPE_CHECKING:\n    import requests") == set()
