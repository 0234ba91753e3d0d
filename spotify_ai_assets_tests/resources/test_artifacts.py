import json
import multiprocessing
import os
import shutil
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spotify_ai_assets.resources.artifacts import MANIFEST, ArtifactError, Artifacts, Folder, Pointers, files_below
from spotify_ai_assets.resources.locks import FileLocks

# A fork of this process would inherit the threads of polars as locks that nobody opens.
SERVER = multiprocessing.get_context("forkserver")
FILES = {"model.json": b"{}", "deep/weights.json": b"[1, 2]"}


def open_at(folder: Path) -> Artifacts:
    return Artifacts(folder / "artifacts", FileLocks(folder / "locks"))


@pytest.fixture
def artifacts(tmp_path):
    start, ticks = datetime(2026, 1, 1, tzinfo=UTC), iter(range(10_000))
    return Artifacts(tmp_path / "artifacts", FileLocks(tmp_path / "locks"), clock=lambda: start + timedelta(seconds=next(ticks)))


def test_equal_content_is_the_same_version(artifacts):
    first = artifacts.publish("audio/model", FILES, {"a": (1, 2.5), "b": {"c": None}}, {"run": "one"})
    again = artifacts.publish("audio/model", dict(reversed(FILES.items())), {"b": {"c": None}, "a": [1, 2.5]}, {"run": "two"})
    assert again == first and first.origin == {"run": "one"} and len(artifacts.versions("audio/model")) == 1
    assert artifacts.publish("audio/model", FILES, {"a": 2}).version != first.version
    assert artifacts.publish("audio/model", {**FILES, "model.json": b"{ }"}, first.facts).version != first.version
    assert artifacts.publish("audio/other", FILES, first.facts).version != first.version


def test_versions_are_listed_by_age_and_models_by_name(artifacts):
    made = [artifacts.publish("b", {"n": bytes([n])}, {}).version for n in range(5)]
    artifacts.publish("a/c", FILES, {})
    assert [each.version for each in artifacts.versions("b")] == made
    assert artifacts.names() == ["a/c", "b"] and artifacts.versions("nothing") == []


def test_what_is_read_is_what_was_written(artifacts, tmp_path):
    source = tmp_path / "source.json"
    source.write_bytes(b"x" * 3_000_000)
    version = artifacts.publish("a", {**FILES, "large": source}, {}).version
    folder = artifacts.fetch("a", version)
    assert (folder / "large").read_bytes() == source.read_bytes()
    assert artifacts.read("a", version, "deep/weights.json") == b"[1, 2]"
    assert files_below(folder).keys() == {*FILES, "large", MANIFEST}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: overwrite(folder / "model.json", b"{x"), r"model\.json was changed"),
        (lambda folder: (folder / "model.json").unlink(), r"model\.json is missing"),
        (lambda folder: (folder / "more.json").write_bytes(b"1"), r"more\.json is not in its manifest"),
        (lambda folder: change(folder, lambda known: known["facts"].update(score=1)), "its manifest was changed"),
        (lambda folder: change(folder, lambda known: known["files"].pop("model.json")), "its manifest was changed"),
        (lambda folder: overwrite(folder / MANIFEST, b"[]"), "its manifest is broken"),
        (lambda folder: shutil.rmtree(folder), "there is no version"),
    ],
)
def test_a_version_that_was_touched_is_refused(artifacts, harm, said):
    version = artifacts.publish("a", FILES, {"score": 0}).version
    harm(artifacts.fetch("a", version))
    with pytest.raises(ArtifactError, match=said):
        artifacts.fetch("a", version)


def overwrite(path, content):
    path.chmod(0o644)
    path.write_bytes(content)


def change(folder, edit):
    known = json.loads((folder / MANIFEST).read_text())
    edit(known)
    overwrite(folder / MANIFEST, json.dumps(known).encode())


def test_one_file_is_verified_too(artifacts):
    version = artifacts.publish("a", FILES, {}).version
    overwrite(artifacts.place.local(f"a/{version}") / "model.json", b"no")
    with pytest.raises(ArtifactError, match="was changed"):
        artifacts.read("a", version, "model.json")
    with pytest.raises(ArtifactError, match="there is no file"):
        artifacts.read("a", version, "absent")


@pytest.mark.parametrize("name", ["", "A", "a//b", "../a", "a/", "/a", "a b", "a/0123456789abcdef", ".scratch"])
def test_names_that_could_lead_elsewhere_are_refused(artifacts, name):
    with pytest.raises(ArtifactError):
        artifacts.publish(name, FILES, {})


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../b", "a//b", "./a", MANIFEST, "a\\b", "a\0"])
def test_paths_that_could_lead_elsewhere_are_refused(artifacts, path):
    with pytest.raises(ArtifactError):
        artifacts.publish("a", {path: b""}, {})
    with pytest.raises(ArtifactError):
        artifacts.describe("a", "../../secret")


def test_a_folder_with_a_link_in_it_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match="links"):
        files_below(tmp_path)


def point(version):
    def decide(now):
        former = {"champion": [*now.former.get("champion", []), *([now.aliases["champion"]] if now.aliases else [])]}
        return Pointers({"champion": version}, former, now.history), {"event": "pointed", "version": version}

    return decide


def test_pointers_keep_their_history(artifacts):
    assert artifacts.pointers("a") == Pointers()
    for version in ("1", "2"):
        artifacts.change("a", point(version))
    found = artifacts.pointers("a")
    assert (found.aliases, found.former) == ({"champion": "2"}, {"champion": ["1"]})
    assert [(each["at"][:19], each["event"], each["version"]) for each in found.history] == [
        ("2026-01-01T00:00:00", "pointed", "1"),
        ("2026-01-01T00:00:01", "pointed", "2"),
    ]


def test_what_a_decision_raises_changes_nothing(artifacts):
    artifacts.change("a", point("1"))
    before = artifacts.pointers("a")

    def fail(_now):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        artifacts.change("a", fail)
    assert artifacts.change("a", lambda _now: None) == artifacts.pointers("a") == before


def test_a_version_in_use_is_not_removed(artifacts):
    old, new = (artifacts.publish("a", {"n": bytes([n])}, {}).version for n in range(2))
    artifacts.change("a", point(old))
    artifacts.change("a", point(new))
    with pytest.raises(ArtifactError, match="in use"):
        artifacts.remove("a", new)
    artifacts.remove("a", old)
    assert artifacts.pointers("a").former == {"champion": []}
    assert [each.version for each in artifacts.versions("a")] == [new]
    assert not list((artifacts.place.local("") / ".scratch").iterdir())


def add_one(folder, times):
    artifacts = open_at(folder)
    for _ in range(times):
        artifacts.change("a", lambda now: (Pointers({"n": str(int(now.aliases.get("n", 0)) + 1)}, {}, now.history), {"event": "counted"}))
        artifacts.publish("a", {"same": b"content"}, {})


def test_processes_that_change_the_same_pointers_lose_nothing(tmp_path):
    workers = [SERVER.Process(target=add_one, args=(tmp_path, 15)) for _ in range(3)]
    for worker in workers:
        worker.start()
    seen = []
    while any(worker.is_alive() for worker in workers):
        seen.append(int(open_at(tmp_path).pointers("a").aliases.get("n", 0)))  # a reader never sees a torn file
    assert [worker.exitcode for worker in workers] == [0, 0, 0] and seen == sorted(seen)
    artifacts = open_at(tmp_path)
    assert artifacts.pointers("a").aliases == {"n": "45"} and len(artifacts.pointers("a").history) == 45
    assert len(artifacts.versions("a")) == 1


def publish_and_die(folder, call):
    """Publish and point, and die at the n-th call that makes something durable or visible."""
    count, real = [0], {name: getattr(os, name) for name in ("fsync", "rename", "replace")}

    def deadly(name):
        def act(*arguments, **options):
            count[0] += 1
            if count[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real[name](*arguments, **options)

        return act

    for name in real:
        setattr(os, name, deadly(name))
    artifacts = open_at(folder)
    version = artifacts.publish("a", FILES, {"new": True}).version
    artifacts.change("a", point(version))


def test_a_kill_at_any_moment_leaves_whole_versions_and_whole_pointers(tmp_path):
    seen = Counter()
    for call in range(1, 60):
        folder = tmp_path / str(call)
        artifacts = open_at(folder)
        old = artifacts.publish("a", FILES, {"new": False}).version
        artifacts.change("a", point(old))
        worker = SERVER.Process(target=publish_and_die, args=(folder, call))
        worker.start()
        worker.join()
        for version in artifacts.versions("a"):
            artifacts.fetch("a", version.version)
        champion = artifacts.pointers("a").aliases["champion"]
        seen[len(artifacts.versions("a")), champion == old] += 1
        artifacts.change("a", point(artifacts.publish("a", FILES, {"new": True}).version))
        assert artifacts.pointers("a").aliases["champion"] != old
        if isinstance(artifacts.place, Folder):
            artifacts.place.sweep()
            assert not list((folder / "artifacts" / ".scratch").iterdir())
        if worker.exitcode == 0:
            break
    assert worker.exitcode == 0, "not all calls were reached"
    assert set(seen) == {(1, True), (2, True), (2, False)}, seen
