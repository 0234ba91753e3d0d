"""The worker of the stream: what is read is seen by the recommender at once, and acknowledged once it is in the lake.

Each turn reads what has come, decodes it and puts the plays into the live store in one transaction. Rows wait for their
micro-batch, which another thread commits while reading goes on. A message is acknowledged after the commit that holds it; before,
it comes again to whoever reads next, and what it did has no effect a second time. So a worker may be killed at any point.

Stream and store may be away for a while: the worker waits for them, without a limit, and says so.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.recommendations.realtime.batches import Batch, Batches, Committed
from spotify_ai_assets.recommendations.realtime.lag import Lag, LagMeter
from spotify_ai_assets.recommendations.realtime.live import Live, value_plays
from spotify_ai_assets.recommendations.realtime.messages import BAD, FORGOTTEN, decode, decode_forget
from spotify_ai_assets.resources.stream import Message, Stream

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 2.0
_PATIENCE_S = 20.0
_UNTOLD = "the report of the stream was not taken"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what is done.

    Attributes:
        batch_rows: A micro-batch is committed when so many messages wait,
        batch_s: or after so many seconds.
        most_rows: No more is read while so many messages wait for a slow lake.
        read: Messages of one turn at most.
        wait_s: How long a turn waits for the first message.
        gather_s: How long a turn then lets more come, since a turn for each message would be too dear.
        fold_s: How often vectors are brought up to date at most: many listeners together cost less.
        report_s: How often the report is given.
        watch_s: How often the figures are shown.
        expire_s: How often what is too old is removed from the live store.
    """

    batch_rows: int = 20_000
    batch_s: float = 30.0
    most_rows: int = 100_000
    read: int = 5_000
    wait_s: float = 0.25
    gather_s: float = 0.05
    fold_s: float = 0.5
    report_s: float = 60.0
    watch_s: float = 0.5
    expire_s: float = 3600.0


@dataclass(slots=True)
class Report:
    """What a worker has done: since the last report, or in all.

    Attributes:
        messages: Messages read, those that came again included.
        visible: Plays that the live store had not yet.
        stored: Records that became new rows of the lake.
        duplicate: Records that the lake knew already.
        rejected: Records refused.
        forgotten: Listeners forgotten.
        batches: Micro-batches committed.
        days: Days that have new rows.
        lag: Figures of the last minute.
        waiting: Messages that this worker has read and not acknowledged.
    """

    messages: int = 0
    visible: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    forgotten: int = 0
    batches: int = 0
    days: set[date] = field(default_factory=set)
    lag: Lag = field(default_factory=Lag)
    waiting: int = 0

    def count(self, **counts: int) -> None:
        """Add to counts."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)


class _Patience:
    """Without limit while nobody says stop, then for some seconds."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop, self._end = stop, 0.0

    def is_over(self) -> bool:
        if self._stop.is_set():
            self._end = self._end or time.monotonic() + _PATIENCE_S
        return bool(self._end) and time.monotonic() > self._end


class Worker:
    """Reads the stream.

    Args:
        stream: What is read.
        live: What the recommender asks.
        batches: Commits to the lake.
        clock: Tells the present.
        pace: How often what is done.
        fold: Given listeners with new plays, brings their vectors up to date, many listeners at once.
        watch: Shown the figures in all, a few times a second.
        report: Given what was done since the last report. This and ``fold`` are called in threads of their own; their failures are
            logged and do not stop the worker.
        until_empty: Whether to stop when nothing is left to read.
        erased: Gives those of some pseudonyms whose owners are to be forgotten, by the ledger of erasures: the live store's own
            tombstones do not last for ever.
    """

    def __init__(
        self,
        stream: Stream,
        live: Live,
        batches: Batches,
        *,
        clock: Callable[[], datetime],
        pace: Pace | None = None,
        fold: Callable[[Collection[str]], None] | None = None,
        watch: Callable[[Report], None] = lambda report: None,
        report: Callable[[Report], object] = lambda report: None,
        until_empty: bool = False,
        erased: Callable[[Iterable[str]], set[str]] = lambda listeners: set(),
    ) -> None:
        self._stream, self._live, self._batches, self._clock = stream, live, batches, clock
        self._pace, self._fold, self._watch, self._report = pace or Pace(), fold, watch, report
        self._until_empty, self._erased = until_empty, erased
        self._meter = LagMeter()
        self._waiting, self._since = Batch(), 0.0
        self._committing: Future[Committed] | None = None
        self._in_flight = Batch()
        self._folding: Future[Any] | None = None
        self._reporting: Future[Any] | None = None
        self._to_fold: set[str] = set()
        self._is_urgent = False
        """Whether somebody is to be forgotten, which is confirmed with the next commit."""
        self._must_scrub = False
        self._due: dict[str, float] = {}
        self._stop = threading.Event()
        self.total, self._lately, self._reported = Report(), Report(), Report()

    def run(self, stop: threading.Event | None = None) -> Report:
        """Work until told to stop; then commit and acknowledge what waits.

        Args:
            stop: Set to stop.

        Returns:
            What was done in all.
        """
        self._stop = stop or self._stop
        self._due = {"report": time.monotonic() + self._pace.report_s, "expire": 0.0, "watch": 0.0, "fold": 0.0}
        with (
            ThreadPoolExecutor(1, "commit") as self._committer,
            ThreadPoolExecutor(1, "fold") as self._folder,
            ThreadPoolExecutor(1, "report") as self._reporter,
        ):
            self._persist(self._batches.recover)
            while not self._stop.is_set():
                self._turn()
            self._finish()
            wait([each for each in (self._folding, self._reporting) if each])
            self._bring_vectors_up_to_date()
            self._give_report()
        _is_free(self._reporting, _UNTOLD)
        self._watch(self._figures(self.total))
        return self.total

    # One turn ----------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        if len(self._waiting) + len(self._in_flight) < self._pace.most_rows:
            if messages := self._persist(self._read):
                self._take(messages)
            elif self._until_empty:
                self._stop.set()
        else:
            time.sleep(self._pace.wait_s)
        self._settle()
        self._tell("fold", self._pace.fold_s, self._bring_vectors_up_to_date)
        self._tell("expire", self._pace.expire_s, lambda: self._persist(lambda: self._live.expire(self._clock())))
        self._tell("watch", self._pace.watch_s, lambda: self._watch(self._figures(self.total)))
        self._tell("report", self._pace.report_s, self._give_report)

    def _read(self) -> list[Message]:
        messages = self._stream.read(self._pace.read, self._pace.wait_s)
        if messages and len(messages) < self._pace.read and self._pace.gather_s:
            time.sleep(self._pace.gather_s)
            with suppress(TransientError):  # what was read already must not be forgotten for it
                messages += self._stream.read(self._pace.read, 0.001)
        return messages

    def _take(self, messages: Sequence[Message]) -> None:
        """Make messages visible and let their rows wait."""
        now = self._clock()
        listens = [message for message in messages if message.topic == "listen"]
        others = [message for message in messages if message.topic != "listen"]
        doomed = {message.id: decode_forget(message.body) if message.topic == "forget" else None for message in others}
        self._forget({listener for listener in doomed.values() if listener}, now)
        decoded = decode([message.body for message in listens], now)
        if gone := self._gone(decoded.rows["listener_id"].unique().to_list()):
            decoded = decoded.refuse(gone, FORGOTTEN)
        plays = value_plays(decoded.rows)
        new = self._persist(lambda: self._live.put(plays, now))
        self._meter.note((message.accepted_at for message in listens), self._clock())
        self._to_fold |= plays.keys()
        self._since = self._since if self._waiting else time.monotonic()
        self._waiting.add([message.id for message in listens], decoded)
        self._waiting.traces |= {message.sent_by.trace_id for message in listens if message.sent_by}
        self._waiting.refuse_messages([place for place, listener in doomed.items() if not listener], BAD)
        self._waiting.ids += [place for place, listener in doomed.items() if listener]
        self._count(messages=len(messages), visible=new)

    def _gone(self, listeners: Collection[str]) -> set[str]:
        """Those of the listeners who are to be forgotten."""
        return self._persist(lambda: self._live.forgotten(listeners)) | self._persist(lambda: self._erased(listeners))

    def _forget(self, listeners: Collection[str], now: datetime) -> None:
        if listeners:
            self._persist(lambda: self._live.forget(listeners, now))
            self._waiting.refuse(listeners, FORGOTTEN)
            self._to_fold.difference_update(listeners)
            self._count(forgotten=len(listeners))
            self._is_urgent = self._must_scrub = True

    # The lake ----------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Acknowledge what is committed, and start the next commit when it is due."""
        if self._committing and self._committing.done():
            self._acknowledge()
        if self._committing is None and self._is_due():
            self._start()

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._since
        return bool(self._waiting) and (self._is_urgent or len(self._waiting) >= self._pace.batch_rows or waited >= self._pace.batch_s)

    def _start(self) -> None:
        self._in_flight, self._waiting, self._is_urgent = self._waiting, Batch(), False
        batch = self._in_flight
        # Another worker may have been told to forget somebody since.
        if gone := self._gone(batch.listeners()):
            batch.refuse(gone, FORGOTTEN)
        self._committing = self._committer.submit(self._commit, batch)

    def _commit(self, batch: Batch) -> Committed:
        done = self._persist(lambda: self._batches.commit(batch))
        self._persist(lambda: self._batches.compact(done.days))
        return done

    def _acknowledge(self) -> None:
        assert self._committing
        done, batch = self._committing.result(), self._in_flight
        self._persist(lambda: self._stream.acknowledge(batch.ids))
        self._committing, self._in_flight = None, Batch()
        self._count(stored=done.stored, duplicate=done.duplicate, rejected=done.rejected, batches=1)
        for report in (self.total, self._lately):
            report.days.update(done.days)
        if self._must_scrub and not self._is_urgent:
            self._persist(self._stream.scrub)
            self._must_scrub = False

    def _finish(self) -> None:
        """Commit and acknowledge all that waits."""
        while self._committing or self._waiting:
            if self._committing:
                self._committing.exception()
                self._acknowledge()
            if self._waiting:
                self._start()

    # The rest ----------------------------------------------------------------------------------------------------------

    def _bring_vectors_up_to_date(self) -> None:
        if self._fold and self._to_fold and _is_free(self._folding, "vectors of listeners were not brought up to date"):
            listeners, self._to_fold = self._to_fold, set()
            self._folding = self._folder.submit(self._fold, listeners)

    def _give_report(self) -> None:
        if not _is_free(self._reporting, _UNTOLD):
            return
        if self._reporting and self._reporting.exception():
            self._lately.days |= self._reported.days
        self._reported, self._lately = self._figures(self._lately), Report()
        self._reporting = self._reporter.submit(self._report, self._reported)

    def _figures(self, report: Report) -> Report:
        report.lag, report.waiting = self._meter.measure(self._clock()), len(self._waiting) + len(self._in_flight)
        return report

    def _count(self, **counts: int) -> None:
        self.total.count(**counts)
        self._lately.count(**counts)

    def _tell(self, what: str, every_s: float, do: Callable[[], object]) -> None:
        if time.monotonic() >= self._due[what]:
            self._due[what] = time.monotonic() + every_s
            do()

    def _persist(self, do: Callable[[], T]) -> T:
        """Do something until it succeeds, with growing pauses; once told to stop, for a while only."""
        pause_s, patience = 0.05, _Patience(self._stop)
        while True:
            try:
                return do()
            except TransientError as error:
                if patience.is_over():
                    raise
                _LOG.warning("the stream waits: %s", error)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _is_free(last: Future[Any] | None, sorry: str) -> bool:
    """Whether the last call of something has ended; its failure is told in the log."""
    if last and last.done() and (error := last.exception()):
        _LOG.warning("%s: %s", sorry, type(error).__name__)
    return last is None or last.done()
