import math
import shutil
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from audio_files import id3, noise, write_sound, write_wav
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_ai_assets.audio.intake.sandbox import Pool, Refusal
from spotify_ai_assets.audio.intake.store import Store
from spotify_ai_assets.audio.intake.taking import FLEETING, measure, take_files
from spotify_ai_assets.errors import TransientError

pytestmark = pytest.mark.xdist_group("audio_sandbox")


class Counting(Pool):
    """A pool that asks another one and counts what is measured."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.workers)
        self._pool = pool
        self.measured: Counter[str] = Counter()

    def ask(self, task, path):
        if task == "analyse":
            self.measured[path.name] += 1
        return self._pool.ask(task, path)


@pytest.fixture
def counting(pool):
    return Counting(pool)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "data")


def test_files_are_taken_with_facts_and_tags_and_broken_ones_rejected(store, counting, tmp_path):
    sound = write_sound(tmp_path / "in/a.mp3", noise(seconds=1)).read_bytes()
    good = tmp_path / "in/deep/\x1b[31mg.mp3"
    good.parent.mkdir()
    good.write_bytes(id3((b"TIT2", b"\x00Song"), (b"TPE1", b"\x00Band")) + sound)
    broken = tmp_path / "in/b.flac"
    broken.write_bytes(b"fLaC" + bytes(60))
    taken = {each.path: each for each in take_files([good, broken, tmp_path / "absent"], store, counting)}
    assert taken[good].rule is None and taken[good].tags == {"title": "Song", "artist": "Band"}
    assert taken[good].name == "\\x1b[31mg.mp3" and taken[good].facts["container"] == "mp3"
    assert store.has(taken[good].file_id) and good.exists()
    assert taken[broken].rule == "no_audio" and taken[broken].reason and broken.exists()
    assert store.rejected(taken[broken].file_id).read_bytes() == broken.read_bytes() and not store.has(taken[broken].file_id)
    assert taken[tmp_path / "absent"].rule == "not_found" and taken[tmp_path / "absent"].file_id is None


def test_no_file_is_measured_twice_neither_under_two_names_nor_in_another_run_nor_after_a_refusal(store, counting, tmp_path):
    paths = [write_wav(tmp_path / f"{number}.wav", noise(number % 4)) for number in range(12)]
    for number in range(4):
        paths.append(tmp_path / f"broken{number}")
        paths[-1].write_bytes(b"fLaC" + bytes(60 + number % 2))
    first = {each.path: each for each in take_files(paths, store, counting)}
    assert set(counting.measured.values()) == {1} and len(counting.measured) == 6
    assert sum(each.is_measured for each in first.values()) == 6
    again = {each.path: each for each in take_files(paths[::-1], store, counting)}
    assert set(counting.measured.values()) == {1} and not any(each.is_measured for each in again.values())
    for path in paths:
        assert (again[path].file_id, again[path].facts, again[path].rule) == (first[path].file_id, first[path].facts, first[path].rule)


def test_analyses_come_from_the_cache_and_only_missing_ones_are_measured(store, counting, tmp_path):
    paths = [write_wav(tmp_path / f"{number}.wav", noise(number)) for number in range(3)]
    ids = [each.file_id for each in take_files(paths, store, counting)]
    shutil.rmtree(next((tmp_path / "data/artifacts/analyses").iterdir()) / ids[0][:2])
    found = dict(measure(ids, store, counting))
    assert counting.measured == {ids[0]: 2, ids[1]: 1, ids[2]: 1}
    assert all(found[each].facts["duration_ms"] == 500 for each in ids)
    idle = Pool(1, module="no_such_module")  # which could not even start
    assert {name: each.to_npz() for name, each in measure(ids, store, idle)} == {name: each.to_npz() for name, each in found.items()}


def test_an_original_that_is_gone_is_refused_and_does_not_stop_the_others(store, counting, tmp_path):
    kept = next(take_files([write_wav(tmp_path / "a.wav", noise())], store, counting)).file_id
    found = dict(measure(["f" * 64, kept], store, counting))
    assert isinstance(found["f" * 64], Refusal) and found["f" * 64].rule == "original_missing" and not isinstance(found[kept], Refusal)


def test_a_crash_is_not_remembered_and_the_file_is_taken_when_it_comes_again(store, pool, tmp_path):
    path = write_wav(tmp_path / "a.wav", noise())

    class Crashing(Counting):
        def ask(self, task, path):
            return Refusal("decoder_crashed", "its process ended with signal 11")

    assert next(take_files([path], store, Crashing(pool))).rule == "decoder_crashed"
    taken = next(take_files([path], store, pool))
    assert taken.rule is None and store.has(taken.file_id)


def test_tags_that_a_parser_does_not_survive_cost_the_tags_only(store, pool, tmp_path):
    class Crashing(Counting):
        def ask(self, task, path):
            return Refusal("decoder_crashed", "") if task == "tags" else self._pool.ask(task, path)

    taken = next(take_files([write_wav(tmp_path / "a.wav", noise())], store, Crashing(pool)))
    assert taken.rule is None and taken.tags == {}


def test_what_another_version_of_the_product_measured_is_not_kept(store, pool, tmp_path):
    with pytest.raises(TransientError):
        list(take_files([write_wav(tmp_path / "a.wav", noise())], store, pool, extractor="e" * 16))
    assert not list((tmp_path / "data").rglob("*.npz"))


# Hostile bytes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [2**31 - 1, 2**32 - 1, 2**32 - 37])
def test_a_header_that_declares_four_gigabytes_costs_nothing(pool, tmp_path, declared):
    path = write_wav(tmp_path / "a.wav", noise())
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", declared)
    path.write_bytes(data)
    answer = pool.ask("analyse", path)
    assert answer.cost.peak_bytes < 10**9 and answer.cost.cpu_seconds < 10


@pytest.mark.slow
def test_a_bomb_of_silence_is_cut_to_an_excerpt(pool, tmp_path):
    import soundfile

    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", 8_000, 8, format="FLAC") as file:
        for _ in range(30):
            file.write(np.zeros((8_000 * 60, 8), np.float32))
    assert path.stat().st_size < 2**20  # of which 460 MB come out
    answer = pool.ask("analyse", path)
    assert not isinstance(answer, Refusal), answer
    assert answer.cost.peak_bytes < 10**9


@pytest.mark.parametrize(("channels", "rate"), [(0, 44_100), (65_535, 44_100), (9, 44_100), (1, 0), (1, 1), (1, 2**32 - 1)])
def test_absurd_channels_and_rates_are_refused(pool, tmp_path, channels, rate):
    path = write_wav(tmp_path / "a.wav", noise())
    data = bytearray(path.read_bytes())
    data[22:28] = struct.pack("<HI", channels, rate)
    path.write_bytes(data)
    answer = pool.ask("analyse", path)
    assert isinstance(answer, Refusal) and answer.rule not in FLEETING


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    options = [
        ("a.wav", {}),
        ("a.flac", {}),
        ("a.mp3", {}),
        ("a.ogg", {}),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
        ("a.aiff", {}),
    ]
    return [write_sound(folder / name, noise(seconds=0.2, rate=24_000), 24_000, **each).read_bytes() for name, each in options]


changes = st.lists(
    st.tuples(st.one_of(st.integers(0, 128), st.integers(0, 2**14)), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 5), changes, st.one_of(st.none(), st.integers(0, 2**14)))
def test_changed_headers_never_crash_or_hang(pool, seeds, tmp_path, which, edits, end):
    data = bytearray(seeds[which])
    for place, new in edits:
        place %= len(data)
        data[place : place + len(new)] = new
    path = Path(tmp_path, "changed")
    path.write_bytes(data[:end])
    answer = pool.ask("analyse", path)
    if isinstance(answer, Refusal):
        assert answer.rule not in FLEETING, (answer, bytes(data[:64]))
    assert answer.cost.cpu_seconds < 10 and answer.cost.peak_bytes < 10**9 and math.isfinite(answer.cost.wall_seconds)
    assert not isinstance(pool.ask("tags", path), Refusal)
