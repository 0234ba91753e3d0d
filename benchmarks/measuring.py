"""Taking times: sides interleaved, each round in a fresh process, the median of the rounds, one JSON line at the end."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process.

    Attributes:
        seconds: Wall time from its start to its end.
        cpu_seconds: CPU time of all its threads.
        told: The JSON document on its last line of output; empty where that is none.
    """

    seconds: float
    cpu_seconds: float
    told: dict[str, Any]


def run(command: Sequence[str | Path], **environment: str | Path) -> Run:
    """Run a process of this interpreter in the checkout and wait for it.

    Args:
        command: Arguments of ``python``.
        environment: Variables to set.

    Raises:
        RuntimeError: It failed; the message ends with what it printed.
    """
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    started, before = time.perf_counter(), _children_cpu()
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    seconds, cpu_seconds = time.perf_counter() - started, _children_cpu() - before
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    last = done.stdout.strip().rpartition("\n")[2]
    return Run(seconds, cpu_seconds, json.loads(last) if last.startswith("{") else {})


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def call(function: Callable[..., dict[str, Any]], *arguments: object, **environment: str | Path) -> Run:
    """Call a function of a module in a fresh process.

    Args:
        function: Gives what the run tells.
        arguments: Its arguments, as plain values.
        environment: Variables to set.
    """
    main_spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = main_spec.name if function.__module__ == "__main__" and main_spec else function.__module__
    name = function.__name__
    return run(["-c", f"import json; from {module} import {name}; print(json.dumps({name}(*{arguments!r})))"], **environment)


def interleave(rounds: int, *sides: Callable[[], Run]) -> list[list[Run]]:
    """Run sides in turn, A B A B, so that a busy machine slows all of them alike.

    Returns:
        The runs of each side.
    """
    found: list[list[Run]] = [[] for _ in sides]
    for number in range(rounds):
        for runs, side in zip(found, sides, strict=True):
            runs.append(side())
        _tell(f"round {number + 1} of {rounds}: " + ", ".join(f"{runs[-1].seconds:.2f} s" for runs in found))
    return found


def median(runs: Sequence[Run], measure: str | None = None) -> float:
    """The median of what runs told, or of their wall times."""
    return statistics.median(run.told[measure] if measure else run.seconds for run in runs)


def median_cpu(runs: Sequence[Run]) -> float:
    """The median of their CPU times."""
    return statistics.median(run.cpu_seconds for run in runs)


class Watch:
    """Takes the time of a part of this process: ``told`` has its wall seconds, CPU seconds of all threads and peak memory."""

    def __enter__(self) -> "Watch":
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        seconds, cpu_seconds = time.perf_counter() - self._started[0], time.process_time() - self._started[1]
        self.told = {"seconds": seconds, "cpu_seconds": cpu_seconds, "megabytes": peak_megabytes()}


def peak_megabytes() -> float:
    """The most memory that this process has held so far (Linux: ``VmHWM``, which no parent's memory gets into)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def report(
    name: str, ours: float, peer: float, *, unit: str, rounds: int, better: Literal["lower", "higher"] = "lower", **more: object
) -> dict[str, object]:
    """The document of a benchmark, with the ratio ours / peer."""
    numbers = {key: round(value, 3) if isinstance(value, float) else value for key, value in more.items()}
    return {
        "name": name,
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(ours / peer, 3),
        "better": better,
        "unit": unit,
        "rounds": rounds,
        **numbers,
    }


def main(measure: Callable[..., Mapping[str, object]], description: str | None, **defaults: Any) -> None:
    """Run a benchmark from the command line, one option for each of its arguments, and print its document."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path if value is None else type(value), default=value, help=" ")
    print(json.dumps(measure(**vars(parser.parse_args()))))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
