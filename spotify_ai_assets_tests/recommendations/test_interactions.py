"""Who likes what: the value of plays, windows that do not touch, matrices whose rows and columns are what they say."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.recommendations.contracts import INTERACTIONS
from spotify_ai_assets.recommendations.interactions import (
    PARTS,
    WINDOW_DAYS,
    align,
    choose_windows,
    collect_interactions,
    make_histories,
)
from spotify_ai_assets.validation import require

LAST = date(2026, 3, 31)
KEY = ["day", "listener_id", "country", "kind", "track_id", "artist_id"]
SCHEMA = {"day": pl.Date, **dict.fromkeys(KEY[1:], pl.String), "plays": pl.Int64, "skips": pl.Int64, "completions": pl.Int64}


def row(days_ago=0, listener="a", track="x", plays=1, skips=0, completions=1, kind="track", country="DE"):
    return (LAST - timedelta(days=days_ago), listener * 32, country, kind, track, "artist:1", plays, skips, completions)


def collected(*rows, suspicious=(), windows=None):
    days = pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
    flagged = pl.DataFrame([each[:6] for each in suspicious], schema={name: SCHEMA[name] for name in KEY}, orient="row")
    return collect_interactions(days.lazy(), flagged.lazy(), windows or choose_windows(days["day"].min(), LAST))


def value(*rows):
    return collected(row(29, track="first"), *rows).filter(pl.col("track_id") == "x")["value"].sum()


@pytest.mark.parametrize(("plays", "skips", "completions", "expected"), [(1, 0, 1, 1.0), (1, 0, 0, 0.5), (1, 1, 0, -0.2), (4, 1, 2, 2.3)])
def test_finished_plays_count_one_left_ones_a_half_and_skips_against(plays, skips, completions, expected):
    assert value(row(plays=plays, skips=skips, completions=completions)) == pytest.approx(expected)


def test_a_play_is_worth_half_after_ninety_days():
    rows = collected(row(90), row(0, track="y"))
    assert rows.filter(pl.col("track_id") == "x")["value"].item() == pytest.approx(0.5)


def test_podcasts_and_flagged_plays_do_not_count():
    bad = row(1, track="looped", plays=500, completions=500)
    found = collected(row(29), row(1, track="talk", kind="episode"), bad, row(2, track="looped"), suspicious=[bad])
    assert found.select("track_id", "plays").sort("track_id").rows() == [("looped", 1), ("x", 1)]


def test_rows_keep_the_contract_and_do_not_hang_on_the_order_of_what_came_in():
    rows = [row(ago, listener, track) for ago in range(12) for listener in "abc" for track in "xyz"]
    found = collected(*rows)
    require(INTERACTIONS, found)
    assert found.equals(collected(*rows[::-1])) and set(found["part"]) == set(PARTS)


@given(st.integers(2, 900), st.integers(0, 3000))
def test_windows_follow_each_other_and_leave_no_day_out(length, shift):
    last = LAST + timedelta(days=shift)
    windows = choose_windows(last - timedelta(days=length), last)
    assert windows.first < windows.valid < windows.test <= windows.last == last
    assert (windows.last - windows.first).days + 1 == min(length + 1, WINDOW_DAYS)
    assert (windows.test - windows.valid) == (windows.last - windows.test) + timedelta(days=1) <= timedelta(days=14)


def test_two_days_are_too_few_for_three_windows():
    with pytest.raises(ValueError, match="three days"):
        choose_windows(LAST - timedelta(days=1), LAST)


def test_no_window_holds_a_play_of_another():
    found = collected(*(row(ago, track=str(ago)) for ago in range(30)))
    spans = {part: found.filter(pl.col("part") == part) for part in PARTS}
    assert spans["train"]["last_on"].max() < spans["valid"]["first_on"].min()
    assert spans["valid"]["last_on"].max() < spans["test"]["first_on"].min()
    assert sum(each.height for each in spans.values()) == 30


def test_a_matrix_has_what_its_rows_and_columns_say():
    found = collected(row(29, "a", "x"), row(29, "b", "y"), row(0, "b", "x", country="FR"), row(28, "b", "z", skips=1, completions=0))
    histories = make_histories(found, PARTS)
    assert histories.listeners.tolist() == ["a" * 32, "b" * 32] and histories.items.tolist() == ["x", "y"]
    weights = histories.matrix.toarray()
    assert weights[0, 1] == 0 and weights[1, 0] == pytest.approx(np.log(2)) and histories.countries.tolist() == ["DE", "FR"]
    assert histories.ages.tolist() == [29.0, 0.0, 29.0] and histories.matrix.has_sorted_indices
    fixed = make_histories(found, ("train",), np.array(["w", "x"], object))
    assert fixed.matrix.shape == (1, 2) and fixed.matrix[0, 1] > 0


def weightless(histories):
    tracks = [*histories.items, *histories.others]
    return [(histories.listeners[row][0], tracks[number]) for row, number in histories.weightless.T]


def test_what_is_skipped_or_has_no_column_was_heard_all_the_same():
    found = collected(row(29, "a", "x"), row(29, "b", "y"), *(row(9, who, track, 1, 1, 0) for who in "bc" for track in "xz"))
    histories = make_histories(found, PARTS)
    assert histories.items.tolist() == ["x", "y"] and histories.others.tolist() == ["z"] and histories.matrix.shape == (2, 2)
    assert weightless(histories) == [("b", "x"), ("b", "z")], "of somebody who likes nothing nothing is known"
    assert weightless(make_histories(found, PARTS, np.array(["y"], object))) == [("b", "x"), ("b", "z")]
    assert weightless(make_histories(found, ("train",), np.array(["w", "x"], object))) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("uvwxyz"), st.booleans()), max_size=30), st.booleans())
def test_whatever_was_heard_has_a_weight_or_is_weightless(plays, is_fixed):
    played = [row(ago % 30, who, track, 1, int(is_skip), int(not is_skip)) for ago, (who, track, is_skip) in enumerate(plays)]
    found = collected(row(29, "a", "x"), *played, windows=choose_windows(LAST - timedelta(days=29), LAST))
    histories = make_histories(found, PARTS, np.array(["a", "x", "z"], object) if is_fixed else None)
    rows, columns = histories.matrix.nonzero()
    liked = [(histories.listeners[row][0], histories.items[column]) for row, column in zip(rows, columns, strict=True)]
    people = {listener[0] for listener in histories.listeners}
    rest = weightless(histories)
    assert sorted(liked + rest) == sorted({(who, track) for who, track, _ in [*plays, ("a", "x", False)] if who in people})
    assert histories.weightless.dtype == np.int32 and histories.weightless.T.tolist() == sorted(histories.weightless.T.tolist())


def test_nothing_to_like_is_an_empty_matrix():
    histories = make_histories(collected(row(29)).clear(), PARTS)
    assert histories.weightless.shape == (2, 0) and len(histories.others) == 0
    assert histories.matrix.shape == (0, 0) and len(histories.listeners) == 0


def test_what_comes_later_is_aligned_to_who_and_what_was_known():
    found = collected(row(29, "a", "x"), row(29, "b", "y"), row(0, "b", "x"), row(0, "c", "x"), row(0, "a", "new"))
    early = make_histories(found, ("train",))
    later = align(found, "test", early)
    assert later.shape == early.matrix.shape and later.toarray().astype(bool).tolist() == [[False, False], [True, False]]
    assert align(found.filter(pl.col("part") == "train"), "test", early).nnz == 0
