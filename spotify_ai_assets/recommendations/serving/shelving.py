"""Shelves of listeners from one release: the only way to them, in batch and in service.

What is said of a listener follows from their history, the release and what is blocked, and from nothing else; draws are seeded by
release, listener and shelf.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from spotify_ai_assets.recommendations.serving.answers import Ask, Recommended
from spotify_ai_assets.recommendations.serving.filters import Blocks, allow
from spotify_ai_assets.recommendations.serving.merging import stack_histories
from spotify_ai_assets.recommendations.serving.reasons import Reason, put_in_words
from spotify_ai_assets.recommendations.serving.shelves import POLICIES, fill
from spotify_ai_assets.recommendations.serving.stock import FRESH, Stock


def fill_shelves(
    stock: Stock, asks: Sequence[Ask], shelves: Sequence[str], k: int, blocks: Blocks, *, explain: bool = False
) -> dict[str, list[list[Recommended]]]:
    """Fill shelves for several listeners.

    Args:
        stock: What the release knows.
        asks: Who asks.
        shelves: Which, of ``shelves.POLICIES``.
        k: Places of each.
        blocks: What is blocked.
        explain: Whether each track comes with its reason.

    Returns:
        By shelf the tracks for each who asks.
    """
    items = stock.items
    heard = stack_histories([ask.history for ask in asks], len(items))
    allowed = _allow(stock, asks, blocks)
    scores = stock.score(asks)
    filled = {
        shelf: fill(
            POLICIES[shelf],
            stock.score_fresh(asks, scores) if shelf == FRESH else scores,
            heard,
            items,
            k,
            ends_on=stock.ends_on,
            allowed=allowed,
            seeds=[_seed(stock.version, ask.listener, shelf) for ask in asks],
        )
        for shelf in shelves
    }
    made: dict[str, list[list[Recommended]]] = {shelf: [] for shelf in shelves}
    for place, ask in enumerate(asks):
        chosen = {shelf: found.items[place][found.items[place] >= 0] for shelf, found in filled.items()}
        reasons = _explain(stock, ask, chosen) if explain else {}
        for shelf, found in filled.items():
            made[shelf].append(
                [
                    stock.show(
                        at, int(item), found.scores[place, at], found.propensities[place, at], reasons[shelf][at] if explain else None
                    )
                    for at, item in enumerate(chosen[shelf])
                ]
            )
    return made


def _allow(stock: Stock, asks: Sequence[Ask], blocks: Blocks) -> np.ndarray:
    """What each may be shown, bool, shape (asks, items): nothing blocked, and nothing that they heard and do not like."""
    known: dict[tuple[frozenset[str], bool], np.ndarray] = {}
    rows = []
    for ask in asks:
        barred = blocks.ids_for(ask.listener, ask.country) | ask.filters.hidden
        key = barred, ask.filters.allow_explicit
        if key not in known:  # once for all who may be shown the same
            known[key] = allow(stock.items, barred, allow_explicit=ask.filters.allow_explicit)
        rows.append(known[key])
    allowed = np.stack(rows) if rows else np.zeros((0, len(stock.items)), bool)
    for row, ask in zip(allowed, asks, strict=True):
        row[ask.history.weightless] = False
    return allowed


def _explain(stock: Stock, ask: Ask, chosen: Mapping[str, np.ndarray]) -> dict[str, list[Reason]]:
    """The reason of each item on each shelf; the model is asked once for all shelves that it scored."""
    is_near = {shelf: shelf == FRESH and len(ask.history.items) > 0 for shelf in chosen}
    scored = np.unique(np.concatenate([items for shelf, items in chosen.items() if not is_near[shelf]] or [np.zeros(0, np.int32)]))
    by_model = dict(zip(scored.tolist(), stock.weigh(ask, scored), strict=True))
    reasons: dict[str, list[Reason]] = {}
    for shelf, items in chosen.items():
        said = stock.weigh_fresh(ask, items) if is_near[shelf] else [by_model[item] for item in items.tolist()]
        history = ask.history.items if is_near[shelf] else stock.known_of(ask.history)
        reasons[shelf] = [
            put_in_words(each, int(item), history, stock.items, has_country=ask.country in stock.countries, is_new=bool(stock.is_new[item]))
            for each, item in zip(said, items, strict=True)
        ]
    return reasons


def _seed(version: str, listener: str, shelf: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{version}\0{listener}\0{shelf}".encode(), digest_size=8).digest(), "big") >> 1
