"""Every family of metrics that the endpoint may show: its name, its type, its labels and what it says.

Names that begin with ``dagster_`` and labels that go with them are those of HirofumiTsuda/dagster-prometheus-exporter where both tell
the same, so that dashboards and rules made for it work here; the others begin with ``spotify_ai_``. Moments are told as
timestamps, never as ages: an age would be true at the scrape only. No label holds a value of a person, a run or a partition, so
each family has a bounded number of series.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Family(NamedTuple):
    """A family of metrics.

    Attributes:
        name: As Prometheus shows it; counters end in ``_total``.
        kind: What its values do.
        text: What they say.
        labels: Names of its labels.
    """

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    labels: tuple[str, ...] = ()


_RUN = ("job_name", "location", "status")
_ASSET = ("asset_key",)

_RUNS = (
    Family("dagster_active_runs", "gauge", "Runs that have not ended.", _RUN),
    Family("dagster_active_run_since_timestamp_seconds", "gauge", "Since when the oldest of a job's runs is in its present status.", _RUN),
    Family("dagster_completed_runs_total", "counter", "Runs that ended since the endpoint started.", _RUN),
    Family("dagster_kept_runs", "gauge", "Runs that the instance keeps; falls when runs are pruned.", _RUN),
    Family("dagster_last_run_info", "gauge", "1: how a job's run ended that ended last.", _RUN),
    Family("dagster_last_run_duration_seconds", "gauge", "How long the run took that ended last.", _RUN),
    Family("dagster_last_run_timestamp_seconds", "gauge", "When the run ended that ended last.", _RUN),
)

_TICKS = (
    *(
        family
        for kind in ("schedule", "sensor")
        for family in (
            Family(f"dagster_{kind}_status", "gauge", f"1: whether a {kind} is on.", (f"{kind}_name", "location", "status")),
            Family(
                f"dagster_{kind}_last_tick_status", "gauge", f"1: how a {kind}'s last tick ended.", (f"{kind}_name", "location", "status")
            ),
            Family(f"dagster_{kind}_last_tick_timestamp_seconds", "gauge", f"When a {kind} ticked last.", (f"{kind}_name", "location")),
        )
    ),
    Family("dagster_tick_failures_total", "counter", "Ticks that failed since the endpoint started.", ("kind", "name", "location")),
)

_DAEMONS = (
    Family(
        "dagster_daemon_healthy",
        "gauge",
        "1 where Dagster calls a daemon healthy, which tolerates 30 minutes.",
        ("daemon_type", "required"),
    ),
    Family("dagster_daemon_last_heartbeat_timestamp_seconds", "gauge", "A daemon's last heartbeat.", ("daemon_type",)),
)

_LOCATION = (
    Family("dagster_code_location_load_error", "gauge", "1 where the code location does not load in a fresh process.", ("location",)),
    Family("dagster_code_location_tried_timestamp_seconds", "gauge", "When loading the code location was tried last.", ("location",)),
)

_POOLS = tuple(
    Family(f"dagster_op_pool_concurrency_{name}", "gauge", text, ("pool",))
    for name, text in (
        ("limit", "Slots of a pool."),
        ("active_slots", "Slots of a pool that steps hold."),
        ("assigned_steps", "Steps that were given a slot and have not begun."),
        ("pending_steps", "Steps that wait for a slot."),
    )
)

_ASSETS = (
    Family("dagster_asset_last_materialization_timestamp_seconds", "gauge", "When an asset was materialised last.", _ASSET),
    Family(
        "dagster_asset_last_materialization_status", "gauge", "1: how the run ended that was launched last for it.", (*_ASSET, "status")
    ),
    Family(
        "spotify_ai_asset_freshness_deadline_timestamp_seconds",
        "gauge",
        "The first deadline of its policy that it missed, else the newest.",
        _ASSET,
    ),
    Family(
        "spotify_ai_asset_freshness_required_timestamp_seconds",
        "gauge",
        "Since when it must have been materialised to be fresh at that deadline.",
        _ASSET,
    ),
)

_CHECKS = (
    Family("dagster_asset_check_failed", "gauge", "1 where a check's last evaluation failed.", ("asset_key", "check_name", "severity")),
    Family("dagster_asset_check_timestamp_seconds", "gauge", "When a check was evaluated last.", ("asset_key", "check_name")),
    Family("spotify_ai_asset_cpu_seconds", "gauge", "Core seconds of the step that made an asset last.", _ASSET),
    Family("spotify_ai_asset_peak_memory_bytes", "gauge", "The most memory that step held.", _ASSET),
)

_LAKE = (
    Family("spotify_ai_asset_rows", "gauge", "Rows of a table.", _ASSET),
    Family("spotify_ai_asset_bytes", "gauge", "Bytes of a table's live files.", _ASSET),
    Family("spotify_ai_asset_files", "gauge", "A table's live files.", _ASSET),
    Family("spotify_ai_asset_partitions", "gauge", "Partitions of a table.", _ASSET),
    Family("spotify_ai_asset_newest_day_timestamp_seconds", "gauge", "The beginning of the newest day of a daily table, in UTC.", _ASSET),
    Family("spotify_ai_asset_making_seconds", "gauge", "How long making the partitions took that a table has now.", _ASSET),
    Family("spotify_ai_asset_stale_partitions", "gauge", "Partitions that are out of date.", _ASSET),
    Family("dagster_asset_stale_status", "gauge", "1: whether an asset is missing, stale or fresh.", (*_ASSET, "status")),
    Family("spotify_ai_table_readable", "gauge", "1 where a table opens, its log is whole and all its files are there.", _ASSET),
)

_QUALITY = (
    Family("spotify_ai_intake_rows", "gauge", "Rows of imported files by what became of them.", (*_ASSET, "result")),
    Family("spotify_ai_rejected_rows", "gauge", "Rejected rows or files that are kept, by the rule that they break.", (*_ASSET, "rule")),
)

_MODELS = (
    Family("spotify_ai_artifact_versions", "gauge", "Versions of a model, an index or a release.", ("artifact",)),
    Family(
        "spotify_ai_artifact_created_timestamp_seconds",
        "gauge",
        "When the version was made that is in use under an alias, or the newest one.",
        ("artifact", "alias"),
    ),
    Family("spotify_ai_model_metric", "gauge", "What was measured of a model or an index.", (*_ASSET, "metric", "slice")),
)

_STREAM = (
    Family("spotify_ai_stream_waiting_messages", "gauge", "Messages that are accepted and not stored yet."),
    Family("spotify_ai_stream_oldest_message_timestamp_seconds", "gauge", "When the oldest of them was accepted; absent without any."),
    Family("spotify_ai_stream_lag_seconds", "gauge", "From accepted to seen, as the worker told last.", ("quantile",)),
    Family("spotify_ai_stream_told_timestamp_seconds", "gauge", "When the worker told last."),
)

_KEEPING = (
    Family("spotify_ai_deed_timestamp_seconds", "gauge", "When a deed was recorded last in the audit trail.", ("action", "outcome")),
    Family("spotify_ai_deed_figure", "gauge", "A figure of the newest deed that succeeded.", ("action", "figure")),
    Family("spotify_ai_backup_last_success_timestamp_seconds", "gauge", "The last good backup."),
    Family("spotify_ai_drill_last_success_timestamp_seconds", "gauge", "The last restore drill that succeeded."),
    Family("spotify_ai_drill_rto_seconds", "gauge", "How long that drill took to restore everything."),
    Family("spotify_ai_drill_rpo_seconds", "gauge", "How old the restored state was."),
    Family("spotify_ai_chain_records", "gauge", "Records of a chain; never falls.", ("chain",)),
    Family("spotify_ai_chain_head", "gauge", "The first 52 bits of the digest of a chain's newest record.", ("chain",)),
    Family("spotify_ai_erasure_open_requests", "gauge", "Erasures that were requested and have no receipt yet."),
    Family("spotify_ai_erasure_oldest_request_timestamp_seconds", "gauge", "When the oldest of them was requested; absent without any."),
    Family("spotify_ai_erasure_requests", "gauge", "Erasures by the state that they have reached.", ("state",)),
)

_STORES = (
    Family("spotify_ai_store_bytes", "gauge", "Bytes of a folder below the data folder.", ("store",)),
    Family("spotify_ai_store_files", "gauge", "Files of a folder below the data folder.", ("store",)),
    Family("spotify_ai_disk_free_bytes", "gauge", "Bytes that the platform may still write to the disk of its data."),
    Family("spotify_ai_disk_size_bytes", "gauge", "Bytes of the disk of its data."),
)

_ALERTS = (
    Family("spotify_ai_alerts_open", "gauge", "Troubles that were told and have not ended."),
    Family("spotify_ai_alerts_waiting", "gauge", "Alerts that no channel has taken yet."),
    Family("spotify_ai_alerts_oldest_waiting_timestamp_seconds", "gauge", "When the oldest of them was told; absent without any."),
    Family("spotify_ai_alerts_given_up", "gauge", "Alerts that were given up within the days that are remembered."),
)

_HEALTH = (
    Family("spotify_ai_health_grade", "gauge", "0 good, 1 warning, 2 failing, -1 unknown, as graded last.", ("component",)),
    Family("spotify_ai_health_checked_timestamp_seconds", "gauge", "When health was graded last."),
)

_SELF = (
    Family("dagster_exporter_scrape_duration_seconds", "gauge", "How long reading a part took last.", ("collector",)),
    Family("dagster_exporter_last_scrape_success", "gauge", "1 where reading a part succeeded last.", ("collector",)),
    Family("dagster_exporter_scrape_errors_total", "counter", "Readings of a part that failed since the endpoint started.", ("collector",)),
    Family("spotify_ai_exporter_read_timestamp_seconds", "gauge", "When what is shown of a part was read.", ("collector",)),
    Family("spotify_ai_build_info", "gauge", "1: versions of the platform and of Dagster.", ("version", "dagster_version")),
)

PARTS: Mapping[str, tuple[Family, ...]] = {
    "runs": _RUNS,
    "ticks": _TICKS,
    "daemons": _DAEMONS,
    "location": _LOCATION,
    "pools": _POOLS,
    "assets": _ASSETS,
    "checks": _CHECKS,
    "lake": _LAKE,
    "quality": _QUALITY,
    "models": _MODELS,
    "stream": _STREAM,
    "keeping": _KEEPING,
    "stores": _STORES,
    "alerts": _ALERTS,
    "health": _HEALTH,
}
"""The families by the part of the platform that they tell of; a part is read, and may fail, by itself."""

FAMILIES: Mapping[str, Family] = {family.name: family for part in (*PARTS.values(), _SELF) for family in part}
"""All families by name."""


class Sample(NamedTuple):
    """One value.

    Attributes:
        family: The family's name.
        labels: Values of its labels, in the order of the family.
        value: The value.
    """

    family: str
    labels: tuple[str, ...]
    value: float
