"""Micro-batches: each listen is stored once, and what is noted of batches adds up to what is there, wherever a committer dies."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_rows import NOW, listener, listens

from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS, REJECTED
from spotify_ai_assets.recommendations.realtime.batches import Batch, Batches, Committed
from spotify_ai_assets.recommendations.realtime.messages import decode, encode
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.tables import TABLES


class KilledError(BaseException):
    """Stands for the end of the process."""


def batch_of(rows: pl.DataFrame, *strange: bytes, ids: Sequence[str] | None = None, delivery: int = 0) -> Batch:
    bodies = [*strange, *encode(rows)]
    batch = Batch()
    batch.add(ids or [f"{delivery}-{number}" for number in range(len(bodies))], decode(bodies, NOW))
    return batch


def open_batches(lake: Lake, folder: Path) -> Batches:
    return Batches(lake, folder / "journal" / "worker.json", clock=lambda: NOW)


def stored(lake: Lake) -> pl.DataFrame:
    return lake.scan(EVENTS.key).collect()


def assert_balanced(lake: Lake) -> None:
    """Each batch adds up, all stored records are the rows of the table, and each refused one has its rule."""
    noted, rows = lake.scan(IMPORTS.key).collect(), stored(lake)
    assert noted.filter(pl.col("rows") != pl.col("stored") + pl.col("duplicate") + pl.col("rejected")).is_empty()
    assert noted["stored"].sum() == rows.height == rows.select(EVENTS.primary_key).unique().height
    assert noted["rejected"].sum() == lake.scan(REJECTED.key).collect().height
    assert noted["file_sha256"].is_unique().all()


def test_a_batch_becomes_rows_and_is_noted(lake, tmp_path: Path):
    done = open_batches(lake, tmp_path).commit(batch_of(listens(10), b"{"))
    assert done == Committed(10, 0, 1, (NOW.date(),))
    assert stored(lake)["source"].unique().to_list() == ["stream"]
    assert lake.scan(REJECTED.key).select("row", "rule").collect().rows() == [(1, "bad_message")]
    assert_balanced(lake)


def test_what_comes_again_is_a_duplicate_whoever_delivers_it(lake, tmp_path: Path):
    batches = open_batches(lake, tmp_path)
    batches.commit(batch_of(listens(10)))
    again = batch_of(pl.concat([listens(10, first=5), listens(3, first=12)]), delivery=1)
    assert batches.commit(again) == Committed(5, 8, 0, (NOW.date(),))
    assert_balanced(lake)


def test_the_same_batch_committed_again_changes_nothing(lake, tmp_path: Path):
    batches = open_batches(lake, tmp_path)
    batches.commit(batch_of(listens(10), b"{"))
    before = {key: lake.table(key).version() for key in (EVENTS.key, IMPORTS.key, REJECTED.key)}
    assert batches.commit(batch_of(listens(10), b"{")) == Committed(0, 10, 1, ())
    assert {key: lake.table(key).version() for key in before} == before
    assert_balanced(lake)


def test_a_batch_of_several_days_is_one_commit(lake, tmp_path: Path):
    rows = listens(30, step_s=7200)
    done = open_batches(lake, tmp_path).commit(batch_of(rows))
    assert set(done.days) == set(rows["day"]) and len(done.days) > 2
    assert lake.table(EVENTS.key).transaction_version(f"{EVENTS.key}:{lake.scan(IMPORTS.key).collect()['file_sha256'][0]}") is not None
    assert_balanced(lake)


def test_a_batch_without_records_leaves_no_trace(lake, tmp_path: Path):
    assert open_batches(lake, tmp_path).commit(Batch(ids=["1"])) == Committed()
    assert lake.states(IMPORTS.key) == {}


def test_somebody_may_be_refused_while_the_batch_waits(lake, tmp_path: Path):
    batch = batch_of(listens(10, listeners=2), b"{")
    batch.add(["x", "y"], decode(encode(listens(2, first=10, listeners=2)), NOW))
    batch.refuse([listener(0)], "forgotten_listener")
    assert batch.listeners() == {listener(1)}
    assert open_batches(lake, tmp_path).commit(batch) == Committed(6, 0, 7, (NOW.date(),))
    refused = lake.scan(REJECTED.key).filter(pl.col("rule") == "forgotten_listener").collect()["row"].sort().to_list()
    assert refused == [2, 4, 6, 8, 10, 12]
    assert_balanced(lake)


def test_the_end_of_a_play_known_to_the_minute_is_recognised_across_midnight(lake, tmp_path: Path):
    start = datetime(2026, 6, 28, 0, 0, 10, tzinfo=UTC)
    second = listens(1, start=start).with_columns(played_ms=pl.lit(200_000, dtype=pl.Int64))
    moved = pl.lit(start - timedelta(seconds=25)).cast(EVENTS.schema["started_at"])
    minute = second.with_columns(started_at=moved, day=moved.dt.date(), is_minute_grain=pl.lit(True))
    lake.update(EVENTS.key, [minute["day"][0]], lambda _day, present: pl.concat([present, minute]))
    assert minute["day"][0] != second["day"][0]
    done = open_batches(lake, tmp_path).commit(batch_of(second))
    assert (done.stored, done.duplicate) == (0, 1)


def test_days_of_many_files_are_made_one(lake, tmp_path: Path):
    batches = open_batches(lake, tmp_path)
    for number in range(4):
        batches.commit(batch_of(listens(5, first=5 * number), delivery=number))
    before = stored(lake).sort(EVENTS.primary_key)
    assert batches.compact([NOW.date()], most=4) == []
    assert batches.compact([NOW.date(), NOW.date() - timedelta(days=9)], most=3) == [NOW.date()]
    assert len(lake.state(EVENTS.key, NOW.date()).paths) == 1
    assert stored(lake).equals(before)
    assert batches.commit(batch_of(listens(20), delivery=9)).duplicate == 20
    assert_balanced(lake)


@pytest.mark.parametrize("dies_in", ["extend", "_put", "append", "append:imports", "journal"])
def test_a_committer_that_dies_is_followed_by_one_that_makes_it_whole(lake, tmp_path: Path, monkeypatch, dies_in: str):
    batches = open_batches(lake, tmp_path)
    batches.commit(batch_of(listens(4), delivery=1))
    original = {name: getattr(lake, name) for name in ("extend", "_put", "append")}

    def die(name: str):
        def call(*arguments, **options):
            if dies_in in (name, f"{name}:{str(arguments[0]).partition('/')[2]}"):
                raise KilledError
            return original[name](*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in original:
            patched.setattr(lake, name, die(name))
        if dies_in == "journal":
            patched.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            batches.commit(batch_of(listens(10), b"{", delivery=2))
    follower = open_batches(lake, tmp_path)
    recovered = follower.recover()
    assert (recovered is not None) == (dies_in not in ("extend", "_put"))
    assert recovered in (None, Committed(6, 4, 1, (NOW.date(),)))
    done = follower.commit(batch_of(listens(12), b"{", delivery=3))
    assert done.stored == (8 if recovered is None else 2)
    assert_balanced(lake)


def test_a_failed_note_is_made_when_the_same_batch_is_tried_again(lake, tmp_path: Path, monkeypatch):
    from spotify_ai_assets.errors import LockTimeoutError

    batches = open_batches(lake, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(lake, "append", lambda *_, **__: (_ for _ in ()).throw(LockTimeoutError("held")))
        with pytest.raises(LockTimeoutError):
            batches.commit(batch_of(listens(10)))
    assert batches.commit(batch_of(listens(10))) == Committed(10, 0, 0, (NOW.date(),))
    assert_balanced(lake)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(deliveries=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 12), st.booleans()), min_size=1, max_size=5))
def test_however_listens_are_delivered_each_is_stored_once(tmp_path_factory: pytest.TempPathFactory, deliveries):
    folder = tmp_path_factory.mktemp("lake")
    lake = Lake(str(folder / "lake"), TABLES, FileLocks(folder / "locks"))
    batches, seen = open_batches(lake, folder), set()
    for number, (first, count, is_strange) in enumerate(deliveries):
        rows = listens(count, first=first, step_s=9000)
        new = set(rows["started_at"]) - seen
        seen |= new
        done = batches.commit(batch_of(rows, *([b"?"] if is_strange else []), delivery=number))
        assert (done.stored, done.duplicate, done.rejected) == (len(new), count - len(new), int(is_strange))
    assert set(stored(lake)["started_at"]) == seen
    assert_balanced(lake)
