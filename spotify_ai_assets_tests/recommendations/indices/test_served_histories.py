from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from spotify_ai_assets.recommendations.indices.histories import ServedHistories, is_mark, mark_removed, play_key, play_keys
from spotify_ai_assets.recommendations.interactions import Histories

NOON = datetime(2026, 6, 28, 12, tzinfo=UTC)
LISTENERS = np.array(["a" * 32, "b" * 32, "d" * 32], object)
ITEMS = np.array(["t1", "t2", "t3", "t4"], object)
OTHERS = np.array(["s1", "s2"], object)
WEIGHTLESS = np.array([[0, 0, 1, 2, 2], [1, 4, 2, 3, 5]], np.int32)
"""What they skipped: a plays t2 and s1, b plays t3, d plays t4 and s2."""
WEIGHTS = np.array([[1, 0, 2, 0], [0, 0, 0, 3], [4, 5, 6, 0]], np.float32)


def plays(listener, count):
    rows = [(listener, NOON - timedelta(minutes=each), f"t{each % 4 + 1}") for each in range(count)]
    return pl.DataFrame(rows, schema=["listener_id", "started_at", "track_id"], orient="row")


@pytest.fixture
def served():
    matrix = csr_matrix(WEIGHTS)
    countries, ages = np.array(["DE", "FR", "ZZ"], object), np.arange(6, dtype=np.float32)
    histories = Histories(matrix, LISTENERS, ITEMS, countries, ages, WEIGHTLESS, OTHERS)
    return ServedHistories(histories, play_keys(pl.concat([plays(each, 20) for each in LISTENERS])), NOON)


def test_a_row_is_the_history_of_its_listener(served):
    for number, listener in enumerate(LISTENERS):
        row = served.row(listener)
        assert row.shape == (1, 4) and row.toarray().tolist() == [WEIGHTS[number].tolist()]
    assert served.country("b" * 32) == "FR"
    assert [served.weightless_of(each) for each in LISTENERS] == [["t2", "s1"], ["t3"], ["t4", "s2"]]


@pytest.mark.parametrize("stranger", ["", "0", "aa", "c" * 32, "f" * 32])
def test_a_stranger_has_no_row(served, stranger):
    assert (
        served.weightless_of(stranger) == []
        and served.row(stranger) is None
        and served.country(stranger) is None
        and len(served.recent_of(stranger)) == 0
    )


def test_files_give_the_same_histories_again_and_the_same_bytes(served, tmp_path):
    files = served.files()
    for path, content in files.items():
        (tmp_path / path).write_bytes(content)
    again = ServedHistories.from_files(tmp_path)
    assert again.files() == files == served.files()
    assert again.as_of == NOON and (again.histories.matrix != served.histories.matrix).nnz == 0
    assert again.histories.ages.tolist() == served.histories.ages.tolist() and again.recent.dtype == np.uint64
    assert again.histories.countries.tolist() == ["DE", "FR", "ZZ"] and again.histories.items.tolist() == ITEMS.tolist()
    assert again.histories.weightless.tolist() == WEIGHTLESS.tolist() and again.histories.others.tolist() == OTHERS.tolist()


def test_histories_of_which_nothing_is_weightless_are_kept_as_well(served):
    whole = served.histories
    bare = ServedHistories(Histories(whole.matrix, whole.listeners, whole.items, whole.countries, whole.ages), served.recent, NOON)
    again = ServedHistories.from_files(bare.files())
    assert again.files() == bare.files() == bare.without(["0"]).files() and again.weightless_of("a" * 32) == []


def test_a_play_has_one_key_in_all_zones_and_another_for_any_other_play():
    key = play_key("a", NOON, "t")
    assert key == play_key("a", NOON.astimezone(timezone(timedelta(hours=9))), "t") and 0 <= key < 2**64
    others = [("b", NOON, "t"), ("a", NOON + timedelta(microseconds=1), "t"), ("a", NOON, "u")]
    assert len({key, *(play_key(*each) for each in others)}) == 4
    with pytest.raises(TypeError):
        play_key("a", NOON.replace(tzinfo=None), "t")


def test_keys_of_a_frame_are_those_of_its_rows(served):
    frame = plays("a" * 32, 20)
    expected = sorted(play_key(*row) for row in frame.iter_rows())
    assert play_keys(pl.concat([frame, frame])).tolist() == expected == served.recent_of("a" * 32).tolist()
    assert all(served.holds(key) for key in expected) and not served.holds(expected[0] + 1) and not served.holds(2**64 - 1)
    assert play_keys(frame.clear()).tolist() == []


def test_a_forgotten_listener_leaves_nothing_and_the_others_stay(served):
    left = served.without(["a" * 32, "f" * 32])
    assert left.histories.listeners.tolist() == ["b" * 32, "d" * 32]
    assert left.histories.matrix.toarray().tolist() == WEIGHTS[1:].tolist() and left.histories.ages.tolist() == [2, 3, 4, 5]
    assert len(left.recent) == 40 and len(left.recent_of("a" * 32)) == 0 and left.country("b" * 32) == "FR"
    assert served.mentions(["a" * 32]) and not left.mentions(["a" * 32]) and left.mentions(["d" * 32])
    assert all(("a" * 32).encode() not in content for content in left.files().values())


def test_what_was_skipped_goes_with_its_listener_and_with_its_track(served):
    left = served.without(["a" * 32], ["t3", "s2"])
    assert [left.weightless_of(each) for each in LISTENERS] == [[], [], ["t4"]]
    assert left.histories.weightless.tolist() == [[1], [3]] and left.histories.others.tolist() == ["s1", "s1\x01"]
    assert served.mentions(tracks=["s2"]) and not left.mentions(tracks=["s2"]) and left.mentions(tracks=["s1"])
    assert not any(b"s2" in content for content in left.files().values())
    assert ServedHistories.from_files(left.files()).files() == left.files()


@given(st.sets(st.sampled_from([*LISTENERS.tolist(), "c" * 32])), st.sets(st.sampled_from([*ITEMS.tolist(), *OTHERS.tolist(), "u"])))
def test_removal_drops_what_was_skipped_of_whom_is_removed_and_nothing_else(listeners, tracks):
    countries = np.array(["DE", "FR", "ZZ"], object)
    histories = Histories(csr_matrix(WEIGHTS), LISTENERS, ITEMS, countries, np.zeros(6, np.float32), WEIGHTLESS, OTHERS)
    served = ServedHistories(histories, np.zeros(0, np.uint64), NOON)
    left = served.without(listeners, tracks)
    for each in LISTENERS:
        kept = [] if each in listeners else [track for track in served.weightless_of(each) if track not in tracks]
        assert left.weightless_of(each) == kept
    assert not left.mentions(listeners, tracks)
    assert left.files() == served.without((), tracks).without(listeners, ()).files() == ServedHistories.from_files(left.files()).files()


def test_a_forgotten_track_keeps_its_column_without_entries(served):
    left = served.without(tracks=["t3", "unknown"])
    assert left.histories.matrix.toarray().tolist() == [[1, 0, 0, 0], [0, 0, 0, 3], [4, 5, 0, 0]]
    assert left.histories.ages.tolist() == [0, 2, 3, 4] and left.histories.listeners.tolist() == LISTENERS.tolist()
    assert [is_mark(each) for each in left.histories.items] == [False, False, True, False]
    assert served.mentions(tracks=["t3"]) and not left.mentions(tracks=["t3"])
    assert left.without(tracks=["t2"]).histories.items.tolist() == ["t1", "t1\x01", "t1\x01\x01", "t4"], "no mark tells of what is gone"
    assert (left.without(tracks=["t4"]).histories.matrix.toarray()[1] == 0).all()


@given(st.sets(st.text("abc123", min_size=1, max_size=4), min_size=1, max_size=20), st.lists(st.integers(0, 19), max_size=10))
def test_marks_keep_order_and_tell_nothing(ids, numbers):
    array = np.array(sorted(ids), object)
    removed = {array[number] for number in numbers if number < len(array)}
    half = mark_removed(array, list(removed)[::2])
    marked = mark_removed(half, removed)
    assert list(marked) == sorted(set(marked)) and len(marked) == len(array)
    assert [is_mark(each) for each in marked] == [each in removed for each in array]
    kept = [each for each in array if each not in removed]
    assert all(each.rstrip("\x01") in {"", *kept} for each in marked)
    assert marked.tolist() == mark_removed(array, removed).tolist(), "in one go or in two"
