"""How assets are cut: UTC days from the first that any listening service recorded."""

from collections.abc import Mapping
from datetime import date, timedelta

import dagster as dg

FIRST_DAY = date(2002, 10, 1)
"""Last.fm's predecessor recorded the first listens in October 2002; earlier times are mistakes."""

DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)
"""End offset 1: today is a partition too, since its listens are landing already."""


_DAY, _FIRST, _LAST = "dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def range_tags(first: date, last: date) -> dict[str, str]:
    """The run tags by which Dagster knows that one run makes a range of days, both included."""
    return {_FIRST: first.isoformat(), _LAST: last.isoformat()}


def run_days(tags: Mapping[str, str]) -> list[date]:
    """The days that a run makes, by its tags: Dagster's own way counts through all partitions since the first."""
    first, last = tags.get(_FIRST) or tags.get(_DAY), tags.get(_LAST) or tags.get(_DAY)
    if not first or not last:
        return []
    begin = date.fromisoformat(first)
    return [begin + timedelta(days=offset) for offset in range((date.fromisoformat(last) - begin).days + 1)]
