"""The identity vault: real user id <-> 128-bit pseudonym.

Real ids live here and nowhere else: a frame is swapped to pseudonyms before it reaches the lake. The vault is one table on
SQLite or PostgreSQL, apart from the lake, so that forgetting a person here cuts every row about them from the person.

Which rows of the lake must then go is the erasure's business; names, albums and listens are none of the vault's.
No Dagster here. No message holds an id or the database's address.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from spotify_ai_assets.errors import ContractError, PermanentError, TransientError
from spotify_ai_assets.resources.private_database import open_database, parse_url

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

PseudonymSource = Callable[[str], str]
"""Real id -> 32 lower-case hexadecimal digits."""

USER_ID = r"[^\x00]{1,512}"
"""Each real id matches this in full: PostgreSQL stores no NUL and indexes nothing much longer."""

_BATCH = 50_000
_TRIES = 8
_WAIT_S = 60
_TABLE = "CREATE TABLE IF NOT EXISTS identities (user_id TEXT NOT NULL UNIQUE, pseudonym TEXT NOT NULL PRIMARY KEY)"


def random_pseudonym(user: str) -> str:
    """A pseudonym that nothing leads back from: 128 random bits, whoever the user is."""
    del user
    return secrets.token_hex(16)


def seeded_pseudonyms(seed: str) -> PseudonymSource:
    """Pseudonyms that depend on seed and id alone, not on the order of arrival; for demos and equality tests.

    Whoever knows the seed can compute the pseudonym of any id, so this protects nobody.
    """
    key = hashlib.blake2b(seed.encode()).digest()
    return lambda user: hashlib.blake2b(user.encode(), key=key, digest_size=16).hexdigest()


class Vault:
    """Issues, finds, resolves and forgets pseudonyms. Opens nothing until it is used; safe to use from many processes.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg2://…``.
        source: Where new pseudonyms come from.

    Raises:
        SettingsError: The address names no SQLite file and no PostgreSQL database.
    """

    def __init__(self, url: str, source: PseudonymSource = random_pseudonym) -> None:
        self._url = parse_url(url, "SPOTIFY_AI_VAULT_URL")
        self._source = source

    def __repr__(self) -> str:
        return f"Vault({self._url.get_backend_name()})"

    def swap(self, users: Iterable[str]) -> dict[str, str]:
        """The pseudonym of each user; whoever has none is issued one, all in one transaction.

        Of processes that meet a new user at the same time the first to commit decides, and all return its answer.

        Raises:
            ContractError: An id is empty, too long, or no text; intake refuses such a row before.
            PermanentError: The source keeps giving pseudonyms that are taken.
            TransientError: The database does not answer.
        """
        wanted = sorted(set(users))
        _require_ids(wanted)
        with self._transaction() as connection:
            found = self._look_up(connection, "user_id", wanted)
        missing = [user for user in wanted if user not in found]
        if not missing:
            return found
        # The first statement writes, so SQLite takes its write lock before it reads; sorted, so PostgreSQL cannot deadlock.
        with self._transaction() as connection:
            for _ in range(_TRIES):
                for batch in _batches(missing):
                    self._insert(connection, batch)
                found |= self._look_up(connection, "user_id", missing)
                missing = [user for user in missing if user not in found]
                if not missing:
                    return found
            raise PermanentError("the source of pseudonyms keeps giving some that are taken")

    def pseudonymise(self, frame: pl.DataFrame, column: str, into: str) -> pl.DataFrame:
        """A frame with pseudonyms in place of real ids.

        Args:
            frame: Rows with a column of real ids; a null stays null.
            column: That column. It is gone from the result.
            into: Name of the column of pseudonyms, at the same place.

        Raises:
            ContractError, PermanentError, TransientError: As for ``swap``.
        """
        pairs = self.swap(frame[column].unique().drop_nulls())
        swapped = pl.col(column).replace_strict(list(pairs), list(pairs.values()), return_dtype=pl.String)
        return frame.with_columns(swapped if pairs else pl.col(column).cast(pl.String)).rename({column: into})

    def unknown(self, pseudonyms: Iterable[str]) -> set[str]:
        """Those of the pseudonyms that this vault never issued, or has forgotten."""
        sought = set(pseudonyms)
        with self._transaction() as connection:
            return sought - set(self._look_up(connection, "pseudonym", sorted(sought)).values())

    def resolve(self, pseudonym: str) -> str | None:
        """The real id behind a pseudonym, ``None`` where there is none."""
        with self._transaction() as connection:
            return next(iter(self._look_up(connection, "pseudonym", [pseudonym])), None)

    def find(self, user: str) -> str | None:
        """The pseudonym of a user, ``None`` where none was issued; issues none."""
        _require_ids([user])
        with self._transaction() as connection:
            return self._look_up(connection, "user_id", [user]).get(user)

    def walk(self) -> Iterator[tuple[str, str]]:
        """Everybody in the vault, real id and pseudonym: for those who must look at all of them, as after a restore.

        Raises:
            TransientError: The database does not answer.
        """
        from sqlalchemy import text

        last = ""
        while True:
            statement = text(f"SELECT user_id, pseudonym FROM identities WHERE pseudonym > :last ORDER BY pseudonym LIMIT {_BATCH}")
            with self._transaction() as connection:
                found = [(user, pseudonym) for user, pseudonym in connection.execute(statement, {"last": last})]
            if not found:
                return
            yield from found
            last = found[-1][1]

    def count(self) -> int:
        """Number of people in the vault."""
        from sqlalchemy import text

        with self._transaction() as connection:
            return connection.execute(text("SELECT count(*) FROM identities")).scalar_one()

    def forget(self, *pseudonyms: str) -> int:
        """Delete people, so that no byte of their ids or pseudonyms is left in the database's files.

        The table is rewritten once per call: forget many at once. May be repeated, also after it failed half way. What
        PostgreSQL keeps in its write-ahead log goes when the log is recycled.

        Returns:
            How many of them were known.

        Raises:
            TransientError: The database does not answer, or another process kept it from clearing its files.
        """
        from sqlalchemy import text

        with self._transaction() as connection:
            doomed = list(self._look_up(connection, "pseudonym", sorted(set(pseudonyms))).values())
        with self._transaction() as connection:
            for batch in _batches(doomed):
                each = self._each("sought", connection)
                connection.execute(text(f"DELETE FROM identities WHERE pseudonym IN (SELECT key FROM {each})"), _keys(batch))
        with self._transaction(autocommit=True) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("VACUUM FULL identities"))
            else:
                # Splitting a page leaves copies in its unused part, which secure_delete does not reach.
                connection.execute(text("VACUUM"))
                if connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]:
                    raise TransientError("the identity vault is in use; forget again to clear its write-ahead log")
        return len(doomed)

    def _insert(self, connection: "Connection", users: list[str]) -> None:
        from sqlalchemy import text

        each = self._each("issued", connection)
        statement = text(f"INSERT INTO identities (user_id, pseudonym) SELECT key, value FROM {each} WHERE true ON CONFLICT DO NOTHING")
        connection.execute(statement, {"object": json.dumps({user: self._source(user) for user in users})})

    def _look_up(self, connection: "Connection", column: str, values: list[str]) -> dict[str, str]:
        """User to pseudonym, of those whose user or pseudonym is among the values."""
        from sqlalchemy import text

        each = self._each("sought", connection)
        statement = text(f"SELECT user_id, pseudonym FROM {each} JOIN identities ON identities.{column} = sought.key")
        found: dict[str, str] = {}
        for batch in _batches(values):
            found |= {user: pseudonym for user, pseudonym in connection.execute(statement, _keys(batch))}
        return found

    @staticmethod
    def _each(alias: str, connection: "Connection") -> str:
        """A table ``key, value`` of one JSON object: many values in one parameter, the same way on both databases."""
        function = "json_each_text" if connection.dialect.name == "postgresql" else "json_each"
        return f"{function}(:object) AS {alias}"

    @contextmanager
    def _transaction(self, autocommit: bool = False) -> Iterator["Connection"]:
        from sqlalchemy.exc import OperationalError, SQLAlchemyError

        try:
            engine = self._engine.execution_options(isolation_level="AUTOCOMMIT") if autocommit else self._engine
            with engine.begin() as connection:
                yield connection
        except OperationalError:
            raise TransientError("the identity vault does not answer") from None
        except SQLAlchemyError as error:
            raise PermanentError(f"the identity vault refused a statement: {type(error).__name__}") from None

    @cached_property
    def _engine(self) -> "Engine":
        return open_database(self._url, _create_table, wait_s=_WAIT_S, tries=_TRIES)


def _create_table(engine: "Engine") -> None:
    from sqlalchemy import text

    with engine.begin() as connection:
        connection.execute(text(_TABLE))


def _require_ids(users: list[str]) -> None:
    try:
        "".join(users).encode()
    except UnicodeEncodeError:
        raise ContractError("a user id is no valid Unicode text") from None
    if not all(map(re.compile(USER_ID).fullmatch, users)):
        raise ContractError("a user id is empty, longer than 512 characters, or holds a NUL")


def _batches(values: list[str]) -> Iterator[list[str]]:
    return (values[start : start + _BATCH] for start in range(0, len(values), _BATCH))


def _keys(values: list[str]) -> dict[str, str]:
    return {"object": json.dumps(dict.fromkeys(values, ""))}
