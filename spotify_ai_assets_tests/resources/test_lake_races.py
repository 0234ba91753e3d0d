"""Several processes on one table: nothing that anyone was told is written may be missing afterwards."""

import datetime as dt
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from lake_tables import DAY, WHOLE, day_rows, finish, later, numbers, open_lake, start, whole_rows

from spotify_ai_assets.errors import CommitConflictError, LockTimeoutError
from spotify_ai_assets.resources import lake_log
from spotify_ai_assets.resources.lake import Recipe

_BEGIN = """
import json, time
from spotify_ai_assets.errors import CommitConflictError
from spotify_ai_assets.resources.lake import Recipe
folder, me, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
lake = open_lake(folder)
print("ready", flush=True)
sys.stdin.readline()
"""
WRITE_OWN_DAY = (
    _BEGIN
    + """
day = later(int(me))
for n in range(1, times + 1):
    lake.write("a/days", day_rows({f"{me}-{i}": n for i in range(n)}, day), day)
"""
)
WRITE_ONE_DAY = (
    _BEGIN
    + """
won, lost = [], 0
for n in range(times):
    try:
        won.append(lake.write("a/days", day_rows({f"{me}-{n}-{i}": i for i in range(5)}), DAY).version)
    except CommitConflictError:
        lost += 1
print(json.dumps([won, lost]))
"""
)
APPEND = (
    _BEGIN
    + """
for n in range(times):
    for _ in range(2):
        lake.append("a/whole", whole_rows({f"{me}-{n}": 1.0}), transaction=f"{me}-{n}")
"""
)
UPDATE = (
    _BEGIN
    + """
import polars as pl
for n in range(times):
    lake.update("a/days", [DAY, later(1)], lambda day, rows: pl.concat([rows, day_rows({f"{me}-{n}": n}, day)]))
"""
)
VACUUM = (
    _BEGIN
    + """
import datetime as dt
done = 0
while done < times:
    lake.vacuum("a/days", keep=dt.timedelta(0))
    lake.vacuum("a/whole", keep=dt.timedelta(0))
    done += 1
print(done)
"""
)


def race(folder, *racers: tuple[str, str, int]) -> list[str]:
    """Start processes, let them go at the same moment, and give what each printed."""
    processes = [start(code, folder, name, times) for code, name, times in racers]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [finish(process) for process in processes]


def test_writers_of_different_days_never_meet(lake, tmp_path):
    race(tmp_path, *((WRITE_OWN_DAY, str(n), 12) for n in range(4)))
    for n in range(4):
        assert numbers(lake, later(n)) == {f"{n}-{i}": 12 for i in range(12)}
    assert lake.table("a/days").version() == 48


def test_writers_of_one_day_leave_one_winner_whole_and_tell_the_others(lake, tmp_path):
    results = [json.loads(output) for output in race(tmp_path, *((WRITE_ONE_DAY, str(n), 8) for n in range(4)))]
    versions = [version for won, _ in results for version in won]
    assert len(set(versions)) == len(versions) and sum(len(won) + lost for won, lost in results) == 32
    winners = {name.rpartition("-")[0] for name in numbers(lake)}
    assert len(winners) == 1 and len(numbers(lake)) == 5
    assert winners.pop().partition("-")[0] == str(next(n for n, (won, _) in enumerate(results) if max(versions) in won))
    assert lake.table("a/days").version() == len(versions)


def test_four_writers_two_appenders_and_a_vacuum_on_one_table_lose_nothing(lake, tmp_path):
    """``update`` is what appends to a daily table; the whole table has two appenders more."""
    output = race(
        tmp_path,
        *((WRITE_OWN_DAY, str(n), 12) for n in range(2, 6)),
        *((UPDATE, name, 8) for name in "xy"),
        *((APPEND, name, 8) for name in "xy"),
        (VACUUM, "v", 10),
    )
    assert output[-1] == "10\n"
    for n in range(2, 6):
        assert numbers(lake, later(n)) == {f"{n}-{i}": 12 for i in range(12)}
    expected = {f"{name}-{n}" for name in "xy" for n in range(8)}
    assert set(numbers(lake)) == expected == set(numbers(lake, later(1)))
    assert sorted(lake.scan("a/whole").collect()["id"]) == sorted(expected)
    lake.vacuum("a/days", keep=dt.timedelta(0))
    assert lake.scan("a/days").collect().height == 4 * 12 + 2 * 16 and lake.mend("a/days") == []


def test_updates_of_the_same_days_lose_nothing(lake, tmp_path):
    race(tmp_path, *((UPDATE, name, 10) for name in "xyz"))
    expected = {f"{name}-{n}": n for name in "xyz" for n in range(10)}
    assert numbers(lake) == expected == numbers(lake, later(1))


def test_an_update_that_meets_a_concurrent_append_reads_again(lake):
    """Another writer adds a row between the reading and the commit; the update must see it and not send its old rows again."""
    lake.write("a/days", day_rows({"a": 1}), DAY)
    seen = []

    def change(day: dt.date, rows: pl.DataFrame) -> pl.DataFrame:
        seen.append(rows["id"].to_list())
        if len(seen) == 1:
            open_lake(lake.storage.root.removesuffix("/lake")).write("a/days", day_rows({"a": 1, "theirs": 2}), DAY)
        return pl.concat([rows, day_rows({"ours": 3})])

    lake.update("a/days", [DAY], change)
    assert seen == [["a"], ["a", "theirs"]] and numbers(lake) == {"a": 1, "theirs": 2, "ours": 3}


def test_plain_delta_overwrite_by_path_drops_a_concurrent_append(tmp_path):
    """Why every commit goes through the handle that was read."""
    path = tmp_path / "t"
    write_deltalake(path, whole_rows({"a": 1.0}))
    read = pl.DataFrame(DeltaTable(path).to_pyarrow_table())
    write_deltalake(path, whole_rows({"theirs": 2.0}), mode="append")
    write_deltalake(path, pl.concat([read, whole_rows({"ours": 3.0})]), mode="overwrite")
    assert sorted(DeltaTable(path).to_pyarrow_table()["id"].to_pylist()) == ["a", "ours"], "no error, and their row is gone"


@pytest.mark.parametrize("is_same_day", [True, False])
def test_a_write_that_comes_second_looks_whether_its_own_day_was_touched(lake, monkeypatch, is_same_day):
    lake.write("a/days", day_rows({"a": 1}), DAY)
    other, commit = open_lake(lake.storage.root.removesuffix("/lake")), lake_log.commit
    theirs = DAY if is_same_day else later(1)

    def slow_commit(*arguments):
        monkeypatch.setattr(lake_log, "commit", commit)
        other.write("a/days", day_rows({"theirs": 2}, theirs), theirs)
        return commit(*arguments)

    monkeypatch.setattr(lake_log, "commit", slow_commit)
    if is_same_day:
        with pytest.raises(CommitConflictError):
            lake.write("a/days", day_rows({"ours": 3}), DAY)
        assert numbers(lake) == {"theirs": 2}
    else:
        lake.write("a/days", day_rows({"ours": 3}), DAY)
        assert numbers(lake) == {"ours": 3} and numbers(lake, theirs) == {"theirs": 2}


def test_processes_that_create_a_table_at_the_same_moment_share_it(lake, tmp_path):
    race(tmp_path, *((APPEND, str(n), 1) for n in range(4)))
    assert sorted(lake.scan("a/whole").collect()["id"]) == ["0-0", "1-0", "2-0", "3-0"]
    operations = [commit["operation"] for commit in lake.table("a/whole").history()]
    assert operations.count("CREATE TABLE") == 1, "Delta by itself would create it again on top"


def test_a_table_is_created_once_however_many_want_it(tmp_path):
    """Delta by itself would commit the second creation on top of the first, with its columns and properties."""
    for n in range(30):
        lake = open_lake(tmp_path / str(n))
        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(lake_log.open_to_write, lake.storage, WHOLE) for _ in range(4)]:
                future.result()
        assert lake.table("a/whole").version() == 0


def test_processes_that_widen_a_table_at_the_same_moment_both_write(lake, tmp_path):
    lake.write("a/days", day_rows(1), DAY)
    code = _BEGIN.replace(
        "lake = open_lake(folder)",
        "from dataclasses import replace\nfrom spotify_ai_assets.contracts import Column, by_key\nimport polars as pl\n"
        "wider = replace(DAYS, columns=(*DAYS.columns, Column('mood', pl.String, 'Gained.', nullable=True)))\n"
        "lake = open_lake(folder, by_key(wider))",
    )
    code += "day = later(int(me))\nlake.write('a/days', day_rows(2, day).with_columns(mood=pl.lit('calm')), day)\n"
    race(tmp_path, *((code, str(n), 1) for n in range(1, 5)))
    assert [state.rows for state in lake.states("a/days").values()] == [1, 2, 2, 2, 2]


def test_a_vacuum_waits_for_a_writer_and_then_removes_nothing_of_its_own(lake):
    """Between writing its file and committing it, a writer's file is one that no commit names."""
    lake.write("a/days", day_rows(3), DAY)
    put, removed = lake.storage.write, []
    sweeper = threading.Thread(target=lambda: removed.extend(lake.vacuum("a/days", keep=dt.timedelta(0))))

    def slow_put(*arguments, **options):
        size = put(*arguments, **options)
        sweeper.start()
        time.sleep(0.3)
        return size

    lake.storage.write = slow_put
    written = lake.write("a/days", day_rows(4), DAY)
    sweeper.join()
    assert len(removed) == 1 and removed[0] not in written.state.paths and len(numbers(lake)) == 4


def test_whoever_waits_too_long_for_a_table_is_told(lake, tmp_path):
    impatient = open_lake(tmp_path, timeout_s=0.1)
    with lake.locks.shared("a/days"), pytest.raises(LockTimeoutError):
        impatient.vacuum("a/days")
    with lake.locks.exclusive("a/days"), pytest.raises(LockTimeoutError):
        impatient.write("a/days", day_rows(1), DAY, recipe=Recipe())
    assert lake.states("a/days") == {}
