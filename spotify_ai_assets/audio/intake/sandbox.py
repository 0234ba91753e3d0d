"""A pool of children in which files are measured: whatever a file does to its decoder costs that file and nothing else.

::

    with Pool() as pool:
        for path, answer in pool.each(paths, lambda path: pool.ask("analyse", path)):
            ...                                     # an Answer, or a Refusal with its rule

One warm process imports and compiles everything once and forks the children (see ``worker.py``), so that a child that was lost
is replaced in milliseconds. Children are plain processes and their answers plain bytes: a ``multiprocessing`` pool would
unpickle what a child sends, and so run what a file might have put there.

Each file has its own limits: resident memory, processor time, time on the clock, bytes of the answer; nothing can be written.
What ends a child names the rule of the refusal: ``out_of_memory``, ``too_slow`` or ``decoder_crashed``.
"""

import contextlib
import json
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from spotify_ai_assets.audio.intake.capacity import count_workers
from spotify_ai_assets.audio.intake.nursery import Child, Nursery
from spotify_ai_assets.audio.intake.worker import LENGTHS
from spotify_ai_assets.errors import TransientError

WORKER = "spotify_ai_assets.audio.intake.worker"
_LAST_SECONDS = 2.0
"""A child whose socket is closed is about to end, and how it does is what there is to know."""
_HEARS_SECONDS = 0.5
"""How long a Ctrl-C may go unheard."""

_HEADER_BYTES = 2**18

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoppedError(TransientError):
    """The pool ends what its children are doing; nothing is known of the file."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take.

    Attributes:
        memory_bytes: Resident memory of its child.
        cpu_seconds: Processor time.
        wall_seconds: Time on the clock: a child that sleeps takes no processor time.
        answer_bytes: What may come back.
    """

    memory_bytes: int = 1_000_000_000
    cpu_seconds: int = 60
    wall_seconds: float = 240.0
    answer_bytes: int = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """What a file took.

    Attributes:
        cpu_seconds: Processor time; 0 where its child was lost.
        wall_seconds: Time on the clock.
        peak_bytes: Most memory that was resident in its child, of which ``Pool.resident_bytes`` is there before any file; 0 where the
            child was lost.
    """

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_bytes: int = 0


FREE = Cost()
"""What was known already, or not even tried."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child found in a file.

    Attributes:
        header: What the task tells, plain JSON.
        payload: Its bytes.
        cost: What it took.
    """

    header: dict[str, Any]
    payload: bytes
    cost: Cost = FREE


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file is not taken.

    Attributes:
        rule: A stable identifier.
        reason: One sentence without anything of the file.
        cost: What it took to find out.
    """

    rule: str
    reason: str
    cost: Cost = FREE


@dataclass(slots=True)
class _Seat:
    """A place in the pool, with a child in it or none yet."""

    child: Child | None = None
    is_spent: bool = False
    """Its child was told to end."""


class Pool:
    """Children that measure files.

    It starts with the first file, so a pool that nothing is asked of costs nothing. Its methods may be called from many threads.

    Args:
        workers: How many; ``count_workers`` unless given.
        limits: What one file may take.
        module: What the children run.
    """

    def __init__(self, workers: int | None = None, limits: Limits | None = None, *, module: str = WORKER) -> None:
        self.limits = limits or Limits()
        self.workers = workers or count_workers(self.limits.memory_bytes)
        self.start_seconds = 0.0
        """What getting warm took, on the clock."""
        self._module = module
        self._nursery: Nursery | None = None
        self._lock = threading.Lock()
        self._seats = [_Seat() for _ in range(self.workers)]
        self._free: queue.LifoQueue[_Seat] = queue.LifoQueue()  # the child that has just worked is the warmest
        for seat in self._seats:
            self._free.put(seat)
        self._is_stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def resident_bytes(self) -> int:
        """Memory of a child before its first file; starts the pool."""
        with self._lock:
            return self._warm().resident_bytes

    def close(self) -> None:
        """End all children; a later question starts new ones."""
        with self._lock:
            for seat in self._seats:
                if seat.child:
                    seat.child.link.close()
                seat.child, seat.is_spent = None, False
            if self._nursery:
                self._nursery.close()
            self._nursery = None

    def ask(self, task: str, path: Path) -> Answer | Refusal:
        """Have a child do something with a file; waits for a free one.

        A child that something else has killed, such as the system when memory is short, does not speak against its file: a second
        one tries again.

        Args:
            task: What to do: ``analyse`` or ``tags``.
            path: The file.

        Raises:
            PlatformError: No child can be started.
            StoppedError: ``each`` was left before its end.
        """
        seat = self._free.get()
        try:
            answer = self._attempt(seat, task, path)
            return answer or self._attempt(seat, task, path) or Refusal("out_of_memory", "the system ended its process, twice")
        finally:
            self._free.put(seat)

    def each(self, items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[tuple[Item, Result]]:
        """Work on items in as many threads as there are children, and give the results as they come.

        No more than twice as many items are taken from ``items`` as there are children before results are fetched. Whoever stops
        fetching, or is interrupted, also ends what the children are doing.
        """
        rest = iter(items)
        running: dict[Future[Result], Item] = {}
        threads = ThreadPoolExecutor(self.workers, thread_name_prefix="audio")
        try:
            for item in rest:
                running[threads.submit(work, item)] = item
                if len(running) >= 2 * self.workers:
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        finally:
            for future in running:
                future.cancel()
            if running:
                self._stop()
            threads.shutdown()
            self._is_stopping = False

    def _attempt(self, seat: _Seat, task: str, path: Path) -> Answer | Refusal | None:
        """``None``: the child was killed by something else."""
        if self._is_stopping:
            raise StoppedError("the work was stopped")
        if seat.is_spent:
            self._bury(seat, 0)
        started = time.monotonic()
        try:
            return self._converse(self._child_of(seat), task, path, started)
        except TimeoutError:
            fault = Refusal("too_slow", f"it takes more than {self.limits.wall_seconds:g} s")
        except (ValueError, LookupError, TypeError):
            fault = Refusal("decoder_crashed", "its process said what is no answer")
        except OSError:  # it has ended
            fault = None
        status = self._bury(seat, 0 if fault or self._is_stopping else _LAST_SECONDS)
        cost = Cost(wall_seconds=time.monotonic() - started)
        if self._is_stopping:
            raise StoppedError("the work was stopped")
        if fault:
            return replace(fault, cost=cost)
        if status == -signal.SIGXCPU:
            return Refusal("too_slow", f"it takes more than {self.limits.cpu_seconds} s of processor time", cost)
        if status in (None, -signal.SIGKILL):
            return None
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return Refusal("decoder_crashed", f"its process ended with {how}", cost)

    def _child_of(self, seat: _Seat) -> Child:
        child = seat.child = seat.child or self._fork()
        if self._is_stopping:  # whoever stopped the work may not have seen this child
            raise StoppedError("the work was stopped")
        return child

    def _converse(self, child: Child, task: str, path: Path, started: float) -> Answer | Refusal:
        """Ask a child.

        Raises:
            TimeoutError: It took too long.
            OSError: It has ended.
            ValueError, LookupError, TypeError: What it said is no answer.
        """
        until = started + self.limits.wall_seconds
        child.link.settimeout(self.limits.wall_seconds)
        child.link.sendall(json.dumps({"task": task, "path": str(path)}).encode() + b"\n")
        head, body = LENGTHS.unpack(_receive(child.link, LENGTHS.size, until))
        if head > _HEADER_BYTES or body > self.limits.answer_bytes:
            raise ValueError("an answer that is too long")
        header = json.loads(_receive(child.link, head, until))
        payload = bytes(_receive(child.link, body, until))
        cost = Cost(float(header.pop("cpu_seconds")), time.monotonic() - started, int(header.pop("peak_bytes")))
        if "rule" in header:
            return Refusal(str(header["rule"]), str(header["reason"]), cost)
        return Answer(header, payload, cost)

    def _warm(self) -> Nursery:
        if self._nursery is None or not self._nursery.is_alive():
            if self._nursery:
                self._nursery.close()
            started = time.monotonic()
            self._nursery = Nursery(self._module)
            self.start_seconds = time.monotonic() - started
        return self._nursery

    def _fork(self) -> Child:
        with self._lock:
            return self._warm().fork(self.limits.memory_bytes, self.limits.cpu_seconds)

    def _bury(self, seat: _Seat, patience: float) -> int | None:
        child, seat.child, seat.is_spent = seat.child, None, False
        with self._lock:
            return self._nursery.bury(child, patience) if child and self._nursery else None

    def _stop(self) -> None:
        """End what the children are doing; the threads that wait for them raise ``StoppedError``."""
        self._is_stopping = True
        for seat in self._seats:
            if child := seat.child:
                seat.is_spent = True
                with contextlib.suppress(OSError):
                    child.link.shutdown(socket.SHUT_RDWR)


def _finished(running: dict[Future[Result], Item]) -> Iterator[tuple[Item, Result]]:
    """Those that are done, at least one."""
    done: set[Future[Result]] = set()
    while not done:  # Polars' handler of signals lets an endless wait go on, and a Ctrl-C would be heard when it ends
        done = wait(running, _HEARS_SECONDS, FIRST_COMPLETED).done
    for future in done:
        yield running.pop(future), future.result()


def _receive(link: socket.socket, size: int, until: float) -> bytearray:
    """Exactly so many bytes.

    Raises:
        TimeoutError: They do not come in time.
        ConnectionResetError: The other side has ended.
    """
    data = bytearray()
    while len(data) < size:
        link.settimeout(max(until - time.monotonic(), 0.001))
        part = link.recv(min(size - len(data), 2**20))
        if not part:
            raise ConnectionResetError("the child has ended")
        data += part
    return data
