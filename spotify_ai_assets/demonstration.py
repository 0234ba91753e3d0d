"""The demo: make a world, let its files land, run the whole graph, train its models, let late files land, make again what they touch,
recommend, back up, prove the backup, and forget a listener.

The same jobs as in production do the work. A second run finds every listen known and every day up to date.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.audio_runs import run_audio_intake, train_models
from spotify_ai_assets.backfill import Outcome, run_backfill, run_checks, select_tables
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.demo.audio.writing import write_audio
from spotify_ai_assets.demo.scoring_audio import score_audio
from spotify_ai_assets.demo.scoring_recommendations import planted_tastes, score_recommendations
from spotify_ai_assets.demo.world import write_world
from spotify_ai_assets.importing import run_import
from spotify_ai_assets.launching import run_job
from spotify_ai_assets.listening.landing import AUDIO, open_landing
from spotify_ai_assets.recommendation_runs import train_recommender
from spotify_ai_assets.recommendations.workshop import Workshop
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import launch_tags
from spotify_ai_assets.settings import Settings


def run_demo(
    instance: dg.DagsterInstance,
    lake: Lake,
    settings: Settings,
    *,
    scale: float,
    seed: int,
    days: int,
    clean: bool,
    audio: int | None,
    progress: Callable[..., None],
) -> dict[str, Any]:
    """Run the whole graph on a demo world.

    Args:
        instance: Where runs are recorded.
        lake: Where tables go.
        settings: Where files land.
        scale: 1 is 5,000 listens a day.
        seed: Which world.
        days: Its number of days.
        clean: Whether nothing is planted in it.
        audio: How many audio files it has; as the scale says where it is ``None``, and none where it is 0.
        progress: Told a text, and steps done of all.

    Returns:
        What was imported, made and checked, and where the last day's page lies.
    """
    started = time.monotonic()
    world = settings.data / "demo"
    truth = write_world(world, seed=seed, scale=scale, days=days, clean=clean, report=progress)
    heard = {} if audio == 0 else write_audio(world / "landing", seed=seed, scale=scale, files=audio, clean=clean, report=progress)
    (world / "audio_truth.json").write_text(json.dumps(heard, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    intake = {"files": 0, "rows": 0, "stored": 0, "duplicate": 0, "rejected": 0}
    outcomes: list[Outcome] = []
    sound: dict[str, Any] = {}
    for delivery in ("landing", "late"):
        progress(delivery, 0)
        for name, count in deliver(instance, lake, settings, delivery).items():
            intake[name] += count
        if delivery == "landing" and heard:
            sound = hear(instance, lake, Studio(settings, watch=progress), heard)
        outcomes.append(
            run_backfill(
                defs(),
                instance,
                lake,
                select_tables([]),
                None,
                None,
                progress=lambda _, last, done, total: progress(str(last), done, total),
            )
        )
    advice = advise(instance, lake, Workshop(settings, watch=progress), seed, scale)
    kept = keep(instance, lake, settings, seed, scale, progress)
    progress("checks", 0)
    checks = run_checks(defs(), instance)
    totals = lake.scan("listening/country_days").select(pl.sum("plays"), pl.sum("streams")).collect()
    suspicious = lake.scan("listening/suspicious_country_days").select(pl.sum("streams")).collect().item()
    unusual = lake.scan("listening/anomalies").filter("is_cause").select(pl.len()).collect().item()
    rising = lake.scan("listening/trends").filter(pl.col("subject") == "track").select(pl.n_unique("item_id")).collect().item()
    pages = sorted((settings.reports / "daily_listening" / settings.language).glob("2*.html"))
    return {
        **intake,
        "days": outcomes[0].days,
        "plays": totals["plays"][0],
        "streams": totals["streams"][0],
        "suspicious_streams": suspicious,
        "unusual_hours_and_days": unusual,
        "rising_tracks": rising,
        **sound,
        **advice,
        **kept,
        "partitions_made": outcomes[0].made,
        "partitions_made_for_late_files": outcomes[1].made,
        "refused": {key: days for outcome in outcomes for key, days in outcome.refused.items()},
        "failed": {key: reason for outcome in outcomes for key, reason in outcome.failed.items()},
        "checks_passed": checks["passed"],
        "checks_failed": checks["failed"],
        "checks_warned": checks["warned"],
        "truth": str(truth),
        "page": str(pages[-1]) if pages else None,
        "pages": str(settings.reports / settings.language / "index.html"),
        "seconds": round(time.monotonic() - started, 1),
    }


def hear(instance: dg.DagsterInstance, lake: Lake, studio: Studio, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Take the audio that landed, train the models where what they learn from is new, and make what waited for them.

    Returns:
        What was taken, and how what was measured compares with the truth.
    """
    from spotify_ai_assets.audio.intake.landing import LandedAudio

    started = time.monotonic()
    # Nobody goes on writing the demo's files: they need not lie still first.
    landed = LandedAudio(studio.settings.landing / AUDIO, time.time() + 3600)
    reports = run_audio_intake(instance, lake, studio, landed, completes=False)
    train_models(instance, lake, studio, only_stale=True)
    run_audio_intake(instance, lake, studio, LandedAudio(studio.settings.landing / AUDIO, time.time()))
    tables = {name: lake.scan(f"audio/{name}").collect() for name in ("files", "features", "anomalies", "rejected")}
    scores = score_audio(truth, links=lake.scan("audio/track_links").collect(), **tables)
    return {
        "audio_files": len(reports),
        "audio_new": sum(report.is_new and report.rule is None for report in reports),
        "audio_rejected": sum(report.rule is not None for report in reports),
        **{f"audio_{name}": score for name, score in scores.items()},
        "models": {name: studio.registry.entry(name).version for name in studio.registry.names() if _serves(studio, name)},
        "audio_seconds": round(time.monotonic() - started, 1),
    }


def advise(instance: dg.DagsterInstance, lake: Lake, workshop: Workshop, seed: int, scale: float) -> dict[str, Any]:
    """Train the recommender where what it learns from is new, and fill all shelves.

    Returns:
        How well the planted tastes are recovered beside popularity, and what a demo listener is recommended, with reasons.
    """
    started = time.monotonic()
    train_recommender(instance, lake, workshop, only_stale=True)
    shelves = lake.scan("recommendations/for_listeners").collect()
    if shelves.is_empty():
        return {"recommendations": None}
    users = planted_tastes(seed, scale)
    vault = open_vault(workshop.settings)
    known = [(pseudonym, taste, user) for user, taste in users.items() if (pseudonym := vault.find(user))]
    tastes = pl.DataFrame(known, schema=["listener_id", "taste", "user"], orient="row")
    artists, interactions = lake.scan("catalog/artists").collect(), lake.scan("recommendations/interactions").collect()
    shown = _show_listener(shelves, interactions, tastes, workshop)
    return {
        "recommendations": score_recommendations(shelves, interactions, artists, tastes.drop("user")),
        "recommended_to": shown,
        "release": workshop.releases.current(),
        "recommendation_seconds": round(time.monotonic() - started, 1),
    }


def _show_listener(shelves: pl.DataFrame, interactions: pl.DataFrame, tastes: pl.DataFrame, workshop: Workshop) -> dict[str, Any]:
    """The first tracks on the discovery shelf of the listener who likes most, each with its reason."""
    likes = interactions.join(tastes, on="listener_id").group_by("listener_id", "user", "taste").len()
    likes = likes.sort(["len", "user"], descending=True)
    if likes.is_empty():
        return {}
    pseudonym, user, taste, _ = likes.row(0)
    language = workshop.settings.language
    mine = shelves.filter(pl.col("listener_id") == pseudonym, pl.col("shelf") == "discovery").sort("rank").head(5)
    names = {row["track_id"]: f"{row['artist_name']} – {row['name']}" for row in workshop.current.items.iter_rows(named=True)}
    return {
        "listener": user,
        "taste": taste,
        "discovery": [{"track": names[row["track_id"]], "reason": row[f"reason_{language}"]} for row in mine.iter_rows(named=True)],
    }


def keep(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, seed: int, scale: float, progress: Callable[..., None]
) -> dict[str, Any]:
    """Back everything up, prove that it can be restored, forget a listener, look at the platform's health, and count the audit trail again.

    Returns:
        What was saved, how long it takes to be back, what the receipt of the erasure says, and whether the audit trail is whole.
    """
    from spotify_ai_assets.maintenance.backup.jobs import BACKUP, DRILL, backup_config, drill_config
    from spotify_ai_assets.observability.audit.jobs import catch_up
    from spotify_ai_assets.observability.audit.verification import export_heads, verify_chains
    from spotify_ai_assets.resources.audit import open_audit, who_asks

    progress("backup", 0)
    run_job(instance, BACKUP, {}, launch_tags(), config=backup_config(dry_run=False, engine="installed"))
    progress("drill", 0)
    run_job(instance, DRILL, {}, launch_tags(), config=drill_config("latest"))
    progress("erasure", 0)
    erased = forget_one(instance, lake, settings, seed, scale)
    run_job(instance, "check_health", {"lake": lake, "settings": settings}, launch_tags())
    audit = open_audit(settings)
    catch_up(instance, lake, settings)
    export_heads(settings, who_asks())
    saved, drilled = (record.body["figures"] if (record := audit.newest(action)) else {} for action in ("backed_up", "drilled"))
    return {
        "backup": {name: saved.get(name) for name in ("engine", "files", "bytes", "added_bytes", "seconds")},
        "drill": {name: drilled.get(name) for name in ("rto_s", "rpo_s", "tables", "rows")},
        "erasure": erased,
        "audit": {"records": audit.head().sequence, "broken": verify_chains(settings)},
    }


def forget_one(instance: dg.DagsterInstance, lake: Lake, settings: Settings, seed: int, scale: float) -> dict[str, Any]:
    """Forget the demo listener who played least; whom an earlier run of the demo forgot stays forgotten.

    Returns:
        What was removed, what was read afterwards, and where the receipt lies.
    """
    from spotify_ai_assets.maintenance.erasure.cases import read_cases
    from spotify_ai_assets.maintenance.erasure.jobs import ERASURE, erasure_config
    from spotify_ai_assets.maintenance.erasure.machine import Tools
    from spotify_ai_assets.maintenance.erasure.receipts import folder_of
    from spotify_ai_assets.resources.audit import open_ledger

    vault = open_vault(settings)
    if not read_cases(open_ledger(settings)):
        known = {pseudonym: user for user in planted_tastes(seed, scale) if (pseudonym := vault.find(user))}
        plays = lake.scan("listening/plays").filter(pl.col("listener_id").is_in(list(known))).group_by("listener_id").len()
        least = plays.sort("len", "listener_id").select("listener_id").head(1).collect()
        if least.is_empty():
            return {}
        Tools(settings, lake, vault, instance).desk.accept(known[least.item()])
    run_job(instance, ERASURE, {}, launch_tags(), config=erasure_config(dry_run=False))
    case = read_cases(open_ledger(settings))[-1]
    scanned = case.figures("scanned")
    return {
        "request": case.request,
        "state": case.state,
        "seconds": round(sum(float(record.body.get("figures", {}).get("seconds", 0)) for record in case.records), 1),
        "files_read": scanned.get("files"),
        "bytes_read": scanned.get("bytes"),
        "hits": scanned.get("hits"),
        "receipt": str(folder_of(settings) / f"{case.request}.json"),
    }


def _serves(studio: Studio, name: str) -> bool:
    return any("champion" in entry.aliases for entry in studio.registry.entries(name))


def deliver(instance: dg.DagsterInstance, lake: Lake, settings: Settings, delivery: str) -> dict[str, int]:
    """Let the files of a delivery land in the spool and import them.

    Returns:
        What became of their records.
    """
    source, spool = settings.data / "demo" / delivery, settings.landing / "demo" / delivery
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        below = path.relative_to(source)
        target = (settings.landing if below.parts[0] == AUDIO else spool) / below
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    landing = open_landing(settings)
    run_import(instance, lake, settings, landing)
    reports = landing.reports
    counts = {name: sum(getattr(report, name) for report in reports) for name in ("rows", "stored", "duplicate", "rejected")}
    return {"files": len(reports), **counts}
