"""Why a track is recommended: the plays that carried its score, with their shares in it, and a sentence for people.

A score is a sum of what each play of the history adds and of what none of them does (``models.contract.Contributions``). What
speaks for a track are the parts above 0 that tell tracks apart; constants, which every track gets alike, do not. The shares of all
that speaks for a track add up to 1.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.recommendations.serving.items import Items

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.models.contract import Contributions

NAMED = 3
"""So many plays are named."""

_KINDS = {"popularity": "popularity", "two_tower": "content", "attention": "plays"}
"""What the parts that no single play carries are, by their names; any other is a constant, which tells no tracks apart.

What a two-tower model adds by its network follows from the content of what was played, what attention adds from all plays together."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a track is on a shelf.

    Attributes:
        kind: What speaks for it most: ``plays``, ``content`` or ``popularity``.
        because: The tracks of the history that speak for it most, the strongest first.
        shares: The share of each of them in what speaks for it, in (0, 1].
        phrase: Which sentence says so.
        names: What is filled in there.
    """

    kind: str
    because: tuple[str, ...]
    shares: tuple[float, ...]
    phrase: str
    names: Mapping[str, str] = field(default_factory=dict)

    def say(self, language: str | None = None) -> str:
        """The reason as a sentence; in the language of the settings unless one is given."""
        return _phrases(language)[self.phrase].format(**self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """What speaks for one item.

    Attributes:
        kind: What does most.
        plays: Places in the history, int64, the strongest first.
        shares: Their shares, float64.
        rest: The shares of what no play carries, by its kind.
    """

    kind: str
    plays: np.ndarray
    shares: np.ndarray
    rest: Mapping[str, float]


NOTHING = Weighed("popularity", np.zeros(0, np.int64), np.zeros(0), {})
"""What nothing speaks for."""


def weigh(contributions: "Contributions", carried_by: str = "plays") -> list[Weighed]:
    """Say of each item what speaks for it: every play that does, and the rest.

    Args:
        contributions: What the parts of its score are.
        carried_by: The kind of what plays add: ``content`` where they do so by their likeness.
    """
    by_play = np.maximum(contributions.by_play, 0.0)
    rest: dict[str, np.ndarray] = {}
    for name, amounts in contributions.rest.items():
        kind = _kind_of(name)
        if kind:
            rest[kind] = rest.get(kind, np.zeros(len(by_play))) + np.maximum(amounts, 0.0)
    return [
        _weigh_one(row, {kind: float(amounts[place]) for kind, amounts in rest.items()}, carried_by) for place, row in enumerate(by_play)
    ]


def _weigh_one(by_play: np.ndarray, rest: Mapping[str, float], carried_by: str) -> Weighed:
    whole = float(by_play.sum()) + sum(rest.values())
    if whole <= 0:
        return NOTHING
    totals = {carried_by: float(by_play.sum())}
    for kind, amount in rest.items():
        totals[kind] = totals.get(kind, 0.0) + amount
    order = np.argsort(-by_play, kind="stable")
    plays = order[: np.count_nonzero(by_play)]
    shares = {kind: amount / whole for kind, amount in rest.items()}
    return Weighed(max(totals, key=lambda kind: totals[kind]), plays, by_play[plays] / whole, shares)


def _kind_of(name: str) -> str | None:
    """The kind of a named part; a blend's parts have their member's name before them."""
    words = name.replace("/", ".").replace(":", ".").split(".")
    return next((_KINDS[word] for word in reversed(words) if word in _KINDS), None)


def put_in_words(
    weighed: Weighed, item: int, history: Sequence[int] | np.ndarray, items: Items, *, has_country: bool, is_new: bool
) -> Reason:
    """The reason why an item is on a listener's shelf.

    Args:
        weighed: What speaks for it.
        item: Its number.
        history: Numbers of the items of the history, which ``weighed`` counts.
        items: All items.
        has_country: Whether popularity is that in the listener's country rather than in the world.
        is_new: Whether it came out lately.
    """
    named = [int(history[place]) for place in weighed.plays[:NAMED]]
    because, shares = tuple(str(items.tracks[each]) for each in named), tuple(weighed.shares[:NAMED].tolist())
    if weighed.kind == "popularity" or not named:
        kind = weighed.kind if weighed.kind != "plays" else "popularity"
        return Reason(kind, because, shares, _unplayed(kind, has_country))
    names = {"artist": items.artist_of(item)[1], "first": str(items.names[named[0]])}
    if len(named) > 1:
        names["second"] = str(items.names[named[1]])
    return Reason(weighed.kind, because, shares, _played(weighed.kind, item, named, items, is_new), names)


def _unplayed(kind: str, has_country: bool) -> str:
    return "content" if kind == "content" else "popular_here" if has_country else "popular"


def _played(kind: str, item: int, named: list[int], items: Items, is_new: bool) -> str:
    if named[0] == item:
        return "again"
    if items.artists[named[0]] == items.artists[item] and (is_new or kind == "plays"):
        return "new_of_artist" if is_new else "of_artist"
    return f"{kind}_{'two' if len(named) > 1 else 'one'}"


def liken(kind: str, name: str, *, is_shared: bool) -> Reason:
    """The reason why something is like something else.

    Args:
        kind: ``plays`` where its place among others follows from who plays what, ``content`` where it follows from text and sound.
        name: What it is like.
        is_shared: Whether enough people play both.
    """
    return Reason(kind, (), (), "shared" if is_shared else "alike", {"name": name})


def continue_from(weighed: Weighed, name: str) -> Reason:
    """The reason why something follows a track of this name on the radio."""
    return Reason(weighed.kind, (), (), "popular" if weighed.kind == "popularity" else "follows", {"name": name})


@functools.cache
def _phrases(language: str | None) -> Mapping[str, str]:
    return {
        "again": _("You keep coming back to it", language),
        "of_artist": _("More of {artist}, whom you play", language),
        "new_of_artist": _("New from {artist}, whom you play", language),
        "plays_one": _("Because you played “{first}”", language),
        "plays_two": _("Because you played “{first}” and “{second}”", language),
        "content_one": _("Like “{first}”, which you played", language),
        "content_two": _("Like “{first}” and “{second}”, which you played", language),
        "content": _("Like what you play", language),
        "popular": _("Played a lot these days", language),
        "popular_here": _("Played a lot in your country these days", language),
        "shared": _("Also played by people who play “{name}”", language),
        "alike": _("Resembles “{name}”", language),
        "follows": _("It goes well after “{name}”", language),
    }
