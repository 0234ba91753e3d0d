"""The embedded Dagster instance: its files lie below the data folder, wherever a process was started.

``dagster.yaml`` names these classes. Dagster's own take a folder as it stands, so a relative one would mean another
instance in each working directory; and a ``dagster dev`` without DAGSTER_HOME starts in a temporary home, which would forget
everything.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dagster._core.errors import raise_execution_interrupts
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    from dagster._utils.concurrency import ConcurrencyClaimStatus
    from sqlalchemy import Connection, Engine

_OPEN_DATABASES = 8


def instance_folder() -> str:
    """Where the embedded instance keeps its files."""
    return str(Settings.from_environment().data / "dagster")


class EmbeddedEvents(SqliteEventLogStorage):
    """Events in Dagster's own SQLite databases, through connections that stay open and with one transaction for a batch.

    Dagster connects anew for each of an event's five statements, syncs each of them to the disk, and with the last connection
    SQLite closes its write-ahead log: 10 to 25 ms an event, and a ranged run records two for every partition that it makes. A
    power cut may lose the newest events here, never tear the database; what was made is in the lake.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._batch: tuple[ExitStack, dict[str, Connection]] | None = None
        super().__init__(base_dir, inst_data)
        self._db_lock = threading.RLock()  # a batch holds it while its events take it one by one

    @contextmanager
    def _connect(self, shard: str) -> "Iterator[Connection]":
        with self._db_lock:
            if self._batch is None:
                with self._engine(shard).begin() as connection:
                    yield connection
                return
            stack, connections = self._batch
            if shard not in connections:
                connections[shard] = stack.enter_context(self._engine(shard).begin())
            yield connections[shard]

    def _engine(self, shard: str) -> "Engine":
        """The database of a run or of the index; those used last stay open."""
        from sqlalchemy import create_engine, event

        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
            event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = NORMAL").close())
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
        self._engines[shard] = engine
        if len(self._engines) > _OPEN_DATABASES:
            self._engines.pop(next(iter(self._engines))).dispose()
        return engine

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events, all or none of them."""
        with self._db_lock, ExitStack() as stack:
            self._batch = stack, {}
            try:
                super().store_event_batch(events)
            finally:
                self._batch = None

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> "ConcurrencyClaimStatus":
        """Claim a pool's slot for a step, or have it wait.

        Dagster first looks whether a slot is free and then queues the step. A slot freed between the two is given to nobody: the
        step would wait until another one of its pool ends, and where there is none, for ever.

        Raises:
            DagsterExecutionInterruptedError: Somebody stopped the run that waits.
        """
        status = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if not status.is_assigned and self.has_unassigned_slots(concurrency_key):
            self.assign_pending_steps([concurrency_key])
            status = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if not status.is_claimed:
            with raise_execution_interrupts():  # a run that waits would hear of Ctrl-C only when its step begins
                pass
        return status

    def wipe(self) -> None:
        """Remove all events."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close everything."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


class EmbeddedStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite below the data folder."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EmbeddedEvents(self._event_log_storage._base_dir)
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")

    @classmethod
    def config_type(cls) -> Any:
        """No configuration: the data folder decides."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "EmbeddedStorage":
        """Open the storage, one process after the other: two that both create it would leave it broken for good."""
        with FileLocks(Settings.from_environment().data / "locks").exclusive("instance"):
            return cls.from_local(instance_folder(), inst_data=inst_data)


class EmbeddedArtifacts(LocalArtifactStorage):
    """Artifacts of runs below the data folder."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration: the data folder decides."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "EmbeddedArtifacts":
        """Open the storage."""
        return cls(instance_folder(), inst_data=inst_data)


class EmbeddedLogs(LocalComputeLogManager):
    """What steps print, below the data folder."""

    @classmethod
    def config_type(cls) -> Any:
        """No configuration: the data folder decides."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "EmbeddedLogs":
        """Open the storage."""
        return cls(base_dir=f"{instance_folder()}/storage", inst_data=inst_data)
