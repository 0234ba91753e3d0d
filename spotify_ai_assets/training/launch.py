"""A fit of one of our models on several processes, here or on several machines, that survives the loss of any of them.

A job is a folder: ``job.json`` names the task and its settings, ``arrays.npz`` is what it learns from. Every rank does the same task;
the first one keeps the checkpoint beside them and, at the end, the tensors in ``result.npz`` and what happened in ``report.json``.
When a rank dies, ``torch.distributed.run`` starts all of them again and they go on from the checkpoint. On several machines the folder
is one that all of them see, and on each of them runs::

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    python -m torch.distributed.run --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:PORT --max-restarts 3 \\
        -m spotify_ai_assets.training.launch FOLDER

The variable gives each start a store of its own. Otherwise torch keeps one for all, and ranks started again may look for the others
where the dead ones were.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from spotify_ai_assets.resources.traceparent import child_environment
from spotify_ai_assets.training.distributed import Ranks, joined
from spotify_ai_assets.training.errors import LaunchError
from spotify_ai_assets.training.fit import Fitted

_HOME = "spotify_ai_assets"
_TOLD = 4_000
"""Characters of a failed launch's output that are kept."""


class Task(Protocol):
    """What every rank does: builds network and samples from arrays, fits by ``fit``, gives the tensors to keep."""

    def __call__(
        self,
        arrays: Mapping[str, np.ndarray],
        config: Mapping[str, Any],
        *,
        ranks: Ranks,
        checkpoint: Path | None,
        watch: Callable[[int, float], None] | None = None,
    ) -> tuple[dict[str, np.ndarray], Fitted]:
        """Do it; ``ranks`` and ``checkpoint`` are passed on to ``fit``."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in a distributed fit.

    Attributes:
        losses: Of every step, of the whole batch.
        resumed_at: Steps that a checkpoint had done when the last start began.
        ranks: How many processes there were in the end.
        seconds: CPU seconds of the first rank, those before a resumption included.
        elapsed: Wall seconds of the last start, from the first rank's arrays to its tensors.
        device: Where it was computed.
    """

    losses: tuple[float, ...]
    resumed_at: int
    ranks: int
    seconds: float
    elapsed: float
    device: str


def write_job(folder: Path, task: str, arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> None:
    """Write a job.

    Args:
        folder: For the job alone; made where there is none.
        task: A ``Task`` of this package as ``module:function``.
        arrays: What it learns from, by name.
        config: Its settings, as JSON has them.

    Raises:
        ValueError: The task is none of this package's.
    """
    find_task(task)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "arrays.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    (folder / "job.json").write_text(json.dumps({"task": task, "config": dict(config)}, sort_keys=True))


def find_task(name: str) -> Task:
    """The function that a job names; of this package alone, since a job is a file.

    Raises:
        ValueError: It is none.
    """
    module, _, function = name.partition(":")
    if module.partition(".")[0] != _HOME or not function.isidentifier():
        raise ValueError(f"a task is a module and a function of {_HOME}, such as {_HOME}.recommendations.models.attention:train")
    return getattr(import_module(module), function)


def do_job(folder: Path, ranks: Ranks) -> None:
    """Do a job as one of the ranks."""
    job = json.loads((folder / "job.json").read_text())
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        arrays = dict(file)
    began = time.perf_counter()
    tensors, fitted = find_task(job["task"])(arrays, job["config"], ranks=ranks, checkpoint=folder / "checkpoint.safetensors")
    if not ranks.is_first:
        return
    elapsed = time.perf_counter() - began
    report = Report(tuple(fitted.losses.tolist()), fitted.resumed_at, ranks.count, fitted.seconds, elapsed, fitted.device)
    _write(folder / "result.npz", lambda path: np.savez(path, allow_pickle=False, **tensors))
    _write(folder / "report.json", lambda path: path.write_text(json.dumps(asdict(report))))


def launch(folder: Path, ranks: int, *, restarts: int = 3, timeout: float | None = None) -> tuple[dict[str, np.ndarray], Report]:
    """Do a job on several processes of this machine and wait for it.

    Args:
        folder: A job; of an interrupted one that goes on.
        ranks: How many processes.
        restarts: How often all may be started again after one has died.
        timeout: Seconds to wait at most.

    Returns:
        The tensors of the task, and what happened.

    Raises:
        LaunchError: It failed more often than that; the message ends with what it printed.
    """
    (folder / "report.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["--max-restarts", str(restarts), "-m", f"{_HOME}.training.launch", str(folder)]
    done = subprocess.run(command, env=_variables(), capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode or not (folder / "report.json").is_file():
        raise LaunchError(f"a fit on {ranks} processes failed:\n{(done.stdout + done.stderr)[-_TOLD:]}")
    return read_result(folder)


def read_result(folder: Path) -> tuple[dict[str, np.ndarray], Report]:
    """What a finished job left: its tensors, and what happened."""
    with np.load(folder / "result.npz", allow_pickle=False) as file:
        tensors = dict(file)
    told = json.loads((folder / "report.json").read_text())
    return tensors, Report(**{**told, "losses": tuple(told["losses"])})


def _variables() -> dict[str, str]:
    """The environment of the ranks: this package is found where it is found here, and an operation has one thread unless said."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {"OMP_NUM_THREADS": "1", **child_environment(), "PYTHONPATH": path, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(f".scratch-{path.name}")
    write(scratch)
    scratch.replace(path)


def main(folder: Path) -> None:
    """Be a rank, started by ``torch.distributed.run``, or do the job alone."""
    with joined() as ranks:
        do_job(folder, ranks)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
