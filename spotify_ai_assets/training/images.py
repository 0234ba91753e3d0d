"""The image of a model in the lake: the rows of its table, which change whenever another version becomes the champion."""

import polars as pl

from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.training.errors import UnknownModelError
from spotify_ai_assets.training.model_tables import model_table
from spotify_ai_assets.training.registry import Registry

_SCHEMA = model_table("training/image", "team:training").schema


def champion_rows(registry: Registry, name: str) -> pl.DataFrame:
    """A row for each figure of the champion; none where nothing has passed its gate.

    Args:
        registry: Where the models are kept.
        name: The model.
    """
    try:
        entry = registry.entry(name)
    except UnknownModelError:
        return pl.DataFrame(schema=_SCHEMA)
    rows = [
        {
            "metric": metric.name,
            "slice": metric.part,
            "value": metric.value,
            "low": metric.low,
            "high": metric.high,
            "cases": metric.count,
            "model_version": entry.version,
        }
        for metric in entry.manifest.metrics
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


def record_champion(lake: Lake, registry: Registry, name: str, origin: Origin) -> None:
    """Write the champion's rows after a promotion or a rollback, so that what the former one made is out of date.

    The table goes on being made from what it was made from: a rollback does not make the model itself stale.
    """
    if name in lake.tables and (state := lake.state(name, None)):
        lake.write(name, champion_rows(registry, name), recipe=state.recipe, origin=origin)
