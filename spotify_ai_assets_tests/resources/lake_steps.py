"""One step each of what a lake does, for the tests that kill it in the middle."""

import datetime as dt

import polars as pl
from lake_tables import DAY, day_rows, later, whole_rows


def replace_together(lake):
    with lake.batch("a/days", [DAY, later(1)]) as batch:
        batch.put(day_rows(7), DAY)
        batch.put(day_rows(8, later(1)), later(1))


STEPS = {
    "write": lambda lake: lake.write("a/days", day_rows(7), DAY),
    "batch": replace_together,
    "update": lambda lake: lake.update("a/days", [DAY, later(1)], lambda day, rows: pl.concat([rows, day_rows({"new": 1}, day)])),
    "append": lambda lake: lake.append("a/whole", whole_rows({"new": 1.0}), transaction="t-new"),
    "vacuum": lambda lake: lake.vacuum("a/days", keep=dt.timedelta(0)),
    "forget_history": lambda lake: lake.forget_history("a/days"),
    "mend": lambda lake: lake.mend("a/days"),
}
