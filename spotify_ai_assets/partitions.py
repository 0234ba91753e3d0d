"""How assets are cut: UTC days from the first that any listening service recorded, and shards of tracks and files."""

from collections.abc import Mapping
from datetime import date, timedelta

import dagster as dg

from spotify_ai_assets.contracts import SHARDS, Table

FIRST_DAY = date(2002, 10, 1)
"""Last.fm's predecessor recorded the first listens in October 2002; earlier times are mistakes."""

DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)
"""End offset 1: today is a partition too, since its listens are landing already."""

TRACK_SHARDS = dg.StaticPartitionsDefinition(list(SHARDS))
"""Never a partition per track: 64 of them by a digest of the id."""

_DAY, _FIRST, _LAST = "dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def partitions_definition(table: Table) -> dg.PartitionsDefinition | None:
    """How a table's asset is cut."""
    return DAYS if table.is_daily else TRACK_SHARDS if table.is_sharded else None


def range_tags(first: date | str, last: date | str) -> dict[str, str]:
    """The run tags by which Dagster knows that one run makes a range of days or shards, both included."""
    return {_FIRST: str(first), _LAST: str(last)}


def run_days(tags: Mapping[str, str]) -> list[date]:
    """The days that a run makes, by its tags: Dagster's own way counts through all partitions since the first."""
    first, last = tags.get(_FIRST) or tags.get(_DAY), tags.get(_LAST) or tags.get(_DAY)
    if not first or not last or first in SHARDS:
        return []
    begin = date.fromisoformat(first)
    return [begin + timedelta(days=offset) for offset in range((date.fromisoformat(last) - begin).days + 1)]


def run_shards(tags: Mapping[str, str]) -> list[str]:
    """The shards that a run makes, by its tags."""
    first, last = tags.get(_FIRST) or tags.get(_DAY), tags.get(_LAST) or tags.get(_DAY)
    return [shard for shard in SHARDS if first <= shard <= last] if first in SHARDS and last in SHARDS else []
