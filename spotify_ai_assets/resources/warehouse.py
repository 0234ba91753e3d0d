"""SQL over the lake: DuckDB in memory, one view per contract, nothing else within reach.

A table that holds the suspicious part of another brings one more view: the other less its part, which is what is genuine.

A Delta table reaches DuckDB as a pyarrow data set, so that one path serves local lakes and S3 (DuckDB's own ``httpfs`` has
to be downloaded). Predicates and columns are pushed down into the files. DuckDB stores nothing and opens nothing itself:
no file, no network, no extension, no setting can be reached by SQL. Writing tables is the lake's. No Dagster here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from spotify_ai_assets.contracts import DAY, Table
from spotify_ai_assets.errors import QueryError, TransientError

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from duckdb import DuckDBPyConnection

_READING = "one SELECT, WITH, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN over the lake's tables"
_EXPLAIN = re.compile(r"\s*explain\s+(?:analyze\s+|\([^)]*\)\s*)?", re.IGNORECASE)
_SPOKEN = ("ParserException", "BinderException", "CatalogException", "OutOfMemoryException", "NotImplementedException")
"""DuckDB's errors that speak of the query; all others may quote a value from a row."""


class Lake(Protocol):
    """What the warehouse needs of the lake."""

    @property
    def tables(self) -> Mapping[str, Table]:
        """All contracts by key."""
        ...

    def table(self, key: str) -> "DeltaTable | None":
        """A table at its newest version; ``None`` where nothing was written yet."""
        ...


class Warehouse:
    """Reads the lake with SQL; ``listening/plays`` is ``listening.plays``. Opens nothing until it is used.

    Of totals that have a suspicious part there is a genuine rest too, such as ``listening.genuine_track_days``.

    Args:
        lake: The lake.
        memory_limit: DuckDB's, for all queries together, with a unit; nothing spills to disk.
    """

    def __init__(self, lake: Lake, memory_limit: str = "4GB") -> None:
        self._lake = lake
        self._memory_limit = memory_limit

    def query(self, sql: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> pl.DataFrame:
        """Run one reading statement.

        Each table is read at the version that is newest when the query starts; one not written yet has no rows.

        Args:
            sql: The statement; values as ``?``, ``$1`` or ``$name``.
            parameters: Those values.

        Returns:
            The rows. Times with a zone are UTC; the sum of integers is an ``Int128``.

        Raises:
            QueryError: The SQL is wrong, does more than read, or cannot be computed.
            TransientError: A file went away while it was read, as after a vacuum; run it again.
        """
        import duckdb

        connection = self._catalogue.cursor()
        try:
            statement = _reading_statement(connection, sql)
            self._register_named_tables(connection, sql)
            relation = connection.sql(statement, params=parameters)
            if relation is None:
                raise QueryError(f"a query is {_READING}")
            wide = [name for name, dtype in zip(relation.columns, relation.types, strict=True) if str(dtype) == "HUGEINT"]
            return relation.pl().with_columns(pl.col(wide).cast(pl.Int128))
        except duckdb.Error as error:
            raise _translated(error) from None
        except pl.exceptions.PolarsError:
            raise QueryError("the result has columns without a counterpart in polars, or with one name; cast or rename them") from None
        finally:
            connection.close()

    def describe(self) -> pl.DataFrame:
        """All tables and columns.

        Returns:
            ``table``, ``column``, ``type`` in SQL, ``personal`` (the personal-data class), ``is_nullable`` and ``description``,
            in the contracts' order; after them the genuine rests.
        """
        types = self.query("SELECT schema_name || '/' || table_name AS key, column_name AS column, data_type AS type FROM duckdb_columns()")
        rows = [
            (key, column.name, column.personal, column.nullable, column.description)
            for key, table in (*self._lake.tables.items(), *((key, total) for key, total, _ in self._rests()))
            for column in table.columns
        ]
        declared = pl.DataFrame(rows, schema=["key", "column", "personal", "is_nullable", "description"], orient="row")
        return declared.join(types, on=["key", "column"], how="left", maintain_order="left").select(
            pl.col("key").str.replace("/", ".", literal=True).alias("table"), "column", "type", "personal", "is_nullable", "description"
        )

    @cached_property
    def _catalogue(self) -> "DuckDBPyConnection":
        """A locked database of commented views, whose rows each query's own cursor registers."""
        import duckdb

        connection = duckdb.connect(
            ":memory:",
            config={
                # Nothing of the lake may land in a file. It cannot be set any more once external access is off.
                "temp_directory": "",
                "memory_limit": self._memory_limit,
                "python_enable_replacements": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_persistent_secrets": False,
            },
        )
        connection.execute("SET enable_external_access = false")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        for key, table in self._lake.tables.items():
            connection.register(key, table.empty().to_arrow())
            _create_view(connection, key, table, f"FROM temp.main.{_identifier(key)}")
        for key, total, part in self._rests():
            _create_view(connection, key, total, _difference(total, part))
        connection.execute("SET lock_configuration = true")
        return connection

    def _rests(self) -> Iterator[tuple[str, Table, Table]]:
        """The key of each view of what is genuine, the total and its suspicious part."""
        tables = self._lake.tables
        for part in tables.values():
            if part.part_of is not None:
                domain, _, noun = part.part_of.partition("/")
                yield f"{domain}/genuine_{noun}", tables[part.part_of], part

    def _register_named_tables(self, connection: "DuckDBPyConnection", sql: str) -> None:
        """Register each table whose noun occurs anywhere in the SQL, and both behind a rest whose noun does.

        A few too many at worst. A name that SQL puts together while it runs is missed, and DuckDB then fails instead of
        finding no rows.
        """
        folded = sql.casefold()
        sources = [(key, [table]) for key, table in self._lake.tables.items()]
        sources += [(key, [total, part]) for key, total, part in self._rests()]
        named = [table for key, tables in sources if key.partition("/")[2].casefold() in folded for table in tables]
        for key, table in {table.key: table for table in named}.items():
            empty = table.empty().to_arrow()
            written = self._lake.table(key)
            # The contract's schema: a column younger than a file reads as null there.
            connection.register(key, empty if written is None else written.to_pyarrow_dataset(schema=empty.schema))


def _create_view(connection: "DuckDBPyConnection", key: str, table: Table, query: str) -> None:
    schema, _, noun = key.partition("/")
    view = f"{_identifier(schema)}.{_identifier(noun)}"
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_identifier(schema)}")
    connection.execute(f"CREATE VIEW {view} AS {query}")
    for column in table.columns:
        connection.execute(f"COMMENT ON COLUMN {view}.{_identifier(column.name)} IS {_literal(column.description)}")


def _difference(total: Table, part: Table) -> str:
    """A query for a total less its part: rows of the total where something is left, each whole number less the part's."""
    key = [DAY, *total.primary_key] if total.is_daily else [*total.primary_key]
    counts = [name for name, dtype in total.schema.items() if name not in key and dtype.is_integer()]
    rest = {name: f"whole.{_identifier(name)} - coalesce(part.{_identifier(name)}, 0)" for name in counts}
    columns = ", ".join(f"{rest.get(name, f'whole.{_identifier(name)}')} AS {_identifier(name)}" for name in total.schema)
    return (
        f"SELECT {columns} FROM temp.main.{_identifier(total.key)} AS whole LEFT JOIN temp.main.{_identifier(part.key)} AS part "
        f"USING ({', '.join(map(_identifier, key))}) WHERE {' OR '.join(f'{left} > 0' for left in rest.values())}"
    )


def _reading_statement(connection: "DuckDBPyConnection", sql: str) -> Any:
    """The parsed statement: what was checked is what runs.

    Raises:
        QueryError: There is not exactly one statement, or it does more than read.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"{len(statements)} statements; a query is {_READING}")
    kind = statements[0].type.name
    if kind == "EXPLAIN":
        explained = connection.extract_statements(_EXPLAIN.sub("", sql, count=1))
        kind = explained[0].type.name if len(explained) == 1 else kind
    if kind != "SELECT":
        raise QueryError(f"a query is {_READING}, not {kind}")
    return statements[0]


def _translated(error: Exception) -> QueryError | TransientError:
    kind = type(error).__name__
    if "FileNotFoundError" in str(error):
        return TransientError("a file of the lake was replaced while the query read it; run the query again")
    if kind == "PermissionException":
        return QueryError("a query reads the lake's tables only: no file, network, extension or setting")
    if kind in _SPOKEN:
        return QueryError(str(error).partition("\n\nLINE")[0])
    return QueryError(f"the query failed: {kind}; parameters are missing, or a value does not fit its type")


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
