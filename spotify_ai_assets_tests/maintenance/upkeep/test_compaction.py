"""Many files become one; the rows stay, and what cannot be one file is left as it is."""

from datetime import timedelta

import polars as pl
from invented import day, listens

from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS, PLAYS
from spotify_ai_assets.maintenance.upkeep.compaction import compact, find_scattered
from spotify_ai_assets.resources.lake import Lake, Recipe

PIECES = 12


def stream(lake: Lake, number: int) -> None:
    """Put a day's listens in as a stream does: a file for each micro-batch."""
    rows = listens(day(number))
    for piece in range(PIECES):
        some = rows.filter(pl.int_range(pl.len()) % PIECES == piece)
        lake.extend(EVENTS.key, [day(number)], lambda _, present, some=some: some)


def find(lake: Lake, number: int) -> list[tuple[str, str, int]]:
    found = find_scattered(lake, day(number), most_files=8, settled_days=2)
    return [(each.key, each.partition, each.files) for each in found]


def test_a_settled_day_of_many_files_becomes_one_and_keeps_its_rows(lake: Lake) -> None:
    stream(lake, 0)
    before = lake.scan(EVENTS.key).collect().sort(EVENTS.primary_key)
    found = find_scattered(lake, day(2), most_files=8, settled_days=2)
    done = compact(lake, found)
    assert (done.partitions, done.files, done.refused) == (1, PIECES, [])
    assert done.saved > 0
    state = lake.state(EVENTS.key, day(0))
    assert state is not None
    assert len(state.paths) == 1
    assert lake.scan(EVENTS.key).collect().equals(before)
    assert find(lake, 2) == []
    assert compact(lake, found).saved == 0 or lake.scan(EVENTS.key).collect().equals(before), "once more changes no row"


def test_a_day_that_may_still_be_streamed_into_is_left_alone(lake: Lake) -> None:
    for number in (0, 1):
        stream(lake, number)
    assert find(lake, 1) == []
    assert find(lake, 2) == [(EVENTS.key, str(day(0)), PIECES)]
    assert find(lake, 3) == [(EVENTS.key, str(day(number)), PIECES) for number in (0, 1)]


def test_a_whole_table_that_was_appended_to_becomes_one_file(lake: Lake) -> None:
    for number in range(PIECES):
        noted = {name: None for name in IMPORTS.schema} | {
            "file_sha256": f"{number:064x}",
            "rows": 1,
            "stored": 1,
            "duplicate": 0,
            "rejected": 0,
            "imported_at": None,
        }
        rows = pl.DataFrame([noted], schema=IMPORTS.schema).with_columns(imported_at=pl.lit(day(0)).cast(IMPORTS.schema["imported_at"]))
        lake.append(IMPORTS.key, rows, transaction=str(number))
    assert find(lake, 0) == [(IMPORTS.key, "", PIECES)]
    compact(lake, find_scattered(lake, day(0), most_files=8, settled_days=2))
    assert lake.scan(IMPORTS.key).collect().height == PIECES
    assert len(lake.states(IMPORTS.key)[""].paths) == 1
    assert not lake.append(IMPORTS.key, rows, transaction="0"), "what was imported once is still known"


def test_files_that_share_a_key_are_told_of_and_stay(lake: Lake) -> None:
    rows = listens(day(0), count=3)
    for _ in range(2):
        lake.extend(EVENTS.key, [day(0)], lambda _, present: rows)
    stream(lake, 1)
    found = find_scattered(lake, day(9), most_files=1, settled_days=0)
    done = compact(lake, found)
    assert done.refused == [f"{EVENTS.key}@{day(0)}"]
    assert done.partitions == 1
    assert lake.scan(EVENTS.key, last=day(0)).collect().height == 6


def test_tables_made_from_others_are_not_looked_at(lake: Lake) -> None:
    lake.write(PLAYS.key, PLAYS.empty(), day(0), recipe=Recipe("1"))
    assert find_scattered(lake, day(0) + timedelta(days=9), most_files=1, settled_days=0) == []
