import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from audio_files import HERE, noise, write_wav

from spotify_ai_assets.audio.analysis import EXTRACTOR, from_npz
from spotify_ai_assets.audio.intake.capacity import available_memory, count_workers
from spotify_ai_assets.audio.intake.sandbox import Answer, Limits, Pool, Refusal
from spotify_ai_assets.errors import PlatformError

pytestmark = pytest.mark.xdist_group("audio_sandbox")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def is_running(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = int(path.parent.name), path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(rest[1]) == parent:
            found += [number, *children(number)]
    return found


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        ("segfault", "decoder_crashed"),
        ("abort", "decoder_crashed"),
        ("exit_quietly", "decoder_crashed"),
        ("babble", "decoder_crashed"),
        ("shout", "decoder_crashed"),
        ("hang", "too_slow"),
        ("spin", "too_slow"),
        ("allocate", "out_of_memory"),
        ("exhaust_in_c", "decoder_crashed"),
        ("refuse", "no_audio"),
        ("stumble", "analysis_failed"),
        ("no such task", "decoder_crashed"),
    ],
)
def test_an_accident_costs_its_file_and_the_next_one_is_measured(accidents, file, task, rule):
    started = time.monotonic()
    refused = accidents.ask(task, file)
    assert isinstance(refused, Refusal) and refused.rule == rule
    assert time.monotonic() - started < 10
    after = accidents.ask("echo", file)
    assert isinstance(after, Answer) and after.payload == b"content" and after.header == {"size": 7}


def test_a_reason_holds_nothing_of_the_file(accidents, file):
    refused = accidents.ask("stumble", file)
    assert "secret" not in refused.reason and refused.reason.startswith("KeyError")


def test_memory_never_exceeds_the_limit(accidents, file):
    refused = accidents.ask("allocate", file)
    assert accidents.resident_bytes < refused.cost.peak_bytes < accidents.limits.memory_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the shared kernel of the tests is Linux")
def test_a_child_can_read_and_neither_write_nor_reach_out(accidents, file):
    possible = accidents.ask("try_all", file).header["possible"]
    assert possible.pop("read") == "done" and possible.pop("privilege") == "done"
    assert set(possible.values()) == {"PermissionError"}, possible
    assert file.read_bytes() == b"content" and list(file.parent.iterdir()) == [file]


def test_results_do_not_depend_on_the_order_and_accidents_in_between_lose_none(accidents, tmp_path):
    paths = [tmp_path / str(number) for number in range(60)]
    for path in paths:
        path.write_bytes(path.name.encode())
    tasks = {path: "segfault" if number % 7 == 3 else "echo" for number, path in enumerate(paths)}
    found = [dict(accidents.each(order, lambda path: accidents.ask(tasks[path], path))) for order in (paths, paths[::-1])]
    assert found[0].keys() == found[1].keys() == set(paths)
    for answers in found:
        assert all(answers[path].payload == path.name.encode() for path in paths if tasks[path] == "echo")
        assert Counter(type(answer) for answer in answers.values()) == {Answer: 51, Refusal: 9}


def test_no_more_is_taken_than_children_can_hold(accidents, file):
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = accidents.each(items(), lambda number: accidents.ask("echo", file))
    assert len(list(islice(results, 3))) == 3
    assert len(taken) <= 3 + 2 * 2 * accidents.workers
    results.close()


def test_who_stops_fetching_does_not_wait_for_a_file_that_hangs(accidents, file):
    tasks = iter(["echo", "hang", "hang", "hang"])
    with Pool(2, replace(accidents.limits, wall_seconds=60.0), module="accident_worker") as patient:
        results = patient.each(range(4), lambda number: patient.ask(next(tasks), file))
        next(results)
        started = time.monotonic()
        results.close()
        assert time.monotonic() - started < patient.limits.wall_seconds / 2
        assert all(isinstance(patient.ask("echo", file), Answer) for _ in range(4))
    assert all(isinstance(accidents.ask("echo", file), Answer) for _ in range(4))
    both = [answer for _, answer in accidents.each(range(4), lambda number: accidents.ask("echo", file))]
    assert all(isinstance(answer, Answer) for answer in both)


def test_an_error_of_the_work_itself_ends_it(accidents):
    def fail(number):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(accidents.each(range(9), fail))


def test_a_child_that_something_else_kills_does_not_speak_against_its_file(accidents, file):
    deadline = threading.Timer(0.4, lambda: [os.kill(number, signal.SIGKILL) for number in busy()])
    nursery = accidents._nursery._process.pid

    def busy():
        return children(nursery)

    deadline.start()
    started = time.monotonic()
    refused = accidents.ask("hang", file)
    # The first child was killed after 0.4 s; the second one hung until its own time was over.
    assert refused.rule == "too_slow", refused
    assert time.monotonic() - started > 0.4 + accidents.limits.wall_seconds - 0.1


def test_a_pool_whose_warm_process_dies_starts_another(accidents, file):
    assert isinstance(accidents.ask("echo", file), Answer)
    os.kill(accidents._nursery._process.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert isinstance(accidents.ask("echo", file), Answer)


def test_a_pool_that_is_asked_nothing_starts_nothing_and_a_closed_one_leaves_no_process():
    before = set(children(os.getpid()))
    with Pool(1, module="no_such_module") as idle:
        assert list(idle.each([], lambda item: item)) == []
        assert set(children(os.getpid())) == before
        with pytest.raises(PlatformError, match="do not start"):
            idle.ask("echo", Path("x"))
    assert set(children(os.getpid())) == before


def test_children_die_with_their_parent(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    script = (
        "import sys, threading, time; from pathlib import Path; from spotify_ai_assets.audio.intake.sandbox import Pool\n"
        "pool = Pool(2, module='accident_worker')\n"
        "for _ in range(2): threading.Thread(target=pool.ask, args=('hang', Path(sys.argv[1])), daemon=True).start()\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "file")], env=os.environ | {"PYTHONPATH": str(HERE)})
    until = time.monotonic() + 30
    while len(found := children(parent.pid)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(found) == 3
    parent.kill()
    parent.wait()
    while any(map(is_running, found)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(is_running, found))


def test_an_interrupt_ends_the_work_without_leaving_processes(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    script = (
        "import sys; from pathlib import Path; from spotify_ai_assets.audio.intake.sandbox import Pool\n"
        "with Pool(2, module='accident_worker') as pool:\n"
        "    try:\n"
        "        for each in pool.each(range(9), lambda item: pool.ask('hang', Path(sys.argv[1]))): pass\n"
        "    except KeyboardInterrupt: print('interrupted')"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while len(found := children(parent.pid)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    told, _ = parent.communicate(timeout=15)
    assert told == "interrupted\n" and parent.returncode == 0
    assert len(found) == 3 and not any(map(is_running, found))


def test_the_number_of_children_is_that_of_cores_or_what_memory_holds():
    assert count_workers(10**9, cores=8, available_bytes=5 * 10**9) == 4
    assert count_workers(10**9, cores=2, available_bytes=64 * 10**9) == 2
    assert count_workers(10**9, cores=8, available_bytes=10**6) == 1
    assert available_memory() > 0 and count_workers(1) >= 1


def test_a_file_is_analysed_and_what_it_took_is_told(pool, tmp_path):
    answer = pool.ask("analyse", write_wav(tmp_path / "a.wav", noise(seconds=2)))
    assert isinstance(answer, Answer)
    assert from_npz(answer.payload).facts["duration_ms"] == 2000 and from_npz(answer.payload).extractor == EXTRACTOR
    assert 0 < answer.cost.cpu_seconds < 10 and 10**6 < answer.cost.peak_bytes < Limits().memory_bytes


def test_a_file_that_is_gone_is_unreadable(pool, tmp_path):
    assert pool.ask("analyse", tmp_path / "absent").rule == "unreadable"
