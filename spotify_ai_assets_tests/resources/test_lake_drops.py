"""Dropping partitions: out of the present at once, out of the past with the history, under the eyes of other writers."""

import datetime as dt
from pathlib import Path

import pytest
from lake_tables import DAY, day_rows, later, numbers, whole_rows

from spotify_ai_assets.errors import CommitConflictError, MissingInputError
from spotify_ai_assets.resources import lake_log
from spotify_ai_assets.resources.lake import Lake, Origin


def test_dropped_days_are_gone_in_one_commit_and_others_stay(lake: Lake) -> None:
    for number in range(4):
        lake.write("a/days", day_rows(2, later(number)), later(number))
    table = lake.table("a/days")
    assert table is not None
    assert lake.drop("a/days", [later(1), later(3), later(9)], origin=Origin("run", "trace")) == [str(later(1)), str(later(3))]
    after = lake.table("a/days")
    assert after is not None
    assert after.version() == table.version() + 1
    assert after.history(1)[0]["run_id"] == "run"
    assert sorted(lake.states("a/days")) == [str(later(0)), str(later(2))]
    assert numbers(lake, later(1)) == {}


def test_nothing_to_drop_is_no_commit(lake: Lake) -> None:
    assert lake.drop("a/days", [DAY]) == []
    lake.write("a/days", day_rows(1), DAY)
    assert lake.drop("a/days", [later(1)]) == []
    table = lake.table("a/days")
    assert table is not None
    assert table.version() == 1
    with pytest.raises(MissingInputError):
        lake.drop("a/unknown", [DAY])


def test_a_whole_table_is_dropped_with_all_its_files(lake: Lake) -> None:
    for number in range(3):
        lake.append("a/whole", whole_rows({f"k{number}": 1.0}), transaction=str(number))
    assert lake.drop("a/whole", [None]) == [""]
    assert lake.scan("a/whole").collect().is_empty()
    assert not lake.append("a/whole", whole_rows({"k0": 1.0}), transaction="0"), "what was appended once is still known"


def test_the_past_can_be_read_until_the_history_is_over(lake: Lake) -> None:
    lake.write("a/days", day_rows(3), DAY)
    lake.drop("a/days", [DAY])
    assert lake.scan("a/days", version=1).collect().height == 3
    root = Path(lake.storage.uri("a/days"))
    lake.vacuum("a/days", keep=dt.timedelta(0))
    assert not list(root.glob("day=*/*.parquet"))


def test_a_drop_sees_what_another_writer_added_meanwhile(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write("a/days", day_rows(1), DAY)
    commit, raced = lake_log.commit, []

    def race(*arguments, **options):
        if not raced:
            raced.append(True)
            monkeypatch.setattr(lake_log, "commit", commit)
            lake.extend("a/days", [DAY], lambda _, present: day_rows({"late": 1}))
        return commit(*arguments, **options)

    monkeypatch.setattr(lake_log, "commit", race)
    assert lake.drop("a/days", [DAY]) == [str(DAY)]
    assert numbers(lake) == {}


def test_a_drop_that_loses_every_race_says_so(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write("a/days", day_rows(1), DAY)
    monkeypatch.setattr(lake_log, "commit", lambda *_, **__: None)
    with pytest.raises(CommitConflictError):
        lake.drop("a/days", [DAY])
    assert numbers(lake) == {"i0": 0}
