"""The exporter: reads each part of the platform, keeps what changes slowly, and shows all of it in Prometheus' format.

A part that fails is left out and told as failed; the others are shown. What takes long to read is shown as it was read last and
read anew beside, so a scrape waits only for what is quick, however large the lake has grown.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from spotify_ai_assets.observability.metrics import care_samples, instance_samples, lake_samples
from spotify_ai_assets.observability.metrics.families import FAMILIES, PARTS, Sample
from spotify_ai_assets.observability.metrics.keeping import Ledgers
from spotify_ai_assets.observability.metrics.roster import Roster, load_roster
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.stores import STORES

if TYPE_CHECKING:
    from dagster import DagsterInstance  # noqa: TID251 - for the type alone
    from prometheus_client import Metric

    from spotify_ai_assets.resources.lake import Lake

T = TypeVar("T")
Clock = Callable[[], float]
"""Gives the time in seconds since 1970."""

HEALTH = "maintenance/health"
GRADES: Mapping[str, float] = {"good": 0, "warning": 1, "failing": 2, "unknown": -1}
"""The number of each grade of health."""


class Kept(Generic[T]):
    """A value that is read anew at most every so many seconds: the first time while one waits, later beside.

    Args:
        read: Reads it.
        keep_s: For how many seconds it is shown without reading it anew, or what tells that of a value; 0 reads it each time, while one
            waits.
        clock: Gives the time.
    """

    def __init__(self, read: Callable[[], T], keep_s: float | Callable[[T], float], clock: Clock = time.time) -> None:
        self._read, self._keep_s, self._clock = read, keep_s, clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._value: list[T] = []
        self.error: Exception | None = None
        """Why it could not be read last."""
        self.failures = 0
        """How often it could not be read."""
        self.read_at = 0.0
        """When it was read last."""
        self.seconds = 0.0
        """How long that took."""

    def get(self) -> T | None:
        """The value; ``None`` where it could not be read last."""
        is_old = self._clock() >= self.read_at + self._kept_s()
        if not (self._value or self.error) or not self._keep_s:
            self._renew()
        elif is_old and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._renew, daemon=True, name="metrics")
            self._thread.start()
        value = self._value  # the reading beside may replace it now
        return value[0] if value else None

    def wait(self) -> None:
        """Wait for a reading that goes on beside."""
        if self._thread is not None:
            self._thread.join()

    def _kept_s(self) -> float:
        value = self._value
        if not callable(self._keep_s):
            return self._keep_s
        return self._keep_s(value[0]) if value else 0.0

    def _renew(self) -> None:
        with self._lock:
            began, at = time.perf_counter(), self._clock()
            try:
                self._value, self.error = [self._read()], None
            except Exception as error:  # whatever fails in one part must not hide the others
                self._value, self.error, self.failures = [], error, self.failures + 1
            self.read_at, self.seconds = at, time.perf_counter() - began


class Counted:
    """Counts what is new since it first looked, each once, by its id; what was there then counts as old.

    Args:
        keep: How many ids are remembered for each name: more than come between two looks.
    """

    def __init__(self, keep: int = 10_000) -> None:
        self._keep = keep
        self._seen: dict[tuple[str, ...], dict[str, None]] = {}
        self._is_first = True
        self.totals: dict[tuple[str, ...], int] = {}
        """How many were new, by name."""

    def look(self, found: Mapping[tuple[str, ...], Collection[str]]) -> Mapping[tuple[str, ...], int]:
        """See what is there now.

        Args:
            found: Ids by name.

        Returns:
            How many were new since the first look, by name.
        """
        for name, ids in found.items():
            seen = self._seen.setdefault(name, {})
            new = [each for each in ids if each not in seen]
            self.totals[name] = self.totals.get(name, 0) + (0 if self._is_first else len(new))
            seen.update(dict.fromkeys(new))
            for old in list(seen)[: max(len(seen) - self._keep, 0)]:
                del seen[old]
        self._is_first = False
        return self.totals


@dataclass(frozen=True, slots=True)
class Platform:
    """What the exporter looks at.

    Attributes:
        instance: Runs, ticks, events.
        lake: Tables.
        settings: Everything else.
        roster: What the code location declares; loads it in a process of its own unless given.
    """

    instance: "DagsterInstance"
    lake: "Lake"
    settings: Settings
    roster: Callable[[], Roster] = load_roster


class Exporter:
    """A collector for ``prometheus_client``: every scrape reads what is quick and shows what was read of the rest.

    Args:
        platform: What it looks at.
        clock: Gives the time in seconds since 1970.
        is_once: Whether it shows one time only: what is counted from its start on is left out then, since it would always be 0.
    """

    def __init__(self, platform: Platform, clock: Clock = time.time, *, is_once: bool = False) -> None:
        self._platform, self._clock, self._is_once = platform, clock, is_once
        # Loading takes seconds; that it failed is soon mended.
        self._roster = Kept(platform.roster, lambda roster: 60 if roster.error else 900, clock)
        self._ended, self._failed = Counted(), Counted()
        self._ledgers = Ledgers(platform.settings)
        self._lock = threading.Lock()
        seconds = {"runs": 0, "ticks": 0, "daemons": 0, "pools": 5, "location": 0, "stream": 5, "assets": 5, "checks": 15, "stores": 300}
        self._parts = {
            name: Kept(self._reader(getattr(self, f"_read_{name}")), seconds.get(name, 60 if name != "keeping" else 5), clock)
            for name in PARTS
        }

    def collect(self) -> "Iterator[Metric]":
        """All families that have samples; what ``prometheus_client`` calls at a scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        with self._lock:  # one scrape at a time: each counts what is new
            samples = list(self.samples())
        by_family: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            by_family[sample.family].append(sample)
        for name, family in FAMILIES.items():
            if name in by_family and not (self._is_once and family.kind == "counter"):
                metric = kinds[family.kind](name.removesuffix("_total"), family.text, labels=family.labels)
                for sample in by_family[name]:
                    metric.add_metric(sample.labels, float(sample.value))
                yield metric

    def samples(self) -> Iterator[Sample]:
        """All samples, part after part."""
        for name, part in self._parts.items():
            yield from part.get() or ()
            yield Sample("dagster_exporter_scrape_duration_seconds", (name,), part.seconds)
            yield Sample("dagster_exporter_last_scrape_success", (name,), part.error is None)
            yield Sample("dagster_exporter_scrape_errors_total", (name,), part.failures)
            yield Sample("spotify_ai_exporter_read_timestamp_seconds", (name,), part.read_at)
        yield Sample("spotify_ai_build_info", (version("spotify_ai_assets"), version("dagster")), 1)

    @property
    def errors(self) -> dict[str, Exception]:
        """Why parts could not be read last, by part."""
        return {name: part.error for name, part in self._parts.items() if part.error}

    def roster(self) -> Roster:
        """What the code location declares."""
        return self._roster.get() or Roster(error="unknown")

    def show(self) -> bytes:
        """All families in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Described(self))
        return generate_latest(registry)

    @staticmethod
    def _reader(read: Callable[[], Iterable[Sample]]) -> Callable[[], list[Sample]]:
        return lambda: list(read())

    # Parts, by the names of ``PARTS`` ------------------------------------------------------------------------------------

    def _read_runs(self) -> Iterable[Sample]:
        from spotify_ai_assets.resources.instance_facts import read_runs

        runs = read_runs(self._platform.instance, self._clock())
        ended: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for run in runs.recent:
            ended[run.job, run.status].append(run.run_id)
        return instance_samples.tell_runs(runs, self.roster(), self._ended.look(ended))

    def _read_ticks(self) -> Iterable[Sample]:
        from spotify_ai_assets.resources.instance_facts import read_tickers

        tickers = read_tickers(self._platform.instance)
        failures = self._failed.look({(each.kind, each.name): each.failed for each in tickers})
        return instance_samples.tell_ticks(tickers, self.roster(), failures)

    def _read_daemons(self) -> Iterable[Sample]:
        from spotify_ai_assets.resources.instance_facts import read_daemons

        return instance_samples.tell_daemons(read_daemons(self._platform.instance))

    def _read_location(self) -> Iterable[Sample]:
        roster = self.roster()
        return instance_samples.tell_location(roster, self._roster.read_at)

    def _read_pools(self) -> Iterable[Sample]:
        from spotify_ai_assets.resources.instance_facts import read_pools

        return instance_samples.tell_pools(read_pools(self._platform.instance))

    def _made(self) -> Mapping[str, Any]:
        from spotify_ai_assets.resources.instance_facts import read_made

        return read_made(self._platform.instance, list(self._platform.lake.tables))

    def _read_assets(self) -> Iterable[Sample]:
        made = self._made()
        return instance_samples.tell_assets(made, instance_samples.find_deadlines(self.roster().policies, made, self._clock()))

    def _read_checks(self) -> Iterable[Sample]:
        from spotify_ai_assets.resources.instance_facts import read_checked

        return instance_samples.tell_checks(read_checked(self._platform.instance))

    def _read_lake(self) -> Iterable[Sample]:
        lake = self._platform.lake
        return lake_samples.tell_lake(lake_samples.read_tables(lake), lake.tables)

    def _read_quality(self) -> Iterable[Sample]:
        return lake_samples.read_quality(self._platform.lake)

    def _read_models(self) -> Iterable[Sample]:
        from spotify_ai_assets.resources.artifacts import open_artifacts

        return lake_samples.read_models(self._platform.lake, open_artifacts(self._platform.settings))

    def _read_stream(self) -> Iterable[Sample]:
        return care_samples.tell_stream(care_samples.read_waiting(self._platform.settings), self._made())

    def _read_keeping(self) -> Iterable[Sample]:
        return care_samples.tell_keeping(self._ledgers.read())

    def _read_stores(self) -> Iterable[Sample]:
        return care_samples.read_stores(self._platform.settings.data, [store.name for store in STORES])

    def _read_alerts(self) -> Iterable[Sample]:
        from spotify_ai_assets.observability.alerts.incidents import open_incidents

        return care_samples.tell_alerts(open_incidents(self._platform.settings).figures())

    def _read_health(self) -> Iterable[Sample]:
        return care_samples.read_health(self._platform.lake, HEALTH, GRADES)


class _Described:
    """The exporter for a registry, which asks what it has; asking must not read the platform."""

    def __init__(self, exporter: Exporter) -> None:
        self.collect = exporter.collect

    def describe(self) -> "list[Metric]":
        """Nothing: a registry of one collector has no names to keep apart."""
        return []
