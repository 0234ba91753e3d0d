"""A worker whose tasks go wrong on purpose: what a decoder might do with a hostile file. For tests only."""

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np

from spotify_ai_assets.audio.intake.worker import serve
from spotify_ai_assets.errors import UnreadableFileError


def echo(path: Path):
    return {"size": path.stat().st_size}, path.read_bytes()


def segfault(path: Path):
    ctypes.string_at(1)


def abort(path: Path):
    os.abort()


def hang(path: Path):
    time.sleep(600)


def spin(path: Path):
    while True:
        pass


def allocate(path: Path):
    held = []
    while True:
        held.append(np.ones(2**20))


def exhaust_in_c(path: Path):
    """Memory that is asked for outside Python, by a decoder that does not look at what it is given."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while True:
        ctypes.memset(libc.malloc(ctypes.c_size_t(2**23)), 1, 2**23)


def refuse(path: Path):
    raise UnreadableFileError("no_audio", "nothing in it")


def stumble(path: Path):
    raise KeyError("a secret of the file")


def babble(path: Path):
    """A child that a file has taken over says what it likes."""
    for number in range(3, 20):
        try:
            os.write(number, b"\xff" * 4096)
        except OSError:
            continue
    time.sleep(600)


def shout(path: Path):
    return {}, bytes(3_000_000)


def exit_quietly(path: Path):
    os._exit(0)


def try_all(path: Path):
    """What the confinement lets through."""
    possible = {}

    def attempt(name, call):
        try:
            call()
        except OSError as error:
            possible[name] = type(error).__name__
        else:
            possible[name] = "done"

    attempt("write", lambda: path.with_name("written").write_bytes(b"x"))
    attempt("append", lambda: path.open("ab").close())
    attempt("remove", path.unlink)
    attempt("rename", lambda: path.rename(path.with_name("renamed")))
    attempt("truncate", lambda: os.truncate(path, 0))
    attempt("folder", lambda: path.with_name("folder").mkdir())
    attempt("mode", lambda: path.chmod(0o777))
    attempt("network", lambda: socket.socket().close())
    attempt("program", lambda: os.execv("/bin/true", ["true"]))
    attempt("kill", lambda: os.kill(os.getppid(), 0))
    attempt("read", path.read_bytes)
    attempt("privilege", lambda: os.setuid(os.getuid()))
    return {"possible": possible, "cpu": os.sched_getaffinity(0) != set(), "signal": signal.getsignal(signal.SIGXFSZ) is not None}, b""


TASKS = {
    each.__name__: each
    for each in (echo, segfault, abort, hang, spin, allocate, exhaust_in_c, refuse, stumble, babble, shout, exit_quietly, try_all)
}

if __name__ == "__main__":
    serve(int(sys.argv[1]), TASKS, lambda: None)
