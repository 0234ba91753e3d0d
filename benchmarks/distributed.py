"""One fit on several ranks beside the same fit on one: the speed-up, and how far the losses are apart.

Each rank is a process of one thread that ``torch.distributed.run`` starts; they do the attention of the sequence model on sequences drawn
from a seed, without dropout, so that both sides compute the same. Timed is the fit itself; starting an interpreter with torch on each
rank costs the same however long the fit is, and is told apart as ``start_seconds``. Ranks beyond the cores that are free bring nothing.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import main, report
from spotify_ai_assets.recommendations.models.attention import pack_sequences
from spotify_ai_assets.training.launch import Report, launch, write_job

TASK = "spotify_ai_assets.recommendations.models.attention:train"


def draw(listeners: int, items: int, seed: int = 0) -> list[np.ndarray]:
    """Sequences of popular items and rare ones, 20 to 60 long."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, items + 1) ** 0.8
    return [rng.choice(items, rng.integers(20, 61), p=shares / shares.sum()) for _ in range(listeners)]


def fit_once(ranks: int, sequences: list[np.ndarray], items: int, epochs: int) -> tuple[Report, float]:
    """One fit from its beginning; gives what happened and the wall seconds with everything around it."""
    config = {"dropout": 0.0, "epochs": epochs}
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), TASK, pack_sequences(sequences, items), config)
        began = time.perf_counter()
        _, told = launch(Path(folder), ranks)
        return told, time.perf_counter() - began


def measure(ranks: int = 2, rounds: int = 3, listeners: int = 500, items: int = 3_000, epochs: int = 4) -> dict[str, object]:
    """Time both sides in turn.

    Args:
        ranks: Of the distributed side.
        rounds: Fits of each side.
        listeners: Sequences.
        items: Of the softmax.
        epochs: Of each fit.
    """
    sequences = draw(listeners, items)
    sides: dict[int, list[tuple[Report, float]]] = {1: [], ranks: []}
    for number in range(rounds):
        for count, found in sides.items():
            found.append(fit_once(count, sequences, items, epochs))
        print(
            f"round {number + 1}: " + ", ".join(f"{count} ranks {found[-1][0].elapsed:.1f} s" for count, found in sides.items()),
            file=sys.stderr,
        )
    alone, together = ([each.elapsed for each, _ in found] for found in sides.values())
    one, several = (np.array(found[-1][0].losses) for found in sides.values())
    return report(
        "distributed",
        float(np.median(together)),
        float(np.median(alone)),
        unit="seconds of a fit",
        rounds=rounds,
        ranks=ranks,
        speed_up=float(np.median(alone) / np.median(together)),
        steps=len(one),
        loss_apart=f"{np.abs(several / one - 1).max():.1e}",
        first_loss_apart=f"{abs(several[0] / one[0] - 1):.1e}",
        start_seconds=float(np.median([whole - each.elapsed for each, whole in sides[ranks]])),
    )


if __name__ == "__main__":
    main(measure, __doc__, ranks=2, rounds=3, listeners=500, items=3_000, epochs=4)
