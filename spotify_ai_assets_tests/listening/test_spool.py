import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import polars as pl
import pytest

from spotify_ai_assets.listening import spool as module
from spotify_ai_assets.listening.spool import Spool

FIRST = date(2026, 1, 30)


def batch(number: int) -> pl.DataFrame:
    """Rows of five days in two months, in no order, each row of its own number."""
    values = range(number * 50, number * 50 + 50)
    return pl.DataFrame({"day": [FIRST + timedelta(days=value * 7 % 5) for value in values], "value": list(values)})


@pytest.mark.parametrize("in_memory", [0, 120, 10_000])
def test_rows_come_back_by_day_in_the_order_in_which_they_came(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(module, "_IN_MEMORY_ROWS", in_memory)
    batches = [batch(number) for number in range(7)]
    with Spool(tmp_path / "scratch") as spool:
        for rows in batches:
            spool.add(rows)
        spool.add(batches[0].clear())
        days = spool.close()
        assert days == [FIRST + timedelta(days=number) for number in range(5)]
        with ThreadPoolExecutor(4) as pool:
            found = dict(zip(days, pool.map(spool.rows, days), strict=True))
        assert any((tmp_path / "scratch").rglob("*.parquet")) == (in_memory < 350)
        for day in days:
            assert found[day].equals(pl.concat(batches).filter(day=day))
            assert spool.count(day) == found[day].height
        assert spool.count(FIRST - timedelta(days=1)) == 0
    assert not any((tmp_path / "scratch").glob("*"))


def test_nothing_is_left_on_disk_when_an_import_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_IN_MEMORY_ROWS", 0)
    with pytest.raises(ZeroDivisionError), Spool(tmp_path) as spool:
        spool.add(batch(0))
        assert any(tmp_path.rglob("*.parquet"))
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
from spotify_ai_assets.listening import spool
spool._IN_MEMORY_ROWS = 0
one = spool.Spool(Path(sys.argv[1]))
one.add(pl.DataFrame({"day": [__import__("datetime").date(2026, 1, 1)]}))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_import_left_goes_with_the_next_one_and_a_living_one_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_IN_MEMORY_ROWS", 0)
    with Spool(tmp_path) as living:
        living.add(batch(0))
        (alive,) = tmp_path.iterdir()
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, env={**os.environ})
        assert len(list(tmp_path.iterdir())) == 2
        with Spool(tmp_path) as after:
            after.add(batch(1))
            assert len(list(tmp_path.iterdir())) == 2 and alive.exists()
        living.close()
        assert living.rows(FIRST).height == 10
    assert not any(tmp_path.iterdir())
