"""Every contract of every domain: what the lake, the warehouse and the staleness rule know of."""

from collections.abc import Mapping
from importlib import import_module, util

from spotify_ai_assets.contracts import Table, by_key

_KEEPING = (
    "maintenance",
    "maintenance.backup",
    "maintenance.erasure",
    "maintenance.upkeep",
    "maintenance.health",
    "observability.audit",
    "observability.alerts",
    "observability.traces",
)
"""What looks after the platform itself."""

DOMAINS = ("catalog", "listening", "listening.insight", "training", "audio", "recommendations", "reports", *_KEEPING)
"""In the order in which data flows; a domain may read those before it. A dot leads to a room of a domain."""

TABLES: Mapping[str, Table] = by_key(
    *(
        table
        for domain in DOMAINS
        if util.find_spec(f"spotify_ai_assets.{domain}.contracts")
        for table in import_module(f"spotify_ai_assets.{domain}.contracts").TABLES.values()
    )
)
