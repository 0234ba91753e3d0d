"""From the record of a run to its spans: the run, its steps, what each step made and what each checked.

Spans are made of what the event log says once a run has ended, so a run whose process was killed has all of its spans too: a step
without an end of its own ends with its run, as an error. Ids and times come from the record alone, so a second export is the same.
No Dagster, no OpenTelemetry here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from spotify_ai_assets.resources.run_events import Checked, Made, RunRecord, Step
from spotify_ai_assets.resources.traceparent import TRACEPARENT, Context, of_run, of_step, parse, root, span_id

Status = Literal["unset", "ok", "error"]
Value = str | int | float | bool

_PARENT_RUN = "dagster/parent_run_id"
_PARTITION = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True, slots=True)
class Happening:
    """Something at one moment of a span.

    Attributes:
        name: What.
        at: When, nanoseconds since 1970.
        attributes: More of it.
    """

    name: str
    at: int
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """A span.

    Attributes:
        name: What was done.
        context: Its trace and its id.
        parent: The span that it belongs to; ``None`` for the first of a trace.
        started_at: Nanoseconds since 1970.
        ended_at: Likewise, not before.
        status: Whether it went well.
        message: What went wrong.
        attributes: Names and values.
        happenings: What happened meanwhile.
        links: Spans that it has to do with, of this trace or another.
    """

    name: str
    context: Context
    parent: Context | None
    started_at: int
    ended_at: int
    status: Status = "unset"
    message: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    happenings: tuple[Happening, ...] = ()
    links: tuple[Context, ...] = ()


def spans_of(run: RunRecord, trace_id: str) -> list[Span]:
    """The spans of a run that ended, each after its parent.

    Args:
        run: What the event log says of it.
        trace_id: Its trace, as ``runs.trace_of`` tells it.
    """
    spans = [_run_span(run, trace_id)]
    for step in run.steps:
        spans.append(_step_span(run, step, trace_id))
        spans += [_made_span(run, made, step, trace_id) for made in run.made if made.step == step.key]
    return spans


def _run_span(run: RunRecord, trace_id: str) -> Span:
    launched_by = parse(run.tags.get(TRACEPARENT))
    # A tag that was copied from another run may name another trace; a root is no span.
    parent = launched_by if launched_by and launched_by.trace_id == trace_id and launched_by != root(trace_id) else None
    earlier = run.tags.get(_PARENT_RUN)
    partition = "...".join(run.tags[name] for name in _PARTITION if name in run.tags)
    attributes = {
        "dagster.run_id": run.run_id,
        "dagster.job_name": run.job,
        "dagster.partition": partition,
        "dagster.asset_selection": ",".join(run.assets),
        "dagster.queued_s": round(max(run.started_at - run.created_at, 0.0), 3),
        "dagster.outcome": run.outcome,
    }
    return Span(
        name=run.job,
        context=of_run(trace_id, run.run_id),
        parent=parent,
        started_at=_nanoseconds(run.started_at),
        ended_at=_nanoseconds(max(run.ended_at, run.started_at)),
        status="error" if run.outcome == "failure" else "ok" if run.outcome == "success" else "unset",
        message=run.reason,
        attributes={name: value for name, value in attributes.items() if value != ""},
        links=(of_run(trace_id, earlier),) if earlier else (),
    )


def _step_span(run: RunRecord, step: Step, trace_id: str) -> Span:
    is_lost = step.outcome == "unfinished" and run.outcome != "canceled"
    checks = [_check(checked) for checked in run.checked if checked.step == step.key]
    retries = [Happening("retry", _nanoseconds(each.at), {"exception.type": each.error}) for each in step.retries]
    return Span(
        name=step.key,
        context=of_step(trace_id, run.run_id, step.key),
        parent=of_run(trace_id, run.run_id),
        started_at=_nanoseconds(step.started_at),
        ended_at=_nanoseconds(max(step.ended_at, step.started_at)),
        status="error" if is_lost or step.outcome == "failure" else "ok" if step.outcome == "success" else "unset",
        message=step.error or ("the step has no end: its process is gone" if is_lost else ""),
        attributes={"dagster.run_id": run.run_id, "dagster.step_key": step.key, "dagster.outcome": step.outcome},
        happenings=tuple(sorted([*checks, *retries], key=lambda each: each.at)),
    )


def _made_span(run: RunRecord, made: Made, step: Step, trace_id: str) -> Span:
    """Ends when it was recorded and is as long as making it took; what it read and wrote is of its step's time."""
    end = _nanoseconds(made.at)
    return Span(
        name=f"{made.asset} {made.partition}".strip(),
        context=Context(trace_id, span_id("made", run.run_id, made.step, made.asset, made.partition)),
        parent=of_step(trace_id, run.run_id, step.key),
        started_at=min(max(end - _nanoseconds(made.seconds), _nanoseconds(step.started_at)), end),
        ended_at=end,
        status="ok",
        attributes={
            "dagster.run_id": run.run_id,
            "dagster.asset_key": made.asset,
            **({"dagster.partition": made.partition} if made.partition else {}),
            **{f"dagster.{name}": value for name, value in made.figures.items()},
        },
    )


def _check(checked: Checked) -> Happening:
    attributes = {
        "dagster.asset_key": checked.asset,
        "dagster.check": checked.check,
        "dagster.passed": checked.passed,
        "dagster.severity": checked.severity,
        "dagster.partition": checked.partition,
    }
    return Happening("check", _nanoseconds(checked.at), {name: value for name, value in attributes.items() if value != ""})


def _nanoseconds(seconds: float) -> int:
    """Of microseconds, which is what a float of seconds since 1970 can hold."""
    return round(seconds * 1e6) * 1000
