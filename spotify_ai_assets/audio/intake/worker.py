"""What runs in the children of the sandbox: one warm process that forks, and its forks, each measuring file after file.

``python -m spotify_ai_assets.audio.intake.worker FD`` imports and compiles everything once, which takes seconds, and then forks
a child in milliseconds whenever the sandbox asks for one on the socket ``FD``. Before its first file a child gives up what it
does not need (see ``confinement.py``). All of it ends with the process that started it.

Requests are lines of JSON, ``{"task": …, "path": …}``. An answer is two lengths, a JSON header and a payload of bytes; nothing
is pickled, since a child that a file has taken over must not reach its parent.
"""

import ctypes
import gc
import io
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from spotify_ai_assets.audio.faults.judgement import FAULTS
from spotify_ai_assets.errors import UnreadableFileError

MIDDLE_SAMPLES = 30 * 22_050

LENGTHS = struct.Struct(">IQ")
"""Bytes of an answer's header and of its payload."""

Task = Callable[[Path], tuple[dict[str, Any], bytes]]
"""Takes a file; gives what goes into the header of the answer, and its payload."""


def analyse_file(path: Path) -> tuple[dict[str, Any], bytes]:
    """Measure a file; the payload is its analysis as npz."""
    from spotify_ai_assets.audio.analysis import analyse

    return {}, analyse(path).to_npz()


def read_file_tags(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read a file's tags into the header."""
    from spotify_ai_assets.audio.intake.tags import read_tags

    return {"tags": read_tags(path)}, b""


def draw_file_fault(fault: str, path: Path) -> tuple[dict[str, Any], bytes]:
    """Draw a fault of a file; the payload is a PNG."""
    from spotify_ai_assets.audio.faults.pictures import draw_fault
    from spotify_ai_assets.audio.measures.decoding import decode

    decoded = decode(path)
    return {}, draw_fault(decoded.samples, decoded.sample_rate, fault)


def decode_middle(path: Path) -> tuple[dict[str, Any], bytes]:
    """Decode the middle of a file; the payload is mono, float32, at the rate of the models."""
    from spotify_ai_assets.audio.measures.decoding import decode, downmix, resample

    decoded = decode(path)
    mono = resample(downmix(decoded.samples), decoded.sample_rate)
    begin = max(0, (len(mono) - MIDDLE_SAMPLES) // 2)
    return {}, mono[begin : begin + MIDDLE_SAMPLES].tobytes()


TASKS: dict[str, Task] = {
    "mono": decode_middle,
    "analyse": analyse_file,
    "tags": read_file_tags,
    **{f"draw {fault}": partial(draw_file_fault, fault) for fault in FAULTS},
}


def warm() -> None:
    """Import and compile all that measuring a file needs, by measuring one."""
    from spotify_ai_assets.audio.analysis import warm_up

    warm_up()


def serve(number: int, tasks: Mapping[str, Task], prepare: Callable[[], None]) -> None:
    """Get warm, then fork a child for each request on a socket, until the other side closes it.

    Args:
        number: File descriptor of the socket.
        tasks: What children can do.
        prepare: Gets warm.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sandbox decides when children end
    with socket.socket(fileno=number) as control:
        prepare()
        gc.collect()
        gc.freeze()  # collections in a child would otherwise touch, and so copy, every page
        _reply(control, {"resident": memory_bytes("VmRSS")})
        while True:
            data, numbers, _flags, _address = socket.recv_fds(control, 4096, 1)
            if not data:
                return
            asked = json.loads(data)
            if asked["do"] == "fork":
                parent, child = os.getpid(), os.fork()
                if child == 0:
                    control.close()
                    _work(socket.socket(fileno=numbers[0]), tasks, asked["memory"], asked["cpu"], parent)
                os.close(numbers[0])
                _reply(control, {"child": child})
            else:
                _reply(control, {"status": _reap(asked["child"], asked["patience"])})


def _reply(control: socket.socket, message: dict[str, Any]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _reap(child: int, patience: float) -> int | None:
    """How a child ended, of itself or by force: the negative number of a signal, or its exit status."""
    until = time.monotonic() + patience
    try:
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
            time.sleep(0.002)
        if ended[0] == 0:
            os.kill(child, signal.SIGKILL)  # nobody else has this number: its status was not asked for yet
            ended = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(ended[1])
    except ChildProcessError:
        return None


# In a child ----------------------------------------------------------------------------------------------------------------


def _work(link: socket.socket, tasks: Mapping[str, Task], memory: int, cpu: int, parent: int) -> NoReturn:
    """Answer requests until the sandbox closes the socket."""
    from spotify_ai_assets.audio.intake.confinement import confine, end_with_parent, limit_cpu

    try:
        end_with_parent(parent)
        peaks = _open_peaks()
        confine(memory, memory_bytes("VmRSS"), memory_bytes("VmSize"))
        # As a plain file: the calls of sockets are refused from here on.
        with os.fdopen(link.detach(), "r+b", buffering=0) as raw, io.BufferedReader(raw) as requests:
            for line in requests:
                limit_cpu(cpu)
                asked = json.loads(line)
                _reset_peak(peaks)
                started = time.process_time()
                header, payload = _attempt(tasks[asked["task"]], Path(asked["path"]))
                header |= {"cpu_seconds": time.process_time() - started, "peak_bytes": memory_bytes("VmHWM")}
                written = json.dumps(header).encode()
                _write(raw, LENGTHS.pack(len(written), len(payload)) + written)
                _write(raw, payload)
                del payload
                _give_back()
    finally:
        os._exit(0)  # exit handlers belong to the process that was forked


def _write(raw: io.RawIOBase, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[raw.write(rest) or 0 :]


def _attempt(task: Task, path: Path) -> tuple[dict[str, Any], bytes]:
    """Do a task; whatever it raises becomes a rule, and nothing of its text, which may hold parts of the file."""
    try:
        return task(path)
    except UnreadableFileError as error:
        return {"rule": error.rule, "reason": str(error)[:500]}, b""
    except MemoryError:
        return {"rule": "out_of_memory", "reason": "it needs more memory than a file may take"}, b""
    except OSError as error:
        return {"rule": "unreadable", "reason": f"it cannot be read: {error.strerror or type(error).__name__}"}, b""
    except Exception as error:
        return {"rule": "analysis_failed", "reason": _place(error)}, b""


def _place(error: Exception) -> str:
    """The kind of an error and the last place of the product's own code that it passed."""
    trace, place = error.__traceback__, ""
    while trace:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.startswith("spotify_ai_assets"):
            place = f" in {name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return type(error).__name__ + place


def memory_bytes(field: str) -> int:
    """A line of ``/proc/self/status`` such as ``VmRSS`` (resident), ``VmHWM`` (its peak) or ``VmSize`` (mapped), in bytes; else 0."""
    try:
        with Path("/proc/self/status").open("rb") as file:
            for line in file:
                if line.startswith(field.encode() + b":"):
                    return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    return 0


def _open_peaks() -> int | None:
    """Opened before the child loses the right to open files for writing."""
    try:
        return os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return None


def _reset_peak(number: int | None) -> None:
    """Let the peak of resident memory start again from what is resident, so that it is this file's own."""
    if number is not None:
        os.pwrite(number, b"5", 0)


def _give_back() -> None:
    """Return freed memory to the system: a child that keeps the largest file's would hold it for all that follow."""
    gc.collect(1)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim:
        trim(0)


if __name__ == "__main__":
    serve(int(sys.argv[1]), TASKS, warm)
