"""What of the rows that were written just now stays in memory."""

from lake_tables import DAYS, day_rows, later

from spotify_ai_assets.resources.lake_rows import RecentRows


def path(number: int) -> str:
    return f"day={later(number)}/{number}.parquet"


def remember(rows: RecentRows, counts: list[int]) -> None:
    for number, count in enumerate(counts):
        rows.keep(DAYS, path(number), day_rows(count, later(number)).drop("day"))


def test_small_files_stay_and_come_back_with_their_days_in_order() -> None:
    rows = RecentRows(10**9)
    remember(rows, [2, 3, 1])
    found = rows.get(DAYS, [path(0), path(1), path(2)])
    assert found is not None
    assert found.collect()["day"].to_list() == [later(0)] * 2 + [later(1)] * 3 + [later(2)]


def test_one_file_that_is_not_remembered_sends_the_reader_to_the_disk() -> None:
    rows = RecentRows(10**9)
    remember(rows, [2, 3])
    assert rows.get(DAYS, [path(0), path(7)]) is None
    assert rows.get(DAYS, []) is None


def test_of_large_files_only_the_last_stays() -> None:
    rows = RecentRows(10**9, small=1_000)
    remember(rows, [500, 500])
    assert rows.get(DAYS, [path(0)]) is None
    assert rows.get(DAYS, [path(1)]) is not None


def test_the_oldest_small_files_go_first() -> None:
    rows = RecentRows(10**9, small=10_000, small_limit=10_000)
    remember(rows, [100] * 20)
    assert rows.get(DAYS, [path(0)]) is None
    assert rows.get(DAYS, [path(18)]) is not None
