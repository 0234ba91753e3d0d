"""Traces of real runs against a local collector: who belongs to whom, whatever was killed, and however often they are sent."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from receivers import Receiver, receiving

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.observability.traces import jobs as traces_jobs
from spotify_ai_assets.observability.traces.jobs import traces
from spotify_ai_assets.observability.traces.otlp import Collector, CollectorBusyError, collector_of, encode, export
from spotify_ai_assets.observability.traces.spans import Span, spans_of
from spotify_ai_assets.resources import run_events
from spotify_ai_assets.resources.redaction import Redaction
from spotify_ai_assets.resources.run_events import Made, RunRecord, Step, read_run, runs_ended
from spotify_ai_assets.resources.traceparent import Context, child_environment, of_run, of_step, parse, root
from spotify_ai_assets.runs import TRACE, bury_dead_runs, claim, launch_tags, trace_of

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def collecting(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """The server as the collector of this process."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    return server


def sent(server: Receiver) -> list[SentSpan]:
    """The spans that the collector was sent, in order."""
    found: list[SentSpan] = []
    for each in server.requests:
        assert (each.method, each.path, each.headers["content-type"]) == ("POST", "/v1/traces", "application/x-protobuf")
        body = gzip.decompress(each.body) if each.headers.get("content-encoding") == "gzip" else each.body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            assert {entry.key: entry.value.string_value for entry in resource.resource.attributes} == {"service.name": "spotify_ai_assets"}
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def attributes(span: SentSpan) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value") or "string_value") for entry in span.attributes}


@dg.asset(name="first")
def first_asset() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"dagster/partition_row_count": 7, "seconds": 0.001, "digest": "abc"})


@dg.asset(name="second", deps=[first_asset], check_specs=[dg.AssetCheckSpec("fine", asset="second")])
def second_asset(context: dg.AssetExecutionContext):
    claim(context)
    yield dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, check_name="fine")
    if context.run.tags.get("fail"):
        raise ValueError("ada@example.org could not be read")
    yield dg.MaterializeResult()


def made_run(instance: dg.DagsterInstance, **tags: str) -> str:
    """A real run of two assets."""
    job = dg.Definitions([first_asset, second_asset], jobs=[dg.define_asset_job("two", [first_asset, second_asset])]).resolve_job_def("two")
    return job.execute_in_process(instance=instance, tags={**launch_tags(), **tags}, raise_on_error=False).run_id


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[str | None, str]:
    """The cursor and the words of one tick of the sensor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    told = traces.evaluate_tick(context)
    return told.cursor, told.skip_message or ""


def test_a_run_its_steps_and_what_they_made_are_one_trace(instance: dg.DagsterInstance, collecting: Receiver) -> None:
    run_id = made_run(instance)
    assert tick(instance)[1] == "1 runs were exported"
    spans = sent(collecting)
    assert [span.name for span in spans] == ["two", "first", "first", "second", "second"]
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert {span.trace_id.hex() for span in spans} == {run.tags[TRACE]}
    whole, first, made, second, _ = spans
    assert (whole.span_id.hex(), whole.parent_span_id) == (of_run(run.tags[TRACE], run_id).span_id, b"")
    assert first.parent_span_id == second.parent_span_id == whole.span_id
    assert made.parent_span_id == first.span_id
    assert attributes(made) == {
        "dagster.run_id": run_id,
        "dagster.asset_key": "first",
        "dagster.partition_row_count": 7,
        "dagster.digest": "abc",
    }
    assert {span.status.code for span in spans} == {Status.STATUS_CODE_OK}
    (check,) = second.events
    told = {entry.key: entry.value for entry in check.attributes}
    assert (check.name, told["dagster.passed"].bool_value, told["dagster.severity"].string_value) == ("check", False, "warning")
    for span in spans:
        assert whole.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= whole.end_time_unix_nano


def test_a_run_is_exported_once_and_a_second_export_is_the_same_spans(instance: dg.DagsterInstance, collecting: Receiver) -> None:
    made_run(instance)
    cursor, _ = tick(instance)
    assert tick(instance, cursor) == (cursor, "no run has ended")
    first = sent(collecting)
    made_run(instance)
    tick(instance, None)
    again = sent(collecting)[len(first) :]
    assert len(again) == 2 * len(first)
    assert again[: len(first)] == first
    assert len({span.span_id for span in again}) == len(again)


def test_a_failed_step_says_what_kind_of_error_it_had_and_not_what_the_error_quotes(
    instance: dg.DagsterInstance, collecting: Receiver
) -> None:
    made_run(instance, fail="yes")
    tick(instance)
    spans = {span.name: span for span in sent(collecting) if span.name in ("two", "second")}
    assert {span.status.code for span in spans.values()} == {Status.STATUS_CODE_ERROR}
    assert spans["second"].status.message == "ValueError"
    assert b"ada@example.org" not in b"".join(each.body for each in collecting.requests)


def test_a_run_of_a_traced_process_is_a_part_of_its_trace(
    instance: dg.DagsterInstance, collecting: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE_ID}-00f067aa0ba902b7-01")
    run_id = made_run(instance)
    tick(instance)
    whole = sent(collecting)[0]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE_ID, "00f067aa0ba902b7")
    assert whole.span_id.hex() == of_run(TRACE_ID, run_id).span_id


def test_a_second_try_is_linked_to_the_first(instance: dg.DagsterInstance) -> None:
    run_id = made_run(instance, **{"dagster/parent_run_id": "earlier"})
    run = read_run(instance, runs_ended(instance, 0, 9)[0])
    assert run is not None
    (link,) = spans_of(run, TRACE_ID)[0].links
    assert link == of_run(TRACE_ID, "earlier")
    assert spans_of(run, TRACE_ID)[0].context == of_run(TRACE_ID, run_id)


def test_a_trace_id_that_somebody_made_up_is_made_into_one(instance: dg.DagsterInstance, collecting: Receiver) -> None:
    made_run(instance, **{TRACE: "order 66"})
    tick(instance)
    assert len({span.trace_id for span in sent(collecting)}) == 1
    assert len(sent(collecting)[0].trace_id) == 16


def test_what_a_run_of_such_a_trace_starts_belongs_to_its_spans(instance: dg.DagsterInstance, collecting: Receiver) -> None:
    run_id = made_run(instance, **{TRACE: "order 66"})
    tick(instance)
    step = next(span for span in sent(collecting) if span.name == "second")
    assert parse(child_environment({})["TRACEPARENT"]) == Context(step.trace_id.hex(), step.span_id.hex())
    run = instance.get_run_by_id(run_id)
    assert run is not None
    told = parse(run.tags["otel/traceparent"])
    assert told is not None
    assert told.trace_id == step.trace_id.hex()
    assert run.tags[TRACE] == "order 66"


def test_what_a_busy_collector_does_not_take_comes_again_in_order(instance: dg.DagsterInstance, collecting: Receiver) -> None:
    for _ in range(2):
        made_run(instance)
    collecting.answers = [(200, {}), (503, {})]
    cursor, words = tick(instance)
    assert words == "1 runs were exported"
    collecting.answers = [(503, {})]
    with pytest.raises(CollectorBusyError, match="status 503"):
        tick(instance, cursor)
    collecting.requests.clear()
    assert tick(instance, cursor)[1] == "1 runs were exported"
    assert len({span.trace_id for span in sent(collecting)}) == 1


def test_a_run_that_the_collector_refuses_does_not_hold_up_others(instance: dg.DagsterInstance, collecting: Receiver) -> None:
    for _ in range(2):
        made_run(instance)
    collecting.answers = [(400, {})]
    assert tick(instance)[1] == "2 runs were exported, 1 of them refused"


def test_a_run_that_no_span_can_tell_of_does_not_hold_up_others(
    instance: dg.DagsterInstance, collecting: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = made_run(instance)
    made_run(instance)

    def spans(run: RunRecord, trace: str) -> list[Span]:
        if run.run_id == odd:
            raise OverflowError("an integer of more than 64 bits")
        return spans_of(run, trace)

    monkeypatch.setattr(traces_jobs, "spans_of", spans)
    cursor, words = tick(instance)
    assert words == "2 runs were exported, 1 of them refused"
    assert len({span.trace_id for span in sent(collecting)}) == 1
    assert tick(instance, cursor)[1] == "no run has ended"


def test_a_run_whose_end_the_database_shows_late_is_exported_and_no_other_again(
    instance: dg.DagsterInstance, collecting: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        made_run(instance)
    late = runs_ended(instance, 0, 9)[1]
    with monkeypatch.context() as hidden:
        hidden.setattr(run_events, "runs_ended", lambda *wanted: [each for each in runs_ended(*wanted) if each != late])
        cursor, words = tick(instance)
    assert words == "2 runs were exported"
    cursor, words = tick(instance, cursor)
    assert words == "1 runs were exported"
    assert tick(instance, cursor)[1] == "no run has ended"
    assert len({span.span_id for span in sent(collecting)}) == len(sent(collecting))


def test_without_a_collector_nothing_is_exported_and_nothing_is_passed_over(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    made_run(instance)
    assert tick(instance) == (None, "no collector is set up")


KILLED = """
import os, signal, sys
import dagster as dg
from spotify_ai_assets.runs import claim, launch_tags, open_instance

@dg.op
def dies(context):
    claim(context)
    os.kill(os.getpid(), signal.SIGKILL)

@dg.job
def deadly():
    dies()

with open_instance() as instance:
    deadly.execute_in_process(instance=instance, tags=launch_tags())
"""


def test_a_run_whose_process_was_killed_has_all_of_its_spans(tmp_path: Path, collecting: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", KILLED], env={**os.environ}, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    from spotify_ai_assets.runs import open_instance

    with open_instance() as instance:
        assert tick(instance)[1] == "no run has ended", "nothing knows yet"
        (run_id,) = bury_dead_runs(instance)
        assert tick(instance)[1] == "1 runs were exported"
    whole, step = sent(collecting)
    assert (whole.name, step.name) == ("deadly", "dies")
    assert step.parent_span_id == whole.span_id
    assert {whole.status.code, step.status.code} == {Status.STATUS_CODE_ERROR}
    assert "its process is gone" in step.status.message.lower()
    assert attributes(step)["dagster.outcome"] == "unfinished"
    assert step.end_time_unix_nano == whole.end_time_unix_nano
    assert whole.span_id.hex() == of_run(whole.trace_id.hex(), run_id).span_id


def record(**changed: Any) -> RunRecord:
    told: dict[str, Any] = {
        "run_id": "r",
        "job": "j",
        "tags": {},
        "outcome": "success",
        "created_at": 1.0,
        "started_at": 2.0,
        "ended_at": 9.0,
    }
    return RunRecord(**{**told, **changed})


def test_what_a_step_made_is_no_longer_than_its_step_and_never_ends_before_it_begins() -> None:
    step = Step("s", 3.0, 8.0, "success")
    made = [Made("a/b", str(number), "s", at, seconds) for number, (at, seconds) in enumerate([(7.0, 2.0), (4.0, 60.0), (2.5, 1.0)])]
    spans = spans_of(record(steps=(step,), made=tuple(made)), TRACE_ID)
    assert [(span.started_at / 1e9, span.ended_at / 1e9) for span in spans[2:]] == [(5.0, 7.0), (3.0, 4.0), (2.5, 2.5)]
    assert len({span.context for span in spans}) == 5


def test_a_root_is_no_parent_and_neither_is_a_span_of_another_trace() -> None:
    for told, parent in (
        (root(TRACE_ID), None),
        (Context("1" * 32, "2" * 16), None),
        (Context(TRACE_ID, "2" * 16), Context(TRACE_ID, "2" * 16)),
    ):
        assert spans_of(record(tags={"otel/traceparent": str(told)}), TRACE_ID)[0].parent == parent


def test_the_headers_of_a_collector_are_sent_and_its_requests_packed_when_asked(server: Receiver) -> None:
    collector = collector_of(
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{server.url}/v1/traces",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc, x-tenant=ours",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    )
    assert collector
    assert "abc" not in repr(collector)
    spans = spans_of(record(steps=tuple(Step(str(number), 3.0, 4.0, "success") for number in range(600))), TRACE_ID)
    assert export(spans, collector, Redaction()) == 2
    assert len(sent(server)) == 601
    assert (server.requests[0].headers["authorization"], server.requests[0].headers["x-tenant"]) == ("Basic abc", "ours")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PROTOCOL", "grpc"), ("COMPRESSION", "brotli"), ("TIMEOUT", "soon"), ("HEADERS", "no pair")],
)
def test_a_collector_that_is_set_up_wrongly_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"OTEL_EXPORTER_OTLP_{name}"):
        collector_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318", f"OTEL_EXPORTER_OTLP_{name}": value})


def test_the_endpoint_for_everything_gets_the_path_of_traces() -> None:
    found = [collector_of({"OTEL_EXPORTER_OTLP_ENDPOINT": url}) for url in ("http://x:4318", "http://x:4318/", "http://x/base/")]
    assert [each.url for each in found if each] == ["http://x:4318/v1/traces", "http://x:4318/v1/traces", "http://x/base/v1/traces"]
    assert collector_of({}) is None
    assert collector_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}) is None


def test_secrets_do_not_leave_in_spans() -> None:
    span = spans_of(record(outcome="failure", reason="no answer of sentinel-secret-value"), TRACE_ID)
    assert b"sentinel-secret-value" not in encode(span, "us", Redaction(["sentinel-secret-value"]))
    assert b"[hidden]" in encode(span, "us", Redaction(["sentinel-secret-value"]))


def test_a_collector_is_printed_without_its_address() -> None:
    assert "token" not in repr(Collector("http://x/token", {"a": "token"}))


def test_the_tag_of_a_launch_names_the_trace_of_the_run(instance: dg.DagsterInstance) -> None:
    tags = launch_tags()
    told = parse(tags["otel/traceparent"])
    assert told == root(tags[TRACE])
    run = instance.get_run_by_id(made_run(instance))
    assert run is not None
    assert parse(run.tags["otel/traceparent"]) == root(trace_of(run.run_id, run.tags))


def test_the_steps_of_a_record_are_named_as_log_lines_name_them() -> None:
    (_, step) = spans_of(record(steps=(Step("s", 3.0, 4.0, "success"),)), TRACE_ID)
    assert step.context == of_step(TRACE_ID, "r", "s")
    assert json.dumps(step.attributes)
