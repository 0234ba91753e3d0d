"""The same steps in a folder and in a bucket of moto's S3; credentials come from the environment alone."""

import datetime as dt
import json
import uuid

import polars as pl
import pytest
from lake_tables import DAY, DAYS, TABLES, day_rows, finish, later, numbers, start, whole_rows

from spotify_ai_assets.errors import CommitConflictError, HistoryErasedError
from spotify_ai_assets.resources import lake_log
from spotify_ai_assets.resources.lake import WHOLE, Lake, Origin, Recipe
from spotify_ai_assets.resources.locks import FileLocks

_SERVE = """
import logging
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def server():
    """The address of an S3 server in a process of its own: deltalake keeps Python's lock while it changes table properties."""
    pytest.importorskip("moto.server")
    process = start(_SERVE)
    yield process.stdout.readline().strip()
    process.communicate("stop\n", timeout=20)


@pytest.fixture(params=["folder", "bucket"])
def root(request, tmp_path, monkeypatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "lake")
    import boto3

    endpoint = request.getfixturevalue("server")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"lake-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/lake"


@pytest.fixture
def lake(root, tmp_path) -> Lake:
    return Lake(root, TABLES, FileLocks(tmp_path / "locks"))


def test_every_step_works_alike_in_a_folder_and_in_a_bucket(lake, root, tmp_path):
    assert lake.states("a/days") == {} and lake.scan("a/days").collect().is_empty()
    recipe, origin = Recipe("3", {"b/x@2024-01-01": "e" * 64}), Origin("run-1", "f" * 32)
    written = lake.write("a/days", day_rows(3), DAY, recipe=recipe, origin=origin)
    assert written.is_new and not lake.write("a/days", day_rows(3), DAY, recipe=recipe).is_new
    assert lake.write("a/days", day_rows(0), later(1)).state.rows == 0
    changed = lake.update("a/days", [DAY, later(2)], lambda day, rows: pl.concat([rows, day_rows({"new": 1}, day)]))
    assert {day: result.state.rows for day, result in changed.items()} == {DAY: 4, later(2): 1}
    assert [lake.append("a/whole", whole_rows({name: 1.0}), transaction=name) for name in "aba"] == [True, True, False]

    fresh = Lake(root, TABLES, FileLocks(tmp_path / "locks"))
    assert [state.rows for state in fresh.states("a/days").values()] == [4, 0, 1] and fresh.states("a/whole")[WHOLE].rows == 2
    assert fresh.state("a/days", DAY) == changed[DAY].state
    found = fresh.scan("a/days", first=later(1)).collect()
    assert found.rows() == [(later(2), "new", 1)] and found.schema == pl.Schema(DAYS.schema)
    assert fresh.scan("a/days", version=written.version).collect().height == 3
    assert fresh.open("a/days", [written.state]).collect().height == 3

    assert set(lake.vacuum("a/days", keep=dt.timedelta(0), dry_run=True)) == set(written.state.paths)
    assert set(lake.vacuum("a/days", keep=dt.timedelta(0))) == set(written.state.paths)
    lake.forget_history("a/days")
    with pytest.raises(HistoryErasedError):
        lake.scan("a/days", version=written.version)
    assert lake.mend("a/days") == [] and len(numbers(lake)) == 4
    assert lake.write("a/days", day_rows(5), DAY).is_new and len(numbers(fresh)) == 5


@pytest.mark.slow
def test_a_lake_passes_its_hundredth_commit(lake):
    for n in range(103):
        lake.write("a/days", day_rows({"n": n}), DAY)
    assert numbers(lake) == {"n": 102} and lake.state("a/days", DAY).rows == 1


@pytest.mark.parametrize("is_same_day", [True, False])
def test_the_second_of_two_commits_is_refused_and_not_written_over(lake, root, tmp_path, monkeypatch, is_same_day):
    lake.write("a/days", day_rows({"a": 1}), DAY)
    other, commit = Lake(root, TABLES, FileLocks(tmp_path / "locks")), lake_log.commit
    theirs, results = DAY if is_same_day else later(1), []

    def slow_commit(*arguments):
        monkeypatch.setattr(lake_log, "commit", commit)
        other.write("a/days", day_rows({"theirs": 2}, theirs), theirs)
        results.append(commit(*arguments))
        return results[-1]

    monkeypatch.setattr(lake_log, "commit", slow_commit)
    if is_same_day:
        with pytest.raises(CommitConflictError):
            lake.write("a/days", day_rows({"ours": 3}), DAY)
    else:
        lake.write("a/days", day_rows({"ours": 3}), DAY)
        assert numbers(lake) == {"ours": 3}
    assert results == [None] and numbers(lake, theirs) == {"theirs": 2}


_APPEND = """
import json
from spotify_ai_assets.resources.lake import Lake
folder, root, me = sys.argv[1:]
lake = Lake(root, TABLES, FileLocks(Path(folder) / "locks"))
print("ready", flush=True)
sys.stdin.readline()
for n in range(4):
    lake.append("a/whole", whole_rows({f"{me}-{n}": 1.0}), transaction=f"{me}-{n}")
    lake.update("a/days", [DAY], lambda day, rows: pl.concat([rows, day_rows({f"{me}-{n}": n})]))
print(json.dumps("done"))
"""


def test_processes_that_commit_at_the_same_moment_lose_nothing(lake, root, tmp_path):
    """The log entry of a version is put only where there is none: the server decides who was first."""
    processes = [start(_APPEND, tmp_path, root, name) for name in "xyz"]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [json.loads(finish(process)) for process in processes] == ["done"] * 3
    expected = sorted(f"{name}-{n}" for name in "xyz" for n in range(4))
    assert sorted(lake.scan("a/whole").collect()["id"]) == expected == sorted(numbers(lake))


@pytest.mark.parametrize("root", ["bucket"], indirect=True)
def test_a_commit_whose_answer_was_lost_counts_as_made(lake, monkeypatch):
    """The store took the commit, the connection broke, and the repeated request finds its own commit in the way."""
    from deltalake import DeltaTable
    from deltalake.exceptions import CommitFailedError

    lake.write("a/days", day_rows(1), DAY)
    send = DeltaTable.create_write_transaction

    def lose_answer(*arguments, **options):
        send(*arguments, **options)
        raise CommitFailedError("version exists")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", lose_answer)
    calls = []
    lake.update("a/days", [DAY], lambda day, rows: calls.append(day) or pl.concat([rows, day_rows({"new": 1})]))
    assert calls == [DAY] and len(numbers(lake)) == 2
    assert lake.append("a/whole", whole_rows({"a": 1.0}), transaction="t")
