"""What the event log says of runs that ended, as plain data: steps, what was made, what was checked, what went wrong.

The event log outlives whatever was killed, so traces and alerts are made of it and never within a run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import dagster as dg

from spotify_ai_assets import errors
from spotify_ai_assets.resources.texts import readable
from spotify_ai_assets.runs import refusals

Outcome = Literal["success", "failure", "skipped", "canceled", "unfinished"]

_ENDS: dict[dg.DagsterEventType, Outcome] = {
    dg.DagsterEventType.RUN_SUCCESS: "success",
    dg.DagsterEventType.RUN_FAILURE: "failure",
    dg.DagsterEventType.RUN_CANCELED: "canceled",
}
_STEP_ENDS: dict[dg.DagsterEventType, Outcome] = {
    dg.DagsterEventType.STEP_SUCCESS: "success",
    dg.DagsterEventType.STEP_FAILURE: "failure",
    dg.DagsterEventType.STEP_SKIPPED: "skipped",
}
_READ = {
    *_ENDS,
    *_STEP_ENDS,
    dg.DagsterEventType.RUN_START,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_RESTARTED,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}
_TELLING = ("Failure",)
"""Errors beside the platform's own whose messages hold no values."""

LOOK_BACK = 200
"""How many places before the newest are looked at again: PostgreSQL shows an event late whose transaction took longer than the next."""

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Ended:
    """That a run ended.

    Attributes:
        place: Its place in the event log.
        run_id: The run.
        outcome: How.
        at: When, seconds since 1970.
    """

    place: int
    run_id: str
    outcome: Outcome
    at: float


@dataclass(frozen=True, slots=True)
class Retry:
    """A try of a step that failed and was followed by another.

    Attributes:
        at: When it failed, seconds since 1970.
        error: The kind of its error.
    """

    at: float
    error: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a run.

    Attributes:
        key: Its name in the run.
        started_at: Seconds since 1970.
        ended_at: Likewise; the run's end where the step has none of its own.
        outcome: How it ended; ``unfinished`` where its process was killed.
        error: Kind of what it failed with, and its message where that is the platform's own.
        refused: Partitions that it refused.
        retries: The tries before the last.
    """

    key: str
    started_at: float
    ended_at: float
    outcome: Outcome = "unfinished"
    error: str = ""
    refused: tuple[str, ...] = ()
    retries: tuple[Retry, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A partition that was made.

    Attributes:
        asset: The table's key.
        partition: Its partition; empty for a whole.
        step: The step that made it.
        at: When it was recorded, seconds since 1970.
        seconds: How long making it took, where that is known.
        figures: Counts and the digest.
    """

    asset: str
    partition: str
    step: str
    at: float
    seconds: float = 0.0
    figures: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that was made.

    Attributes:
        asset: The table's key.
        check: Its name.
        step: The step that made it.
        at: When, seconds since 1970.
        passed: Whether it passed.
        severity: How bad it is that it did not.
        is_blocking: Whether its failure stops what follows in the run.
        partition: Of which partition; empty for none in particular.
    """

    asset: str
    check: str
    step: str
    at: float
    passed: bool
    severity: Literal["warning", "error"]
    is_blocking: bool
    partition: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that ended.

    Attributes:
        run_id: The run.
        job: Its job.
        tags: Its tags.
        outcome: How it ended.
        created_at: When it was asked for, seconds since 1970.
        started_at: When its process began; when it ended where none ever did.
        ended_at: When it ended.
        reason: What the event log says of a failure that is none of a step's.
        assets: The assets that it was to make, where it was asked for some.
        steps: In the order of their start.
        made: What it made.
        checked: What it checked.
    """

    run_id: str
    job: str
    tags: dict[str, str]
    outcome: Outcome
    created_at: float
    started_at: float
    ended_at: float
    reason: str = ""
    assets: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    made: tuple[Made, ...] = ()
    checked: tuple[Checked, ...] = ()


class Follower:
    """Goes through the ends of runs in their order, each once, also one that the database shows later than those after it.

    Args:
        instance: Whose event log.
        cursor: What this was as a text after the tick before; nothing before the first.
    """

    def __init__(self, instance: dg.DagsterInstance, cursor: str | None) -> None:
        self._instance = instance
        told = {int(place) for place in (cursor or "").split(",") if place.isdecimal()}
        self.newest = max(told, default=0)
        """The newest place that was ever looked at, by the log that it is of."""
        # A log that was restored, or lost its newest runs, gives its places once more.
        is_of_this_log = self.newest <= (instance.event_log_storage.get_maximum_record_id() or 0)
        self._done = told if is_of_this_log else set[int]()

    def __iter__(self) -> Iterator[Ended]:
        """The ends that are not done with, in their order."""
        place = max(max(self._done, default=0) - LOOK_BACK, 0)
        while page := runs_ended(self._instance, place, _PAGE):
            yield from (each for each in page if each.place not in self._done)
            place = page[-1].place

    def is_again(self, ended: Ended) -> bool:
        """Whether an end is of a place that was passed already: it may be late, or known."""
        return ended.place <= self.newest

    def finish(self, ended: Ended) -> None:
        """Note that an end is done with."""
        newest = max(ended.place, *self._done) if self._done else ended.place
        self._done = {place for place in {*self._done, ended.place} if place >= newest - LOOK_BACK}

    def __str__(self) -> str:
        """The places that are done with, the newest first, as far back as is looked again: the cursor for the next tick."""
        return ",".join(map(str, sorted(self._done, reverse=True)))


def runs_ended(instance: dg.DagsterInstance, after: int, most: int) -> list[Ended]:
    """The runs that ended since a place of the event log, in the order in which they did.

    Args:
        instance: Whose event log.
        after: The place; 0 for the beginning.
        most: How many at most.
    """
    found: list[Ended] = []
    known_to: float = float("inf")
    for kind, outcome in _ENDS.items():
        # The stubs allow three kinds by name; these are they.
        wanted = dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=after)  # type: ignore[arg-type]
        records = instance.fetch_run_status_changes(wanted, limit=most, ascending=True).records
        found += [Ended(record.storage_id, record.event_log_entry.run_id, outcome, record.timestamp) for record in records]
        if len(records) == most:  # what follows of this kind is not known yet, and must not be overtaken by another kind
            known_to = min(known_to, records[-1].storage_id)
    return sorted((each for each in found if each.place <= known_to), key=lambda each: each.place)[:most]


def read_run(instance: dg.DagsterInstance, ended: Ended) -> RunRecord | None:
    """What the event log says of a run that ended; ``None`` where it was deleted since."""
    record = instance.get_run_record_by_id(ended.run_id)
    if record is None:
        return None
    run = record.dagster_run
    entries = [entry for entry in instance.all_logs(ended.run_id, of_type=_READ) if entry.dagster_event]
    starts = [entry.timestamp for entry in entries if entry.get_dagster_event().event_type == dg.DagsterEventType.RUN_START]
    found = RunRecord(
        run_id=run.run_id,
        job=run.job_name,
        tags=dict(run.tags),
        outcome=ended.outcome,
        created_at=record.create_timestamp.timestamp(),
        started_at=starts[-1] if starts else ended.at,
        ended_at=ended.at,
        reason=_reason(entries) if ended.outcome == "failure" else "",
        assets=tuple(sorted(key.to_user_string() for key in run.asset_selection or ())),
        steps=tuple(_steps(entries, ended.at)),
        made=tuple(_made(entries)),
        checked=tuple(_checked(entries)),
    )
    return readable(found)


def _steps(entries: Sequence[dg.EventLogEntry], end: float) -> Iterable[Step]:
    steps: dict[str, Step] = {}
    for entry in entries:
        event = entry.get_dagster_event()
        key, kind = event.step_key, event.event_type
        if not key:
            continue
        if kind in _STEP_ENDS or kind == dg.DagsterEventType.STEP_START:
            steps.setdefault(key, Step(key, entry.timestamp, end))
        if kind in _STEP_ENDS:
            steps[key] = _ended(steps[key], entry)
        elif kind == dg.DagsterEventType.STEP_UP_FOR_RETRY and key in steps:
            failed = Retry(entry.timestamp, _kind_of(event.step_retry_data.error))
            steps[key] = replace(steps[key], retries=(*steps[key].retries, failed))
    return steps.values()


def _ended(step: Step, entry: dg.EventLogEntry) -> Step:
    event = entry.get_dagster_event()
    outcome = _STEP_ENDS[event.event_type]
    if outcome != "failure":
        return replace(step, ended_at=entry.timestamp, outcome=outcome)
    error = describe_error(event.step_failure_data.error)
    return replace(step, ended_at=entry.timestamp, outcome=outcome, error=error, refused=tuple(sorted(refusals(event))))


def _made(entries: Sequence[dg.EventLogEntry]) -> Iterable[Made]:
    for entry in entries:
        if made := entry.asset_materialization:
            figures = {name: value.value for name, value in made.metadata.items() if isinstance(value.value, int | float | str)}
            told = {
                name.rpartition("/")[2]: figures[name] for name in ("dagster/partition_row_count", "bytes", "digest") if name in figures
            }
            seconds = figures.get("seconds", 0.0)
            yield Made(
                made.asset_key.to_user_string(),
                made.partition or "",
                entry.step_key or "",
                entry.timestamp,
                float(seconds) if isinstance(seconds, int | float) else 0.0,
                told,
            )


def _checked(entries: Sequence[dg.EventLogEntry]) -> Iterable[Checked]:
    for entry in entries:
        event = entry.get_dagster_event()
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            told = event.asset_check_evaluation_data
            yield Checked(
                told.asset_key.to_user_string(),
                told.check_name,
                entry.step_key or "",
                entry.timestamp,
                told.passed,
                "warning" if told.severity == dg.AssetCheckSeverity.WARN else "error",
                bool(told.blocking),
                told.partition or "",
            )


def _reason(entries: Sequence[dg.EventLogEntry]) -> str:
    ends = [entry.get_dagster_event() for entry in entries if entry.get_dagster_event().event_type == dg.DagsterEventType.RUN_FAILURE]
    return (ends[-1].message or "").strip() if ends else ""


def _kind_of(error: object) -> str:
    """The kind of the error at the bottom of a chain: what wraps it says nothing."""
    while cause := getattr(error, "cause", None):
        error = cause
    return str(getattr(error, "cls_name", None) or "")


def describe_error(error: object) -> str:
    """An error's kind, and its message where it is the platform's own: those of libraries may quote what they could not read."""
    kind = _kind_of(error)
    while cause := getattr(error, "cause", None):
        error = cause
    if kind in _TELLING or isinstance(getattr(errors, kind, None), type):
        return str(getattr(error, "message", "")).strip().rpartition("dagster._core.definitions.events.")[2] or kind
    return kind
