"""The heart of a run: as long as its process lives, it says so once a minute where every host can read it.

Beats lie in the instance's table of keys and values, one row for each run, and not among the tags of runs: those are read, changed
and written as a whole, so that a beat at the wrong moment would undo what the run itself noted. One thread beats for all runs of a
process; it ends with the last of them, and with the process.
"""

import threading
import time
import weakref
from collections.abc import Collection
from contextlib import suppress

import dagster as dg

BEAT_S = 60.0
_PREFIX = "spotify_ai/beat/"


class Heart:
    """Beats for the runs of this process.

    Args:
        beat_s: Seconds between two beats.
    """

    def __init__(self, beat_s: float = BEAT_S) -> None:
        self._beat_s = beat_s
        self._lock = threading.Lock()
        self._runs: dict[str, weakref.ref[dg.DagsterInstance]] = {}
        self._thread: threading.Thread | None = None

    def keep_beating(self, instance: dg.DagsterInstance, run_id: str) -> None:
        """Beat for a run at once and from now on, until it has ended; once more is no event."""
        with self._lock:
            known = self._runs.get(run_id)
            if known and known() is not None and self._thread and self._thread.is_alive():
                return
            self._runs[run_id] = weakref.ref(instance)
            if not (self._thread and self._thread.is_alive()):  # none yet, or this process was forked from the one that has it
                self._thread = threading.Thread(target=self._beat_on, name="heart", daemon=True)
                self._thread.start()
        with suppress(Exception):  # a run does not fail because its heart could not be heard; the thread tries again
            _beat(instance, run_id)

    def _beat_on(self) -> None:
        while True:
            time.sleep(self._beat_s)
            for run_id, known in list(self._runs.items()):
                if not _goes_on(run_id, known()):
                    with self._lock:
                        if self._runs.get(run_id) is known:  # not where it was given another instance meanwhile
                            del self._runs[run_id]
            with self._lock:
                if not self._runs:
                    self._thread = None
                    return


def _goes_on(run_id: str, instance: dg.DagsterInstance | None) -> bool:
    """Beat for a run that has not ended; gives whether to go on.

    A database that is away for long silences no heart: nothing would start it again, and the living run would be taken for dead.
    """
    if instance is None:
        return False
    with suppress(Exception):  # whatever a database raises that is away
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        _beat(instance, run_id)
    return True


_HEART = Heart()
keep_beating = _HEART.keep_beating
"""Beat for a run of this process until it has ended."""


def _beat(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.daemon_cursor_storage.set_cursor_values({f"{_PREFIX}{run_id}": str(time.time_ns())})


def beats_of(instance: dg.DagsterInstance, run_ids: Collection[str]) -> dict[str, str]:
    """The newest beat of each of these runs that ever had one: text that differs from beat to beat."""
    if not run_ids:
        return {}
    found = instance.daemon_cursor_storage.get_cursor_values({f"{_PREFIX}{run_id}" for run_id in run_ids})
    return {key.removeprefix(_PREFIX): beat for key, beat in found.items() if beat}


def forget_beats(instance: dg.DagsterInstance) -> int:
    """Remove the beats of runs that have ended or are no more; gives how many."""
    from dagster._core.storage.runs.schema import KeyValueStoreTable
    from sqlalchemy import select

    living = {run.run_id for run in instance.get_runs() if not run.is_finished}
    keys = KeyValueStoreTable.c.key
    with instance.run_storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue]: of every SQL storage
        known = [key for (key,) in connection.execute(select(keys).where(keys.startswith(_PREFIX)))]
        gone = [key for key in known if key.removeprefix(_PREFIX) not in living]
        for key in gone:
            connection.execute(KeyValueStoreTable.delete().where(keys == key))
    return len(gone)
