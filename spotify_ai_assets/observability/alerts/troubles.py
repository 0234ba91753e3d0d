"""From the record of a run to notices: that its job failed for these partitions or is well again, and the same of its checks.

A run that failed is one trouble, however many steps and blocking checks failed in it; its severity is that of the check which stopped
it. Partitions are days or shards: what failed for a month and was made in three runs is well when the last of its days is made.
No Dagster, no clock and no environment here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import get_args

from spotify_ai_assets.contracts import SHARDS, WHOLE
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.observability.alerts.notices import PLATFORM, SEVERITIES, Notice, Severity, key_of, worst
from spotify_ai_assets.resources.run_events import Checked, RunRecord, Step

OWNER, SEVERITY = "spotify_ai/owner", "spotify_ai/severity"
"""Tags by which a run says whose its trouble is, and how bad."""

RETRIED_BY = "dagster/auto_retry_run_id"
WILL_BE_RETRIED = "dagster/will_retry"

_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_UNNAMED = "__ASSET_JOB"
_SHOWN = 5
_LONGEST_RANGE = 400
"""Days that are told one by one; of a longer range the first and the last are."""

_TOLD_ELSEWHERE = ("maintenance/health",)
"""Tables whose checks repeat what their makers tell themselves."""

OwnerOf = Callable[[str], str]
"""Gives the owner of a table by its key; empty where there is no such table."""


def notices_of(run: RunRecord, owner_of: OwnerOf, ui_url: str) -> list[Notice]:
    """What is to be told of a run that ended.

    Args:
        run: What the event log says of it.
        owner_of: Whose a table is.
        ui_url: Where the UI is, for links.

    Returns:
        One notice of its job, none where it was cancelled or is tried again by another run; and one for each of its checks, but for
        those whose failure is what stopped it and those of health, which tells its own.
    """
    link = f"{ui_url.rstrip('/')}/runs/{run.run_id}"
    stopping = [each for each in run.checked if _has_stopped(each, run)]
    about = _about_job(run, stopping, owner_of, link)
    own = [each for each in run.checked if each not in stopping and each.asset not in _TOLD_ELSEWHERE]
    newest = {(each.asset, each.check, each.partition): each for each in own}
    return [*([about] if about else []), *(_about_check(each, run, owner_of, link) for each in newest.values())]


def partitions_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The partitions that a run was for, by its tags: each day or shard of a range, or the whole.

    Of a range of more than 400 days only the first and the last are told: a range comes from whoever launches a run.
    """
    if all(name in tags for name in _RANGE):
        return _between(*(tags[name] for name in _RANGE))
    return (tags.get(_PARTITION, WHOLE),)


def _between(first: str, last: str) -> tuple[str, ...]:
    if first in SHARDS and last in SHARDS:
        return SHARDS[SHARDS.index(first) : SHARDS.index(last) + 1] or (first, last)
    try:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return (first, last)
    if not 0 <= (end - begin).days < _LONGEST_RANGE:
        return (first, last)
    return tuple(str(begin + timedelta(days=number)) for number in range((end - begin).days + 1))


def _has_stopped(checked: Checked, run: RunRecord) -> bool:
    """Whether a check is why its run failed."""
    return not checked.passed and checked.is_blocking and checked.severity == "error" and run.outcome == "failure"


def _about_job(run: RunRecord, stopping: list[Checked], owner_of: OwnerOf, link: str) -> Notice | None:
    name = ", ".join(run.assets) if run.job.startswith(_UNNAMED) else run.job
    subject, parts = f"run/{name}"[:200], partitions_of(run.tags)
    if run.outcome == "success":
        title = _("{job} is well again").format(job=_named(name, parts))
        tables, wholes = _made_tables(run, owner_of)
        return Notice(subject, title, is_healthy=True, parts=parts, occurrence=run.run_id, link=link, tables=tables, wholes=wholes)
    if run.outcome != "failure" or run.tags.get(RETRIED_BY):
        return None
    failed = [step for step in run.steps if step.outcome in ("failure", "unfinished")]
    parts = _failed_parts(parts, failed)
    return Notice(
        subject,
        _("{job} failed").format(job=_named(name, parts)),
        is_healthy=False,
        severity=_severity(run, stopping),
        owner=_owner(run, failed, stopping, owner_of),
        text="\n".join(_lines(run, failed, stopping)),
        parts=parts,
        occurrence=run.run_id,
        facts=_facts(run, parts),
        link=link,
        tables=_failed_tables(run, failed, stopping, owner_of),
    )


def _made_tables(run: RunRecord, owner_of: OwnerOf) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tables of a run that succeeded: those that it made or found well for its partitions, and those that it made as a whole.

    A step makes all of the run's partitions that its table has, so those are well whether or not each was made again.
    """
    by_step = {_table_of(step.key) for step in run.steps if step.outcome == "success"} if partitions_of(run.tags) != (WHOLE,) else set()
    wholes = {made.asset for made in run.made if made.partition == WHOLE}
    return tuple(sorted(filter(owner_of, by_step - wholes))), tuple(sorted(wholes))


def _failed_tables(run: RunRecord, failed: list[Step], stopping: list[Checked], owner_of: OwnerOf) -> tuple[str, ...]:
    """The tables that are to be made before a run that failed is well; the empty name for what is no table."""
    checks = {each.step: each.asset for each in stopping}
    tables = {checks.get(step.key) or _table_of(step.key) for step in failed} or set(run.assets) or {""}
    return tuple(sorted({table if table and owner_of(table) else "" for table in tables}))


def _table_of(step: str) -> str:
    """The table that a step makes, where it makes one."""
    return step.replace("__", "/", 1)


def _failed_parts(parts: tuple[str, ...], failed: list[Step]) -> tuple[str, ...]:
    """The partitions that were refused, where that is all that went wrong; else all that the run was for."""
    refused = {name for step in failed for name in step.refused}
    if failed and all(step.refused for step in failed):
        return tuple(part for part in parts if part in refused) or parts
    return parts


def _severity(run: RunRecord, stopping: list[Checked]) -> Severity:
    told = run.tags.get(SEVERITY)
    if told in get_args(Severity):
        return SEVERITIES[SEVERITIES.index(told)]  # type: ignore[arg-type]  # one of them, as was looked at
    return worst(each.severity for each in stopping) if stopping else "error"


def _owner(run: RunRecord, failed: list[Step], stopping: list[Checked], owner_of: OwnerOf) -> str:
    """Whoever answers for the first table that failed."""
    tables = [*(each.asset for each in stopping), *(_table_of(step.key) for step in failed), *run.assets]
    return run.tags.get(OWNER) or next(filter(None, map(owner_of, tables)), PLATFORM)


def _lines(run: RunRecord, failed: list[Step], stopping: list[Checked]) -> Iterable[str]:
    """What went wrong, a line each; of many the first few."""
    lines = [_("Check {check} of {asset} did not pass.").format(check=each.check, asset=each.asset) for each in stopping]
    for step in failed:
        lost = _("its process is gone")
        lines.append(f"{step.key}: {step.error or lost}")
    if not failed and run.reason:
        lines.append(run.reason)
    return lines[:_SHOWN] if len(lines) <= _SHOWN else [*lines[:_SHOWN], _("and {count} more").format(count=len(lines) - _SHOWN)]


def _facts(run: RunRecord, parts: tuple[str, ...]) -> dict[str, str]:
    facts = {"run": run.run_id, "job": run.job, "partitions": key_of("", parts), "trace": run.tags.get("spotify_ai/trace_id", "")}
    return {name: value for name, value in facts.items() if value}


def _named(name: str, parts: tuple[str, ...]) -> str:
    label = key_of("", parts)
    return f"{name} {label}" if label else name


def _about_check(checked: Checked, run: RunRecord, owner_of: OwnerOf, link: str) -> Notice:
    named = f"{checked.asset}:{checked.check}"
    notice = Notice(
        f"check/{named}",
        _("{check} passes again").format(check=_named(named, (checked.partition,))),
        is_healthy=True,
        severity=checked.severity,
        owner=owner_of(checked.asset) or PLATFORM,
        parts=(checked.partition,),
        occurrence=run.run_id,
        facts=_facts(run, (checked.partition,)),
        link=link,
    )
    if checked.passed:
        return notice
    return replace(notice, is_healthy=False, title=_("{check} did not pass").format(check=_named(named, (checked.partition,))))
