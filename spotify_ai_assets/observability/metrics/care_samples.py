"""Samples of how the platform is looked after: the stream, deeds, backups, erasures, alerts, stores, health."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.observability.alerts.incidents import Figures
from spotify_ai_assets.observability.metrics.families import Sample
from spotify_ai_assets.observability.metrics.keeping import BACKED_UP, DRILLED, Erasures, Keeping
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from spotify_ai_assets.resources.instance_facts import Made


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in the stream.

    Attributes:
        messages: How many.
        oldest_at: When the oldest was accepted, in seconds since 1970; ``None`` where none waits.
    """

    messages: int
    oldest_at: float | None


def read_waiting(settings: Settings) -> Waiting:
    """What is accepted and not stored yet.

    Raises:
        StreamError: The stream does not answer.
    """
    from spotify_ai_assets.resources.stream import open_stream

    stream = open_stream(settings, "metrics")
    try:
        messages = stream.waiting()
    finally:
        stream.close()
    return Waiting(messages, _oldest(settings) if messages else None)


def _oldest(settings: Settings) -> float | None:
    """When the oldest message was accepted: told by the names of spool files, or by the id of a Redis entry."""
    if not settings.stream_url:
        stamps = [path.name.partition("-")[0] for path in settings.stream.glob("[0-9]*-*")]
        return min((int(stamp) / 1e9 for stamp in stamps if stamp.isdigit()), default=None)
    from spotify_ai_assets.resources.redis_stream import KEY, connect

    client = connect(settings.stream_url)
    try:
        first: object = client.execute_command("XRANGE", KEY, "-", "+", "COUNT", 1)
    finally:
        client.close()
    if not (isinstance(first, list) and first):
        return None
    return int(bytes(first[0][0]).partition(b"-")[0]) / 1000


def tell_stream(waiting: Waiting, made: "Mapping[str, Made]") -> Iterator[Sample]:
    """What waits, and the lag that the worker told with what it stored last.

    Args:
        waiting: What waits in the stream.
        made: Last materialisations by asset key; those of the worker have figures of the stream.
    """
    yield Sample("spotify_ai_stream_waiting_messages", (), waiting.messages)
    if waiting.oldest_at is not None:
        yield Sample("spotify_ai_stream_oldest_message_timestamp_seconds", (), waiting.oldest_at)
    told = max((each for each in made.values() if "stream_lag_p50_s" in each.figures and each.at), key=_at, default=None)
    if told is not None:
        yield Sample("spotify_ai_stream_told_timestamp_seconds", (), _at(told))
        for quantile, name in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")):
            yield Sample("spotify_ai_stream_lag_seconds", (quantile,), told.figures[f"stream_lag_{name}_s"])


def _at(made: "Made") -> float:
    return made.at or 0.0


def tell_keeping(keeping: Keeping) -> Iterator[Sample]:
    """Deeds, backups, drills, erasures and chains."""
    for action, deeds in sorted(keeping.deeds.items()):
        for outcome, at in sorted(deeds.last.items()):
            yield Sample("spotify_ai_deed_timestamp_seconds", (action, outcome), at)
        for name, value in sorted(deeds.figures.items()):
            yield Sample("spotify_ai_deed_figure", (action, name), value)
    yield from _tell_backups(keeping)
    yield from _tell_erasures(keeping.erasures)
    for name, head in sorted(keeping.heads.items()):
        yield Sample("spotify_ai_chain_records", (name,), head.sequence)
        # A label with the digest would be a new series with each record; 13 hexadecimal digits are exact in a double.
        yield Sample("spotify_ai_chain_head", (name,), int(head.digest[:13], 16))


def _tell_backups(keeping: Keeping) -> Iterator[Sample]:
    for action, name in ((BACKED_UP, "backup"), (DRILLED, "drill")):
        if action in keeping.deeds and (at := keeping.deeds[action].succeeded_at):
            yield Sample(f"spotify_ai_{name}_last_success_timestamp_seconds", (), at)
    drilled = keeping.deeds[DRILLED].figures if DRILLED in keeping.deeds else {}
    for name in ("rto", "rpo"):
        if f"{name}_s" in drilled:
            yield Sample(f"spotify_ai_drill_{name}_seconds", (), drilled[f"{name}_s"])


def _tell_erasures(erasures: Erasures) -> Iterator[Sample]:
    yield Sample("spotify_ai_erasure_open_requests", (), erasures.open)
    for state, count in sorted(erasures.states.items()):
        yield Sample("spotify_ai_erasure_requests", (state,), count)
    if erasures.oldest_at is not None:
        yield Sample("spotify_ai_erasure_oldest_request_timestamp_seconds", (), erasures.oldest_at)


def tell_alerts(figures: Figures) -> Iterator[Sample]:
    """How alerting does."""
    yield Sample("spotify_ai_alerts_open", (), figures.open)
    yield Sample("spotify_ai_alerts_waiting", (), figures.waiting)
    yield Sample("spotify_ai_alerts_given_up", (), figures.given_up)
    if figures.oldest_waiting_at:
        yield Sample("spotify_ai_alerts_oldest_waiting_timestamp_seconds", (), figures.oldest_waiting_at.timestamp())


def read_stores(data: Path, names: Iterable[str]) -> Iterator[Sample]:
    """Sizes of the folders below the data folder, and its disk.

    Args:
        data: The data folder.
        names: Of the folders.
    """
    for name in names:
        sizes = list(_sizes(data / name))
        yield Sample("spotify_ai_store_files", (name,), len(sizes))
        yield Sample("spotify_ai_store_bytes", (name,), sum(sizes))
    usage = shutil.disk_usage(nearest(data))
    yield Sample("spotify_ai_disk_free_bytes", (), usage.free)
    yield Sample("spotify_ai_disk_size_bytes", (), usage.total)


def nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def _sizes(folder: Path) -> Iterator[int]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # it is not there, or it was removed just now
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(Path(entry.path))
        else:
            try:
                yield entry.stat(follow_symlinks=False).st_size
            except OSError:
                continue


def read_health(lake: Lake, key: str, grades: Mapping[str, float]) -> Iterator[Sample]:
    """The grades of the last look at the platform.

    Args:
        lake: What holds them.
        key: Their table.
        grades: A number for each grade.
    """
    rows = lake.scan(key).select("component", "grade", "checked_at").collect()
    for component, grade, _ in rows.iter_rows():
        yield Sample("spotify_ai_health_grade", (component,), grades[grade])
    if rows.height:
        newest = rows["checked_at"].dt.epoch("us").max()
        yield Sample("spotify_ai_health_checked_timestamp_seconds", (), float(str(newest)) / 1e6)
