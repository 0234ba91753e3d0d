import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from play_frames import FIRST, events_of, listener, moment, unhurried

from spotify_ai_assets.listening.contracts import PLAYS
from spotify_ai_assets.listening.plays import clean_plays


def cleaned(**values: object) -> dict[str, object]:
    """The one play that a listen of a four-minute track becomes."""
    return clean_plays(events_of({"duration_ms": 240_000} | values), FIRST).row(0, named=True)


@pytest.mark.parametrize(("played_ms", "is_stream"), [(0, False), (29_999, False), (30_000, True), (240_000, True)])
def test_a_stream_lasts_thirty_seconds(played_ms, is_stream):
    assert cleaned(played_ms=played_ms)["is_stream"] is is_stream


@pytest.mark.parametrize(("duration_ms", "played_ms"), [(200_000, 200_000), (10_000, 10_000), (None, 0), (90_000_000, 86_400_000)])
def test_a_scrobble_is_a_complete_stream_of_the_tracks_length(duration_ms, played_ms):
    play = cleaned(played_ms=None, duration_ms=duration_ms)
    assert (play["played_ms"], play["is_stream"], play["is_completed"], play["is_skipped"]) == (played_ms, True, True, False)


@pytest.mark.parametrize("mark", [{"was_skipped": True}, {"reason_end": "fwdbtn"}])
def test_a_scrobble_that_is_marked_as_skipped_is_not_complete(mark):
    play = cleaned(played_ms=None, **mark)
    assert (play["is_completed"], play["is_skipped"], play["is_stream"]) == (False, True, True)


@pytest.mark.parametrize(
    ("reason_end", "is_skipped"),
    [
        *[(reason, True) for reason in ("fwdbtn", "backbtn", "clickrow", "clickside", "playbtn")],
        *[(reason, False) for reason in ("endplay", "logout", "remote", "popup", "trackerror", "unexpected-exit", "unknown", None)],
    ],
)
def test_only_a_choice_to_hear_something_else_is_a_skip(reason_end, is_skipped):
    assert cleaned(played_ms=60_000, reason_end=reason_end)["is_skipped"] is is_skipped


def test_the_sources_mark_is_a_skip_whatever_the_reason():
    assert cleaned(played_ms=60_000, reason_end="endplay", was_skipped=True)["is_skipped"] is True


@pytest.mark.parametrize(
    ("values", "is_completed"),
    [
        ({"played_ms": 1_000, "reason_end": "trackdone"}, True),
        ({"played_ms": 228_000, "reason_end": "fwdbtn"}, True),
        ({"played_ms": 227_999, "reason_end": "fwdbtn"}, False),
        ({"played_ms": 300_000, "reason_end": "endplay", "was_skipped": True}, True),
        ({"played_ms": 300_000, "duration_ms": None}, False),
        ({"played_ms": 0, "duration_ms": 0}, False),
    ],
)
def test_a_play_is_complete_at_the_end_of_the_track_and_then_never_skipped(values, is_completed):
    play = cleaned(**values)
    assert play["is_completed"] is is_completed
    assert not (play["is_completed"] and play["is_skipped"])


@unhurried
@given(st.permutations([(None, "a"), (30_000, "b"), (200_000, "a"), (200_000, "c"), (10, "z")]))
def test_the_longest_of_listens_with_one_key_stays_whatever_their_order(order):
    events = events_of(*({"played_ms": played, "source": source} for played, source in order), {"listener_id": listener(2)})
    plays = clean_plays(events, FIRST)
    assert plays.select("listener_id", "played_ms", "source").rows() == [(listener(1), 200_000, "c"), (listener(2), 180_000, "test")]


def test_plays_follow_the_contract_and_come_in_the_order_of_their_key():
    events = events_of(*({"listener_id": listener(number), "started_at": moment(FIRST, number)} for number in (3, 1, 2)))
    plays = clean_plays(events.lazy(), FIRST)
    assert plays.schema == pl.Schema(PLAYS.schema)
    assert plays["listener_id"].to_list() == [listener(1), listener(2), listener(3)]


def test_a_play_keeps_its_playlist():
    assert cleaned(playlist_id="spotify:playlist:1")["playlist_id"] == "spotify:playlist:1"
    assert cleaned()["playlist_id"] is None


def test_only_the_day_is_taken_and_an_empty_day_stays_empty():
    assert clean_plays(events_of({"day": FIRST.replace(day=1)}), FIRST).equals(PLAYS.empty())
