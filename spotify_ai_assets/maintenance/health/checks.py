"""One check for each part of the platform: passes where it was good, or nothing could be said, when it was looked at last."""

from collections.abc import Iterator

import dagster as dg

from spotify_ai_assets.loading import asset_key
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.health.contracts import COMPONENTS, HEALTH
from spotify_ai_assets.resources.lake import Lake

_MEANINGS = {
    "lake": _("Every table can be read and the end of every log is whole."),
    "staleness": _("Nothing is out of date."),
    "freshness": _("Assets are as fresh as their policies ask."),
    "checks": _("The checks of all other assets passed when they were evaluated last."),
    "queue": _("No run waits for long."),
    "daemons": _("The daemons beat."),
    "code_location": _("The code location loads and its sensors tick."),
    "disk": _("There is room on the disk."),
    "databases": _("The databases answer and are whole."),
    "stream": _("What streams in is stored soon."),
    "models": _("No model that serves is out of date for long."),
    "backups": _("The last good backup is young."),
    "drills": _("A restore was drilled within a week."),
    "erasures": _("Nobody who asked to be forgotten waits for long."),
    "audit": _("The chains of the audit trail and of erasures are whole."),
    "alerts": _("Alerts reach whoever is to know."),
    "secrets": _("No secret is exposed, unusable or about to expire."),
}


@dg.multi_asset_check(
    name="health_checks",
    specs=[dg.AssetCheckSpec(name, asset=asset_key(HEALTH), description=_MEANINGS[name]) for name in COMPONENTS],
    required_resource_keys={"lake"},
)
def health_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Tells the grades of the table of health as checks; a warning warns, what fails is an error."""
    lake: Lake = context.resources.lake
    rows = {row["component"]: row for row in lake.scan(HEALTH.key).collect().iter_rows(named=True)}
    for name in COMPONENTS:
        row = rows.get(name)
        grade = row["grade"] if row else "unknown"
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=asset_key(HEALTH),
            passed=grade in ("good", "unknown"),
            severity=dg.AssetCheckSeverity.ERROR if grade == "failing" else dg.AssetCheckSeverity.WARN,
            metadata={
                "grade": grade,
                "reason": row["reason"] if row else _("not looked at yet"),
                **({"since": row["changed_at"].isoformat(timespec="seconds")} if row else {}),
                **({f"value ({row['unit']})": row["value"]} if row and row["value"] is not None else {}),
            },
        )
