"""Dependencies: what is installed is what was tested, and nothing of it comes from anywhere but the package index."""

import json
import re
import tomllib
from importlib.metadata import Distribution, distributions

from spotify_ai_assets.settings import ROOT

TOOLS = {"pip", "setuptools", "wheel", "spotify-ai-assets"}
"""What every environment has, and the platform itself."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split("\n")
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


def installed() -> dict[str, Distribution]:
    return {plain(each.metadata["Name"]): each for each in distributions()}


def test_every_installed_distribution_is_pinned() -> None:
    assert sorted(installed().keys() - pins().keys() - TOOLS) == []


def test_every_pin_is_what_is_installed() -> None:
    here = installed()
    differing = {name: (pin, here[name].version) for name, pin in pins().items() if name in here}
    assert {name: each for name, each in differing.items() if each[0].split("+")[0] != each[1].split("+")[0]} == {}


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    assert sorted({plain(re.match(r"[\w.-]+", each)[0]) for each in told} - pins().keys()) == []  # type: ignore[index]


def test_nothing_is_installed_from_a_repository_or_an_address() -> None:
    """A file is a mirror's; what was fetched from elsewhere tells so in ``direct_url.json``."""
    found = {}
    for name, each in installed().items():
        told = json.loads(each.read_text("direct_url.json") or "{}")
        if name not in TOOLS and ("vcs_info" in told or str(told.get("url", "")).startswith(("http://", "git+", "ssh://"))):
            found[name] = told["url"]
    assert found == {}
