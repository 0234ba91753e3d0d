"""W3C trace context: which trace and which span something belongs to, in one short text that run tags, variables and messages carry.

Ids are derived, not drawn: a run's span has the id that follows from the run, a step's that of run and step. So whoever knows a run can
name its spans, log lines name spans that do not exist yet, and to export a run twice is to export the same spans.
No Dagster, no OpenTelemetry here. See https://www.w3.org/TR/trace-context/ (level 1).
"""

import hashlib
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

TRACEPARENT = "otel/traceparent"
"""The tag of a run that says what it was launched by."""

VARIABLE = "TRACEPARENT"
"""The environment variable by which a process knows what it was started by."""

_FORM = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?")


@dataclass(frozen=True, slots=True)
class Context:
    """A span of a trace.

    Attributes:
        trace_id: 32 lower-case hexadecimal digits, not all zero.
        span_id: 16 of them, not all zero.
    """

    trace_id: str
    span_id: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


def parse(text: str | None) -> Context | None:
    """The context of a ``traceparent``; ``None`` where it is none. One of a later version is read as far as it is known."""
    match = _FORM.fullmatch(text or "")
    if not match or match["version"] == "ff" or (match["version"] == "00" and match["rest"]):
        return None
    return Context(match["trace"], match["span"]) if int(match["trace"], 16) and int(match["span"], 16) else None


def as_trace(text: str) -> str:
    """The id of the trace that a text stands for: itself where it is one, else the first 16 bytes of its SHA-256."""
    return text if parse(f"00-{text}-{'1' * 16}-01") else hashlib.sha256(text.encode()).hexdigest()[:32]


def span_id(*names: str) -> str:
    """The id of the span that some names stand for: the first 8 bytes of their SHA-256."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]


def root(trace_id: str) -> Context:
    """What a run is launched by that nothing traced launches: a place in its trace that no span takes."""
    return Context(trace_id, span_id("root", trace_id))


def of_run(trace_id: str, run_id: str) -> Context:
    """The span of a run."""
    return Context(trace_id, span_id("run", run_id))


def of_step(trace_id: str, run_id: str, step: str) -> Context:
    """The span of a step of a run."""
    return Context(trace_id, span_id("step", run_id, step))


def inherited(environment: Mapping[str, str] = os.environ) -> Context | None:
    """What this process was started by, where that was traced."""
    return parse(environment.get(VARIABLE))


def launching(trace_id: str | None = None) -> Context:
    """What a run is launched by that this process launches: what the process was started by, else nothing, in a new trace.

    Args:
        trace_id: The trace that it must belong to, where it is known already.
    """
    outer = inherited()
    if outer and trace_id in (None, outer.trace_id):
        return outer
    return root(trace_id or uuid.uuid4().hex)


_now: Context | None = None


def enter(context: Context) -> None:
    """Note what this process works on from now on; a process executes one run at a time."""
    global _now  # threads of a step are to see it, which a context variable would hide from them
    _now = context


def working() -> Context | None:
    """What this process works on: what it noted last, else what it was started by."""
    return _now or inherited()


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a child process, which is told what it is started by."""
    context = working()
    return {**environment, **({VARIABLE: str(context)} if context else {})}
