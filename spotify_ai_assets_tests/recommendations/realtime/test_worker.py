"""The worker: what is read is visible at once and stored once, whatever comes, goes away or dies."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from stream_rows import NOW, listener, listens

from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS, REJECTED
from spotify_ai_assets.recommendations.realtime.batches import Batches
from spotify_ai_assets.recommendations.realtime.live import Live, LiveError, SqliteLive
from spotify_ai_assets.recommendations.realtime.messages import encode, encode_forget
from spotify_ai_assets.recommendations.realtime.worker import Pace, Report, Worker
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.stream import SpoolStream, Stream, StreamError

QUICK = Pace(batch_s=0.2, wait_s=0.01, gather_s=0.0, report_s=0.1, watch_s=0.05)


def open_worker(stream: Stream, live: Live, lake: Lake, folder: Path, **options) -> Worker:
    batches = Batches(lake, folder / "journal.json", clock=lambda: NOW)
    return Worker(stream, live, batches, **{"clock": lambda: datetime.now(UTC), "pace": QUICK, "until_empty": True} | options)


@pytest.fixture
def sqlite_live(tmp_path: Path):
    live = SqliteLive(tmp_path / "live.db")
    yield live
    live.close()


@pytest.fixture
def spool(tmp_path: Path):
    stream = SpoolStream(tmp_path / "stream", pause_s=0.001)
    yield stream
    stream.close()


def stored(lake: Lake) -> pl.DataFrame:
    return lake.scan(EVENTS.key).collect()


def plays_of(live: Live, listeners: int = 7) -> int:
    return sum(len(live.plays(listener(number))) for number in range(listeners))


def test_what_is_read_is_visible_stored_and_acknowledged(open_stream: Callable[..., Stream], live: Live, lake: Lake, tmp_path: Path):
    stream, told = open_stream(), []
    stream.append("listen", encode(listens(100)))
    total = open_worker(stream, live, lake, tmp_path, report=lambda report: told.append(report.stored)).run()
    assert (total.messages, total.visible, total.stored, total.duplicate, total.rejected) == (100, 100, 100, 0, 0)
    assert stored(lake).height == plays_of(live) == sum(told) == 100 and stream.waiting() == 0
    assert total.days == {NOW.date()} and total.waiting == 0
    assert 0 <= total.lag.p50_s <= total.lag.p95_s <= total.lag.p99_s < 60 and total.lag.messages == 100


def test_what_comes_twice_counts_once(open_stream: Callable[..., Stream], live: Live, lake: Lake, tmp_path: Path):
    stream = open_stream()
    for _ in range(3):
        stream.append("listen", encode(listens(40)))
        open_worker(stream, live, lake, tmp_path).run()
    noted = lake.scan(IMPORTS.key).select(pl.sum("rows", "stored", "duplicate", "rejected")).collect().row(0)
    assert noted == (120, 40, 80, 0) and plays_of(live) == stored(lake).height == 40


def test_strange_messages_are_refused_counted_and_harm_no_other(spool, sqlite_live, lake: Lake, tmp_path: Path):
    spool.append("listen", [b"{", *encode(listens(5)), b"[]"])
    spool.append("forget", [b"nobody"])
    total = open_worker(spool, sqlite_live, lake, tmp_path).run()
    assert (total.messages, total.stored, total.rejected, total.forgotten) == (8, 5, 3, 0)
    assert lake.scan(REJECTED.key).collect()["row"].sort().to_list() == [1, 7, 8] and spool.waiting() == 0


def test_late_listens_go_to_their_days(spool, sqlite_live, lake: Lake, tmp_path: Path):
    rows = pl.concat([listens(5), listens(5, first=5, start=NOW - timedelta(days=400))])
    spool.append("listen", encode(rows))
    total = open_worker(spool, sqlite_live, lake, tmp_path).run()
    assert total.days == set(rows["day"]) and stored(lake).height == 10


def test_a_worker_that_dies_before_its_commit_is_followed_by_one_that_makes_it(open_stream, live, lake: Lake, tmp_path: Path, monkeypatch):
    class KilledError(BaseException):
        pass

    stream = open_stream()
    stream.append("listen", encode(listens(30)))
    with monkeypatch.context() as patched:
        patched.setattr(Batches, "commit", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            open_worker(stream, live, lake, tmp_path).run()
    assert plays_of(live) == 30 and stored(lake).is_empty()
    stream.close()
    again = open_stream()
    total = open_worker(again, live, lake, tmp_path).run()
    assert (total.visible, total.stored, total.duplicate) == (0, 30, 0) and again.waiting() == 0


def test_a_worker_that_dies_before_it_acknowledges_counts_nothing_twice(open_stream, live, lake: Lake, tmp_path: Path, monkeypatch):
    class KilledError(BaseException):
        pass

    stream = open_stream()
    stream.append("listen", encode(listens(30)))
    with monkeypatch.context() as patched:
        patched.setattr(type(stream), "acknowledge", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            open_worker(stream, live, lake, tmp_path).run()
    assert stored(lake).height == 30
    stream.close()
    total = open_worker(open_stream(), live, lake, tmp_path).run()
    assert (total.visible, total.stored, total.duplicate) == (0, 0, 30) and stored(lake).height == plays_of(live) == 30


def test_stream_store_and_lake_may_be_away_for_a_while(spool, sqlite_live, lake: Lake, tmp_path: Path, monkeypatch):
    failures: Counter[str] = Counter()

    def flaky(owner: type, name: str, error: Exception, times: int) -> None:
        original = getattr(owner, name)

        def call(*arguments, **options):
            failures[name] += 1
            if failures[name] <= times:
                raise error
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    flaky(SpoolStream, "read", StreamError("away"), 2)
    flaky(SpoolStream, "acknowledge", StreamError("away"), 2)
    flaky(SqliteLive, "put", LiveError("away"), 2)
    flaky(Batches, "commit", LiveError("away"), 2)
    spool.append("listen", encode(listens(20)))
    total = open_worker(spool, sqlite_live, lake, tmp_path).run()
    assert (total.stored, stored(lake).height, plays_of(sqlite_live), spool.waiting()) == (20, 20, 20, 0)


def test_a_failure_while_more_is_awaited_forgets_nothing_that_was_read(spool, sqlite_live, lake: Lake, tmp_path: Path, monkeypatch):
    original, calls = SpoolStream.read, []

    def read(self, count: int, wait_s: float):
        calls.append(wait_s)
        if len(calls) == 2:
            raise StreamError("away")
        return original(self, count, wait_s)

    monkeypatch.setattr(SpoolStream, "read", read)
    spool.append("listen", encode(listens(5)))
    assert open_worker(spool, sqlite_live, lake, tmp_path, pace=Pace(wait_s=0.01, gather_s=0.001)).run().stored == 5


def test_a_report_that_fails_stops_nothing_and_its_days_are_in_the_next(spool, sqlite_live, lake: Lake, tmp_path: Path):
    told: list[Report] = []

    def fail_once(report: Report) -> None:
        told.append(report)
        if report.days and sum(bool(each.days) for each in told) == 1:
            raise OSError("away")

    spool.append("listen", encode(listens(5)))
    spool.append("listen", encode(listens(5, first=5, start=NOW - timedelta(days=3))))
    pace = Pace(batch_rows=1, read=1, wait_s=0.3, gather_s=0.0, report_s=0.05)
    assert open_worker(spool, sqlite_live, lake, tmp_path, pace=pace, report=fail_once).run().stored == 10
    failed = next(place for place, report in enumerate(told) if report.days)
    assert set[date]().union(*(each.days for each in told[failed + 1 :])) == {NOW.date(), NOW.date() - timedelta(days=3)}
    assert sum(each.stored for each in told) == 10


def test_whoever_is_forgotten_leaves_the_store_and_the_batch_and_is_refused_from_then_on(open_stream, live, lake: Lake, tmp_path: Path):
    stream = open_stream()
    stream.append("listen", encode(listens(40, listeners=4)))
    stream.append("forget", [encode_forget(listener(1))])
    stream.append("listen", encode(listens(40, first=40, listeners=4)))
    total = open_worker(stream, live, lake, tmp_path).run()
    assert (total.stored, total.rejected, total.forgotten) == (60, 20, 1)
    stream.append("listen", encode(listens(8, first=80, listeners=4)))
    total = open_worker(stream, live, lake, tmp_path).run()
    assert (total.stored, total.rejected) == (6, 2)
    assert live.plays(listener(1)) == [] and listener(1) not in stored(lake)["listener_id"].to_list()
    refused = lake.scan(REJECTED.key).collect()
    assert refused["rule"].unique().to_list() == ["forgotten_listener"] and refused.height == 22 and stream.waiting() == 0


def test_a_forgotten_listener_in_a_waiting_batch_is_confirmed_at_once(spool, sqlite_live, lake: Lake, tmp_path: Path):
    stop = threading.Event()
    pace = Pace(batch_s=3600, wait_s=0.01, gather_s=0.0)
    worker = open_worker(spool, sqlite_live, lake, tmp_path, pace=pace, until_empty=False)
    runner = threading.Thread(target=worker.run, args=(stop,))
    runner.start()
    spool.append("listen", encode(listens(20, listeners=4)))
    SpoolStream(tmp_path / "stream").append("forget", [encode_forget(listener(1))])
    end = datetime.now(UTC) + timedelta(seconds=60)
    while spool.waiting() and datetime.now(UTC) < end:
        stop.wait(0.01)
    assert spool.waiting() == 0
    stop.set()
    runner.join(60)
    assert stored(lake).height == 15


def test_a_batch_is_committed_when_it_is_full_and_the_rest_when_the_worker_stops(spool, sqlite_live, lake: Lake, tmp_path: Path):
    for number in range(5):
        spool.append("listen", encode(listens(10, first=10 * number)))
    pace = Pace(batch_rows=20, batch_s=3600, read=1, wait_s=0.01, gather_s=0.0)
    total = open_worker(spool, sqlite_live, lake, tmp_path, pace=pace).run()
    assert total.stored == 50 and 2 <= total.batches <= 3


def test_listeners_with_new_plays_are_folded_in_and_a_failure_of_it_stops_nothing(spool, sqlite_live, lake: Lake, tmp_path: Path):
    folded: list[set[str]] = []

    def fold(listeners) -> None:
        folded.append(set(listeners))
        if len(folded) == 1:
            raise OSError("away")

    for number in range(4):
        spool.append("listen", encode(listens(7, first=7 * number)))
    pace = Pace(batch_s=0.2, read=1, wait_s=0.05, gather_s=0.0, fold_s=0.0)
    open_worker(spool, sqlite_live, lake, tmp_path, pace=pace, fold=fold).run()
    assert len(folded) >= 2 and set.union(*folded) == {listener(number) for number in range(7)}


def test_who_the_ledger_knows_as_erased_is_refused_without_a_tombstone(spool, sqlite_live, lake: Lake, tmp_path: Path):
    spool.append("listen", encode(listens(70)))
    gone = {listener(3)}
    total = open_worker(spool, sqlite_live, lake, tmp_path, erased=lambda some: gone.intersection(some)).run()
    assert (total.stored, total.rejected, total.visible) == (60, 10, 60) and spool.waiting() == 0
    assert listener(3) not in stored(lake)["listener_id"] and sqlite_live.plays(listener(3)) == []
    assert lake.scan(REJECTED.key).collect()["rule"].unique().to_list() == ["forgotten_listener"]
