"""Shelves: which of all scored tracks a listener is shown, by rules that hold for everybody.

* ``daily_mix``: the best of what the listener knows and of what they do not, at most half of it known.
* ``discovery``: nothing that the listener has heard. Places are drawn at random, the better the likelier, and the probability of
  each draw is kept: without it nobody could tell later what another policy would have done (rule of Plackett and Luce).
* ``fresh_releases``: out within the last 90 days of the data and not heard; where that does not fill it, the next newest.
* ``back_catalogue``: out for five years or more and not heard; where that does not fill it, the next oldest.

No shelf has more than two tracks of an artist, or any that the listener heard and does not like: that is among what they may not
be shown (``shelving``). Equal scores stand in the order of the items' numbers.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.recommendations.serving.items import UNDATED, Items, days_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST_OF_AN_ARTIST = 2
FRESH_DAYS, OLD_DAYS = 90, 5 * 365
TEMPERATURE = 0.1
"""Of the draw on the discovery shelf, in units of the spread of the scores that are drawn from: of two tracks that are so far apart
the better comes first e times as often."""

_POOL = 10
"""A drawn shelf is drawn from so many of the best, for each place."""
_LOOKED_AT = 8
"""Candidates ranked at first, for each place; where rules leave too few of them, all are."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of a shelf.

    Attributes:
        hides_heard: Whether what was heard is left out.
        most_heard: Otherwise the share of its places that it may take, while there is anything else.
        newest_days: Only what came out in so many last days.
        oldest_days: Only what has been out for so many days.
        is_drawn: Whether places are drawn rather than ranked.
    """

    hides_heard: bool = True
    most_heard: float = 1.0
    newest_days: int | None = None
    oldest_days: int | None = None
    is_drawn: bool = False


POLICIES = {
    "daily_mix": Policy(hides_heard=False, most_heard=0.5),
    "discovery": Policy(is_drawn=True),
    "fresh_releases": Policy(newest_days=FRESH_DAYS),
    "back_catalogue": Policy(oldest_days=OLD_DAYS),
}
RADIO = Policy()
"""What follows tracks on the radio: anything but those."""


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """Shelves of several listeners; where one has fewer tracks, -1 and zeros follow.

    Attributes:
        items: Number of the item at each place, int32, shape (n, k).
        scores: Its score, float32, shape (n, k).
        propensities: With which probability the policy put it there, given the places before, float64, shape (n, k).
    """

    items: np.ndarray
    scores: np.ndarray
    propensities: np.ndarray


def choose_dated(policy: Policy, items: Items, ends_on: date) -> tuple[np.ndarray, np.ndarray]:
    """The items that a shelf is for by their dates, and what else it takes where they do not fill it.

    Args:
        policy: The shelf's rules.
        items: All items.
        ends_on: Last day of the data; nothing that comes out later is shown.

    Returns:
        Whether each item is of the first kind, bool, shape (items,); and numbers of the others with a date, the nearest first.
    """
    if policy.newest_days is None and policy.oldest_days is None:
        return np.ones(len(items), bool), np.zeros(0, np.int64)
    ages = days_of(ends_on) - items.released.astype(np.int64)
    is_out = (items.released != UNDATED) & (ages >= 0)
    nearness = ages if policy.newest_days is not None else -ages
    limit = policy.newest_days if policy.newest_days is not None else -(policy.oldest_days or 0)
    fitting = is_out & (nearness <= limit)
    others = np.flatnonzero(is_out & ~fitting)
    return fitting, others[np.argsort(nearness[others], kind="stable")]


def fill(
    policy: Policy,
    scores: np.ndarray,
    heard: "csr_matrix",
    items: Items,
    k: int,
    *,
    ends_on: date,
    allowed: np.ndarray | None = None,
    seeds: Sequence[int] | None = None,
    temperature: float = TEMPERATURE,
) -> Filled:
    """Fill one shelf for several listeners.

    Args:
        policy: Its rules.
        scores: float32, shape (n, items); ``-inf`` where an item has none and is not shown.
        heard: Weights of what they have heard, shape (n, items); what has none is not allowed them.
        items: All items.
        k: Places.
        ends_on: Last day of the data.
        allowed: Which items may be shown to each, bool, shape (n, items); all unless given.
        seeds: Of each listener's draws; equal ones draw equally. Without them nothing is drawn: the best come first.
        temperature: Of the draws, in units of the standard deviation of the scores that are drawn from; 0 is no draw.
    """
    fitting, others = choose_dated(policy, items, ends_on)
    open_to = np.isfinite(scores) if allowed is None else np.isfinite(scores) & allowed
    is_heard = heard.toarray() > 0
    if policy.hides_heard:
        open_to &= ~is_heard
    if policy.is_drawn and seeds is not None and temperature > 0:
        return _draw(scores, open_to & fitting, items.artists, k, temperature, np.asarray(seeds))
    made = Filled(np.full((len(scores), k), -1, np.int32), np.zeros((len(scores), k), np.float32), np.zeros((len(scores), k)))
    ranked = _rank(scores, open_to & fitting, None if policy.hides_heard else is_heard, k)
    most_heard = k if policy.hides_heard else math.ceil(k * policy.most_heard)
    for row, candidates in enumerate(ranked):
        more = others[open_to[row, others]].tolist() if len(others) else []
        known = set[int]() if policy.hides_heard else set(heard.indices[heard.indptr[row] : heard.indptr[row + 1]].tolist())
        taken = _take(candidates, more, items.artists, known, k, most_heard)
        made.items[row, : len(taken)], made.scores[row, : len(taken)] = taken, scores[row, taken]
        made.propensities[row, : len(taken)] = 1.0
    return made


def _rank(scores: np.ndarray, open_to: np.ndarray, is_heard: np.ndarray | None, places: int) -> Iterator[Iterable[int]]:
    """For each listener the items open to them, the best first: the first of them ranked for all at once, the rest if asked for.

    Where heard tracks may take part of the places only, the best of both kinds are ranked, lest one kind hide the other.
    """
    from spotify_ai_assets.recommendations.models.kernels import top_of

    count = min(places * _LOOKED_AT, scores.shape[1])
    kinds = [open_to] if is_heard is None else [open_to & is_heard, open_to & ~is_heard]
    tops = [top_of(np.where(kind, scores, np.float32(-np.inf)), None, count)[0] for kind in kinds]
    for row in range(len(scores)):
        firsts = [top[row] for top in tops]
        chosen = np.concatenate([first[first >= 0] for first in firsts])
        first = chosen if len(firsts) == 1 else chosen[np.lexsort((chosen, -scores[row, chosen]))]
        is_all = all((first < 0).any() or count == scores.shape[1] for first in firsts)
        yield _go_on(first, scores[row], open_to[row], is_all)


def _go_on(first: np.ndarray, scores: np.ndarray, open_to: np.ndarray, is_all: bool) -> Iterator[int]:
    yield from first.tolist()
    if not is_all:
        rest = open_to.copy()
        rest[first] = False
        left = np.flatnonzero(rest)
        yield from left[np.argsort(-scores[left], kind="stable")].tolist()


def _take(candidates: Iterable[int], more: Iterable[int], artists: np.ndarray, known: set[int], places: int, most_known: int) -> list[int]:
    """Take candidates in their order while the rules allow; then those passed over because too much was known, then others."""
    taken: list[int] = []
    passed: list[int] = []
    of_artist: dict[int, int] = {}
    left_known = most_known

    def take(each: int) -> None:
        artist = int(artists[each])
        if len(taken) < places and of_artist.get(artist, 0) < MOST_OF_AN_ARTIST:
            of_artist[artist] = of_artist.get(artist, 0) + 1
            taken.append(each)

    for each in candidates:
        if len(taken) == places:
            return taken
        if each in known and left_known == 0:
            passed.append(each)
            continue
        before = len(taken)
        take(each)
        left_known -= each in known and len(taken) > before
    for each in (*passed, *more):
        take(each)
    return taken


def _draw(scores: np.ndarray, open_to: np.ndarray, artists: np.ndarray, k: int, temperature: float, seeds: np.ndarray) -> Filled:
    """Draw shelves from the best that are open to each listener; from all of them where too few artists are among the best."""
    from spotify_ai_assets.recommendations.experiments.policies import draw_shelf
    from spotify_ai_assets.recommendations.models.kernels import top_of

    masked = np.where(open_to, scores, np.float32(-np.inf))

    def draw(rows: np.ndarray, count: int) -> Filled:
        pool, pooled = top_of(masked[rows], None, count)
        spread = np.array([each[np.isfinite(each)].std(dtype=np.float64) if np.isfinite(each).any() else 0.0 for each in pooled])
        scaled = pooled / np.where(spread > 0, spread, 1.0)[:, None]
        order, chances = draw_shelf(scaled, k, temperature, seeds[rows], artists=artists[pool], per_artist=MOST_OF_AN_ARTIST)
        is_there, order = order >= 0, np.maximum(order, 0)
        drawn = np.where(is_there, np.take_along_axis(pool, order, 1), -1).astype(np.int32)
        return Filled(drawn, np.where(is_there, np.take_along_axis(pooled, order, 1), 0).astype(np.float32), chances)

    made = draw(np.arange(len(scores)), min(k * _POOL, scores.shape[1]))
    short = np.flatnonzero((made.items < 0).any(1))
    if len(short) and k * _POOL < scores.shape[1]:
        again = draw(short, scores.shape[1])
        made.items[short], made.scores[short], made.propensities[short] = again.items, again.scores, again.propensities
    return made
