"""Files outside of tables go when their days are over, and nothing else does."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spotify_ai_assets.maintenance.upkeep.leftovers import Rule, find_leftovers, remove_leftovers, rules
from spotify_ai_assets.stores import STORES

RULES = rules(quarantine_days=30, kept_days=10, scratch_days=7)
PLACES = {
    "quarantine/aa": 30,
    "quarantine/audio/bb": 30,
    "kept/cc.fernet": 10,
    "kept/dd.tmp": 1,
    "requests/answers/0-1.zip": 30,
    "scratch/trainings/deep/ee": 7,
    "artifacts/.scratch/ff/gg": 1,
    "artifacts/audio/.hh.part": 1,
    "artifacts/analyses/x/ab/.ii.part": 1,
    "reports/en/.page.tmp": 1,
    "lake/listening/plays/_aside/17/00.json": 30,
}
"""Files, each with the days that it is kept."""
SAFE = (
    "artifacts/audio/ab/original",
    "artifacts/analyses/x/ab/kept.npz",
    "artifacts/a/model/0123456789abcdef/manifest.json",
    "reports/en/index.html",
    "lake/listening/plays/_delta_log/0.json",
    "lake/listening/plays/day=2026-01-01/x.parquet",
    "vault/identities.db",
    "ledger/ledger.db",
    "backups/old",
    "keys/ledger.key",
    "landing/file.json",
    "requests/asked.json",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in (*PLACES, *SAFE):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path / "data"


def names(data: Path, later: timedelta) -> set[str]:
    return {each.path.relative_to(data).as_posix() for each in find_leftovers(data, RULES, datetime.now(UTC) + later)}


@pytest.mark.parametrize("name", PLACES)
def test_a_file_goes_when_its_days_are_over_and_not_before(data: Path, name: str) -> None:
    moment = timedelta(minutes=5)
    assert name not in names(data, timedelta(days=PLACES[name]) - moment)
    assert name in names(data, timedelta(days=PLACES[name]) + moment)


def test_nothing_else_is_ever_looked_at(data: Path) -> None:
    assert names(data, timedelta(days=10_000)) == set(PLACES)
    assert {rule.store for rule in RULES} <= {store.name for store in STORES}


def test_emptied_folders_go_and_their_stores_stay(data: Path) -> None:
    found = find_leftovers(data, RULES, datetime.now(UTC) + timedelta(days=400))
    assert sum(each.size for each in found) == 5 * len(PLACES)
    remove_leftovers(data, found)
    remove_leftovers(data, found)
    left = {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()}
    assert left == set(SAFE)
    assert (data / "quarantine").is_dir()
    assert not (data / "scratch" / "trainings").exists()
    assert not (data / "lake" / "listening" / "plays" / "_aside").exists()


def test_a_landing_files_own_time_does_not_make_it_old_in_quarantine(data: Path) -> None:
    """It keeps the times that it came with when it is moved; its days there begin with the move."""
    file = data / "quarantine" / "aa"
    os.utime(file, (0, 0))
    assert "quarantine/aa" not in names(data, timedelta(days=29))


def test_a_kept_file_counts_from_when_it_was_written(data: Path) -> None:
    os.utime(data / "kept" / "cc.fernet", (0, 0))
    assert "kept/cc.fernet" in names(data, timedelta(0))


def test_links_and_folders_are_left_alone(data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (data / "quarantine" / "link").symlink_to(outside / "file")
    (data / "quarantine" / "folder").symlink_to(outside)
    remove_leftovers(data, find_leftovers(data, (Rule("quarantine", "**/*", timedelta(0)),), datetime.now(UTC) + timedelta(days=1)))
    assert (outside / "file").read_text() == "mine"
    assert (data / "quarantine" / "link").is_symlink()


def test_where_nothing_is_nothing_is_found(tmp_path: Path) -> None:
    assert find_leftovers(tmp_path / "absent", RULES, datetime.now(UTC)) == []
