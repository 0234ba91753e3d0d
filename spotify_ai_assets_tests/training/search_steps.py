"""A search over a bowl, and a process that dies in the middle of it; run as a script, it dies."""

import math
import os
import signal
import sys
from pathlib import Path

from spotify_ai_assets.training.search import Choice, Found, Range, SearchConfig, search

SPACE = {"x": Range(-5, 5), "rate": Range(1e-4, 1, is_log=True), "kind": Choice(("flat", "steep")), "depth": Range(1, 9, is_whole=True)}
DEFAULT = {"x": 0.0, "rate": 0.1, "kind": "steep", "depth": 3}
CONFIG = SearchConfig(trials=16, seed=3, random_trials=6, pruned_after=4)


def run(store: Path, log: Path, config: SearchConfig = CONFIG, dies_in: int = 0, **options) -> Found:
    """Search; each trial is noted before it is computed."""

    def objective(parameters, report):
        with log.open("a") as file:
            file.write(f"{sorted(parameters.items())}\n")
        trial = len(log.read_text().splitlines())
        value = (parameters["x"] - 1) ** 2 + (math.log10(parameters["rate"]) + 2) ** 2 + (parameters["kind"] == "flat")
        if trial == dies_in:
            os.kill(os.getpid(), signal.SIGKILL)
        for step in range(3):
            report(step, value * (3 - step))
        return value

    return search(SPACE, objective, config, store, default=DEFAULT, **options)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), dies_in=11)
