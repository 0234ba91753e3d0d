import signal
import threading
import time
from contextlib import ExitStack

import pytest
from lake_tables import start

from spotify_ai_assets.errors import LockTimeoutError
from spotify_ai_assets.resources.locks import FileLocks, PostgresLocks

_HOLD = """
from spotify_ai_assets.resources.locks import FileLocks, PostgresLocks
from pathlib import Path
kind, where, mode = sys.argv[1:]
locks = FileLocks(Path(where)) if kind == "file" else PostgresLocks(where)
with getattr(locks, mode)("a/t"):
    print("held", flush=True)
    sys.stdin.readline()
print("left", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=["file", "postgres"])
def place(request, tmp_path):
    """Kind and place of locks, and a way to open them with a time limit."""
    if request.param == "file":
        return "file", str(tmp_path), lambda timeout_s: FileLocks(tmp_path, timeout_s)
    url = request.getfixturevalue("postgres")
    return "postgres", url, lambda timeout_s: PostgresLocks(url, timeout_s)


def hold(place, mode: str):
    """A process that holds a lock until it gets a line."""
    process = start(_HOLD, *place[:2], mode)
    assert process.stdout.readline() == "held\n", process.communicate()[1]
    return process


def can_take(place, mode: str, key: str = "a/t") -> bool:
    try:
        with getattr(place[2](0.1), mode)(key):
            return True
    except LockTimeoutError:
        return False


@pytest.mark.parametrize(("held", "shared", "exclusive"), [("shared", True, False), ("exclusive", False, False)])
def test_writers_share_a_lock_and_a_sweeper_has_it_alone(place, held, shared, exclusive):
    process = hold(place, held)
    assert (can_take(place, "shared"), can_take(place, "exclusive")) == (shared, exclusive)
    assert can_take(place, "exclusive", "a/other")
    process.communicate("\n\n")
    assert can_take(place, "exclusive")


@pytest.mark.parametrize("mode", ["shared", "exclusive"])
def test_a_killed_holder_lets_go(place, mode):
    process = hold(place, mode)
    assert not can_take(place, "exclusive")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with place[2](10).exclusive("a/t"):
        assert not can_take(place, "shared")


def test_an_error_inside_lets_go(place):
    with pytest.raises(ZeroDivisionError), place[2](1).exclusive("a/t"):
        _ = 1 / 0
    assert can_take(place, "exclusive")


def test_the_message_names_the_table_and_the_time(place):
    with place[2](1).shared("a/t"), pytest.raises(LockTimeoutError, match=r"a/t.*0\.1 s"), place[2](0.1).exclusive("a/t"):
        pass


def test_writers_that_come_later_do_not_overtake_a_waiting_sweeper_for_ever(place):
    """Four writers follow one another without a gap; the kernel alone would let them share the lock for ever."""
    stop, taken = threading.Event(), 0

    def write() -> None:
        nonlocal taken
        locks = place[2](30)
        while not stop.is_set():
            with locks.shared("a/t"):
                taken += 1
                time.sleep(0.01)

    writers = [threading.Thread(target=write) for _ in range(4)]
    with ExitStack() as stack:
        stack.callback(lambda: [writer.join() for writer in writers])
        stack.callback(stop.set)
        for writer in writers:
            writer.start()
        for _ in range(3):
            before = time.monotonic()
            with place[2](10).exclusive("a/t"):
                assert time.monotonic() - before < 5
            time.sleep(0.05)
    assert taken > 4


def test_one_thread_after_the_other_counts_without_a_loss(place):
    count = 0

    def add() -> None:
        nonlocal count
        for _ in range(10):
            with place[2](30).exclusive("a/t"):
                seen = count
                time.sleep(0.0005)
                count = seen + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == 40
