import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from spotify_ai_assets.contracts import DAY, TIME, Column, Table, by_key
from spotify_ai_assets.errors import PermanentError, QueryError, TransientError
from spotify_ai_assets.resources.warehouse import Warehouse
from spotify_ai_assets.tables import TABLES

SPINS = Table(
    key="radio/spins",
    owner="team:radio",
    primary_key=("listener_id", "started_at"),
    columns=(
        Column(DAY, pl.Date, "UTC day."),
        Column("listener_id", pl.String, "Pseudonym of the listener.", personal="pseudonym"),
        Column("started_at", TIME, "When it started; the listener's, not the station's.", personal="derived"),
        Column("played_ms", pl.Int64, "Time played, in milliseconds.", nullable=True),
        Column("tags", pl.List(pl.String), "Words.", nullable=True),
        Column("is_live", pl.Boolean, "Whether it was live."),
    ),
)
STATIONS = Table(
    key="radio/stations",
    owner="team:radio",
    partitioned_by=None,
    primary_key=("station",),
    columns=(Column("station", pl.String, "Name of the station."), Column("opened_on", pl.Date, "When it opened.", nullable=True)),
)
PLAYED = Table(
    key="radio/played",
    owner="team:radio",
    primary_key=("station", "title"),
    columns=(
        Column(DAY, pl.Date, "UTC day."),
        Column("station", pl.String, "Name of the station.", personal="derived"),
        Column("title", pl.String, "Title of the record."),
        Column("label", pl.String, "Name of the record's label."),
        Column("plays", pl.Int64, "Number of plays.", minimum=0),
        Column("listeners", pl.Int64, "Distinct listeners.", minimum=0),
    ),
)
BOUGHT = replace(PLAYED, key="radio/bought", part_of="radio/played", columns=(*PLAYED.columns, Column("by", pl.String, "Who paid.")))
DAYS = tuple(date(2026, 1, number) for number in (1, 2, 3))


class Folder:
    """A lake in a folder that counts what is opened."""

    def __init__(self, root: Path, *tables: Table) -> None:
        self.root = root
        self.tables = by_key(*(tables or (SPINS, STATIONS)))
        self.opened: list[str] = []

    def table(self, key: str) -> DeltaTable | None:
        self.opened.append(key)
        path = str(self.root / key)
        return DeltaTable(path) if DeltaTable.is_deltatable(path) else None

    def write(self, key: str, frame: pl.DataFrame, day: date | None = None) -> None:
        path = str(self.root / key)
        table = self.tables[key]
        if not DeltaTable.is_deltatable(path):
            partitions = [DAY] if table.is_daily else None
            DeltaTable.create(path, schema=table.empty().to_arrow().schema, partition_by=partitions)
        predicate = None if day is None else f"day = '{day}'"
        write_deltalake(path, frame.to_arrow(), mode="overwrite", predicate=predicate)


def spins(day: date, rows: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "day": [day] * rows,
            "listener_id": [f"{number:032x}" for number in range(rows)],
            "started_at": [datetime(day.year, day.month, day.day, 23, 30, number, tzinfo=UTC) for number in range(rows)],
            "played_ms": [1000 * (number + 1) for number in range(rows)],
            "tags": [["a", "b"]] * rows,
            "is_live": [True] * rows,
        },
        schema=SPINS.schema,
    )


@pytest.fixture
def lake(tmp_path):
    folder = Folder(tmp_path / "lake")
    for number, day in enumerate(DAYS, start=1):
        folder.write("radio/spins", spins(day, rows=number), day)
    return folder


@pytest.fixture
def warehouse(lake):
    return Warehouse(lake)


def test_a_contract_is_a_view_with_its_rows_and_types(warehouse):
    frame = warehouse.query("select * from radio.spins order by day, started_at")
    assert frame.schema == SPINS.schema
    assert frame.equals(pl.concat(spins(day, rows=number) for number, day in enumerate(DAYS, start=1)))


def test_a_table_not_written_yet_is_empty_and_has_its_columns(warehouse):
    frame = warehouse.query("select * from radio.stations")
    assert frame.equals(STATIONS.empty())


def test_a_day_without_rows_is_read(lake, warehouse):
    lake.write("radio/spins", SPINS.empty(), DAYS[0])
    lake.write("radio/stations", STATIONS.empty())
    counts = warehouse.query("select day, count(*) as n from radio.spins group by day order by day")
    assert counts.rows() == [(DAYS[1], 2), (DAYS[2], 3)]
    assert warehouse.query("from radio.stations").equals(STATIONS.empty())


def test_a_column_younger_than_the_files_is_null(tmp_path):
    lake = Folder(tmp_path)
    old = pl.DataFrame({"station": ["one"]})
    write_deltalake(str(tmp_path / "radio/stations"), old.to_arrow())
    assert Warehouse(lake).query("from radio.stations").equals(old.with_columns(opened_on=pl.lit(None, pl.Date)))


def test_parameters_are_values_and_never_sql(warehouse):
    sql = "select count(*) as n from radio.spins where day = ? and listener_id = ?"
    assert warehouse.query(sql, [DAYS[1], "0" * 32])["n"].item() == 1
    assert warehouse.query(sql, [DAYS[1], "' or 1=1 --"])["n"].item() == 0
    named = warehouse.query("select count(*) as n from radio.spins where day >= $first", {"first": DAYS[1]})
    assert named["n"].item() == 5


def test_times_are_utc_whatever_the_machine_says(lake, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        row = Warehouse(lake).query(
            "select max(started_at) as last, max(started_at)::date as day, hour(max(started_at)) as hour,"
            " timezone('Asia/Tokyo', max(started_at)) as tokyo from radio.spins"
        )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row["last"].dtype == pl.Datetime("us", "UTC")
    assert row.row(0) == (datetime(2026, 1, 3, 23, 30, 2, tzinfo=UTC), DAYS[2], 23, datetime(2026, 1, 4, 8, 30, 2))


def test_a_sum_of_integers_is_an_integer(warehouse):
    total = warehouse.query("select sum(played_ms) as total from radio.spins")
    assert total.schema == {"total": pl.Int128}
    assert total.item() == 1000 + 3000 + 6000


def test_a_new_query_sees_new_commits(lake, warehouse):
    counting = "select count(*) as n from radio.spins"
    assert warehouse.query(counting)["n"].item() == 6
    lake.write("radio/spins", spins(DAYS[0], rows=10), DAYS[0])
    assert warehouse.query(counting)["n"].item() == 15
    lake.write("radio/stations", pl.DataFrame({"station": ["one"], "opened_on": [DAYS[0]]}))
    assert warehouse.query("select station from radio.stations").rows() == [("one",)]


def test_one_query_sees_one_version_of_a_table(lake):
    class Moving(Folder):
        def table(self, key):
            found = super().table(key)
            self.write(key, spins(DAYS[0], rows=20), DAYS[0])
            return found

    moving = Moving(lake.root)
    sql = "select (select count(*) from radio.spins) as a, (select count(*) from radio.spins) as b"
    assert Warehouse(moving).query(sql).row(0) == (6, 6)
    assert Warehouse(Folder(lake.root)).query(sql).row(0) == (25, 25)


def test_only_the_tables_that_a_query_names_are_opened(lake, warehouse):
    assert lake.opened == []
    warehouse.query("select 1")
    warehouse.query("show all tables")
    assert lake.opened == []
    warehouse.query('select * from "RADIO" . /* noun */ "Spins"')
    assert lake.opened == ["radio/spins"]


def test_a_name_put_together_while_running_fails_instead_of_finding_nothing(warehouse):
    with pytest.raises(QueryError):
        warehouse.query("from query('from radio.spi' || 'ns')")
    assert len(warehouse.query("from query('from radio.spins')")) == 6


def _lose(lake: Folder, day: date) -> None:
    files = list((lake.root / "radio/spins" / f"day={day}").glob("*.parquet"))
    assert files
    for file in files:
        file.unlink()


def test_a_query_of_one_day_reads_no_file_of_another(lake, warehouse):
    _lose(lake, DAYS[1])
    with pytest.raises(TransientError, match="again"):
        warehouse.query("select * from radio.spins")
    for condition in (
        "day = '2026-01-03'",
        "day > '2026-01-02'",
        "day in (date '2026-01-01', date '2026-01-03')",
        "day = date '2026-01-01' + 2",
    ):
        assert len(warehouse.query(f"select * from radio.spins where {condition}")) in (3, 4)
    assert len(warehouse.query("select * from radio.spins where day = ?", [DAYS[2]])) == 3


def test_predicates_and_columns_are_pushed_into_the_scan(warehouse):
    plan = warehouse.query("explain select played_ms from radio.spins where day = '2026-01-01' and played_ms > 5")["explain_value"].item()
    scan = plan[plan.index("Python Arrow Scan") :]
    assert "day" in scan
    assert "played_ms" in scan
    assert "listener_id" not in scan


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 as a",
        "with a as (select 1 as a) select * from a",
        "from radio.spins",
        "describe radio.spins",
        "describe select * from radio.spins",
        "show all tables",
        "show tables from radio",
        "summarize radio.spins",
        "explain select * from radio.spins",
        "EXPLAIN ANALYZE select * from radio.spins",
        "explain (format json) select * from radio.spins",
        "  -- a remark\n select 1; ",
        "values (1)",
    ],
)
def test_reading_statements_run(warehouse, sql):
    assert len(warehouse.query(sql)) > 0


def test_summarize_counts_the_rows_of_the_lake(warehouse):
    assert set(warehouse.query("summarize radio.spins")["count"]) == {6}


WRITING = [
    "create table t (a int)",
    "create view v as select 1",
    "create or replace view radio.spins as select 1",
    "insert into radio.spins values (1)",
    "update radio.spins set played_ms = 0",
    "delete from radio.spins",
    "drop view radio.spins",
    "alter view radio.spins rename to other",
    "comment on view radio.spins is 'x'",
    "copy (select 1) to '{file}'",
    "copy radio.spins from '{file}'",
    "export database '{file}'",
    "import database '{file}'",
    "attach '{file}'",
    "attach ':memory:' as other",
    "detach memory",
    "use temp",
    "install httpfs",
    "load httpfs",
    "force install httpfs from 'https://example.org'",
    "set threads = 1",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset lock_configuration",
    "set variable a = 1",
    "pragma enable_profiling",
    "pragma database_list",
    "call pragma_version()",
    "call enable_logging(storage = 'file', storage_path = '{file}')",
    "create secret (type s3, key_id 'a', secret 'b')",
    "create macro f(a) as a",
    "begin",
    "checkpoint",
    "vacuum",
    "prepare p as select 1",
    "execute p",
    "merge into radio.spins using (select 1) on true when matched then delete",
    "pivot radio.spins on is_live using sum(played_ms)",
    "explain analyze create table t as select 1",
    "explain analyze copy (select 1) to '{file}'",
    "explain copy (select 1) to '{file}'",
    "explain (format json) create table t as select 1",
    "explain analyze set threads = 1",
    "/* first */ explain analyze create table t as select 1",
    "explain explain select 1",
    "select 1; select 2",
    "select 1; copy (select 1) to '{file}'",
    "",
    ";",
    "-- nothing",
]


@pytest.mark.parametrize("sql", WRITING)
def test_what_is_not_one_reading_statement_is_refused(warehouse, tmp_path, sql):
    file = tmp_path / "out"
    with pytest.raises(QueryError):
        warehouse.query(sql.format(file=file))
    assert not file.exists()
    assert len(warehouse.query("from radio.spins")) == 6


REACHING = [
    "select * from read_csv('{file}')",
    "select * from read_text('{file}')",
    "select * from read_blob('{file}')",
    "select * from read_json('{file}')",
    "select * from read_parquet('{file}')",
    "select * from parquet_metadata('{file}')",
    "select * from sniff_csv('{file}')",
    "select * from glob('{folder}/*')",
    "select * from '{file}'",
    'select * from "{file}"',
    "select * from 'https://127.0.0.1:1/a.parquet'",
    "select * from read_csv('s3://bucket/a.csv')",
    "select * from query('copy (select 1) to ''{file}.out''')",
    "select * from json_execute_serialized_sql(json_serialize_sql('copy (select 1) to ''{file}.out'''))",
    "select * from enable_logging(storage = 'file', storage_path = '{file}.out')",
    "select * from enable_profiling(save_location = '{file}.out')",
    "select * from read_duckdb('{file}')",
    "select getenv('HOME')",
    "select * from arrow_scan(1::pointer, 1::pointer, 1::pointer)",
    "summarize '{file}'",
    "describe '{file}'",
    "explain analyze select * from read_text('{file}')",
]


@pytest.mark.parametrize("sql", REACHING)
def test_a_query_reaches_nothing_but_the_lake(warehouse, tmp_path, sql):
    file = tmp_path / "secret.csv"
    file.write_text("a,b\n1,sesame\n")
    with pytest.raises(QueryError) as caught:
        warehouse.query(sql.format(file=file, folder=tmp_path))
    assert "sesame" not in str(caught.value)
    assert not Path(f"{file}.out").exists()


def test_an_unlocked_duckdb_would_reach_the_file(tmp_path):
    import duckdb

    file = tmp_path / "secret.csv"
    file.write_text("a,b\n1,sesame\n")
    assert duckdb.connect().sql(f"select b from read_csv('{file}')").fetchall() == [("sesame",)]


def test_variables_of_the_calling_program_are_no_tables(warehouse):
    secret = pl.DataFrame({"a": [1]})
    with pytest.raises(QueryError, match="secret"):
        warehouse.query("select * from secret")
    assert len(secret) == 1


def test_the_database_itself_is_locked(warehouse):
    names = (
        "enable_external_access",
        "lock_configuration",
        "python_enable_replacements",
        "autoload_known_extensions",
        "autoinstall_known_extensions",
        "allow_community_extensions",
        "allow_persistent_secrets",
        "temp_directory",
        "TimeZone",
    )
    row = warehouse.query("select " + ", ".join(f"current_setting('{name}')" for name in names)).row(0)
    assert row == (False, True, False, False, False, False, False, "", "UTC")
    # Behind the check of statements the lock holds too.
    import duckdb

    for sql in (
        "SET threads = 1",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "INSTALL httpfs",
        "ATTACH 'x.db'",
    ):
        with pytest.raises(duckdb.Error):
            warehouse._catalogue.cursor().execute(sql)


def test_too_much_memory_is_a_clear_error_and_spills_nowhere(lake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path for path in tmp_path.rglob("*") if "lake" not in path.parts}
    with pytest.raises(QueryError, match="Memory"):
        Warehouse(lake, memory_limit="50MB").query("select count(distinct md5(i::varchar)) from range(5000000) as t(i)")
    assert {path for path in tmp_path.rglob("*") if "lake" not in path.parts} == before


def test_an_error_names_the_missing_column_but_no_value(warehouse):
    with pytest.raises(QueryError, match="plaid_ms") as caught:
        warehouse.query("select plaid_ms from radio.spins where listener_id = 'anna'")
    assert "anna" not in str(caught.value)
    with pytest.raises(QueryError, match="spinz"):
        warehouse.query("select * from radio.spinz")
    with pytest.raises(QueryError) as caught:
        warehouse.query("select cast('u-' || listener_id as int) from radio.spins")
    assert "000000" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert isinstance(caught.value, PermanentError)


def test_a_missing_parameter_is_a_clear_error(warehouse):
    with pytest.raises(QueryError, match="parameters"):
        warehouse.query("select ?::int")


@pytest.mark.parametrize("sql", ["select interval 1 day as i", "select interval 1 day as i, sum(played_ms) from radio.spins"])
def test_a_column_that_polars_cannot_hold_is_a_clear_error(warehouse, sql):
    with pytest.raises(QueryError, match="cast"):
        warehouse.query(sql)


def test_columns_carry_their_descriptions(warehouse):
    comments = warehouse.query("select column_name, comment from duckdb_columns() where schema_name = 'radio' and table_name = 'spins'")
    assert dict(comments.rows()) == {column.name: column.description for column in SPINS.columns}


def test_describe_lists_every_column_with_its_personal_data_class(warehouse, lake):
    described = warehouse.describe()
    assert described.columns == ["table", "column", "type", "personal", "is_nullable", "description"]
    assert described["column"].to_list() == [column.name for table in (SPINS, STATIONS) for column in table.columns]
    row = described.row(by_predicate=(pl.col("table") == "radio.spins") & (pl.col("column") == "started_at"), named=True)
    assert row["type"] == "TIMESTAMP WITH TIME ZONE"
    assert row["personal"] == "derived"
    assert not row["is_nullable"]
    assert described["type"].null_count() == 0
    assert lake.opened == []


def test_names_and_descriptions_may_hold_quotes(tmp_path):
    odd = Table(
        key="od\"d/it's", owner="team:x", partitioned_by=None, primary_key=('a"b',), columns=(Column('a"b', pl.Int64, 'It\'s; -- "odd"'),)
    )
    lake = Folder(tmp_path)
    lake.tables = by_key(odd)
    warehouse = Warehouse(lake)
    assert warehouse.query('from "od""d"."it\'s"').columns == ['a"b']
    assert warehouse.describe()["description"].to_list() == ['It\'s; -- "odd"']


def played(day: date, **rows: tuple[int, int]) -> pl.DataFrame:
    """Plays and listeners by title."""
    values = [(day, "one", title, "Label of " + title, *counts) for title, counts in rows.items()]
    return pl.DataFrame(values, schema=PLAYED.schema, orient="row")


@pytest.fixture
def totals(tmp_path):
    lake = Folder(tmp_path / "totals", PLAYED, BOUGHT)
    lake.write("radio/played", played(DAYS[0], a=(5, 3), b=(7, 7), c=(2, 1)), DAYS[0])
    lake.write("radio/played", played(DAYS[1], a=(9, 2)), DAYS[1])
    bought = played(DAYS[0], b=(3, 0), c=(2, 1)).with_columns(by=pl.lit("them"), label=pl.lit("another spelling"))
    lake.write("radio/bought", bought, DAYS[0])
    return lake


def test_a_total_less_its_part_is_a_view(totals):
    frame = Warehouse(totals).query("from radio.genuine_played order by all")
    assert frame.schema == PLAYED.schema
    assert frame.equals(pl.concat([played(DAYS[0], a=(5, 3), b=(4, 7)), played(DAYS[1], a=(9, 2))]))


def test_a_total_is_its_genuine_rest_and_its_part_to_the_unit(totals):
    sums = "select sum(plays) as plays, sum(listeners) as listeners from radio."
    warehouse = Warehouse(totals)
    total, rest, part = (warehouse.query(sums + noun).row(0) for noun in ("played", "genuine_played", "bought"))
    assert total == (23, 13) == tuple(map(sum, zip(rest, part, strict=True)))


def test_only_the_two_tables_behind_a_rest_are_opened(totals):
    warehouse = Warehouse(totals)
    warehouse.query("select count(*) from radio.GENUINE_played")
    assert sorted(totals.opened) == ["radio/bought", "radio/played"]
    totals.opened.clear()
    warehouse.query("select count(*) from radio.played")
    assert totals.opened == ["radio/played"]


def test_a_rest_has_all_of_a_total_whose_part_was_never_written(tmp_path):
    lake = Folder(tmp_path, PLAYED, BOUGHT)
    assert Warehouse(lake).query("from radio.genuine_played").equals(PLAYED.empty())
    lake.write("radio/played", played(DAYS[0], a=(5, 3)), DAYS[0])
    assert Warehouse(lake).query("from radio.genuine_played").equals(played(DAYS[0], a=(5, 3)))


def test_a_rest_of_one_day_reads_no_file_of_another(totals):
    totals.write("radio/bought", played(DAYS[1], a=(1, 1)).with_columns(by=pl.lit("them")), DAYS[1])
    lost = [file for noun in ("played", "bought") for file in (totals.root / "radio" / noun / f"day={DAYS[1]}").glob("*.parquet")]
    assert len(lost) == 2
    for file in lost:
        file.unlink()
    warehouse = Warehouse(totals)
    assert len(warehouse.query("from radio.genuine_played where day = ?", [DAYS[0]])) == 2
    with pytest.raises(TransientError):
        warehouse.query("from radio.genuine_played")


def test_a_rest_is_described_like_its_total(totals):
    described = Warehouse(totals).describe()
    assert described["table"].unique(maintain_order=True).to_list() == ["radio.played", "radio.bought", "radio.genuine_played"]
    total, rest = (described.filter(pl.col("table") == f"radio.{noun}").drop("table") for noun in ("played", "genuine_played"))
    assert rest.equals(total)
    assert rest.filter(pl.col("column") == "plays").select("type", "description").row(0) == ("BIGINT", "Number of plays.")
    assert rest["type"].null_count() == 0


def test_the_contracts_bring_a_rest_for_each_total_with_a_suspicious_part(tmp_path):
    described = Warehouse(Folder(tmp_path, *TABLES.values())).describe()["table"].unique()
    nouns = ("track_days", "artist_days", "country_days", "listener_track_days")
    assert {f"listening.genuine_{noun}" for noun in nouns} <= set(described)


def test_threads_share_one_warehouse(warehouse):
    found = []

    def count() -> None:
        found.extend(warehouse.query("select count(*) as n from radio.spins")["n"].item() for _ in range(10))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [6] * 40


def test_making_a_warehouse_loads_neither_duckdb_nor_pyarrow():
    code = (
        "import sys; from spotify_ai_assets.resources.warehouse import Warehouse; Warehouse(None);"
        "print([name for name in ('duckdb', 'pyarrow', 'deltalake') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
