"""Runs one step of a child process under strace: to see its system calls, or to kill it at one of them.

Imports take longer than a write, so they happen once: a nursery process imports everything, forks a child for each step and
stops it until strace has attached.
"""

import ctypes
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from lake_tables import start

CHANGING = (
    "openat,write,pwrite64,writev,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "fsync,fdatasync,mkdir,mkdirat,rmdir,ftruncate,fallocate"
)
_NURSERY = """
import deltalake, polars, pyarrow.parquet, sqlalchemy.dialects.sqlite
from strace import nurse
nurse(sys.argv[1])
"""
_CALL = re.compile(r"^\d+ +(\w+)\((.*)")
_YAMA, _ANY = 0x59616D61, ctypes.c_ulong(-1)


@dataclass(frozen=True)
class Call:
    """A file-changing system call: its name and the path that it concerns."""

    name: str
    path: str


class Nursery:
    """Forks children that run one of the steps in a module, that of the lake's steps unless given."""

    def __init__(self, folder: Path, steps: str = "lake_steps") -> None:
        self._process = start(_NURSERY, steps)
        self._trace = folder / "trace"

    def run(self, step: str, folder: Path, *options: str, may_fail: bool = False) -> tuple[bool, list[Call]]:
        """Run a step in a folder under strace with these options.

        Returns:
            Whether it came to its end, and its file-changing calls in order.
        """
        assert self._process.stdin and self._process.stdout
        print(step, folder, file=self._process.stdin, flush=True)
        pid = int(self._process.stdout.readline())
        _wait(lambda: _status(pid, "State").startswith("T"))
        command = ["strace", "-f", "-qqq", "-y", "-s", "0", "-e", f"trace={CHANGING}", "-o", str(self._trace), *options, "-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            _wait(lambda: _status(pid, "TracerPid") != "0" or tracer.poll() is not None)
            os.kill(pid, signal.SIGCONT)
            code = int(self._process.stdout.readline())
            assert tracer.wait(30) in (0, -signal.SIGKILL) or not tracer.stderr, tracer.stderr.read()
        assert code in (0, -signal.SIGKILL) or may_fail, f"the step failed: {(folder / 'error').read_text()}"
        return code == 0, _calls(self._trace.read_text(), str(folder))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def nurse(steps: str) -> None:
    """What the nursery does: one forked child per line, stopped before its step; then its exit code."""
    import sys

    for line in sys.stdin:
        step, folder = line.split()
        if (pid := os.fork()) == 0:
            _be_child(steps, step, Path(folder))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _be_child(steps: str, step: str, folder: Path) -> None:
    import importlib
    import uuid

    from lake_tables import open_lake

    from spotify_ai_assets.resources import lake

    names = itertools.count(1)
    uuid.uuid4 = lambda: uuid.UUID(int=next(names))  # the same names of files and folders each time
    time.time_ns = lambda: 1
    lake._THREADS = 1
    ctypes.CDLL(None).prctl(_YAMA, _ANY)
    code = 1
    try:
        os.kill(os.getpid(), signal.SIGSTOP)
        importlib.import_module(steps).STEPS[step](open_lake(folder))
        (folder / "acknowledged").touch()
        code = 0
    except BaseException as error:
        (folder / "error").write_text(repr(error))
    finally:
        os._exit(code)


def _status(pid: int, name: str) -> str:
    return re.search(rf"^{name}:\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def _wait(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "strace did not attach"
        time.sleep(0.002)


def _calls(trace: str, folder: str) -> list[Call]:
    """The calls that change something below a folder; opening a file to read it does not."""
    found = []
    for line in trace.splitlines():
        match = _CALL.match(line)
        if not match or (match[1] == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", match[2])):
            continue
        is_descriptor = match[1] in ("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "fallocate")
        path = re.search(r"<(/[^>]*)>" if is_descriptor else r'"(/[^"]*)"', match[2])
        if path and path[1].startswith(folder) and not path[1].endswith("/acknowledged"):
            found.append(Call(match[1], path[1]))
    return found


def require() -> None:
    """Skip where strace is not there; fail in CI, where it has to be."""
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed, and the sweeps must run in CI")
        pytest.skip("strace is not installed")
