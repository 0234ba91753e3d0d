"""The table by which a model takes part in the lake: what its champion is and how good it was found to be.

The registry holds the models; this is its image, so that what a champion made is out of date when another is promoted.
"""

import polars as pl

from spotify_ai_assets.contracts import Column, Reads, Table


def model_table(key: str, owner: str, *inputs: str) -> Table:
    """The contract of a model's table.

    Args:
        key: The table, and the model's name in the registry.
        owner: Who answers for it.
        inputs: The tables that it learns from, all of their partitions; without the first two there is nothing to train.
    """
    return Table(
        key=key,
        owner=owner,
        partitioned_by=None,
        primary_key=("metric", "slice"),
        is_model=True,
        reads=tuple(Reads(each, first=None, drives=False, awaited=number < 2) for number, each in enumerate(inputs)),
        columns=(
            Column("metric", pl.String, "What was measured of it, such as accuracy; `steps` and the like describe how it was made."),
            Column("slice", pl.String, "Of which part of the data; empty for all of it."),
            Column("value", pl.Float64, "The figure.", nullable=True),
            Column("low", pl.Float64, "Lower end of its 95 % interval.", nullable=True),
            Column("high", pl.Float64, "Upper end.", nullable=True),
            Column("cases", pl.Int64, "How many cases it was measured on.", nullable=True, minimum=0),
            Column("model_version", pl.String, "The version that serves, the champion."),
        ),
    )
