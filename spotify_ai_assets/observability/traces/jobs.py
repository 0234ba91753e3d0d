"""The sensor that exports traces."""

from itertools import islice
from time import monotonic

import dagster as dg

from spotify_ai_assets.errors import PlatformError, TransientError
from spotify_ai_assets.loading import sensor
from spotify_ai_assets.observability.traces.otlp import Collector, CollectorRefusedError, collector_of, export
from spotify_ai_assets.observability.traces.spans import spans_of
from spotify_ai_assets.resources.redaction import Redaction, open_redaction
from spotify_ai_assets.resources.run_events import Ended, Follower, read_run
from spotify_ai_assets.resources.traceparent import as_trace
from spotify_ai_assets.runs import trace_of

_RUNS, _BUDGET_S = 50, 25.0
"""Of one tick at most; a sensor has a minute."""


@sensor(minimum_interval_seconds=30)
def traces(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Exports the spans of runs that ended to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.

    They are made of the event log, so runs that were killed have theirs too. What a collector does not take now is sent at the next
    tick, in order; what was sent before is sent under the same ids.
    """
    collector = collector_of()
    if collector is None:
        return dg.SkipReason("no collector is set up")
    hide, told, refused, end = open_redaction(), 0, 0, monotonic() + _BUDGET_S
    follower = Follower(context.instance, context.cursor)
    for ended in islice(follower, _RUNS):
        try:
            reason = _export(context.instance, ended, collector, hide)
        except TransientError:
            if not told:  # a tick that fails is seen
                raise
            break
        if reason:
            context.log.error(f"the spans of run {ended.run_id} were not exported: {reason}")
            refused += 1
        told += 1
        follower.finish(ended)
        context.update_cursor(str(follower))
        if monotonic() > end:
            break
    counts = f"{told} runs were exported" + (f", {refused} of them refused" if refused else "")
    return dg.SkipReason(counts if told else "no run has ended")


def _export(instance: dg.DagsterInstance, ended: Ended, collector: Collector, hide: Redaction) -> str:
    """Export the spans of a run.

    Returns:
        Why they were not, where that is for good; it must not hold up what follows.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if run := read_run(instance, ended):
            export(spans_of(run, as_trace(trace_of(run.run_id, run.tags))), collector, hide)
    except CollectorRefusedError as error:
        return str(error)
    except (PlatformError, OSError, SQLAlchemyError):  # nothing is wrong with the run
        raise
    except Exception as error:  # such as a figure that a span cannot hold
        return type(error).__name__
    return ""
