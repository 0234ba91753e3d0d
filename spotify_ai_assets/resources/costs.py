"""What a step costs: seconds of all cores, and the most memory that its process held.

Linux counts both. The peak of a process is reset when the meter starts, where the kernel allows that; elsewhere it is the peak
since the process began, which is an upper bound.
"""

import contextlib
import resource
import time
from pathlib import Path
from types import TracebackType

_RESET_PEAK = "5"
"""Written to ``/proc/self/clear_refs``: sets the peak of resident memory to what is resident now (proc(5))."""
_PROCESS = Path("/proc/self")


class Meter:
    """Measures a block: ``with Meter() as meter: …``, then ``meter.figures()``; inside the block, what was spent until then."""

    def __init__(self) -> None:
        self._cpu_s = 0.0
        self._figures: dict[str, float] | None = None

    def __enter__(self) -> "Meter":
        with contextlib.suppress(OSError):
            (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
        self._cpu_s, self._figures = _cpu_seconds(), None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._figures = self.figures()

    def figures(self) -> dict[str, float]:
        """``cpu_seconds`` of this process and of children that ended meanwhile; ``peak_memory_bytes`` of this process."""
        if self._figures is not None:
            return dict(self._figures)
        return {"cpu_seconds": round(_cpu_seconds() - self._cpu_s, 3), "peak_memory_bytes": float(_peak_bytes())}


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_bytes() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (_PROCESS / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
