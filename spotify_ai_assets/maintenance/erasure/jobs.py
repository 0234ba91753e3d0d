"""The jobs of erasure: taking up requests as they come, and once a day going through all open ones together."""

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from spotify_ai_assets.errors import PermanentError
from spotify_ai_assets.listening.landing import list_files, what_landed
from spotify_ai_assets.loading import describe, schedule, sensor
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.erasure.accepting import ANSWERS, Desk, take_files
from spotify_ai_assets.maintenance.erasure.cases import Case, SealedPeople, open_cases, read_cases
from spotify_ai_assets.resources import open_vault
from spotify_ai_assets.resources.audit import open_audit, open_ledger, who_of
from spotify_ai_assets.resources.exclusive import alone
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.runs import claim, launch_tags
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.erasure.machine import Tools

TAKE_REQUESTS, ERASURE = "take_requests", "erasure"
"""The jobs."""

_STEP = {"required_resource_keys": {"exclusive", "settings", "lake"}, "out": dg.Out(dg.Nothing)}
_REQUESTS = "requests"
"""The pool of those who take up requests: an erasure works for hours, and whoever asks meanwhile must be refused everywhere at once."""
_AGAIN = dg.RetryPolicy(max_retries=2, delay=2)


class ErasureConfig(dg.Config):
    """What a run does."""

    dry_run: bool = Field(default=True, description="Only count what open requests would remove.")


def accept_requests(context: dg.OpExecutionContext) -> None:
    """Takes up the files in the folder of requests: refuses their persons everywhere from now on, and answers those who ask to see."""
    started, settings = time.monotonic(), context.resources.settings
    vault, ledger = open_vault(settings), open_ledger(settings)
    desk = Desk(settings, vault, ledger, _now)

    def answer(listener: str) -> None:
        from spotify_ai_assets.maintenance.access import export_person

        name = f"{Suppression(settings, ledger).hash('user', listener)[:16]}-{uuid.uuid4().hex[:8]}.zip"
        target = settings.data / "requests" / ANSWERS / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        export_person(listener, target, settings=settings, lake=context.resources.lake, vault=vault, now=_now())

    desk.settle_sealed()
    taken = take_files(desk, answer)
    figures = {"erasures": len(taken.erasures), "accesses": taken.accesses, "unreadable": taken.unreadable}
    _record(context, "requested", "success", {**figures, **_open(ledger), "seconds": round(time.monotonic() - started, 3)})


def erase_listeners(context: dg.OpExecutionContext, config: ErasureConfig) -> None:
    """Brings open requests to their signed receipts: rewrites what holds the person, makes again what was made of it, reads every byte."""
    from spotify_ai_assets.maintenance.erasure.machine import Tools, erase

    settings: Settings = context.resources.settings
    origin = claim(context)
    tools = Tools(
        settings,
        context.resources.lake,
        open_vault(settings),
        context.instance,
        who=who_of(context.run.tags),
        run_id=origin.run_id,
        trace_id=origin.trace_id,
    )
    if config.dry_run:
        for case in open_cases(tools.ledger):
            context.log.info(f"{case.request[:8]}: {_previewed(tools, case)}")
        return
    cases: list[Case] = []
    try:
        cases = erase(tools, progress=lambda step, how_far: None if how_far else context.log.info(step))
    finally:
        waiting = [case for case in cases if case.is_open]
        left = [f"{case.request[:8]}: {what}" for case in waiting for what in case.left or ("it was not brought any further",)]
        outcome = "success" if cases and not waiting else "nothing" if not cases and not open_cases(tools.ledger) else "open"
        if outcome != "success":
            _record(context, "erasing", outcome, {**_open(tools.ledger), "left": left})
    for what in left:
        context.log.warning(what)
    if waiting:  # going through all of it once more, at once, would find the same left
        raise dg.Failure(f"{len(waiting)} requests are still open", metadata={"left": "\n".join(left)}, allow_retries=False)


def _previewed(tools: "Tools", case: Case) -> str:
    from spotify_ai_assets.maintenance.erasure.machine import preview

    try:
        return _counted(preview(tools, SealedPeople(tools.settings).open(case.request).user))
    except PermanentError as error:
        return str(error)


def _counted(found: Mapping[str, Any]) -> str:
    rows = sum(each["rows"] for each in found["tables"].values())
    return (
        f"{rows} rows in {len(found['tables'])} tables, {sum(found['versions'].values())} versions, {sum(found['stores'].values())} finds"
    )


def _open(ledger: Any) -> dict[str, Any]:
    """How many requests are open, and since when; timestamps, so that a figure does not age."""
    waiting = open_cases(ledger)
    oldest = min((case.requested_at for case in waiting), default=None)
    due = min((case.due for case in waiting), default=None)
    return {
        "open": len(waiting),
        "oldest_requested_at": oldest.isoformat() if oldest else None,
        "next_due": due.isoformat() if due else None,
    }


def _record(context: dg.OpExecutionContext, action: str, outcome: str, figures: Mapping[str, Any]) -> None:
    origin = claim(context)
    open_audit(context.resources.settings).record(
        action,
        subject=context.job_name,
        who=who_of(context.run.tags),
        outcome=outcome,
        run_id=origin.run_id,
        trace_id=origin.trace_id,
        figures=figures,
    )


def _now() -> datetime:
    return datetime.now(UTC)


_accept, _accept_first = (
    dg.op(name=name, description=describe(accept_requests), retry_policy=_AGAIN, pool=_REQUESTS, **_STEP)(accept_requests)
    for name in ("accept_requests", "accept_first")
)
_erase = dg.op(
    name="erase_listeners",
    description=describe(erase_listeners),
    retry_policy=_AGAIN,
    ins={"accepted": dg.In(dg.Nothing)},
    pool=ERASURE,
    **_STEP,
)(erase_listeners)


@dg.graph
def _taking() -> None:
    _accept()


@dg.graph
def _erasing() -> None:
    _erase(_accept_first())


take_requests = _taking.to_job(
    description=_("Takes up requests of people to be forgotten, or to see what is held about them, from the folder of requests."),
    **alone(TAKE_REQUESTS),
)

erasure = _erasing.to_job(
    description=_(
        "Forgets the people who asked for it, all open requests together, reads every byte afterwards and signs a receipt for each."
    ),
    **alone(ERASURE),
)


def erasure_config(*, dry_run: bool) -> dict[str, Any]:
    """The configuration of a run."""
    return {"ops": {"erase_listeners": {"config": {"dry_run": dry_run}}}}


@sensor(job=take_requests, minimum_interval_seconds=60, required_resource_keys={"settings"})
def requests_of_people(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Takes up requests as soon as they lie in the folder of requests.

    The same files are requested once; run keys hold a digest of what lies there, never a name.
    """
    folder = context.resources.settings.data / "requests"
    waiting = [path for path in list_files(folder) if path.relative_to(folder).parts[0] != ANSWERS] if folder.exists() else []
    if not waiting:
        return dg.SkipReason("nobody asks")
    return dg.RunRequest(run_key=what_landed(folder), tags=launch_tags())


@schedule(job=erasure, cron_schedule="10 3 * * *", execution_timezone="UTC", required_resource_keys={"settings"})
def daily_erasure(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Goes through all open requests at 03:10 UTC: once a day, since what is made again is made once for all of them."""
    settings: Settings = context.resources.settings
    is_waiting = (settings.data / "requests").exists() and list_files(settings.data / "requests")
    if not is_waiting and not (Suppression(settings).count() and any(case.is_open for case in read_cases(open_ledger(settings)))):
        return dg.SkipReason("no request is open")
    key = f"{context.scheduled_execution_time:%Y-%m-%d}"
    return dg.RunRequest(run_key=key, run_config=erasure_config(dry_run=False), tags=launch_tags())
