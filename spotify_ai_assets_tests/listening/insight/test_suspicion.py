import random
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from play_frames import FIRST, all_days, listener, moment, play, plays_of, random_plays, unhurried

from spotify_ai_assets.listening.days import count_listener_tracks
from spotify_ai_assets.listening.insight.contracts import SUSPICIOUS_STREAMS
from spotify_ai_assets.listening.insight.suspicion import find_suspicious

FULL_MS = 210_000
BOT = 1_000
COUNTS = ("plays", "streams", "skips", "completions", "played_ms")


def row(account: int, track: int, seconds: float, played_ms: int = FULL_MS, **values: object) -> dict[str, object]:
    """A play of a track of three and a half minutes; what lasts shorter was skipped."""
    is_done = played_ms >= FULL_MS
    base = {
        "listener_id": listener(account),
        "track_id": f"spotify:{track}",
        "artist_id": f"artist:{track // 20}",
        "played_ms": played_ms,
        "duration_ms": FULL_MS,
        "is_stream": played_ms >= 30_000,
        "is_completed": is_done,
        "is_skipped": not is_done,
    }
    return play(moment(FIRST) + timedelta(seconds=seconds), **base | values)


def crowd(accounts: int = 300, seed: int = 0) -> list[dict[str, object]]:
    """Listeners who play ten or so of four thousand tracks, few of them often, and cut short one in twelve."""
    rng = random.Random(seed)
    rows = {}
    for account in range(accounts):
        clock = rng.uniform(0, 70_000)
        for _ in range(min(int(rng.expovariate(0.1)) + 1, 70)):
            track, chance = int(4_000 * rng.random() ** 4), rng.random()
            played_ms = rng.randint(30_000, 59_999) if chance < 0.08 else rng.randint(0, FULL_MS) if chance < 0.25 else FULL_MS
            if clock < 86_400:
                rows[account, round(clock, 3)] = row(account, track, round(clock, 3), played_ms)
            clock += played_ms / 1000 + rng.uniform(1, 4)
    return list(rows.values())


def among(*rows: dict[str, object]) -> pl.DataFrame:
    """What is flagged of plays in the midst of a crowd of which nothing may be flagged."""
    flagged = find_suspicious(plays_of(*crowd(), *rows), FIRST)
    assert set(flagged["listener_id"]) <= {each["listener_id"] for each in rows}
    assert flagged.schema == pl.Schema(SUSPICIOUS_STREAMS.schema)
    return flagged


def loop(account: int = BOT, plays: int = 40, **values: object) -> list[dict[str, object]]:
    return [row(account, 9_001, 3_600 + 33 * number, 31_000, **values) for number in range(plays)]


def burst(account: int = BOT, plays: int = 90, tracks: int = 8) -> list[dict[str, object]]:
    return [row(account, 9_000 + number % tracks, 300 + 36 * number, 30_500 + 97 * number % 2_000) for number in range(plays)]


def ring(accounts: int = 8, plays: int = 24, tracks: int = 7, first: int = BOT, **values: object) -> list[dict[str, object]]:
    """Accounts that start one list of tracks after another together, some seconds apart."""
    return [
        row(
            first + account,
            20 * (9_000 + first + number % tracks),
            300 * number + account % 7,
            35_000 + (account * number * 791) % 12_000,
            **values,
        )
        for account in range(accounts)
        for number in range(plays)
    ]


def test_an_account_that_loops_a_track_is_flagged_with_its_evidence():
    own = [row(BOT, track, 50_000 + 215 * track) for track in range(10)]
    flagged = among(*loop(), *own)
    evidence = flagged.drop("score", "played_ms", "day", "kind", "country", "artist_id", "artist_name", "track_name").rows(named=True)
    assert evidence == [
        {
            "listener_id": listener(BOT),
            "track_id": "spotify:9001",
            "plays": 40,
            "streams": 40,
            "skips": 40,
            "completions": 0,
            "rule": "loop",
            "case": 1,
            "accounts": 1,
            "tracks": 1,
            "sittings": 1,
            "account_share": 0.8,
            "median_played_ms": 31_000,
        }
    ]
    assert flagged["score"].item() == pytest.approx(40 / 48)


def test_sittings_are_runs_without_half_an_hour_of_silence():
    flagged = among(*loop(plays=20), *(row(BOT, 9_001, 40_000 + 33 * number, 31_000) for number in range(20)))
    assert flagged["sittings"].to_list() == [2]


def test_a_share_is_of_all_that_the_account_played_podcasts_too():
    talk = [row(BOT, 9_500 + number, 50_000 + 4_000 * number, 3_000_000, kind="episode") for number in range(10)]
    assert among(*loop(), *talk)["account_share"].to_list() == [0.8]


def test_a_small_loop_of_a_machine_is_flagged_and_one_of_a_person_is_not():
    rng = random.Random(3)
    assert among(*loop(plays=12))["rule"].to_list() == ["loop"]
    practising = [row(BOT, 9_001, 3_600 + 90 * number + rng.uniform(0, 60), rng.randint(30_000, 59_000)) for number in range(12)]
    assert among(*practising).is_empty()


def test_a_loop_without_rhythm_is_flagged_once_it_is_long():
    rng = random.Random(3)
    assert among(*(row(BOT, 9_001, 90 * n + rng.uniform(0, 50), rng.randint(30_000, 59_000)) for n in range(200)))["score"][0] > 0.85


def test_a_track_that_plays_all_around_the_clock_is_flagged():
    flagged = among(*(row(BOT, 9_001, 212 * number) for number in range(400)))
    assert flagged.select("rule", "plays", "completions").rows() == [("loop", 400, 400)]


def test_a_burst_on_one_artist_is_one_case_with_its_tracks():
    flagged = among(*burst())
    assert flagged["plays"].sum() == 90
    assert flagged.select("rule", "case", "accounts", "tracks").unique().rows() == [("burst", 1, 1, 8)]


def test_a_ring_is_one_case_of_all_its_accounts():
    flagged = among(*ring())
    assert (flagged.height, flagged["plays"].sum()) == (8 * 7, 8 * 24)
    assert flagged.select("rule", "case", "accounts", "tracks", "score").unique().rows() == [("ring", 1, 8, 7, 24 / 32)]


def test_accounts_that_loop_one_track_together_are_a_ring():
    flagged = among(*loop(BOT), *loop(BOT + 1), *loop(BOT + 2))
    assert flagged.select("rule", "case", "accounts", "tracks").unique().rows() == [("ring", 1, 3, 1)]


def test_a_ring_of_any_size_is_one_case():
    assert among(*ring(accounts=80, plays=12)).select("case", "accounts").unique().rows() == [(1, 80)]


def test_a_ring_that_plays_in_no_common_order_is_found_by_what_it_loops():
    rng = random.Random(5)
    rows = [
        row(BOT + account, 20 * (9_000 + track), rng.uniform(0, 80_000), 30_000 + rng.randint(0, 20_000))
        for account in range(6)
        for track in range(8)
        for _ in range(4)
    ]
    assert among(*rows).select("rule", "case", "accounts", "tracks").unique().rows() == [("ring", 1, 6, 8)]


def test_a_ring_that_plays_tracks_to_their_end_is_found_when_it_never_sleeps():
    rows = [row(BOT + account, 20 * (9_000 + number % 12), 220 * number + 3 * account) for account in range(5) for number in range(390)]
    flagged = among(*rows)
    assert flagged.select("rule", "case", "accounts", "tracks").unique().rows() == [("ring", 1, 5, 12)]
    assert flagged["plays"].sum() == len(rows)


def test_what_a_flagged_account_plays_besides_is_not_flagged():
    rng = random.Random(7)
    besides = [row(BOT + account, rng.randint(0, 3_999), 40_000 + 215 * number) for account in range(8) for number in range(30)]
    flagged = among(*ring(), *besides)
    assert flagged["plays"].sum() == 8 * 24
    assert set(flagged["account_share"]) <= {3 / 54, 4 / 54}


def test_all_plays_of_a_flagged_account_and_track_are_flagged():
    flagged = among(*loop(), row(BOT, 9_001, 60_000), row(BOT, 9_001, 61_000, country="DE"), row(BOT, 9_001, 62_000, 500))
    assert flagged.select("country", "plays", "streams").rows() == [("DE", 1, 1), ("SE", 42, 41)]


def test_cases_are_numbered_from_the_largest_on():
    loops = [each for number, plays in ((0, 20), (1, 30), (3, 20)) for each in loop(BOT + number, plays, track_id=f"spotify:own{number}")]
    flagged = among(*loops, *burst(BOT + 2, 30), *ring(first=BOT + 50))
    cases = flagged.group_by("case").agg(pl.min("listener_id"), pl.sum("plays"), pl.first("rule")).sort("case")
    expected = [(50, 192, "ring"), (1, 30, "loop"), (2, 30, "burst"), (0, 20, "loop"), (3, 20, "loop")]
    assert cases.rows() == [(case, listener(BOT + number), plays, rule) for case, (number, plays, rule) in enumerate(expected, 1)]


GENUINE = {
    "a crowd": [],
    "a new favourite": [row(BOT, 9_001, 30_000 + 215 * number) for number in range(30)],
    "a favourite left on repeat for a night": [row(BOT, 9_001, 1_000 + 211 * number) for number in range(135)],
    "children with an album": [row(BOT, 9_000 + number % 10, 25_000 + 212 * number) for number in range(200)],
    "a taste of all tracks of an artist": [row(BOT, 9_000 + number, 30_000 + 42 * number, 40_000) for number in range(20)],
    "a search through music": [row(BOT, 7 * number, 30_000 + 42 * number, 40_000) for number in range(150)],
    "a scrobbler that tells the length": [
        row(BOT, 9_000, 25_000 + 50 * n, 45_000, duration_ms=45_000, is_completed=False) for n in range(60)
    ],
    "a scrobbler that tells nothing": [
        row(BOT, 9_000, 25_000 + 200 * n, 0, duration_ms=None, is_stream=True, is_completed=True) for n in range(200)
    ],
    "a radio": [row(BOT, 20 * (number % 150), 210 * number, is_completed=True) for number in range(400)],
    "an export of whole minutes": [
        row(BOT, 9_000 + 20 * number, 60 * (400 + 2 * number) - 50, 50_000, duration_ms=None, is_completed=False) for number in range(80)
    ],
    "a podcast sampled again and again": [row(BOT, 9_001, 20_000 + 45 * n, 40_000, kind="episode", is_completed=False) for n in range(60)],
    "a podcast of short pieces": [row(BOT, 9_000 + n % 5, 20_000 + 45 * n, 40_000, kind="episode", is_completed=False) for n in range(60)],
    "friends who listen together and skip much": [
        row(BOT + friend, 20 * (9_000 + number), 60_000 + 150 * number + friend, 40_000 if number % 3 == 0 else FULL_MS)
        for friend in range(6)
        for number in range(60)
    ],
    "a family's party with its list repeated": [
        row(BOT + friend, 20 * (9_000 + number % 10), 50_000 + 212 * number + friend) for friend in range(5) for number in range(100)
    ],
    "fans of one new track": [row(BOT + fan, 9_001, 20_000 + 7 * fan + 212 * number) for fan in range(30) for number in range(30)],
    "fans of one new album": [row(BOT + fan, 9_000 + number % 10, 31 * fan + 212 * number) for fan in range(40) for number in range(60)],
    "fans who skim a new album at midnight": [
        row(BOT + fan, 9_000 + number, fan + 47 * number, 45_000) for fan in range(40) for number in range(12)
    ]
    + [row(BOT + fan, 9_000 + number, 5_000 + 215 * number) for fan in range(40) for number in range(20)],
    "two who do the same": ring(accounts=2),
}


@pytest.mark.parametrize("rows", GENUINE.values(), ids=GENUINE)
def test_people_are_not_flagged(rows):
    assert among(*rows).is_empty()


@pytest.mark.parametrize("seed", range(1, 4))
def test_nothing_is_flagged_in_other_crowds(seed):
    assert find_suspicious(plays_of(*crowd(1_000, seed)), FIRST).is_empty()


def test_the_order_of_rows_does_not_matter():
    plays = plays_of(*crowd(), *loop(), *burst(BOT + 1), *ring(first=BOT + 2), *ring(3, 20, 5, first=BOT + 100))
    found = find_suspicious(plays, FIRST)
    assert found["case"].max() == 4
    for seed in range(3):
        assert find_suspicious(plays.sample(fraction=1, shuffle=True, seed=seed).lazy(), FIRST).equals(found)


def test_only_the_day_is_looked_at():
    plays = plays_of(*loop())
    assert find_suspicious(plays, FIRST + timedelta(days=1)).equals(SUSPICIOUS_STREAMS.empty())
    other = plays.with_columns(pl.col("day") + timedelta(days=1), pl.col("started_at") + timedelta(days=1))
    assert find_suspicious(pl.concat([plays, other]), FIRST).equals(find_suspicious(plays, FIRST))


def test_no_plays_give_no_rows():
    assert find_suspicious(plays_of(), FIRST).equals(SUSPICIOUS_STREAMS.empty())


@unhurried
@given(random_plays())
def test_what_is_flagged_is_counted_like_everything(plays):
    busy = pl.concat([plays, plays_of(*loop(2), *ring(3, first=1))]).unique(["listener_id", "started_at", "track_id"])
    key = list(SUSPICIOUS_STREAMS.primary_key)
    for day in all_days()[:2]:
        flagged = find_suspicious(busy, day)
        total = count_listener_tracks(busy, day)
        assert flagged.select(*key, *COUNTS).equals(total.join(flagged, on=key, how="semi", maintain_order="left").select(*key, *COUNTS))
        assert flagged.is_empty() == (day != FIRST)
