"""States that a power cut can leave, made by hand: what a file system gives back for bytes that never reached the disk."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from lake_tables import DAY, day_rows, later, log_file, log_files, numbers, open_lake

from spotify_ai_assets.errors import PermanentError, TransientError

TEARS = {
    "zero length": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "all NUL": lambda content: bytes(len(content)),
}
CHECKPOINT = 99
"""The hundredth commit, with which Delta makes a checkpoint."""


def tear(path: Path, how: str) -> None:
    path.write_bytes(TEARS[how](path.read_bytes()))


def written_until(folder: Path, version: int):
    """A table whose newest version this is; the last write put ``version`` rows, so every version can be told."""
    lake = open_lake(folder)
    lake.write("a/days", day_rows({"other": 1}, later(1)), later(1))
    for n in range(2, version + 1):
        lake.write("a/days", day_rows(n), DAY)
    assert lake.table("a/days").version() == version
    return lake


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Copies of tables at versions around the hundredth, where Delta makes a checkpoint."""
    import shutil

    folder = tmp_path_factory.mktemp("tables")
    lake = written_until(folder / "2", 2)
    lake = written_until(folder / "growing", 97)
    for version in (98, 99, 100, 101, 102):
        lake.write("a/days", day_rows(version), DAY)
        shutil.copytree(folder / "growing", folder / str(version))

    def copy(version: int, target: Path):
        shutil.copytree(folder / str(version), target, dirs_exist_ok=True)
        return open_lake(target)

    return copy


@pytest.mark.parametrize("version", [2, 98, 99, 100, 101, 102])
@pytest.mark.parametrize("how", TEARS)
def test_a_torn_last_commit_is_set_aside_by_the_next_writer(tables, tmp_path, version, how):
    lake = tables(version, tmp_path)
    tear(log_file(lake, version), how)
    lake.write("a/days", day_rows({"mine": 5}, later(2)), later(2))
    assert len(numbers(lake)) == (version - 1 if version > 2 else 0)
    assert numbers(lake, later(1)) == {"other": 1} and numbers(lake, later(2)) == {"mine": 5}
    assert len(list(Path(lake.storage.uri("a/days")).glob(f"_aside/*/{version:020}.json"))) == 1
    lake.write("a/days", day_rows(7), DAY)
    assert len(numbers(lake)) == 7 and lake.mend("a/days") == []


@pytest.mark.parametrize("how", TEARS)
def test_mend_says_what_it_set_aside_and_is_done_after_one_time(tables, tmp_path, how):
    lake = tables(102, tmp_path)
    tear(log_file(lake, 102), how)
    assert lake.mend("a/days") == [f"a/days: torn {102:020}.json was set aside"]
    assert lake.mend("a/days") == [] and len(numbers(lake)) == 101


@pytest.mark.parametrize("how", TEARS)
def test_readers_never_mend(tables, tmp_path, how):
    lake = tables(101, tmp_path)
    tear(log_file(lake, 101), how)
    before = {path: path.read_bytes() for path in Path(lake.storage.root).rglob("*") if path.is_file()}
    for read in (lake.states, lambda key: lake.scan(key).collect(), lambda key: lake.vacuum(key, dry_run=True)):
        try:
            read("a/days")
        except TransientError as error:
            assert "mend" in str(error)
    assert {path: path.read_bytes() for path in Path(lake.storage.root).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("how", TEARS)
def test_a_first_commit_that_is_torn_leaves_no_table(tmp_path, how):
    lake = open_lake(tmp_path)
    lake.write("a/days", day_rows(1), DAY)
    log_file(lake, 1).unlink()
    tear(log_file(lake, 0), how)
    lake.write("a/days", day_rows(3), DAY)
    assert len(numbers(lake)) == 3 and log_files(lake)[0] == f"{0:020}.json"


@pytest.mark.parametrize("how", [*TEARS, "NUL in the middle"])
@pytest.mark.parametrize("version", [CHECKPOINT, 100, 102])
@pytest.mark.parametrize("is_hint_torn", [False, True])
def test_a_torn_checkpoint_costs_nothing_while_the_log_below_it_is_there(tables, tmp_path, version, how, is_hint_torn):
    lake = tables(version, tmp_path)
    checkpoint, hint = log_file(lake, CHECKPOINT, "checkpoint.parquet"), log_file(lake, CHECKPOINT).with_name("_last_checkpoint")
    if how in TEARS:
        tear(checkpoint, how)
    else:
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[:200] + bytes(len(content) // 2) + content[200 + len(content) // 2 :])
    if is_hint_torn:
        tear(hint, "half")
    done = lake.mend("a/days")
    assert any("checkpoint.parquet" in sentence for sentence in done) and any("_last_checkpoint" in sentence for sentence in done)
    assert len(numbers(lake)) == version and numbers(lake, later(1)) == {"other": 1}
    for n in range(1, 4):
        lake.write("a/days", day_rows(n), DAY)
    assert len(numbers(lake)) == 3 and lake.mend("a/days") == []


@pytest.mark.parametrize("how", TEARS)
def test_a_torn_hint_is_set_aside_alone(tables, tmp_path, how):
    lake = tables(102, tmp_path)
    tear(log_file(lake, CHECKPOINT).with_name("_last_checkpoint"), how)
    assert lake.mend("a/days") == ["a/days: torn _last_checkpoint was set aside"]
    assert len(numbers(lake)) == 102 and log_file(lake, CHECKPOINT, "checkpoint.parquet").exists()


@pytest.mark.parametrize("how", TEARS)
def test_a_torn_commit_with_its_torn_checkpoint_and_hint_leaves_the_version_before(tables, tmp_path, how):
    lake = tables(CHECKPOINT, tmp_path)
    for path in (
        log_file(lake, CHECKPOINT),
        log_file(lake, CHECKPOINT, "checkpoint.parquet"),
        log_file(lake, CHECKPOINT).with_name("_last_checkpoint"),
    ):
        tear(path, how)
    assert len(lake.mend("a/days")) == 3
    assert len(numbers(lake)) == CHECKPOINT - 1 == lake.table("a/days").version()
    lake.write("a/days", day_rows(4), DAY)
    assert log_file(lake, CHECKPOINT, "checkpoint.parquet").exists() and len(numbers(lake)) == 4


def test_a_commit_on_top_of_a_torn_one_goes_with_it(tables, tmp_path):
    """A writer syncs what it stands on before it commits, so nobody was ever told of such a commit."""
    lake = tables(102, tmp_path)
    tear(log_file(lake, 101), "all NUL")
    assert len(lake.mend("a/days")) == 2 and len(numbers(lake)) == 100


@pytest.mark.parametrize("how", [*TEARS, "missing"])
@pytest.mark.parametrize("version", [2, 101])
def test_a_torn_data_file_makes_its_partition_missing_and_leaves_the_others(tables, tmp_path, version, how):
    lake = tables(version, tmp_path)
    path = Path(lake.storage.uri("a/days", lake.state("a/days", DAY).paths[0]))
    path.unlink() if how == "missing" else tear(path, how)
    reader = open_lake(tmp_path)
    with pytest.raises(TransientError, match="mend"):
        reader.states("a/days")
    assert lake.mend("a/days") == ["a/days: 2024-01-01 lost a file that was not whole"]
    assert list(reader.states("a/days")) == ["2024-01-02"] and numbers(lake, later(1)) == {"other": 1}
    assert lake.write("a/days", day_rows(version), DAY).is_new and len(numbers(lake)) == version


@pytest.mark.parametrize("how", TEARS)
def test_a_writer_of_the_torn_partition_mends_it_first(tables, tmp_path, how):
    lake = tables(101, tmp_path)
    tear(Path(lake.storage.uri("a/days", lake.state("a/days", DAY).paths[0])), how)
    seen = []
    lake.update("a/days", [DAY], lambda day, rows: seen.append(rows.height) or pl.concat([rows, day_rows({"new": 1})]))
    assert seen == [0] and numbers(lake) == {"new": 1} and numbers(lake, later(1)) == {"other": 1}


def test_vacuum_and_erasure_mend_before_they_remove(tables, tmp_path):
    for number, care in enumerate((lambda lake: lake.vacuum("a/days", keep=dt.timedelta(0)), lambda lake: lake.forget_history("a/days"))):
        lake = tables(102, tmp_path / str(number))
        tear(log_file(lake, 102), "zero length")
        care(lake)
        assert len(numbers(lake)) == 101 and numbers(lake, later(1)) == {"other": 1}


def test_a_table_of_which_nothing_older_is_left_is_left_alone(tmp_path):
    """Cannot come from a power cut, since a vacuum syncs its checkpoint first; a broken disk may do it."""
    lake = written_until(tmp_path, 5)
    lake.forget_history("a/days")
    first = min(log_files(lake))
    tear(log_file(lake, int(first[:20]), "checkpoint.parquet"), "half")
    before = log_files(lake)
    for use in (lake.mend, lake.vacuum, lambda key: lake.write(key, day_rows(1), DAY)):
        with pytest.raises(PermanentError, match="backup"):
            use("a/days")
    assert log_files(lake) == before
