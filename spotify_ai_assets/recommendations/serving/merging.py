"""What somebody has heard, up to this moment: the history of the release and the plays that came in since.

Both are brought to the day of the newest play and added as the batch adds them (``recommendations/interactions``), so that a
listener gets one answer from a live play and from the batch that counts it a day later.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np

from spotify_ai_assets.recommendations.interactions import HALF_LIFE_DAYS

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spotify_ai_assets.recommendations.indices.histories import ServedHistories


class LivePlay(Protocol):
    """A play that came in by the stream."""

    @property
    def key(self) -> int:
        """What tells it from all other plays, the batch's too."""
        ...

    @property
    def track_id(self) -> str:
        """The track."""
        ...

    @property
    def value(self) -> float:
        """What it is worth on its day; below 0 where it was skipped."""
        ...

    @property
    def started_at(self) -> datetime:
        """When it began, in UTC."""
        ...


class Numbers(Protocol):
    """Numbers of items by their tracks: ``Items``, or a mapping."""

    def __contains__(self, track_id: object, /) -> bool:
        """Whether there is such an item."""
        ...

    def __getitem__(self, track_id: str, /) -> int:
        """Its number."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What one listener has heard and likes.

    Attributes:
        items: Numbers of the items, int32, sorted; the model need not know them all.
        weights: Weight of each, float32, above 0.
        country: Where they played last; an empty text where nobody knows.
        weightless: Numbers of what they heard besides and do not like, or not so that the model could know, int32, sorted.
    """

    items: np.ndarray
    weights: np.ndarray
    country: str = ""
    weightless: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))


def make_history(weights: dict[int, float], country: str = "") -> History:
    """A history of items and their weights; what has none above 0 was heard all the same."""
    chosen = sorted(item for item, weight in weights.items() if weight > 0)
    weightless = sorted(weights.keys() - set(chosen))
    liked = np.array([weights[item] for item in chosen], np.float32)
    return History(np.array(chosen, np.int32), liked, country, np.array(weightless, np.int32))


def merge_plays(served: "ServedHistories", listener: str, plays: Iterable[LivePlay], numbers: Numbers) -> History:
    """The history of a listener with the plays that the release does not hold yet.

    A play that began more than ``histories.RECENT`` before the release's moment is left to the batch: its key is no longer kept.

    Args:
        served: The release's histories.
        listener: Pseudonym.
        plays: What came in lately, in any order.
        numbers: Numbers of the release's items; plays of others tell nothing yet.
    """
    from spotify_ai_assets.recommendations.indices.histories import RECENT

    row, country = served.row(listener), served.country(listener) or ""
    kept = make_history({numbers[each]: 0.0 for each in served.weightless_of(listener) if each in numbers}, country)
    if row is not None:
        kept = replace(kept, items=row.indices.astype(np.int32), weights=row.data.astype(np.float32))
    oldest = served.as_of - RECENT
    once = {each.key: each for each in plays if each.started_at >= oldest and each.track_id in numbers and not served.holds(each.key)}
    if not once:
        return kept
    newest = max(served.as_of.date(), *(each.started_at.date() for each in once.values()))
    fade = _decay((newest - served.as_of.date()).days)
    values = dict.fromkeys(kept.weightless.tolist(), 0.0)
    values |= dict(zip(kept.items.tolist(), (np.expm1(kept.weights.astype(np.float64)) * fade).tolist(), strict=True))
    for _, play in sorted(once.items()):
        item = numbers[play.track_id]
        values[item] = values.get(item, 0.0) + play.value * _decay((newest - play.started_at.date()).days)
    return make_history({item: float(np.log1p(max(value, 0.0))) for item, value in values.items()}, country)


def stack_histories(histories: "list[History]", width: int) -> "csr_matrix":
    """Histories as a matrix of so many items; what lies beyond is left out."""
    from scipy.sparse import csr_matrix

    kept = [each.items < width for each in histories]
    indices = [each.items[inside] for each, inside in zip(histories, kept, strict=True)]
    weights = [each.weights[inside] for each, inside in zip(histories, kept, strict=True)]
    pointers = np.cumsum([0, *map(len, indices)])
    data, columns = (np.concatenate(arrays) if arrays else np.zeros(0) for arrays in (weights, indices))
    return csr_matrix((data.astype(np.float32), columns.astype(np.int32), pointers), shape=(len(histories), width))


def _decay(days: int) -> float:
    return float(2 ** (-days / HALF_LIFE_DAYS))
