"""Fixtures that many tests share."""

import os

# Workers share the cores already: each with a pool of BLAS threads of its own takes ten times as long. Read when numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Texts by their spelling, but where a test is about a sentence encoder: to import one takes each process seconds.
os.environ.setdefault("SPOTIFY_AI_TEXT_MODEL", "ngrams")

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import hypothesis
import pytest

from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

# The benchmarks lie beside the package, which is installed, and are tested from here.
sys.path.append(str(Path(__file__).resolve().parents[1]))

# Workers of xdist are given a width, which a console that is made then would keep whatever a test says.
os.environ.pop("COLUMNS", None)

# A busy machine is no failure.
hypothesis.settings.register_profile("unhurried", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Packed bytes hold the time, so tests that are named after them would have another name in each process."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest begin first: whoever began one last would be waited for by all other processes."""
    items.sort(key=lambda item: -max((mark.kwargs.get("minutes", 0) for mark in item.iter_markers("slow")), default=0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI a skipped test is a failure, but for those that read the folder of shared data where it is absent."""
    report = yield
    if os.environ.get("CI") and report.skipped and "shared" not in str(report.longrepr):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake of all tables."""
    return Lake(str(tmp_path / "lake"), TABLES, FileLocks(tmp_path / "locks"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data folder is the test's own."""
    return Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path), "SPOTIFY_AI_PSEUDONYM_SEED": "test"})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that forgets."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
