"""A total beside the part of it that is suspicious: the columns by which every count here tells both.

Which plays are suspicious is decided in ``suspicion``; what is summed, and by what, in the module of each table.
"""

from collections.abc import Sequence

import polars as pl

Frame = pl.DataFrame | pl.LazyFrame

_PART = "suspicious_"


def stack(totals: Frame, flagged: Frame, by: Sequence[str], measures: Sequence[str]) -> pl.LazyFrame:
    """Put totals and their flagged part into one frame of rows to be summed.

    Args:
        totals: Rows with the columns ``by`` and ``measures``.
        flagged: Rows of the same columns: the part of the totals that is suspicious.
        by: What the rows are told apart by.
        measures: What is counted.

    Returns:
        The rows of both with the columns ``by``, ``measures`` and, as ``suspicious_*``, ``measures`` again. Where a row does not
        count a measure it is 0, so that sums over any groups give a total and its part side by side.
    """
    nothing = pl.lit(0, pl.Int64)
    whole = totals.lazy().select(*by, *measures, *(nothing.alias(_PART + name) for name in measures))
    part = flagged.lazy().select(*by, *(nothing.alias(name) for name in measures), *(pl.col(name).alias(_PART + name) for name in measures))
    return pl.concat([whole, part])


def both(measures: Sequence[str]) -> list[str]:
    """The names of measures and of their suspicious parts."""
    return [*measures, *(_PART + name for name in measures)]


def genuine(measure: str) -> pl.Expr:
    """A measure less its suspicious part."""
    return pl.col(measure) - pl.col(_PART + measure)
