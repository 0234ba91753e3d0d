"""The sensor that exports traces."""

from time import monotonic

import dagster as dg

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.loading import sensor
from spotify_ai_assets.observability.traces.otlp import CollectorRefusedError, collector_of, export
from spotify_ai_assets.observability.traces.spans import spans_of
from spotify_ai_assets.resources.redaction import open_redaction
from spotify_ai_assets.resources.run_events import read_run, runs_ended
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
    place, hide, told, refused, end = int(context.cursor or 0), open_redaction(), 0, 0, monotonic() + _BUDGET_S
    for ended in runs_ended(context.instance, place, _RUNS):
        if run := read_run(context.instance, ended):
            try:
                export(spans_of(run, as_trace(trace_of(run.run_id, run.tags))), collector, hide)
            except CollectorRefusedError as error:  # it must not hold up what follows
                context.log.error(f"the spans of run {run.run_id} were refused: {error}")
                refused += 1
            except TransientError:
                if not told:  # a tick that fails is seen
                    raise
                break
        told += 1
        context.update_cursor(str(ended.place))
        if monotonic() > end:
            break
    counts = f"{told} runs were exported" + (f", {refused} of them refused" if refused else "")
    return dg.SkipReason(counts if told else "no run has ended")
