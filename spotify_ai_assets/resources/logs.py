"""Log lines as JSON, one object a line, below the data folder: what machines read while people read the UI."""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler

from spotify_ai_assets.resources.redaction import open_redaction
from spotify_ai_assets.resources.traceparent import as_trace, inherited, of_run, of_step
from spotify_ai_assets.runs import trace_of
from spotify_ai_assets.settings import Settings

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_FIELDS = ("run_id", "job_name", "step_key", "op_name")


class JsonLines(WatchedFileHandler):
    """Appends to ``logs/platform.jsonl`` of the data folder; safe beside a log rotation."""

    def __init__(self) -> None:
        folder = Settings.from_environment().data / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "platform.jsonl", delay=True)
        self._hide = open_redaction()

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON, with the run, step, partition, trace and span that it belongs to; redacted as the last step."""
        meta = getattr(record, "dagster_meta", None) or {}
        tags = meta.get("job_tags") or {}
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": meta.get("orig_message") or record.getMessage(),
            "process": os.getpid(),
            **{name: meta[name] for name in _FIELDS if meta.get(name)},
        }
        if partition := tags.get("dagster/partition") or "...".join(tags[name] for name in _RANGE if name in tags):
            line["partition"] = partition
        if run_id := meta.get("run_id"):
            line |= _place(run_id, meta.get("step_key"), tags)
        elif context := inherited():
            line |= {"trace_id": context.trace_id, "span_id": context.span_id}
        if event := meta.get("dagster_event"):
            line["event"] = event.event_type_value
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(self._hide.all_of(line), ensure_ascii=False)


def _place(run_id: str, step: str | None, tags: Mapping[str, str]) -> dict[str, str]:
    """The trace and the span of a line: the step's, or the run's where it is none of a step."""
    trace = trace_of(run_id, tags)
    context = of_step(as_trace(trace), run_id, step) if step else of_run(as_trace(trace), run_id)
    return {"trace_id": trace, "span_id": context.span_id}
