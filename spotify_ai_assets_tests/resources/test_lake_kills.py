"""SIGKILL at each file-changing system call, and the order in which a write makes things durable."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
import strace
from lake_tables import DAY, day_rows, later, log_file, numbers, open_lake, whole_rows
from strace import Call, Nursery

OLD, NEW = {f"i{n}": n for n in range(3)}, {f"i{n}": n for n in range(7)}
CHECKPOINT = 99
"""The hundredth commit, with which Delta makes a checkpoint."""


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    strace.require()
    nursery = Nursery(tmp_path_factory.mktemp("strace"))
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    """Folders of lakes by what was done to them before: nothing; a few commits; all but the hundredth."""
    root = tmp_path_factory.mktemp("lakes")
    (root / "none").mkdir()
    for name, commits in (("few", 4), ("hundredth", CHECKPOINT - 1)):
        lake = open_lake(root / name)
        lake.write("a/days", day_rows({"other": 1}, later(1)), later(1))
        for n in range(commits - 2):
            lake.write("a/days", day_rows(9 + n % 2), DAY)
        lake.write("a/days", day_rows(OLD), DAY)
        lake.append("a/whole", whole_rows({"old": 1.0}), transaction="t-old")
        assert lake.table("a/days").version() == commits
    shutil.copytree(root / "few", root / "torn")
    log_file(open_lake(root / "torn"), 4).write_bytes(b"")
    return root


def sweep(nursery: Nursery, lakes: Path, folder: Path, step: str, before: str, every: int = 1) -> Counter[str]:
    """Kill a step at each of its file-changing calls, one run per call; what was seen afterwards is counted."""
    at = folder / "lake"
    shutil.copytree(lakes / before, at)
    is_done, calls = nursery.run(step, at)
    assert is_done
    points = [(call, n + 1) for call, times in Counter(calls).items() for n in range(times)][::every]
    seen: Counter[str] = Counter()
    killed: set[Call] = set()
    for call, n in points:
        shutil.rmtree(at)
        shutil.copytree(lakes / before, at)
        is_done, _ = nursery.run(step, at, "-P", call.path, "-e", f"inject={call.name}:signal=KILL:when={n}")
        killed |= set() if is_done else {call}
        seen[outcome(at, step, before, is_done)] += 1
    # Each thread counts for itself, so the second call of a kind may be missed; the first never is.
    assert killed == {call for call, _ in points}
    return seen


def outcome(at: Path, step: str, before: str, is_acknowledged: bool) -> str:
    """Whether the old or the new state is there, whole; and that everything else is, and that work can go on."""
    lake = open_lake(at)
    assert is_acknowledged == (at / "acknowledged").exists()
    old, new = states(step, before)
    found = (numbers(lake), numbers(lake, later(1)), dict(lake.scan("a/whole").collect().iter_rows()))
    assert found in (old, new), "neither the old state nor the new one"
    assert found == new or not is_acknowledged, "an acknowledged step was lost"
    lake.vacuum("a/days")
    lake.write("a/days", day_rows({"next": 5}, later(2)), later(2))
    assert (numbers(lake), numbers(lake, later(1)), numbers(lake, later(2))) == (*found[:2], {"next": 5})
    lake.append("a/whole", whole_rows({"new": 1.0}), transaction="t-new")
    assert lake.scan("a/whole").collect()["id"].to_list().count("new") == 1
    lake.vacuum("a/days")
    assert not list(Path(lake.storage.uri("a/days")).rglob("*#*")) and lake.mend("a/days") == []
    return "new" if found == new else "old"


def states(step: str, before: str) -> tuple[tuple, tuple]:
    other, whole = {"other": 1}, {"old": 1.0}
    old = ({}, {}, {}) if before == "none" else (OLD, other, whole)
    if before == "torn":  # its last commit is lost in any case, and the rows of the one before are those of nine or ten
        old = ({f"i{n}": n for n in range(10)}, other, whole)
    new = {
        "write": (NEW, *old[1:]),
        "batch": (NEW, {f"i{n}": n for n in range(8)}, old[2]),
        "update": (old[0] | {"new": 1}, old[1] | {"new": 1}, old[2]),
        "append": (*old[:2], old[2] | {"new": 1.0}),
    }
    return old, new.get(step, old)


def test_a_write_killed_at_some_of_its_calls_leaves_old_or_new(nursery, lakes, tmp_path):
    seen = sweep(nursery, lakes, tmp_path, "write", "hundredth", every=3)
    assert seen["old"] >= 3 and seen["new"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "before"),
    [
        ("write", "none"),
        ("write", "few"),
        ("write", "hundredth"),
        ("write", "torn"),
        ("batch", "none"),
        ("batch", "hundredth"),
        ("update", "none"),
        ("update", "hundredth"),
        ("append", "none"),
        ("append", "few"),
        ("vacuum", "few"),
        ("forget_history", "few"),
        ("mend", "torn"),
    ],
)
def test_a_step_killed_at_any_of_its_calls_leaves_old_or_new(nursery, lakes, tmp_path, step, before):
    seen = sweep(nursery, lakes, tmp_path, step, before)
    old, new = states(step, before)
    assert set(seen) == ({"old", "new"} if old != new else {"new"})


@pytest.mark.parametrize("before", ["none", "few", "hundredth"])
def test_everything_is_synced_before_a_write_returns_and_data_before_its_commit(nursery, lakes, tmp_path, before):
    at = tmp_path / "lake"
    shutil.copytree(lakes / before, at)
    version = {"none": 1, "few": 5, "hundredth": CHECKPOINT}[before]
    is_done, calls = nursery.run("write", at)
    assert is_done
    table = at / "lake/a/days"
    (data,) = {call.path for call in calls if call.name == "openat" and call.path.endswith(".parquet") and "day=" in call.path}
    log, commit = str(table / "_delta_log"), str(log_file(open_lake(at), version))
    link = next(n for n, call in enumerate(calls) if call.name in ("link", "linkat") and call.path.startswith(commit))
    synced = [(n, call.path) for n, call in enumerate(calls) if call.name == "fsync"]
    early, late = {path for n, path in synced if n < link}, {path for n, path in synced if n > link}
    assert {data, str(Path(data).parent), str(table), str(log_file(open_lake(at), version - 1)), log} <= early
    assert {commit, log} <= late
    written = [n for n, call in enumerate(calls) if call.path == data and call.name in ("write", "pwrite64")]
    assert max(written) < min(n for n, path in synced if path == data)
    if before == "none":
        assert {str(at / "lake/a"), str(at / "lake"), str(at)} <= early
    if before == "hundredth":
        checkpoint = str(log_file(open_lake(at), version, "checkpoint.parquet"))
        renamed = {call.path.partition("#")[0] for call in calls[link:] if call.name.startswith("rename")}
        assert {checkpoint, f"{log}/_last_checkpoint"} <= renamed and {checkpoint, f"{log}/_last_checkpoint"} <= late


def test_a_vacuum_syncs_its_checkpoint_before_it_removes_the_log_below(nursery, lakes, tmp_path):
    at = tmp_path / "lake"
    shutil.copytree(lakes / "few", at)
    is_done, calls = nursery.run("forget_history", at)
    assert is_done
    removed = [n for n, call in enumerate(calls) if call.name.startswith("unlink") and call.path.endswith(".json")]
    checkpoint = [n for n, call in enumerate(calls) if call.name == "fsync" and call.path.endswith(".checkpoint.parquet")]
    assert removed and checkpoint and checkpoint[0] < removed[0]
