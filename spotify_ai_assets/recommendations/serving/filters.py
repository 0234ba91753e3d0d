"""What must not be recommended, to whom and where: blocks, and the wishes that come with a question."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from spotify_ai_assets.recommendations.contracts import BLOCKS
from spotify_ai_assets.recommendations.serving.items import Items


@dataclass(frozen=True, slots=True)
class Filters:
    """What one answer is to leave out.

    Attributes:
        country: Where it is shown, ISO 3166-1; the country of the listener's latest plays unless given.
        allow_explicit: Whether tracks with explicit lyrics may be in it.
        hidden: Tracks and artists to leave out besides.
    """

    country: str | None = None
    allow_explicit: bool = True
    hidden: frozenset[str] = frozenset()


NO_FILTERS = Filters()


@dataclass(frozen=True, slots=True)
class Blocks:
    """The rows of ``recommendations/blocks``.

    Attributes:
        ids: Blocked tracks and artists by country and listener; an empty text is everywhere, or everybody.
    """

    ids: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> "Blocks":
        """Take blocks from rows of their table."""
        found: dict[tuple[str, str], set[str]] = {}
        for item_id, country, listener in frame.select("item_id", "country", "listener_id").iter_rows():
            found.setdefault((country, listener), set()).add(item_id)
        return cls({key: frozenset(ids) for key, ids in found.items()})

    def ids_for(self, listener: str, country: str) -> frozenset[str]:
        """What is blocked for a listener in a country; an empty text is nobody in particular, or nowhere."""
        places = {("", ""), (country, ""), ("", listener), (country, listener)}
        return frozenset[str]().union(*(self.ids.get(place, frozenset()) for place in places))


def allow(items: Items, barred: frozenset[str], *, allow_explicit: bool = True) -> np.ndarray:
    """Which items may be in an answer, bool, shape (items,).

    Args:
        items: All items; removed ones never may.
        barred: Tracks and artists that may not.
        allow_explicit: Whether tracks with explicit lyrics may.
    """
    allowed = ~items.is_removed if allow_explicit else ~(items.is_removed | items.is_explicit)
    if barred:
        allowed[items.rows_of(barred)] = False
    return allowed


def add_block(present: pl.DataFrame, item_id: str, country: str, listener: str, now: datetime) -> pl.DataFrame:
    """Rows of the table with one more block; one that is there already keeps its time."""
    block = pl.DataFrame({"item_id": [item_id], "country": [country], "listener_id": [listener], "blocked_at": [now]}, schema=BLOCKS.schema)
    return pl.concat([present, block]).unique(BLOCKS.primary_key, keep="first", maintain_order=True)


def drop_block(present: pl.DataFrame, item_id: str, country: str, listener: str) -> pl.DataFrame:
    """Rows of the table without one block."""
    return present.filter(~((pl.col("item_id") == item_id) & (pl.col("country") == country) & (pl.col("listener_id") == listener)))
