"""Log lines as JSON, one object a line, below the data folder: what machines read while people read the UI."""

import json
import logging
import os
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler

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

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON, with the run, step, partition and trace that it belongs to."""
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
            line["trace_id"] = trace_of(run_id, tags)
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)
