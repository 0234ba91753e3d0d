"""Two rankings on one shelf: what listeners pick from it says which ranking they prefer, with far fewer of them than an A/B test."""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import polars as pl

from spotify_ai_assets.training.metrics import Interval, wilson_interval

Item = TypeVar("Item", bound=Hashable)
TEAMS = ("ours", "theirs")
COLUMNS = ("listener_id", "team", "picks")


@dataclass(frozen=True, slots=True)
class Interleaved(Generic[Item]):
    """A shelf that two rankings filled.

    Attributes:
        items: The shelf, best first.
        teams: Which ranking placed each item, ``ours`` or ``theirs``.
    """

    items: tuple[Item, ...]
    teams: tuple[str, ...]

    def credit(self, picked: Collection[Item]) -> tuple[int, int]:
        """How many of the items that a listener picked each ranking had placed: ours, theirs."""
        teams = [team for item, team in zip(self.items, self.teams, strict=True) if item in picked]
        return teams.count("ours"), teams.count("theirs")


def interleave(ours: Sequence[Item], theirs: Sequence[Item], k: int, seed: int) -> Interleaved[Item]:
    """Fill a shelf by team draft (Radlinski, Kurup and Joachims, 2008).

    In each round a coin says which ranking goes first; each then places its best item that is not yet on the shelf.

    Args:
        ours: A ranking, best first, without repeats.
        theirs: The other ranking.
        k: Places of the shelf; fewer are filled where the rankings have no more.
        seed: Of the coins, such as a hash of listener and day.
    """
    rng = np.random.default_rng(seed)
    queues, placed = {"ours": iter(ours), "theirs": iter(theirs)}, {}
    while len(placed) < k:
        before = len(placed)
        first = int(rng.integers(2))
        for team in (TEAMS[first], TEAMS[1 - first]):
            item = next((item for item in queues[team] if item not in placed), None)
            if item is not None and len(placed) < k:
                placed[item] = team
        if len(placed) == before:
            break
    return Interleaved(tuple(placed), tuple(placed.values()))


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two rankings listeners prefer.

    Attributes:
        ours: Shelves on which ours got more picks.
        theirs: Shelves on which theirs got more.
        ties: Shelves on which both got as many, none included.
        p: Two-sided probability of a split at least as uneven if there were no preference (sign test without the ties).
        share: Share of ours among the shelves that are no ties, with its interval; ``None`` where all are.
    """

    ours: int
    theirs: int
    ties: int
    p: float
    share: Interval | None

    @property
    def winner(self) -> str | None:
        """``ours`` or ``theirs`` where the interval of the share excludes one half."""
        if self.share is None or self.share.low <= 0.5 <= self.share.high:
            return None
        return "ours" if self.share.low > 0.5 else "theirs"


def prefer(credits: Iterable[tuple[float, float]]) -> Preference:
    """Count which ranking won how many shelves.

    Args:
        credits: Picks of ours and of theirs on each shelf, as ``Interleaved.credit`` gives them. Several shelves of one listener are
            no independent evidence: add them up first.
    """
    from scipy.special import bdtr

    signs = [(ours > theirs) - (ours < theirs) for ours, theirs in credits]
    won, lost = signs.count(1), signs.count(-1)
    decided = won + lost
    p = min(1.0, 2 * float(bdtr(min(won, lost), decided, 0.5))) if decided else 1.0
    return Preference(won, lost, signs.count(0), p, wilson_interval(won, decided) if decided else None)


def prefer_log(log: pl.DataFrame) -> Preference:
    """Count which ranking won with how many listeners, from a log with a row for each place of each shelf.

    Args:
        log: Columns ``listener_id``; ``team``, who placed it: ``ours`` or ``theirs``; ``picks``, how often the listener picked it.

    Raises:
        ValueError: A team is neither of the two.
    """
    if not log["team"].is_in(TEAMS).all():
        raise ValueError("a place of an interleaved shelf was filled by ours or by theirs")
    picks = pl.col("picks").cast(pl.Float64)
    sums = log.group_by("listener_id").agg(*(picks.filter(pl.col("team") == team).sum().alias(team) for team in TEAMS))
    return prefer(sums.select(TEAMS).iter_rows())
