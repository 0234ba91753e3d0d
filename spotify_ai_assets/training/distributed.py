"""The same fit on several processes: each sees its slice of every batch, and all take the same step.

A batch is cut into as many slices as there are ranks; each rank weighs the loss of its slice by its share of the batch, and gradients
and losses are added up over all ranks. Where the loss is a mean over samples the sum is the gradient of the whole batch, as one
process would have it, but for rounding. A loss that sets samples against each other, such as a softmax over the batch, calls
``gather_with_gradient`` and has the others' rows too, its gradient included.

What is not the same: dropout and augmentation, which each rank draws from a stream of its own. Batch normalisation is refused, since
its statistics would be those of a slice.

The gradients are one flat sum instead of ``DistributedDataParallel``, which hears of a network's ``forward`` alone, while losses here
may call any part of it; the order of the sum is the ranks', so that a resumed fit has the undisturbed one's losses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_ai_assets.training.determinism import choose_device
from spotify_ai_assets.training.errors import RanksDisagreeError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this one is.

    Attributes:
        number: Of this process, from 0.
        count: How many there are.
    """

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes."""
        return self.number == 0

    def take(self, chosen: np.ndarray) -> np.ndarray:
        """The slice of a batch that is this rank's; slices differ by at most one sample.

        Raises:
            ValueError: There are fewer samples than ranks.
        """
        if len(chosen) < self.count:
            raise ValueError(f"a batch of {len(chosen)} cannot be cut into {self.count} slices")
        return np.array_split(chosen, self.count)[self.number]

    def stream(self, *key: int) -> list[int]:
        """The seed of a stream of random numbers that no other rank draws from; the first rank's is that of a fit alone."""
        return list(key) if self.is_first else [*key, self.number]

    def seed(self, seed: int) -> int:
        """The seed of torch on this rank; the first rank's is the fit's own."""
        return seed if self.is_first else int(np.random.SeedSequence([seed, self.number]).generate_state(1)[0])

    def agree(self, digest: str) -> None:
        """Hold a digest against the other ranks'.

        Raises:
            RanksDisagreeError: Theirs is another: other data or weights, or a checkpoint that not all of them see.
        """
        import torch

        if self.count == 1:
            return
        own = torch.frombuffer(bytearray(digest.encode()), dtype=torch.uint8)
        if any(not torch.equal(own, other) for other in self.collect(own)):
            raise RanksDisagreeError(
                f"rank {self.number} of {self.count} begins another fit than the others: "
                "data, initial weights and settings must be equal, and the checkpoint must be a file that all of them see"
            )

    def add_up(self, network: "nn.Module", loss: "Tensor") -> float:
        """Add up gradients and loss over all ranks, in place; gives the loss."""
        import torch
        from torch import distributed

        if self.count == 1:
            return float(loss.detach())
        learnt = [each for each in network.parameters() if each.requires_grad]
        # A parameter that no rank's loss met keeps no gradient, as it would in one process.
        met = torch.tensor([each.grad is not None for each in learnt], dtype=loss.dtype, device=loss.device)
        grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in learnt]
        flat = torch.cat([each.reshape(-1) for each in (*grads, met, loss.detach())])
        distributed.all_reduce(flat)
        *sums, met, total = flat.split([*(each.numel() for each in grads), len(learnt), 1])
        for parameter, whole, times in zip(learnt, sums, met.tolist(), strict=True):
            parameter.grad = whole.view_as(parameter) if times else None
        return float(total)

    def collect(self, own: "Tensor") -> "list[Tensor]":
        """A tensor of each rank, all of one shape."""
        import torch
        from torch import distributed

        if self.count == 1:
            return [own]
        here = own.to(choose_device()) if distributed.get_backend() == "nccl" else own
        found = [torch.empty_like(here) for _ in range(self.count)]
        distributed.all_gather(found, here)
        return [each.to(own.device) for each in found]


ALONE = Ranks()
"""A process that fits by itself."""


@contextmanager
def joined(device: str = "auto", **group: Any) -> Iterator[Ranks]:
    """Be one of the ranks that ``torch.distributed.run`` started; by itself where it started none.

    Ranks talk by NCCL where each of a machine has a GPU of its own, and by Gloo otherwise.

    Args:
        device: As of ``FitConfig``.
        group: Arguments of ``torch.distributed.init_process_group`` for ranks that were started otherwise: ``init_method``, ``rank``,
            ``world_size``.
    """
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import get_node_local_rank

    if not (group or distributed.is_torchelastic_launched()):
        yield ALONE
        return
    backend = "gloo"
    if choose_device(device).startswith("cuda"):
        place = get_node_local_rank(fallback_rank=group.get("rank", 0))
        torch.cuda.set_device(place % torch.cuda.device_count())
        backend = "nccl" if place < torch.cuda.device_count() else "gloo"
    distributed.init_process_group(backend, **group)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def gather_with_gradient(rows: "Tensor") -> "Tensor":
    """The rows of all ranks in the order of the ranks; a gradient with respect to any of them finds its way back to its rank.

    Outside a distributed fit they are the rows themselves.

    Args:
        rows: Of this rank, shape (n, ...); n may differ from rank to rank.

    Returns:
        Shape (sum of all n, ...); those of this rank begin at ``first_row(rows)``.
    """
    return _gathering().apply(rows, *_extents(len(rows))) if _is_joined() else rows


def first_row(rows: "Tensor") -> int:
    """Where the rows of this rank begin among those of all ranks; asked by all ranks at once."""
    return _extents(len(rows))[0] if _is_joined() else 0


def refuse_slices(network: "nn.Module") -> None:
    """Refuse networks whose answer for a sample hangs on which others are in its slice.

    Raises:
        ValueError: It normalises by the batch.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise ValueError("a network with batch normalisation cannot be fitted on several ranks: its statistics would be those of a slice")


def _is_joined() -> bool:
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _extents(own: int) -> tuple[int, int]:
    """Where this rank's rows begin, and how many all have."""
    import torch
    from torch import distributed

    ranks = Ranks(distributed.get_rank(), distributed.get_world_size())
    counts = [int(each) for each in ranks.collect(torch.tensor([own]))]
    return sum(counts[: ranks.number]), sum(counts)


def _gathering() -> Any:
    """The operation, made where torch is wanted."""
    import torch
    from torch import distributed

    class Gathering(torch.autograd.Function):
        # torch declares any arguments, and each operation has its own.
        @staticmethod
        def forward(context: Any, rows: "Tensor", begin: int, total: int) -> "Tensor":  # pyright: ignore[reportIncompatibleMethodOverride]
            context.begin, context.count = begin, len(rows)
            # A sum of rows that are 0 but for one rank's: exact, and slices need not be of one size.
            whole = rows.new_zeros((total, *rows.shape[1:]))
            whole[begin : begin + len(rows)] = rows
            distributed.all_reduce(whole)
            return whole

        @staticmethod
        def backward(context: Any, gradient: "Tensor") -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            added = gradient.contiguous().clone()
            distributed.all_reduce(added)
            return added[context.begin : context.begin + context.count], None, None

    return Gathering
