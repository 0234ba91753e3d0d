"""The sensor that tells people: of runs that failed and of checks that did not pass, and when they are well again."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic

import dagster as dg

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.loading import sensor
from spotify_ai_assets.observability.alerts.incidents import open_incidents
from spotify_ai_assets.observability.alerts.routing import beat, deliver, tell
from spotify_ai_assets.observability.alerts.troubles import RETRIED_BY, WILL_BE_RETRIED, notices_of
from spotify_ai_assets.resources.run_events import Ended, read_run, runs_ended
from spotify_ai_assets.settings import Settings

_RUNS, _BUDGET_S = 100, 25.0
"""Read at a time, and for how long; a sensor has a minute."""

_RETRY_S = 120.0
"""So long a run that is to be tried again may wait for that before its failure is told."""

_STALE_S = 86_400.0
"""Nobody is woken for a failure of the day before yesterday, such as after the first start or a long rest."""


@sensor(minimum_interval_seconds=30, required_resource_keys={"settings", "lake"})
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Tells owners of runs that failed and of checks that did not pass, once each, and when they are well again.

    What a channel did not take is sent again. At the end of each tick that went well the dead man's switch is called, so that whoever
    watches it learns that alerts do not work.
    """
    settings, lake = context.resources.settings, context.resources.lake
    told = _follow(context, settings, lake.tables)
    sent = deliver(settings)
    try:
        beaten = beat(settings)
    except PlatformError as error:
        beaten = f"{type(error).__name__}: {error}"
        context.log.warning(beaten)
    return dg.SkipReason(f"{told} runs were looked at; {sent.waiting} deliveries wait; {beaten}")


def _follow(context: dg.SensorEvaluationContext, settings: Settings, tables: Mapping[str, Table]) -> int:
    """Tell of the runs that ended since the last tick, in their order.

    Returns:
        How many.
    """
    place, count, end = int(context.cursor or 0), 0, monotonic() + _BUDGET_S
    while monotonic() < end and (found := runs_ended(context.instance, place, _RUNS)):
        for ended in found:
            if not _tell(context.instance, ended, settings, tables):
                return count
            place, count = ended.place, count + 1
            context.update_cursor(str(place))
            if monotonic() > end:
                break
    return count


def _tell(instance: dg.DagsterInstance, ended: Ended, settings: Settings, tables: Mapping[str, Table]) -> bool:
    """Tell of one run that ended.

    Returns:
        Whether it is done with; not while another run may still be made to try it again.
    """
    age_s = time.time() - ended.at
    if age_s > _STALE_S and (ended.outcome != "success" or not open_incidents(settings).open()):
        return True
    run = read_run(instance, ended)
    if run is None:
        return True
    if run.tags.get(WILL_BE_RETRIED) == "true" and not run.tags.get(RETRIED_BY) and ended.outcome == "failure" and age_s < _RETRY_S:
        return False

    def owner_of(key: str) -> str:
        return tables[key].owner if key in tables else ""

    if notices := notices_of(run, owner_of, settings.ui_url):
        tell(settings, *notices, environment=os.environ, now=datetime.now(UTC))
    return True
