"""Reasons say exactly what carried a score: parts add up to it, shares to 1, and the sentence names the plays that carried most."""

import numpy as np
import pytest
import serving_world as world
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spotify_ai_assets.recommendations.contracts import REASONS
from spotify_ai_assets.recommendations.models.contract import Contributions
from spotify_ai_assets.recommendations.serving.answers import Ask
from spotify_ai_assets.recommendations.serving.filters import Blocks
from spotify_ai_assets.recommendations.serving.merging import make_history
from spotify_ai_assets.recommendations.serving.nearness import ARTIST, lean
from spotify_ai_assets.recommendations.serving.reasons import NAMED, Weighed, liken, put_in_words, weigh
from spotify_ai_assets.recommendations.serving.shelves import POLICIES
from spotify_ai_assets.recommendations.serving.shelving import fill_shelves
from spotify_ai_assets.settings import LANGUAGES

ITEMS = world.items()
AMOUNTS = st.floats(-5, 5, width=32)


@given(arrays(np.float64, (4, 5), elements=AMOUNTS), arrays(np.float64, (3, 4), elements=AMOUNTS))
def test_the_shares_of_all_that_speaks_for_an_item_add_up_to_one(by_play: np.ndarray, rest: np.ndarray) -> None:
    found = weigh(Contributions(by_play, dict(zip(("popularity", "spectral.two_tower", "spread"), rest, strict=True))))
    for place, each in enumerate(found):
        speaking = by_play[place].clip(0).sum() + rest[:2, place].clip(0).sum()
        if speaking == 0:
            assert each.kind == "popularity" and not len(each.shares)
            continue
        assert sum(each.shares) + sum(each.rest.values()) == pytest.approx(1)
        assert list(each.shares) == sorted(each.shares, reverse=True) and all(share > 0 for share in each.shares)
        amounts = {"plays": by_play[place].clip(0).sum(), "popularity": rest[0, place].clip(0), "content": rest[1, place].clip(0)}
        assert amounts[each.kind] == pytest.approx(max(amounts.values()))
        assert [share * speaking for share in each.shares] == pytest.approx(by_play[place][list(each.plays)].tolist())


@given(st.integers(0, world.LISTENERS - 1), st.sampled_from(sorted(POLICIES)))
def test_what_a_reason_names_carried_the_score_that_the_shelf_shows(stock, number: int, shelf: str) -> None:
    who = world.listener(number)
    ask = Ask(stock.history_of(who), who)
    [tracks] = fill_shelves(stock, [ask], [shelf], 6, Blocks(), explain=True)[shelf]
    items = np.array([stock.items.numbers[each.track_id] for each in tracks])
    if shelf == "fresh_releases":
        parts, history = sum(stock.explain_fresh(ask, items)), ask.history.items
        whole, rest = parts.sum(1), np.zeros(len(items))
    else:
        told = stock.explain(ask, items)
        parts, history, rest = told.by_play, stock.known_of(ask.history), sum(told.rest.values())
        whole = parts.sum(1) + rest
    assert whole == pytest.approx([each.score for each in tracks], rel=1e-4, abs=1e-4)
    for place, track in enumerate(tracks):
        strongest = np.argsort(-parts[place], kind="stable")[:NAMED]
        strongest = strongest[parts[place][strongest] > 0]
        assert track.reason.because == tuple(stock.items.tracks[history[strongest]])
        speaking = parts[place].clip(0).sum() + np.clip(rest, 0, None)[place]
        assert track.reason.shares == pytest.approx((parts[place][strongest] / speaking).tolist(), rel=1e-6)
        assert track.reason.kind in REASONS


@given(arrays(np.float32, (4,), elements=st.floats(0.125, 3, width=32)), arrays(np.float32, (4, 3), elements=st.floats(-1, 1, width=32)))
def test_nearness_is_the_cosine_to_the_mean_and_the_weight_on_the_artist(weights: np.ndarray, vectors: np.ndarray) -> None:
    artists = np.array([0, 1, 0, 2])
    items, of = np.eye(3, dtype=np.float32), np.array([0, 3, 2])
    leaning = lean(weights, vectors, artists)
    mean = weights.astype(float) @ vectors.astype(float)
    length = np.linalg.norm(mean)
    cosine = items @ mean / length if length > 0 else np.zeros(3)
    on = np.array([weights[0] + weights[2], 0, weights[3]]) / max(weights[0] + weights[2], weights[1], weights[3])
    assert leaning.score(items, of) == pytest.approx(cosine + ARTIST * on, rel=1e-4, abs=1e-4)
    content, artist = leaning.explain(items, of)
    assert (content + artist).sum(1) == pytest.approx(leaning.score(items, of), rel=1e-5, abs=1e-5)


def test_who_has_played_nothing_leans_nowhere() -> None:
    leaning = lean(np.zeros(0, np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.int32))
    assert leaning.score(np.eye(3, dtype=np.float32), np.array([0, 1, 2])).tolist() == [0, 0, 0]


def reason(kind: str, plays: tuple[int, ...], item: int, history: list[int], *, is_new: bool = False, has_country: bool = False):
    shares = tuple(1 / (place + 2) for place in range(len(plays)))
    return put_in_words(
        Weighed(kind, np.array(plays, np.int64), np.array(shares), {}), item, history, ITEMS, has_country=has_country, is_new=is_new
    )


def test_each_situation_has_its_sentence() -> None:
    history = [0, 1, 30, 50]
    assert reason("plays", (2, 3), 8, history).say("en") == f"Because you played “{ITEMS.names[30]}” and “{ITEMS.names[50]}”"
    assert reason("plays", (2,), 8, history).say("en") == f"Because you played “{ITEMS.names[30]}”"
    assert reason("plays", (0, 1), 2, history).say("en") == "More of Band 00, whom you play"
    assert reason("content", (0,), 72, history, is_new=True).say("en") == "New from Band 00, whom you play"
    assert reason("content", (2,), 72, history, is_new=True).say("en") == f"Like “{ITEMS.names[30]}”, which you played"
    assert reason("content", (2, 3), 8, history).say("en") == f"Like “{ITEMS.names[30]}” and “{ITEMS.names[50]}”, which you played"
    assert reason("plays", (0, 2), 0, history).say("en") == "You keep coming back to it"
    assert reason("popularity", (0,), 8, history).say("en") == "Played a lot these days"
    assert reason("popularity", (), 8, [], has_country=True).say("en") == "Played a lot in your country these days"
    assert reason("content", (), 8, history).say("en") == "Like what you play"
    assert liken("plays", "A", is_shared=True).say("en") == "Also played by people who play “A”"
    assert liken("content", "A", is_shared=False).say("en") == "Resembles “A”"


def test_a_reason_names_at_most_three_plays_and_keeps_names_as_they_are() -> None:
    named = reason("plays", (3, 2, 1, 0), 8, [0, 1, 30, 50])
    assert named.because == tuple(ITEMS.tracks[[50, 30, 1]]) and len(named.shares) == 3
    odd = liken("plays", "{name} {0} %s “", is_shared=True)
    assert all("{name} {0} %s “" in odd.say(language) for language in LANGUAGES)


def test_a_stranger_is_told_that_it_is_popular(stock) -> None:
    [tracks] = fill_shelves(stock, [Ask(make_history({}, "FR"))], ["daily_mix"], 4, Blocks(), explain=True)["daily_mix"]
    assert {(each.reason.kind, each.reason.because) for each in tracks} == {("popularity", ())}
