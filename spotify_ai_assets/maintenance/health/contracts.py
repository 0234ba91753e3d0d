"""The table of health: one row for each part of the platform, as it was graded last."""

import polars as pl

from spotify_ai_assets.contracts import TIME, Column, Table, by_key

GRADES = ("good", "warning", "failing", "unknown")
"""``warning``: someone should look within days. ``failing``: someone should look now. ``unknown``: there is nothing to go by yet."""

COMPONENTS = (
    "lake",
    "staleness",
    "freshness",
    "checks",
    "queue",
    "daemons",
    "code_location",
    "disk",
    "databases",
    "stream",
    "models",
    "backups",
    "drills",
    "erasures",
    "audit",
    "alerts",
    "secrets",
)
"""The parts of the platform that are graded."""

HEALTH = Table(
    key="maintenance/health",
    columns=(
        Column("component", pl.String, "Part of the platform.", allowed=COMPONENTS),
        Column("grade", pl.String, "How it is: good, warning, failing, or unknown where nothing can be said yet.", allowed=GRADES),
        Column("reason", pl.String, "Why, in one sentence."),
        Column("value", pl.Float64, "The figure that decided.", nullable=True),
        Column("unit", pl.String, "Of that figure.", nullable=True),
        Column("changed_at", TIME, "Since when the grade is what it is."),
        Column("checked_at", TIME, "When it was looked at."),
    ),
    primary_key=("component",),
    owner="team:platform",
    partitioned_by=None,
)
"""Health now; the past states of the table tell how it was."""

TABLES = by_key(HEALTH)
"""Every contract of health."""
