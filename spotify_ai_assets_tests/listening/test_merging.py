"""Recognising the same play again, held against a brute force that knows no days."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spotify_ai_assets.catalog.ids import artist_id, named_track_id
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.listening.merging import keep_new, near_midnights, touches_midnight

MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
DAYS = [date(2026, 3, 9), date(2026, 3, 10)]

# A play as it was: who, which track, seconds from midnight at its end, milliseconds played.
PLAYS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(-130, 200), st.sampled_from([0, 500, 30_000, 61_000, 90_000])),
    max_size=12,
)


def rows(plays, *, is_account: bool) -> pl.DataFrame:
    """The plays as an export tells them: the extended one to the second with ids, the account data to the minute without."""
    made = []
    for listener, track, second, played in plays:
        ended = MIDNIGHT + timedelta(seconds=second)
        start = (ended.replace(second=0) if is_account else ended) - timedelta(milliseconds=played)
        made.append(
            {
                **dict.fromkeys(EVENTS.schema),
                "day": start.date(),
                "listener_id": listener * 32,
                "started_at": start,
                "track_id": named_track_id("Band", f"Song {track}") if is_account else f"spotify:{track:022}",
                "artist_id": artist_id("Band"),
                "kind": "track",
                "track_name": f"Song {track}",
                "artist_name": "Band",
                "played_ms": played,
                "country": "ZZ",
                "platform": "unknown",
                "is_minute_grain": is_account,
                "source": "spotify_account" if is_account else "spotify_extended",
            }
        )
    return pl.DataFrame(made, schema=EVENTS.schema)


def key(row: dict) -> tuple:
    return tuple(row[name] for name in EVENTS.primary_key)


def twin(row: dict) -> tuple:
    ended = row["started_at"] + timedelta(milliseconds=row["played_ms"])
    return row["listener_id"], row["artist_id"], row["track_name"], row["played_ms"], ended.replace(second=0, microsecond=0)


def brute_force(incoming: pl.DataFrame, present: pl.DataFrame) -> list[tuple]:
    known = {key(row) for row in present.to_dicts()}
    free = Counter((twin(row), row["is_minute_grain"]) for row in present.to_dicts())
    new = []
    for row in sorted(incoming.to_dicts(), key=lambda row: (row["started_at"], row["track_id"])):
        if key(row) in known:
            continue
        known.add(key(row))
        if free[twin(row), not row["is_minute_grain"]] > 0:
            free[twin(row), not row["is_minute_grain"]] -= 1
        else:
            new.append(key(row))
    return sorted(new)


def by_days(incoming: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """New rows as intake finds them: each day by itself, with no more of its neighbours than is needed."""
    new = [incoming.clear()]
    for day in DAYS:
        mine, present = incoming.filter(day=day), stored.filter(day=day)
        if touches_midnight(mine, day):
            mine = pl.concat([mine, near_midnights(incoming.lazy(), day).collect()])
            present = pl.concat([present, near_midnights(stored.lazy(), day).collect()])
        new.append(keep_new(mine, present).filter(day=day))
    return pl.concat(new)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(PLAYS, st.booleans()), min_size=1, max_size=4))
def test_days_by_themselves_find_what_a_brute_force_over_all_of_them_finds(files):
    stored = EVENTS.empty()
    for plays, is_account in files:
        incoming = rows(plays, is_account=is_account)
        new = by_days(incoming, stored)
        assert sorted(key(row) for row in new.to_dicts()) == brute_force(incoming, stored)
        stored = pl.concat([stored, new])


@settings(max_examples=200, deadline=None)
@given(PLAYS, st.lists(st.booleans(), min_size=1, max_size=5))
def test_the_same_plays_from_two_exports_are_stored_once_in_whatever_order_they_come(plays, order):
    told = {is_account: {(key(row), twin(row)) for row in rows(plays, is_account=is_account).to_dicts()} for is_account in (True, False)}
    # Nobody begins one track twice in the same moment and hears it for different times.
    assume(all(len({one for one, _ in kind}) == len(kind) for kind in told.values()))
    stored = EVENTS.empty()
    for is_account in order:
        stored = pl.concat([stored, by_days(rows(plays, is_account=is_account), stored)])
    expected = Counter()
    for is_account in set(order):
        expected |= Counter(alike for _, alike in told[is_account])
    assert Counter(twin(row) for row in stored.to_dicts()) == expected


@pytest.mark.parametrize("first_is_account", [True, False])
@pytest.mark.parametrize("second", [-30, 10, 59])
def test_a_play_that_ends_around_midnight_is_stored_once(first_is_account, second):
    play = [("a", 0, second, 30_000)]
    one, other = rows(play, is_account=first_is_account), rows(play, is_account=not first_is_account)
    assert by_days(one, EVENTS.empty()).height == 1
    assert by_days(other, one).is_empty()


def test_two_plays_on_either_side_of_midnight_do_not_share_one_twin():
    # One row of the account data stands for one of two plays that ended in the same minute.
    account = rows([("a", 0, 5, 30_000)], is_account=True)
    extended = rows([("a", 0, 5, 30_000), ("a", 0, 40, 30_000)], is_account=False)
    assert extended["day"].n_unique() == 2
    assert by_days(extended, account).height == 1


def test_another_listener_artist_length_or_minute_is_another_play():
    stored = rows([("a", 0, 60, 30_000)], is_account=True)
    others = rows([("b", 0, 65, 30_000), ("a", 1, 65, 30_000), ("a", 0, 65, 500), ("a", 0, 125, 30_000)], is_account=False)
    assert keep_new(others, stored).height == 4


def test_scrobbles_without_a_length_are_known_by_their_key_alone():
    scrobbles = rows([("a", 0, 10, 0), ("a", 0, 20, 0)], is_account=False).with_columns(played_ms=pl.lit(None, dtype=pl.Int64))
    assert keep_new(scrobbles, scrobbles.head(1)).equals(scrobbles.tail(1))
