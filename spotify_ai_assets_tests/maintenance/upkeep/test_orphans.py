"""What nothing leads to goes; what an alias, a way back, another version or youth still needs stays."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented import day, land, listens

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.upkeep.orphans import find_strangers, find_unused, needed_versions, remove_versions, vacuum
from spotify_ai_assets.resources.artifacts import Artifacts, Pointers, Version
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks

START = datetime(2026, 1, 1, tzinfo=UTC)
LATE = START + timedelta(days=365)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    days = iter(range(10_000))
    return Artifacts(tmp_path / "artifacts", FileLocks(tmp_path / "locks"), clock=lambda: START + timedelta(days=next(days)))


def publish(artifacts: Artifacts, name: str, number: int, **facts: object) -> str:
    return artifacts.publish(name, {"n": str(number).encode()}, {"number": number, **facts}).version


def point(artifacts: Artifacts, name: str, current: str, *former: str) -> None:
    artifacts.change(name, lambda now: (Pointers({"current": current}, {"current": list(former)}, now.history), {"event": "set"}))


def unused(artifacts: Artifacts, before: datetime = LATE, former: int = 2) -> set[tuple[str, str]]:
    return {(each.name, each.version) for each in find_unused(artifacts, before, former=former)}


def test_what_serves_what_can_serve_again_and_the_newest_stay(artifacts: Artifacts) -> None:
    one, two, three, four, five, six = (publish(artifacts, "a/model", number) for number in range(6))
    point(artifacts, "a/model", five, one, two, three)
    assert unused(artifacts) == {("a/model", one), ("a/model", four)}, "one is too long ago, four never served"
    assert six not in {version for _, version in unused(artifacts)}, "the newest may be about to serve"


def test_what_a_needed_version_names_is_needed_too_however_deep(artifacts: Artifacts) -> None:
    model, other = publish(artifacts, "a/model", 1), publish(artifacts, "a/model", 2)
    index = publish(artifacts, "a/index", 1, basis={"model": model})
    lost = publish(artifacts, "a/index", 2, basis={"model": other})
    release = publish(artifacts, "a/release", 1, pins=[f"a/index@{index}"])
    point(artifacts, "a/release", release)
    publish(artifacts, "a/model", 3)
    publish(artifacts, "a/index", 3)
    assert unused(artifacts) == {("a/model", other), ("a/index", lost)}


def test_young_versions_stay_with_all_that_they_name(artifacts: Artifacts) -> None:
    old = publish(artifacts, "a/model", 1)
    publish(artifacts, "a/index", 1, model=old)
    for number in (2, 3):
        publish(artifacts, "a/model", number)
        publish(artifacts, "a/index", number)
    assert ("a/model", old) not in unused(artifacts, START)
    assert ("a/model", old) in unused(artifacts)


def test_removing_leaves_what_is_needed_readable_and_is_noted(artifacts: Artifacts) -> None:
    versions = [publish(artifacts, "a/model", number) for number in range(4)]
    point(artifacts, "a/model", versions[1], versions[0])
    found = find_unused(artifacts, LATE, former=1)
    remove_versions(artifacts, found)
    assert [each.version for each in found] == [versions[2]]
    assert [each.version for each in artifacts.versions("a/model")] == [versions[0], versions[1], versions[3]]
    assert artifacts.pointers("a/model").history[-1]["event"] == "removed"
    assert unused(artifacts, former=1) == set()


_versions = st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.integers(0, 9), max_size=3), st.integers(0, 20)), min_size=1, max_size=10)


@given(_versions, st.sets(st.integers(0, 9), max_size=3), st.sets(st.integers(0, 9), max_size=3), st.integers(0, 20))
def test_nothing_that_can_be_reached_ever_goes(
    made: list[tuple[str, set[int], int]], aliased: set[int], back: set[int], young: int
) -> None:
    ids = [f"{number:016x}" for number in range(len(made))]
    all_of = [
        Version(name, ids[number], {}, {"names": [ids[each] for each in sorted(names) if each < len(ids)]}, {}, _at(age).isoformat())
        for number, (name, names, age) in enumerate(made)
    ]
    by_name: dict[str, list[Version]] = {}
    for each in sorted(all_of, key=lambda each: each.created_at):
        by_name.setdefault(each.name, []).append(each)
    pointers = {
        name: Pointers(
            {str(n): each.version for n, each in enumerate(many) if int(each.version, 16) in aliased},
            {"x": [each.version for each in many if int(each.version, 16) in back]},
        )
        for name, many in by_name.items()
    }
    needed = needed_versions(by_name, pointers, _at(young), former=1)
    names = {version for _, version in needed}
    for each in all_of:
        is_root = int(each.version, 16) in aliased or datetime.fromisoformat(each.created_at) >= _at(young)
        is_root |= each == by_name[each.name][-1] or each.version in pointers[each.name].former["x"][-1:]
        if is_root:
            assert each.version in names
        if each.version in names:
            assert set(each.facts["names"]) <= names | {each.version}


def _at(days: int) -> datetime:
    return START + timedelta(days=days)


def test_files_of_past_states_go_after_the_history_and_a_dry_run_only_counts(lake: Lake) -> None:
    land(lake, range(2))
    lake.write(EVENTS.key, listens(day(0), shift=3), day(0))
    kept, at_once = timedelta(days=7), timedelta(0)
    assert vacuum(lake, kept, dry_run=False).files == 0
    told = vacuum(lake, at_once, dry_run=True)
    assert told.files == 1
    assert told.bytes > 0
    done = vacuum(lake, at_once, dry_run=False)
    assert (done.files, done.bytes, done.busy) == (1, told.bytes, [])
    assert lake.scan(EVENTS.key).collect().height == 120


def test_a_table_that_is_being_written_is_passed_over(lake: Lake, tmp_path: Path) -> None:
    land(lake, range(1))
    impatient = Lake(lake.storage.root, lake.tables, FileLocks(tmp_path / "locks", 0.05))
    with lake.locks.shared(EVENTS.key):
        assert vacuum(impatient, timedelta(0), dry_run=False).busy == [EVENTS.key]
    assert vacuum(impatient, timedelta(0), dry_run=False).busy == []


def test_a_table_that_no_contract_declares_is_told_of_and_left(lake: Lake) -> None:
    land(lake, range(1))
    known = {EVENTS.key: lake.tables[EVENTS.key]}
    assert find_strangers(Lake(lake.storage.root, known, lake.locks)) == []
    assert find_strangers(Lake(lake.storage.root, {}, lake.locks)) == [EVENTS.key]
    assert find_strangers(Lake("s3://somewhere/else", known, lake.locks)) == []
