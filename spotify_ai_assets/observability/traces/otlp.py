"""OTLP over HTTP: spans as OpenTelemetry's collectors take them, sent through the guard for outgoing requests.

Where to is said by OpenTelemetry's own variables: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``…_TRACES_ENDPOINT``, as it stands), ``…_HEADERS``,
``…_COMPRESSION``, ``…_TIMEOUT`` and ``OTEL_SERVICE_NAME``; each may be given for traces alone. Spans are built and encoded by
OpenTelemetry's SDK. See https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
"""

import gzip
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from spotify_ai_assets.errors import PermanentError, SettingsError, TransientError
from spotify_ai_assets.observability.traces.spans import Span
from spotify_ai_assets.resources.outgoing import Answer, send
from spotify_ai_assets.resources.redaction import Redaction
from spotify_ai_assets.resources.traceparent import Context
from spotify_ai_assets.settings import secret

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

SERVICE = "spotify_ai_assets"
_PREFIX = "OTEL_EXPORTER_OTLP"
_PROTOCOLS = ("", "http/protobuf")
_TRY_AGAIN = (408, 429)
_TIMEOUT_S = 10.0
PIECE = 512
"""Spans of one request at most."""


class CollectorBusyError(TransientError):
    """The collector does not take spans now."""


class CollectorRefusedError(PermanentError):
    """The collector refuses spans for good."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go.

    Attributes:
        url: Takes them; whoever prints a collector does not print it, since it may hold a token.
        headers: Sent along.
        is_packed: Whether requests are compressed by gzip.
        timeout_s: For each request, in seconds.
        service: What this service calls itself.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_packed: bool = False
    timeout_s: float = _TIMEOUT_S
    service: str = SERVICE


def collector_of(environment: Mapping[str, str] = os.environ) -> Collector | None:
    """The collector that OpenTelemetry's variables name; ``None`` where they name none.

    Raises:
        SettingsError: A variable has an unusable value; the message names it.
    """
    url = _told(environment, "ENDPOINT", own=True)
    if not url and (base := environment.get(f"{_PREFIX}_ENDPOINT")):
        url = f"{base.rstrip('/')}/v1/traces"
    if not url or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if _told(environment, "PROTOCOL") not in _PROTOCOLS:
        raise SettingsError(f"{_PREFIX}_PROTOCOL must be http/protobuf")
    packing = _told(environment, "COMPRESSION")
    if packing not in ("", "none", "gzip"):
        raise SettingsError(f"{_PREFIX}_COMPRESSION must be gzip or none")
    try:
        timeout_s = float(_told(environment, "TIMEOUT") or _TIMEOUT_S)  # seconds, as the SDK for Python reads it
    except ValueError:
        raise SettingsError(f"{_PREFIX}_TIMEOUT must be a number of seconds") from None
    return Collector(url, _headers(environment), packing == "gzip", timeout_s, environment.get("OTEL_SERVICE_NAME") or SERVICE)


def export(
    spans: Sequence[Span], collector: Collector, hide: Redaction, *, post: Callable[[Collector, bytes], Answer] | None = None
) -> int:
    """Send spans; all of them may be sent again, under the same ids.

    Args:
        spans: Of any runs.
        collector: Takes them.
        hide: What must not leave.
        post: Sends a request; through the guard for outgoing requests unless given.

    Returns:
        How many requests it took.

    Raises:
        CollectorBusyError: The collector does not take them now.
        CollectorRefusedError: It never will.
        UnreachableError: It does not answer.
        RefusedAddressError: Its address is one that requests must not go to.
    """
    pieces = [spans[start : start + PIECE] for start in range(0, len(spans), PIECE)]
    for piece in pieces:
        answer = (post or _post)(collector, encode(piece, collector.service, hide))
        if answer.status in _TRY_AGAIN or answer.status >= 500:
            raise CollectorBusyError(f"the collector answers with status {answer.status}")
        if answer.status >= 300:
            raise CollectorRefusedError(f"the collector answers with status {answer.status}")
    return len(pieces)


def encode(spans: Iterable[Span], service: str, hide: Redaction) -> bytes:
    """Spans as an ``ExportTraceServiceRequest`` of OTLP.

    Args:
        spans: Of any runs.
        service: What this service calls itself.
        hide: What must not leave.
    """
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    statuses = {"unset": StatusCode.UNSET, "ok": StatusCode.OK, "error": StatusCode.ERROR}
    resource, scope = Resource({"service.name": service}), InstrumentationScope(SERVICE)
    return encode_spans(
        [
            ReadableSpan(
                name=hide(span.name),
                context=_context(span.context),
                parent=_context(span.parent) if span.parent else None,
                resource=resource,
                attributes=hide.all_of(span.attributes),
                events=[Event(each.name, hide.all_of(each.attributes), each.at) for each in span.happenings],
                links=[Link(_context(each)) for each in span.links],
                kind=SpanKind.INTERNAL,
                # Only an error has a description.
                status=Status(statuses[span.status], hide(span.message) if span.status == "error" and span.message else None),
                start_time=span.started_at,
                end_time=span.ended_at,
                instrumentation_scope=scope,
            )
            for span in spans
        ]
    ).SerializeToString()


def _context(context: Context) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _told(environment: Mapping[str, str], name: str, *, own: bool = False) -> str:
    """A variable for traces alone, else, unless only that is wanted, for everything."""
    return environment.get(f"{_PREFIX}_TRACES_{name}") or ("" if own else environment.get(f"{_PREFIX}_{name}") or "")


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Headers as ``name=value,name=value`` with values in percent encoding; they may come from a file, since they may hold a token."""
    told = secret(f"{_PREFIX}_TRACES_HEADERS", environment) or secret(f"{_PREFIX}_HEADERS", environment) or ""
    pairs = [each.partition("=") for each in told.split(",") if each.strip()]
    if any(not separator or not name.strip() for name, separator, _ in pairs):
        raise SettingsError(f"{_PREFIX}_HEADERS must be name=value, name=value")
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


def _post(collector: Collector, body: bytes) -> Answer:
    """Send a request through the guard; the operator's own setting names the address."""
    headers = {**collector.headers, "Content-Type": "application/x-protobuf", "User-Agent": SERVICE}
    if collector.is_packed:
        body, headers["Content-Encoding"] = gzip.compress(body, mtime=0), "gzip"
    return send(collector.url, method="POST", body=body, headers=headers, trusted=[collector.url], timeout_s=collector.timeout_s)
