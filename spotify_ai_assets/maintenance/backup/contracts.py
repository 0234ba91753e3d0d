"""The table of drills."""

import polars as pl

from spotify_ai_assets.contracts import TIME, Column, Table, by_key

DRILLS = Table(
    "maintenance/drills",
    (
        Column("began_at", TIME, "When the drill began."),
        Column("snapshot", pl.String, "The backup that was restored."),
        Column("engine", pl.String, "What kept the backup.", allowed=("embedded", "restic")),
        Column("is_passed", pl.Boolean, "Whether everything that the drill does came out right."),
        Column("failure", pl.String, "What did not, in a sentence.", nullable=True),
        Column("rto_s", pl.Float64, "Recovery time: seconds from the beginning until the restored platform could be opened.", minimum=0),
        Column("rpo_s", pl.Float64, "Recovery point: seconds between the backup and the drill, which is what would have been lost."),
        Column("files", pl.Int64, "Files that were restored.", minimum=0),
        Column("tables", pl.Int64, "Tables that were opened at the versions of the backup.", minimum=0),
        Column("partitions", pl.Int64, "Partitions whose rows were counted and digested again.", minimum=0),
        Column("rows", pl.Int64, "Rows in them.", minimum=0),
        Column("erased", pl.Int64, "Listeners whom the ledger names and who were erased again.", minimum=0),
        Column("remade", pl.String, "The partition that was made again there and has the digest that it had.", nullable=True),
        Column("canary_before", pl.Int64, "How often the byte scan found a listener before that one was erased in the copy.", minimum=0),
        Column("canary_after", pl.Int64, "How often afterwards.", minimum=0),
        Column("seconds", pl.Float64, "How long all of it took.", minimum=0),
    ),
    ("began_at",),
    "team:platform",
    partitioned_by=None,
)
TABLES = by_key(DRILLS)
