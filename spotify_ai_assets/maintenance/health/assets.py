"""Health as an asset: looks at every part of the platform, keeps the grades and tells whoever is to know."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from spotify_ai_assets.loading import filled_table, partition_metadata
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.health.contracts import HEALTH
from spotify_ai_assets.maintenance.health.grading import Finding, overall, word_for
from spotify_ai_assets.observability.alerts.notices import Notice
from spotify_ai_assets.observability.alerts.routing import tell
from spotify_ai_assets.observability.metrics.exporter import GRADES
from spotify_ai_assets.observability.metrics.roster import read_roster
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.audit import Deed, open_audit, who_of
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.runs import claim
from spotify_ai_assets.settings import Settings

_WAIT_S = 1.0
_SEVERITIES: Mapping[str, Any] = {"warning": "warning", "failing": "error"}
_WELL = ("good", "unknown")


@filled_table(HEALTH, required_resource_keys={"lake", "settings"})
def health(context: dg.AssetExecutionContext) -> None:
    """How each part of the platform is: one row for each, with a grade, the reason and since when.

    Whoever is to know is told of a part that gets worse, once, and of its recovery. Every change of a grade is recorded in the audit trail.
    """
    settings: Settings = context.resources.settings
    # The guard of ``resources.exclusive``: a resource of an asset's own is still marked beta.
    with open_locks(settings, _WAIT_S).exclusive("job.check_health"):
        _check(context, context.resources.lake, settings, datetime.now(UTC))


def _check(context: dg.AssetExecutionContext, lake: Lake, settings: Settings, now: datetime) -> None:
    from spotify_ai_assets.maintenance.health.looking import View, look

    origin = claim(context)
    # This very process has loaded the code location.
    findings = look(View(context.instance, lake, settings, now, os.environ, read_roster().policies, ""))
    before = lake.scan(HEALTH.key).collect()
    try:
        # First: what the router does not learn now it could not learn later of a run that dies here. It takes the same twice.
        tell(settings, *(as_notice(each, now) for each in findings))
    finally:
        if changed := find_changes(findings, before):
            open_audit(settings).record_all([_as_deed(changed, findings, before, context.run.tags, origin)])
        written = lake.write(HEALTH.key, as_rows(findings, before, now), origin=origin)
        context.add_output_metadata({**partition_metadata(written.state), "grade": overall(findings), **_counts(findings)})


def _as_deed(
    changed: Iterable[Finding], findings: Iterable[Finding], before: pl.DataFrame, tags: Mapping[str, str], origin: Origin
) -> Deed:
    """What is recorded of grades that changed since the table was written last; once, however often a run begins anew before it writes."""
    grades = {each.component: GRADES[each.grade] for each in changed}
    since = before["checked_at"].max()
    told = json.dumps([str(since), grades], sort_keys=True)
    return Deed(
        "health",
        overall(findings),
        who_of(tags),
        run_id=origin.run_id,
        trace_id=origin.trace_id,
        figures=grades,
        once=f"health:{hashlib.sha256(told.encode()).hexdigest()}",
    )


def as_rows(findings: Iterable[Finding], before: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The rows of the table of health.

    Args:
        findings: How the parts are.
        before: The rows until now: a part that keeps its grade keeps the moment since when it has it.
        now: The present.
    """
    known = {component: (grade, since) for component, grade, since in before.select("component", "grade", "changed_at").iter_rows()}
    rows = []
    for each in findings:
        grade, since = known.get(each.component, ("", now))
        value = None if each.value is None else float(each.value)
        rows.append((each.component, each.grade, each.reason, value, each.unit, since if grade == each.grade else now, now))
    return pl.DataFrame(rows, schema=HEALTH.schema, orient="row")


def find_changes(findings: Iterable[Finding], before: pl.DataFrame) -> list[Finding]:
    """The parts whose grade is another than it was; those that are new."""
    known = dict(before.select("component", "grade").iter_rows())
    return [each for each in findings if known.get(each.component) != each.grade]


def as_notice(finding: Finding, now: datetime) -> Notice:
    """What is told of a part; the router tells people only of what is new."""
    title = _("{component} is {grade}").format(component=finding.component.replace("_", " "), grade=word_for(finding.grade))
    return Notice(
        subject=f"health/{finding.component}",
        title=title,
        is_healthy=finding.grade in _WELL,
        severity=_SEVERITIES.get(finding.grade, "info"),
        owner=HEALTH.owner,
        text=finding.reason,
        occurrence=f"{finding.component} {now.isoformat()}",
        facts={"grade": finding.grade},
    )


def _counts(findings: Iterable[Finding]) -> dict[str, int]:
    grades = [finding.grade for finding in findings]
    return {grade: grades.count(grade) for grade in GRADES}
