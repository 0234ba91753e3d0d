"""How many of the planted unusual volumes are found, and how many that are found were not planted.

* An incident is a row of ``listening/anomalies`` that is a cause. What such rows explain, other series and the hours of a day, is
  no incident of its own.
* It matches a planted anomaly if day, hour, country, platform and direction are the same: for an outage all day in one country,
  that country, all platforms, the whole day, down. A planted hour is matched by that hour only, a planted day by the day only.
* One planted anomaly takes one incident; every other incident is false, every planted one without an incident is missed. Nothing
  found is never wrong, nothing planted never missed: then precision and recall are 1.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import ALL

_DIRECTIONS = {"outage": "down", "spike": "up"}


def score_anomalies(found: pl.DataFrame, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Score the unusual volumes of a demo world.

    Args:
        found: Rows of ``listening/anomalies`` of all days.
        truth: The world's ``truth.json``.

    Returns:
        Numbers ``planted``, ``incidents`` and both, ``hits``; ``precision`` and ``recall``; ``false`` and ``missed``, each a list
        of ``day hour country platform direction``, where the hour of a whole day is ``day``.
    """
    planted = {_place(one) for one in truth["volume_anomalies"]}
    incidents = {
        (str(row[DAY]), str(row["started_at"].hour) if row["resolution"] == "hour" else "day", *(row[name] for name in _SCOPE))
        for row in found.filter("is_cause").iter_rows(named=True)
    }
    hits = len(planted & incidents)
    return {
        "planted": len(planted),
        "incidents": len(incidents),
        "hits": hits,
        "precision": hits / len(incidents) if incidents else 1.0,
        "recall": hits / len(planted) if planted else 1.0,
        "false": [" ".join(place) for place in sorted(incidents - planted)],
        "missed": [" ".join(place) for place in sorted(planted - incidents)],
    }


_SCOPE = ("country", "platform", "direction")


def _place(one: Mapping[str, Any]) -> tuple[str, ...]:
    hour = "day" if one["hour"] is None else str(one["hour"])
    return one["day"], hour, one["country"] or GLOBAL, one["platform"] or ALL, _DIRECTIONS[one["kind"]]
