"""What a listener has heard up to now: as the batch will count it, each play once."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import serving_world as world
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.recommendations.indices.histories import ServedHistories
from spotify_ai_assets.recommendations.interactions import HALF_LIFE_DAYS, Histories, make_histories
from spotify_ai_assets.recommendations.serving.merging import History, make_history, merge_plays, stack_histories

WHO = world.listener(0)
ITEMS = world.items()
SERVED = ServedHistories(world.histories(), np.zeros(0, np.uint64), world.AS_OF)


def as_dict(history: History) -> dict[int, float]:
    return dict(zip(history.items.tolist(), history.weights.tolist(), strict=True))


def test_without_live_plays_it_is_the_history_of_the_release() -> None:
    history, row = merge_plays(SERVED, WHO, (), ITEMS), world.histories().matrix[[0]]
    assert (history.items.tolist(), history.weights.tolist()) == (row.indices.tolist(), row.data.tolist())
    assert history.country == "DE"


def test_a_stranger_has_heard_nothing_until_they_play() -> None:
    nobody = world.listener(999)
    assert as_dict(merge_plays(SERVED, nobody, (), ITEMS)) == {}
    once = merge_plays(SERVED, nobody, [world.play(nobody, world.track(2, 0, 0))], ITEMS)
    assert as_dict(once) == pytest.approx({48: np.log(2)}) and once.country == ""


def interactions(plays: list[tuple[str, int, float]], last: datetime) -> Histories:
    """What the batch makes of plays: track, days before the last day, value on its day."""
    rows = pl.DataFrame(
        {
            "listener_id": [WHO] * len(plays),
            "track_id": [track for track, _, _ in plays],
            "part": ["train"] * len(plays),
            "country": ["DE"] * len(plays),
            "value": [value * 2 ** (-age / HALF_LIFE_DAYS) for _, age, value in plays],
            "last_on": [(last - timedelta(age)).date() for _, age, _ in plays],
        }
    )
    return make_histories(rows, ["train"], ITEMS.tracks)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60), st.sampled_from([1.0, 0.5])), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from([1.0, 0.5, -0.2])), max_size=6),
)
def test_live_plays_count_as_the_batch_will_count_them(before: list, since: list) -> None:
    tracks = ITEMS.tracks.tolist()
    release = interactions([(tracks[item], age, value) for item, age, value in before], world.AS_OF)
    served = ServedHistories(release, np.zeros(0, np.uint64), world.AS_OF)
    later = world.AS_OF + timedelta(3)
    live = [world.play(WHO, tracks[item], value, later - timedelta(age, seconds=number)) for number, (item, age, value) in enumerate(since)]
    newest = max([world.AS_OF, *(each.started_at for each in live)])
    wait = (newest.date() - world.AS_OF.date()).days
    both = [(tracks[item], age + wait, value) for item, age, value in before]
    both += [(each.track_id, (newest.date() - each.started_at.date()).days, each.value) for each in live]
    counted = interactions(both, newest)
    expected = counted.matrix

    merged = merge_plays(served, WHO, live, ITEMS)
    if len(counted.listeners):
        assert merged.weightless.tolist() == counted.weightless[1].tolist()
    assert merged.items.tolist() == expected.indices.tolist()
    assert merged.weights == pytest.approx(expected.data, rel=1e-5, abs=1e-7)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([1.0, -0.2])), max_size=8),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.5, -0.2])), max_size=8),
)
def test_whatever_was_heard_stays_heard_by_batch_and_live(before: list, since: list) -> None:
    tracks, liked = ITEMS.tracks.tolist(), 7
    release = interactions([(tracks[liked], 1, 1.0), *((tracks[item], 1, value) for item, value in before)], world.AS_OF)
    served = ServedHistories(release, np.zeros(0, np.uint64), world.AS_OF)
    live = [world.play(WHO, tracks[item], value, world.AS_OF + timedelta(minutes=at)) for at, (item, value) in enumerate(since)]
    merged = merge_plays(served, WHO, live, ITEMS)
    heard = [*merged.items.tolist(), *merged.weightless.tolist()]
    assert sorted(heard) == sorted({liked, *(item for item, _ in before), *(item for item, _ in since)})
    assert (merged.weights > 0).all() and merged.weightless.tolist() == sorted(merged.weightless.tolist())
    assert merged.weightless.dtype == np.int32


def test_what_the_model_does_not_know_was_heard_if_the_release_can_show_it() -> None:
    release = replace(world.histories(), weightless=np.array([[0, 0], [world.KNOWN, world.KNOWN + 1]], np.int32))
    release = replace(release, others=np.array([world.cold(0, 2), "name:ffff"], object))
    merged = merge_plays(ServedHistories(release, np.zeros(0, np.uint64), world.AS_OF), WHO, (), ITEMS)
    assert merged.weightless.tolist() == [ITEMS.numbers[world.cold(0, 2)]]
    assert as_dict(merged) == as_dict(merge_plays(SERVED, WHO, (), ITEMS))


def test_a_play_counts_once_however_often_it_comes_and_whoever_counts_it() -> None:
    play = world.play(WHO, world.track(1, 1, 1), started_at=world.AS_OF - timedelta(hours=3))
    once = merge_plays(SERVED, WHO, [play], ITEMS)
    assert as_dict(merge_plays(SERVED, WHO, [play, play], ITEMS)) == as_dict(once)
    counted = ServedHistories(world.histories(), np.array([play.key], np.uint64), world.AS_OF)
    assert as_dict(merge_plays(counted, WHO, [play], ITEMS)) == as_dict(merge_plays(SERVED, WHO, (), ITEMS))
    assert as_dict(once) != as_dict(merge_plays(SERVED, WHO, (), ITEMS))


def test_plays_of_which_no_key_is_kept_and_of_unknown_tracks_wait_for_the_batch() -> None:
    old = world.play(WHO, world.track(1, 1, 1), started_at=world.AS_OF - timedelta(days=7, seconds=1))
    strange = world.play(WHO, "name:ffff")
    assert as_dict(merge_plays(SERVED, WHO, [old, strange], ITEMS)) == as_dict(merge_plays(SERVED, WHO, (), ITEMS))


def test_the_order_of_plays_does_not_matter_and_cold_tracks_count() -> None:
    plays = [
        world.play(WHO, track, 0.5, world.AS_OF + timedelta(minutes=at))
        for at, track in enumerate([world.cold(0, 1), world.track(0, 0, 0)])
    ]
    one, other = (as_dict(merge_plays(SERVED, WHO, some, ITEMS)) for some in (plays, plays[::-1]))
    assert one == other and one[ITEMS.numbers[world.cold(0, 1)]] == pytest.approx(np.log(1.5))


def test_histories_are_stacked_and_cut_to_what_a_model_knows() -> None:
    stacked = stack_histories([make_history({3: 1.0, 80: 2.0, 5: 0.0}), make_history({})], world.KNOWN)
    assert stacked.shape == (2, world.KNOWN) and stacked.toarray()[0, 3] == 1 and stacked.nnz == 1
    assert stack_histories([], 7).shape == (0, 7)
