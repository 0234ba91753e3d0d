"""SECURITY.md: every row of its table names tests, and every test that it names is there."""

import ast
import re
from pathlib import Path

from spotify_ai_assets.settings import ROOT

TESTS = ROOT / "spotify_ai_assets_tests"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def rows() -> list[list[str]]:
    """The cells of the table of threats."""
    table = (ROOT / "SECURITY.md").read_text().partition("| threat | control | test |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def functions(path: Path) -> set[str]:
    return {each.name for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.FunctionDef)}


def test_every_threat_has_a_control_and_a_test() -> None:
    found = rows()
    assert len(found) >= 30
    assert [row for row in found if len(row) != 3 or not all(row)] == []
    assert [row[0] for row in found if not NAMED.findall(row[2])] == []


def test_every_test_that_is_named_is_there() -> None:
    named = [each for row in rows() for each in NAMED.findall(row[2])]
    missing = [f"{file}::{test}" for file, test in named if not (TESTS / file).is_file() or test not in functions(TESTS / file)]
    assert missing == []


def test_what_it_says_of_files_and_flags_is_so() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    for path in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (ROOT / path).exists(), path
    assert (ROOT / ".ci" / "supply_chain").stat().st_mode & 0o100


def test_the_proxy_writes_down_no_whole_address() -> None:
    """Whichever field a version of Caddy keeps it in: ``remote_ip``, and ``client_ip`` since 2.7."""
    text = (ROOT / "deploy" / "proxy" / "Caddyfile").read_text()
    masked = re.findall(r"request>(\w+) ip_mask \{\s+ipv4 16\s+ipv6 32\s+\}", text)
    assert masked == ["remote_ip", "client_ip"]
