"""Blocks: tracks and artists that are recommended no more, anywhere, in a country or to one listener."""

from datetime import UTC, datetime

import polars as pl

from spotify_ai_assets.recommendations.contracts import BLOCKS
from spotify_ai_assets.recommendations.serving.filters import add_block, drop_block
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.validation import require


def change_blocks(lake: Lake, item_id: str, country: str, listener: str, *, is_blocked: bool, now: datetime | None = None) -> bool:
    """Block an item or take its block back; services see it within seconds.

    Args:
        lake: Where ``recommendations/blocks`` is.
        item_id: A track or an artist.
        country: Where; an empty text is everywhere.
        listener: Pseudonym of the listener for whom; an empty text is everybody.
        is_blocked: Whether it shall be blocked.
        now: When; this moment unless given.

    Returns:
        Whether that changed anything.

    Raises:
        ContractError: No such country or pseudonym can be.
    """
    moment = now or datetime.now(UTC)
    is_changed = False

    def change(_: None, present: pl.DataFrame) -> pl.DataFrame:
        nonlocal is_changed
        changed = add_block(present, item_id, country, listener, moment) if is_blocked else drop_block(present, item_id, country, listener)
        require(BLOCKS, changed)
        is_changed = changed.height != present.height
        return changed

    lake.update(BLOCKS.key, [None], change)
    return is_changed
