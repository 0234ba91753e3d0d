"""Figures of an invented platform, in which every family of metrics has something to tell."""

from datetime import UTC, datetime

from spotify_ai_assets.observability.alerts.incidents import Figures
from spotify_ai_assets.observability.metrics import care_samples, instance_samples, lake_samples
from spotify_ai_assets.observability.metrics.care_samples import Waiting
from spotify_ai_assets.observability.metrics.keeping import Deeds, Erasures, Keeping
from spotify_ai_assets.observability.metrics.roster import Policy, Roster
from spotify_ai_assets.resources.chain_records import Head
from spotify_ai_assets.resources.instance_facts import ActiveRun, Checked, Daemon, EndedRun, Made, Pool, Runs, Ticker
from spotify_ai_assets.resources.lake import Origin, Recipe, State

NOW = datetime(2026, 6, 28, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0
ROSTER = Roster(
    jobs=("backfill", "verify"),
    schedules=("every_morning",),
    sensors=("landed_files",),
    policies={"listening/plays": Policy("0 8 * * *", "UTC", 28_800.0), "listening/charts": Policy(window_s=DAY_S)},
)
RUNS = Runs(
    kept={("backfill", "success"): 3, ("backfill", "failure"): 1, ("handmade", "success"): 1},
    active=(ActiveRun("backfill", "queued", NOW - 60), ActiveRun("backfill", "queued", NOW - 600), ActiveRun("verify", "started", NOW - 5)),
    last={
        "backfill": EndedRun("b1", "backfill", "failure", NOW - 100, 12.5),
        "handmade": EndedRun("h1", "handmade", "canceled", NOW, None),
    },
    recent=(EndedRun("b1", "backfill", "failure", NOW - 100, 12.5),),
)
TICKERS = [
    Ticker("sensor", "landed_files", True, NOW - 30, "skipped", frozenset({"7"})),
    Ticker("schedule", "every_morning", False, NOW - 3600, "success", frozenset()),
    Ticker("sensor", "of_former_code", True, 1.0, "failure", frozenset()),
]
DAEMONS = [Daemon("SENSOR", True, NOW - 20), Daemon("ASSET", False, None)]
POOLS = [Pool("trainings", 1, 1, 0, 2), Pool("unlimited", None, 0, 0, 0)]
MADE = {
    "listening/plays": Made(NOW - 30 * 3600, "success", {}),
    "listening/charts": Made(NOW - 26 * 3600, "failure", {}),
    "listening/events": Made(
        NOW - 40, "", {"stream_lag_p50_s": 0.1, "stream_lag_p95_s": 0.5, "stream_lag_p99_s": 0.9, "stream_waiting": 4.0}
    ),
}
CHECKED = [
    Checked("listening/plays", "contract", True, "ERROR", NOW, {"cpu_seconds": 2.5, "peak_memory_bytes": 1e8, "rows": 4.0}),
    Checked("listening/plays", "spread", False, "WARN", NOW, {}),
]
KEEPING = Keeping(
    deeds={
        "backed_up": Deeds({"success": NOW - 3600, "failure": NOW - 7200}, {"seconds": 4.0, "bytes": 1e6}),
        "drilled": Deeds({"success": NOW - DAY_S}, {"rto_s": 9.5, "rpo_s": 3600.0}),
        "pruned": Deeds({"failure": NOW}, {}),
    },
    erasures=Erasures({"rewritten": 1, "receipted": 4}, NOW - 2 * DAY_S),
    heads={"audit": Head(12, "f" * 64), "erasure": Head(0, "0" * 64)},
)
FIGURES = Figures(2, 1, datetime.fromtimestamp(NOW - 60, UTC), 3)


def state(rows, *paths):
    """The state of a partition."""
    return State("d" * 64, rows, 10 * rows, Recipe("1"), Origin(), 1.5, paths or ("a.parquet",))


TABLES = lake_samples.Tables(
    states={
        "listening/plays": {"2026-06-26": state(3), "2026-06-27": state(4, "a.parquet", "b.parquet")},
        "catalog/tracks": {"": state(9)},
    },
    unreadable=("listening/charts",),
    stale={"listening/plays": 2, "listening/charts": 0},
)


def all_samples(contracts, extra=()):
    """What is told of the invented platform."""
    deadlines = instance_samples.find_deadlines(ROSTER.policies, MADE, NOW)
    return [
        *instance_samples.tell_runs(RUNS, ROSTER, {("backfill", "failure"): 1}),
        *instance_samples.tell_ticks(TICKERS, ROSTER, {("sensor", "landed_files"): 5}),
        *instance_samples.tell_daemons(DAEMONS),
        *instance_samples.tell_location(ROSTER, NOW),
        *instance_samples.tell_pools(POOLS),
        *instance_samples.tell_assets(MADE, deadlines),
        *instance_samples.tell_checks(CHECKED),
        *lake_samples.tell_lake(TABLES, contracts),
        *care_samples.tell_stream(Waiting(4, NOW - 10), MADE),
        *care_samples.tell_keeping(KEEPING),
        *care_samples.tell_alerts(FIGURES),
        *extra,
    ]
