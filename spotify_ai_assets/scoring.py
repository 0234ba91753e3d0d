"""How well the platform finds what a demo world hides: fresh worlds, the platform's own assets, planted truth.

Each seed is scored in two worlds, one with everything planted and one with nothing. Detectors were tuned on seeds 0 to 4.
"""

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from spotify_ai_assets.backfill import run_backfill
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.demo.scoring_anomalies import score_anomalies
from spotify_ai_assets.demo.scoring_fraud import fraudsters, score_fraud
from spotify_ai_assets.demo.scoring_trends import score_trends
from spotify_ai_assets.demo.world import write_world
from spotify_ai_assets.demonstration import deliver
from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.maintenance.jobs import MADE
from spotify_ai_assets.resources import open_lake, open_vault
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import behind
from spotify_ai_assets.tables import TABLES

_SCORED = ("listening/listener_track_days", "listening/suspicious_streams", "listening/anomalies", "listening/trends", "listening/charts")


def score_worlds(seeds: Sequence[int], scale: float, days: int, progress: Callable[..., None]) -> dict[str, Any]:
    """Make worlds and score them.

    Args:
        seeds: Which worlds; each is made as planted and as clean.
        scale: 1 is 5,000 listens a day.
        days: Number of days of each.
        progress: Told a text, and worlds done of all.

    Returns:
        ``worlds``, one record each, and ``summary``: by measure the ``mean`` and the ``worst`` over the planted worlds, and what
        was found in the clean ones, where nothing is right.
    """
    worlds = []
    for seed in seeds:
        for clean in (False, True):
            progress(f"{seed}{' clean' if clean else ''}", len(worlds), 2 * len(seeds))
            with tempfile.TemporaryDirectory() as folder, _data_in(folder, f"demo-{seed}"):
                worlds.append({"seed": seed, "clean": clean, **_score_world(seed, scale, days, clean)})
    progress("", 2 * len(seeds), 2 * len(seeds))
    return {"worlds": worlds, "summary": summarise(worlds)}


def summarise(worlds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean and the worst of each measure over the planted worlds, and the sum of what clean ones were blamed for."""
    planted, clean = ([world for world in worlds if world["clean"] is wanted] for wanted in (False, True))
    found: dict[str, Any] = {}
    for measure, worst in _WORST.items():
        values = [world[measure] for world in planted if world.get(measure) is not None]
        if values:
            found[measure] = {"mean": round(statistics.fmean(values), 4), "worst": round(worst(values), 4)}
    return found | {f"clean_{name}": sum(world[name] for world in clean) for name in _BLAMES}


_WORST = {
    "fraud_precision": min,
    "fraud_recall": min,
    "anomaly_precision": min,
    "anomaly_recall": min,
    "trend_found": min,
    "trend_lead_days": min,
    "trend_false_alarm_rate": max,
    "mover_found": min,
    "mover_lead_days": min,
}
_BLAMES = ("flagged_plays", "incidents", "trend_false_alarms")


@contextmanager
def _data_in(folder: str, pseudonym_seed: str) -> Iterator[None]:
    """Let the settings name a folder for all state, whatever the environment says otherwise."""
    mine = {"SPOTIFY_AI_DATA": folder, "SPOTIFY_AI_PSEUDONYM_SEED": pseudonym_seed}
    before = {name: value for name, value in os.environ.items() if name.startswith("SPOTIFY_AI_")}
    for name in before.keys() - {"SPOTIFY_AI_LANG"}:
        del os.environ[name]
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            del os.environ[name]
        os.environ.update(before)


def _score_world(seed: int, scale: float, days: int, clean: bool) -> dict[str, Any]:
    settings = Settings.from_environment()
    truth = json.loads(write_world(settings.data / "demo", seed=seed, scale=scale, days=days, clean=clean).read_text(encoding="utf-8"))
    lake = open_lake(settings, TABLES)
    tables = [table for table in behind(TABLES, _SCORED) if table in MADE]
    with dg.DagsterInstance.ephemeral() as instance:
        for delivery in ("landing", "late"):
            deliver(instance, lake, settings, delivery)
            outcome = run_backfill(defs(), instance, lake, tables, None, None)
            if not outcome.is_whole:
                raise PlatformError(f"the world of seed {seed} was not made: {json.dumps(outcome.refused | outcome.failed)}")
    return measure(lake, open_vault(settings), truth)


def measure(lake: Lake, vault: Vault, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Score what lies in a lake against the truth of the world that it was made from."""
    pseudonyms = {user: found for user in fraudsters(truth) if (found := vault.find(user))}
    fraud = score_fraud(
        lake.scan("listening/suspicious_streams").collect(), truth, lake.scan("listening/listener_track_days").collect(), pseudonyms
    )
    anomalies = score_anomalies(lake.scan("listening/anomalies").collect(), truth)
    trends = score_trends(lake.scan("listening/trends").collect(), truth, lake.scan("listening/charts").collect())
    has_breakouts = bool(trends["breakouts"])
    return {
        "planted_plays": fraud["planted"],
        "flagged_plays": fraud["flagged"],
        "fraud_precision": fraud["precision"],
        "fraud_recall": fraud["recall"],
        "planted_anomalies": len(truth["volume_anomalies"]),
        "incidents": anomalies["incidents"],
        "anomaly_precision": anomalies["precision"],
        "anomaly_recall": anomalies["recall"],
        "breakouts": len(trends["breakouts"]),
        "trend_found": trends["found"] if has_breakouts else None,
        "trend_lead_days": trends["lead_days"],
        "trend_false_alarms": trends["false_alarms"],
        "trend_false_alarm_rate": trends["false_alarm_rate"],
        "mover_found": trends["biggest_mover"]["found"] if has_breakouts else None,
        "mover_lead_days": trends["biggest_mover"]["lead_days"],
    }
