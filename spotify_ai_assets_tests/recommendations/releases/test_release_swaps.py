import multiprocessing
import os
import signal
import time
from collections import Counter

import pytest
from release_world import moment_of, open_at, publish

# A fork of this process would inherit the threads of polars as locks that nobody opens.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["pytest", "spotify_ai_assets.recommendations.releases"]
    + [f"spotify_ai_assets.recommendations.indices.{each}" for each in ("vectors", "histories")]
)
SWAPS = 200


def hammer(folder, stop, told):
    """Open what serves until told to stop; every part must be of one release."""
    releases, seen, polls = open_at(folder), Counter(), 0
    while not stop.is_set():
        opened = releases.open_current()
        seen[moment_of(opened)] += 1
        for _ in range(50):
            polls += releases.current() is not None
    told.put((sum(seen.values()), len(seen), polls))


def test_readers_in_other_processes_never_see_a_half_swapped_release_in_200_swaps(tmp_path):
    releases = open_at(tmp_path)
    made = [publish(releases, moment) for moment in range(4)]
    releases.flip(made[0])
    stop, told = SERVER.Event(), SERVER.Queue()
    readers = [SERVER.Process(target=hammer, args=(tmp_path, stop, told)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for swap in range(SWAPS):
        if swap % 25 == 24:  # now and then old ones are removed under the readers, and new ones come
            releases.retain(1)
            kept = {each.version for each in releases.kept()}
            made = [each for each in made if each in kept] + [publish(releases, 4 + swap // 25)]
        if swap % 10 == 9 and any(each.is_former for each in releases.kept()):
            releases.rollback()
        else:
            releases.flip(made[swap % len(made)])
    stop.set()
    counted = [told.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join(60)
    assert [reader.exitcode for reader in readers] == [0, 0]
    assert all(opened >= 10 and different >= 2 and polls == 50 * opened for opened, different, polls in counted), counted
    assert len(releases.history()) > SWAPS * 0.8


def swap_and_die(folder, call):
    """Publish and flip, and die at the n-th call that makes something durable, visible or gone."""
    count, real = [0], {name: getattr(os, name) for name in ("fsync", "rename", "replace", "unlink", "rmdir")}

    def deadly(name):
        def act(*arguments, **options):
            count[0] += 1
            if count[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real[name](*arguments, **options)

        return act

    for name in real:
        setattr(os, name, deadly(name))
    releases = open_at(folder)
    releases.flip(publish(releases, 1))
    releases.retain(0)
    os._exit(0)  # what multiprocessing does at the end is not counted


@pytest.mark.slow
def test_a_kill_at_any_moment_of_a_swap_leaves_the_old_or_the_new_release(tmp_path):
    seen, call, step = Counter(), 1, 1
    while True:
        folder = tmp_path / str(call)
        releases = open_at(folder)
        old = publish(releases, 0)
        releases.flip(old)
        time.sleep(0.002)  # the times of versions have milliseconds
        worker = SERVER.Process(target=swap_and_die, args=(folder, call))
        worker.start()
        worker.join()
        opened = open_at(folder).open_current()
        seen[moment_of(opened), opened.version == old] += 1
        if worker.exitcode == 0:
            break
        assert worker.exitcode == -signal.SIGKILL
        releases = open_at(folder)
        releases.flip(publish(releases, 1))  # whoever comes next finishes what was begun
        releases.retain(0)
        assert moment_of(releases.open_current()) == 1 and len(releases.kept()) == 1
        call += step
        step = 3 if call < 40 else 1  # the first calls only write scratch
    assert set(seen) == {(0, True), (1, False)} and min(seen.values()) >= 3, seen
