"""Log lines: one JSON object each, with its place in a trace, redacted last, and whole beside a rotation."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from spotify_ai_assets.resources.logs import JsonLines
from spotify_ai_assets.resources.traceparent import of_run, of_step

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
META: dict[str, Any] = {"run_id": "r-1", "job_name": "daily", "job_tags": {"spotify_ai/trace_id": TRACE_ID}, "step_key": "listening__plays"}


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JsonLines:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    monkeypatch.setenv("SPOTIFY_AI_PAGERDUTY_KEY", "sentinel-of-pagerduty")
    monkeypatch.delenv("TRACEPARENT", raising=False)
    return JsonLines()


def record(message: str, meta: dict[str, Any] | None = None) -> logging.LogRecord:
    made = logging.LogRecord("spotify_ai_assets.x", logging.WARNING, __file__, 1, message, None, None)
    if meta:
        made.dagster_meta = {"orig_message": message, **meta}
    return made


def lines(tmp_path: Path, name: str = "platform.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "logs" / name).read_text().splitlines()]


def test_a_line_names_its_run_step_trace_and_span(handler: JsonLines, tmp_path: Path) -> None:
    handler.emit(record("made", META))
    handler.emit(record("began", {**META, "step_key": None}))
    handler.emit(record("alone"))
    handler.close()
    step, run, alone = lines(tmp_path)
    assert (step["run_id"], step["step_key"], step["trace_id"]) == ("r-1", "listening__plays", TRACE_ID)
    assert step["span_id"] == of_step(TRACE_ID, "r-1", "listening__plays").span_id
    assert run["span_id"] == of_run(TRACE_ID, "r-1").span_id
    assert "trace_id" not in alone
    assert (alone["level"], alone["message"]) == ("WARNING", "alone")


def test_a_line_of_a_traced_process_names_what_the_process_was_started_by(
    handler: JsonLines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE_ID}-00f067aa0ba902b7-01")
    handler.emit(record("alone"))
    handler.close()
    (line,) = lines(tmp_path)
    assert (line["trace_id"], line["span_id"]) == (TRACE_ID, "00f067aa0ba902b7")


def test_redaction_is_the_last_step(handler: JsonLines, tmp_path: Path) -> None:
    tags = {**META["job_tags"], "dagster/partition": "sentinel-of-pagerduty"}
    handler.emit(record('told "sentinel-of-pagerduty"\nto ada@example.org', {**META, "job_tags": tags}))
    handler.close()
    text = (tmp_path / "logs" / "platform.jsonl").read_text()
    assert "sentinel" not in text
    assert "ada@" not in text
    (line,) = lines(tmp_path)
    assert line["message"] == 'told "[hidden]"\nto [hidden]'
    assert line["partition"] == "[hidden]"


def test_a_log_may_be_rotated_beside_a_process_that_writes(handler: JsonLines, tmp_path: Path) -> None:
    handler.emit(record("before"))
    (tmp_path / "logs" / "platform.jsonl").rename(tmp_path / "logs" / "platform.jsonl.1")
    handler.emit(record("after"))
    handler.close()
    assert [line["message"] for line in lines(tmp_path, "platform.jsonl.1")] == ["before"]
    assert [line["message"] for line in lines(tmp_path)] == ["after"]


def test_an_error_is_told_by_its_kind(handler: JsonLines, tmp_path: Path) -> None:
    made = record("failed")
    try:
        raise ValueError("ada")
    except ValueError as error:
        made.exc_info = (ValueError, error, None)
    handler.emit(made)
    handler.close()
    assert lines(tmp_path)[0]["error"] == "ValueError"
    assert "ada" not in (tmp_path / "logs" / "platform.jsonl").read_text()
