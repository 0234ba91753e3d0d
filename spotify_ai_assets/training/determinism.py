"""The same bytes from the same seed: torch's global state, set for a while and given back.

What is promised holds on one machine with one set of versions and one number of threads; elsewhere sums are formed in another
order and results differ by rounding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def choose_device(device: str = "auto") -> str:
    """The device to compute on: as named, or for ``auto`` a GPU where torch sees one and else the CPU."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def steady(seed: int, threads: int = 1) -> Iterator[None]:
    """Make torch deterministic inside the block, also for what draws initial weights.

    Random state, number of threads and all switches are restored afterwards, whatever happens inside.

    Args:
        seed: Seeds torch on every device.
        threads: Threads of one operation on the CPU; another number is another order of summation.
    """
    import torch

    if torch.cuda.is_available():
        # cuBLAS reads this when it is first used; without it torch refuses matrix products in deterministic mode.
        os.environ.setdefault(_WORKSPACE, ":4096:8")
    filling: Any = torch.utils.deterministic  # torch puts an object in the place of this module, of which its stubs know nothing
    deterministic, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills, benchmark, before = filling.fill_uninitialized_memory, torch.backends.cudnn.benchmark, torch.get_num_threads()
    with torch.random.fork_rng():
        try:
            torch.manual_seed(seed)
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(True)
            filling.fill_uninitialized_memory = False  # it only costs: nothing here reads what it did not write
            torch.backends.cudnn.benchmark = False
            yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            filling.fill_uninitialized_memory = fills
            torch.backends.cudnn.benchmark = benchmark
