"""The worker of the stream on the instance of the UI: what it commits is told to Dagster, runless, once a minute."""

from typing import Any

import dagster as dg

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.loading import asset_key, partition_metadata
from spotify_ai_assets.recommendations.realtime.worker import Report
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import open_instance


class StreamReporter:
    """Reports to the instance of the UI, which is opened when there is something to tell: a worker must not wait for that.

    Args:
        lake: What holds the days.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._instance: dg.DagsterInstance | None = None

    def __call__(self, report: Report) -> None:
        """Tell what was stored."""
        if report.days:
            self._instance = self._instance or open_instance()
            report_stream(self._instance, self._lake, report)

    def close(self) -> None:
        """Let go of the instance."""
        if self._instance:
            self._instance.dispose()


def report_stream(instance: dg.DagsterInstance, lake: Lake, report: Report) -> int:
    """Tell Dagster of the days that the stream has added to, one materialisation each, with how much came and how late it was seen.

    Args:
        instance: Where it is recorded.
        lake: What holds the days.
        report: What the worker did since it told last.

    Returns:
        How many materialisations were recorded; none where nothing was stored.
    """
    told = 0
    for day in sorted(report.days):
        if state := lake.state(EVENTS.key, day):
            event = dg.AssetMaterialization(
                asset_key(EVENTS), partition=day.isoformat(), metadata={**partition_metadata(state), **_figures(report)}
            )
            instance.report_runless_asset_event(event)
            told += 1
    return told


def _figures(report: Report) -> dict[str, Any]:
    return {
        "stream_per_second": round(report.lag.per_second, 1),
        "stream_lag_p50_s": round(report.lag.p50_s, 3),
        "stream_lag_p95_s": round(report.lag.p95_s, 3),
        "stream_lag_p99_s": round(report.lag.p99_s, 3),
        "stream_stored": report.stored,
        "stream_duplicate": report.duplicate,
        "stream_rejected": report.rejected,
        "stream_waiting": report.waiting,
    }
