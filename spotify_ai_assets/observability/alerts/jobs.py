"""The sensor that tells people: of runs that failed and of checks that did not pass, and when they are well again."""

import os
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic

import dagster as dg

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.errors import PlatformError, SettingsError, TransientError
from spotify_ai_assets.loading import sensor
from spotify_ai_assets.observability.alerts.incidents import open_incidents
from spotify_ai_assets.observability.alerts.routing import beat, deliver, tell
from spotify_ai_assets.observability.alerts.troubles import RETRIED_BY, WILL_BE_RETRIED, notices_of
from spotify_ai_assets.resources.run_events import Ended, Follower, read_run
from spotify_ai_assets.settings import Settings

_BUDGET_S = 25.0
"""For how long runs are read; a sensor has a minute."""

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
    told, unreadable = _follow(context, settings, lake.tables)
    sent = deliver(settings)
    try:
        beaten = beat(settings)
    except PlatformError as error:
        beaten = f"{type(error).__name__}: {error}"
        context.log.warning(beaten)
    passed = f", {unreadable} of them could not be read" if unreadable else ""
    return dg.SkipReason(f"{told} runs were looked at{passed}; {sent.waiting} deliveries wait; {beaten}")


def _follow(context: dg.SensorEvaluationContext, settings: Settings, tables: Mapping[str, Table]) -> tuple[int, int]:
    """Tell of the runs that ended since the last tick, in their order.

    Returns:
        How many, and how many of them could not be read.
    """
    from sqlalchemy.exc import SQLAlchemyError

    count, unreadable, end = 0, 0, monotonic() + _BUDGET_S
    follower = Follower(context.instance, context.cursor)
    for ended in follower:
        try:
            if not _tell(context.instance, ended, settings, tables, is_again=follower.is_again(ended)):
                break
        except (SettingsError, TransientError, OSError, sqlite3.Error, SQLAlchemyError):  # nothing is wrong with the run
            raise
        except Exception as error:  # it must not hold up what follows
            context.log.error(f"what became of run {ended.run_id} cannot be told: {type(error).__name__}")
            unreadable += 1
        count += 1
        follower.finish(ended)
        context.update_cursor(str(follower))
        if monotonic() > end:
            break
    return count, unreadable


def _tell(instance: dg.DagsterInstance, ended: Ended, settings: Settings, tables: Mapping[str, Table], *, is_again: bool = False) -> bool:
    """Tell of one run that ended.

    Args:
        instance: Where it did.
        ended: Its end.
        settings: Say where the router's memory is.
        tables: Say who owns what.
        is_again: Whether its place was passed already: an old end is known then, or too late to be of use.

    Returns:
        Whether it is done with; not while another run may still be made to try it again.
    """
    age_s = time.time() - ended.at
    if age_s > _STALE_S and (is_again or ended.outcome != "success" or not open_incidents(settings).open()):
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
