"""How assets are cut: UTC days from the first that any listening service recorded."""

from datetime import date

import dagster as dg

FIRST_DAY = date(2002, 10, 1)
"""Last.fm's predecessor recorded the first listens in October 2002; earlier times are mistakes."""

DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)
"""End offset 1: today is a partition too, since its listens are landing already."""


def range_tags(first: date, last: date) -> dict[str, str]:
    """The run tags by which Dagster knows that one run makes a range of days, both included."""
    return {"dagster/asset_partition_range_start": first.isoformat(), "dagster/asset_partition_range_end": last.isoformat()}
