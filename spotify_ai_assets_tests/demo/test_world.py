import datetime as dt
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from demo_worlds import DAYS, FIRST, SCALE, SEED, World, make_world

from spotify_ai_assets.demo import LAST_DAY, write_world


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_same_arguments_write_the_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from spotify_ai_assets.demo import write_world; "
        "write_world(pathlib.Path(sys.argv[1]), seed=3, scale=0.1, days=12)"
    )
    for threads, hashing in (("1", "1"), ("4", "2")):
        environment = {**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": hashing, "TZ": f"UTC+{threads}"}
        command = [sys.executable, "-c", code, str(tmp_path / threads)]
        subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2], timeout=120)
    one, other = _digests(tmp_path / "1"), _digests(tmp_path / "4")
    assert len(one) > 20
    assert one == other


def test_another_seed_is_another_world(tmp_path: Path) -> None:
    one, other = (make_world(tmp_path / str(seed), seed=seed, scale=0.05, days=10) for seed in (1, 2))
    assert one.truth["canary"] != other.truth["canary"]
    same = set(_digests(one.folder).items()) & set(_digests(other.folder).items())
    assert {name for name, _ in same} == {"landing/README.txt"}


def test_listens_per_day_follow_the_scale(clean_world: World) -> None:
    counts = [entry["plays"] for entry in clean_world.truth["listens"]["per_day"]]
    assert len(counts) == DAYS
    assert 0.9 < sum(counts) / DAYS / (5_000 * SCALE) < 1.1


def test_the_world_ends_on_a_fixed_sunday(world: World) -> None:
    assert dt.date(2026, 6, 28) == LAST_DAY
    assert LAST_DAY.weekday() == 6
    assert (world.truth["first_day"], world.truth["last_day"]) == (FIRST.isoformat(), "2026-06-28")


def test_a_clean_world_has_the_same_people_and_music(world: World, clean_world: World) -> None:
    assert world.truth["people"]["exporters"] == clean_world.truth["people"]["exporters"]
    assert world.truth["people"]["clusters"] == clean_world.truth["people"]["clusters"]
    hidden, clean = _digests(world.folder), _digests(clean_world.folder)
    for name in ("artists", "albums", "tracks"):
        assert hidden[f"landing/catalog/{name}.jsonl.gz"] == clean[f"landing/catalog/{name}.jsonl.gz"]


def test_a_shorter_clean_world_is_the_end_of_a_longer_one(clean_world: World, tmp_path: Path) -> None:
    short = make_world(tmp_path, seed=SEED, scale=SCALE, days=4, clean=True)
    long, last = _digests(clean_world.folder), _digests(short.folder)
    days = [name for name in last if name.startswith("landing/native/listens-2026-06-2")]
    assert len(days) == 4
    assert all(long[name] == last[name] for name in days)


@pytest.mark.parametrize(("days", "scale"), [(1, 0.02), (2, 0.001), (6, 0.05), (9, 0.02), (14, 0.02)])
def test_the_smallest_worlds_can_be_written(tmp_path: Path, days: int, scale: float) -> None:
    steps: list[tuple[str, int, int]] = []
    truth = make_world(tmp_path, scale=scale, days=days, report=lambda *step: steps.append(step)).truth
    assert [entry["day"] for entry in truth["listens"]["per_day"]][-1] == "2026-06-28"
    assert truth["listens"]["rows"] == truth["listens"]["plays"] + truth["listens"]["duplicates"] + truth["listens"]["malformed"]
    assert steps[days - 1] == ("days", days, days)
    assert steps[-1] == ("files", 2, 2)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"scale": 0}, {"scale": float("nan")}, {"scale": float("inf")}, {"days": 0}])
def test_impossible_worlds_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a world needs"):
        write_world(tmp_path / "world", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "world").exists()
