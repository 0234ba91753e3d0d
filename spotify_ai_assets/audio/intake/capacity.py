"""How much of the machine measuring may take."""

import contextlib
import os
from pathlib import Path


def count_workers(memory_bytes: int, *, cores: int | None = None, available_bytes: int | None = None) -> int:
    """How many children fit: one for each core, but no more than the available memory holds at their limit.

    Args:
        memory_bytes: Most that one child may hold.
        cores: Processor cores; those that this process may use unless given.
        available_bytes: Memory that is free; what the system tells unless given.
    """
    cores = cores or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    available = available_memory() if available_bytes is None else available_bytes
    return max(1, min(cores, int(0.9 * available) // memory_bytes if available else cores))


def available_memory() -> int:
    """Bytes that this process may still take without swapping: of the machine, and of its control group where that has a limit.

    0 where the system does not tell.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        found.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return max(min(found, default=0), 0)
