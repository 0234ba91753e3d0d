import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spotify_ai_assets.audio.analysis import Analysis
from spotify_ai_assets.audio.intake import store as module
from spotify_ai_assets.audio.intake.store import Store, UnsettledFileError
from spotify_ai_assets.errors import UnreadableFileError

ANALYSIS = Analysis(
    {"a": 1}, {"tempo": 120.0}, {"v": np.ones(3, np.float32)}, {}, np.ones((2, 2), np.uint32), np.ones((64, 3), np.uint8), "e1"
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "data")


def write(path: Path, data: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_original_lies_under_its_digest_and_the_file_stays_as_it_was(store, tmp_path):
    path = write(tmp_path / "in" / "a.mp3")
    before = path.stat()
    kept = store.keep(path)
    digest = hashlib.sha256(b"content").hexdigest()
    assert (kept.file_id, kept.bytes) == (digest, 7) and store.has(digest)
    assert files(tmp_path / "data") == [f"artifacts/audio/{digest[:2]}/{digest}"]
    assert (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) == (before.st_mtime_ns, before.st_ino, b"content")


def test_who_goes_on_writing_a_file_changes_nothing_of_the_original(store, tmp_path):
    path = write(tmp_path / "a")
    kept = store.keep(path)
    with path.open("ab") as file:
        file.write(b" and more")
    assert store.original(kept.file_id).read_bytes() == b"content"
    assert stat.S_IMODE(store.original(kept.file_id).stat().st_mode) == 0o600


def test_a_file_kept_twice_is_kept_once(store, tmp_path):
    first = store.keep(write(tmp_path / "a"))
    before = store.original(first.file_id).stat().st_mtime_ns
    assert store.keep(write(tmp_path / "b")) == first
    assert store.original(first.file_id).stat().st_mtime_ns == before and len(files(tmp_path / "data")) == 1


def test_a_file_that_changes_while_it_is_read_is_not_kept(store, tmp_path, monkeypatch):
    path = write(tmp_path / "a")
    copy = module._copy

    def slowly(file, target, most):
        with path.open("ab") as other:
            other.write(b"!")
        return copy(file, target, most)

    monkeypatch.setattr(module, "_copy", slowly)
    with pytest.raises(UnsettledFileError):
        store.keep(path)
    assert files(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda path: path.symlink_to(__file__), "not_a_file"),
        (os.mkfifo, "not_a_file"),
        (lambda path: path.mkdir(), "not_a_file"),
        (lambda path: None, "not_found"),
        (lambda path: write(path, bytes(2000)), "too_large"),
    ],
)
def test_links_pipes_folders_absent_and_too_large_files_are_refused(tmp_path, make, rule):
    make(tmp_path / "x")
    with pytest.raises(UnreadableFileError) as error:
        Store(tmp_path / "data", most_bytes=1000).keep(tmp_path / "x")
    assert error.value.rule == rule


def test_a_rejected_file_moves_whole_to_the_quarantine_and_back(store, tmp_path):
    kept = store.keep(write(tmp_path / "a"))
    store.reject(kept.file_id)
    assert not store.has(kept.file_id) and store.rejected(kept.file_id).read_bytes() == b"content"
    again = store.keep(tmp_path / "a")
    store.reject(again.file_id)
    assert files(tmp_path / "data") == [f"quarantine/audio/{kept.file_id}"]
    store.readmit(kept.file_id)
    assert store.has(kept.file_id) and not store.rejected(kept.file_id).exists()


def test_an_analysis_is_found_again_by_its_extractor_only(store):
    digest = "a" * 64
    assert store.analysis(digest, "e1") is None and not store.has_analysis(digest, "e1")
    store.put_analysis(digest, "e1", ANALYSIS.to_npz())
    found = store.analysis(digest, "e1")
    assert found is not None and found.to_npz() == ANALYSIS.to_npz() and store.has_analysis(digest, "e1")
    assert store.analysis(digest, "e2") is None
    store.put_analysis(digest, "e2", ANALYSIS.to_npz())
    assert store.analysis(digest, "e2") is None  # it says itself that another extractor measured it


@given(st.integers(0, 3000), st.integers(0, 255))
def test_a_damaged_analysis_is_none_or_the_same(tmp_path_factory, place, value):
    store = Store(tmp_path_factory.getbasetemp() / "damaged")
    data = bytearray(ANALYSIS.to_npz())
    data[place % len(data)] = value
    store.put_analysis("b" * 64, "e1", bytes(data))
    found = store.analysis("b" * 64, "e1")
    assert found is None or found.to_npz() == ANALYSIS.to_npz()
    store.put_analysis("b" * 64, "e1", bytes(data[: place % len(data)]))
    assert store.analysis("b" * 64, "e1") is None


def test_a_refusal_is_remembered_for_its_extractor(store):
    store.put_refusal("c" * 64, "e1", "no_audio", "nothing in it")
    assert store.refusal("c" * 64, "e1") == ("no_audio", "nothing in it") and store.refusal("c" * 64, "e2") is None


def test_what_other_extractors_found_can_be_removed(store, tmp_path):
    for extractor in ("e1", "e2"):
        store.put_analysis("a" * 64, extractor, ANALYSIS.to_npz())
        store.put_refusal("c" * 64, extractor, "no_audio", "")
    assert store.forget_analyses("e2") == 2
    assert {name.split("/")[2] for name in files(tmp_path / "data")} == {"e2"}


def test_what_a_killed_copy_left_behind_is_swept(store, tmp_path):
    kept = store.keep(write(tmp_path / "a"))
    write(tmp_path / "data/artifacts/audio/.x.part")
    write(tmp_path / "data/artifacts/analyses/e1/aa/.y.part")
    assert store.sweep() == 2 and store.has(kept.file_id) and len(files(tmp_path / "data")) == 1


@given(st.text())
@example("../../etc/passwd")
@example("A" * 64)
@example("a" * 64 + "\n")
@example("CON")
def test_no_name_but_a_digest_leads_to_a_path(text):
    store = Store(Path("data"))
    for look in (store.original, store.rejected, lambda name: store.put_analysis(name, "e1", b"")):
        with pytest.raises(ValueError):
            look(text)


names = st.text(st.characters(blacklist_characters="/\x00", blacklist_categories=("Cs",)), min_size=1, max_size=40)


@given(names)
@example("..%2f..%2fetc")
@example("\u202egpj.exe")
@example("aux.mp3")
@example("-rf")
def test_no_name_of_a_file_shows_in_the_store(tmp_path_factory, name):
    if name in (".", "..") or len(name.encode()) > 200:
        return
    folder = tmp_path_factory.mktemp("hostile")
    store = Store(folder / "data")
    kept = store.keep(write(folder / "in" / name, name.encode()))
    assert files(folder / "data") == [f"artifacts/audio/{kept.file_id[:2]}/{kept.file_id}"]
