"""One fit loop for all torch models: seeded, deterministic, to a step count, resumable after a kill.

Equal configuration, data and initial weights give equal bytes on one machine with one set of versions. What a step sees is a
function of seed and step alone: the samples of step *s* are places *s·batch* to *(s+1)·batch* of an endless row of shuffled
epochs, so each sample is seen once an epoch, a resumed fit needs no memory of the sampler, and the ranks of a distributed fit
(``distributed``) each take their slice of the same row.

Optimiser: AdamW (Loshchilov & Hutter, 2019), decay on matrices and kernels only. Running average of weights: Polyak averaging
with the warm-up ``min(decay, (1 + s) / (10 + s))``, without which a short fit would mostly average its own beginning.
"""

import functools
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from spotify_ai_assets.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from spotify_ai_assets.training.determinism import choose_device, steady
from spotify_ai_assets.training.distributed import ALONE, Ranks, refuse_slices
from spotify_ai_assets.training.errors import DivergedError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import AdamW

_ORDER, _CHANGE = 0, 1
"""Streams of random numbers: which samples, and what is done to them."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How to fit; everything in it but ``checkpoint_every`` decides the result.

    Attributes:
        steps: Where it ends; never a clock.
        batch_size: Samples of a step, of all ranks together.
        learning_rate: The highest.
        weight_decay: On tensors of two or more dimensions.
        warmup_share: Share of the steps over which the rate rises from 0 in a line.
        schedule: What the rate does then: falls to 0 along half a ``cosine``, or stays ``constant``.
        ema_decay: Of the running average of the weights; ``None`` for none.
        clip_norm: Largest norm of all gradients together; ``None`` for any.
        seed: Of samples, augmentation and dropout. Initial weights are the caller's: draw them inside ``steady(seed)``.
        threads: Of an operation on the CPU.
        device: ``auto`` is a GPU where torch sees one, else the CPU.
        checkpoint_every: Steps between checkpoints.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    ema_decay: float | None = 0.999
    clip_norm: float | None = 1.0
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.checkpoint_every < 1:
            raise ValueError("steps, batch_size and checkpoint_every must be at least 1")
        if not 0 <= self.warmup_share <= 1 or self.schedule not in ("cosine", "constant"):
            raise ValueError("warmup_share must be in 0..1 and schedule cosine or constant")


class Samples(Protocol):
    """What is learnt from."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> "tuple[Tensor, ...]":
        """Make one batch, augmented with ``rng`` and nothing else random.

        Args:
            indices: int64, shape (batch,); an index may come twice where an epoch ends inside the batch.
            rng: A generator of this step alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit did; the network itself carries the weights.

    Attributes:
        losses: float64, shape (steps,).
        steps: How many.
        seconds: CPU seconds of this process, and of those before it that were resumed.
        resumed_at: Steps that a checkpoint had done already.
        device: Where it was computed.
    """

    losses: np.ndarray
    steps: int
    seconds: float
    resumed_at: int
    device: str


def fit(
    network: "nn.Module",
    samples: Samples,
    loss: "Callable[[Any, tuple[Tensor, ...]], Tensor]",
    config: FitConfig,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    watch: Callable[[int, float], None] | None = None,
    ranks: Ranks = ALONE,
) -> Fitted:
    """Fit a network.

    At the end it carries the running average of its weights, is in evaluation mode and on the device that it came from. All of
    torch's global state is as it was.

    Args:
        network: With initial weights.
        samples: What is learnt from, and its augmentation.
        loss: Given the network in training mode and a batch on its device, gives a scalar.
        config: How.
        checkpoint: A file to resume from, and to write every ``checkpoint_every`` steps and at the end; the caller removes it
            when the result is safe. One of another recipe is written over.
        identity: Digest of the data and of whatever else the loss depends on: part of the recipe.
        watch: Told the number of steps done and the loss of the last one; what it raises ends the fit.
        ranks: Which of how many processes this one is, as ``distributed.joined`` tells. All call this with equal arguments, and the
            loss must be a mean over samples. The first one writes the checkpoint, which all must see; another number of ranks may
            go on from it.

    Raises:
        DivergedError: The loss is no longer a number.
        RanksDisagreeError: The ranks have not begun the same fit.
        ValueError: There are no samples, fewer in a batch than ranks, or a network that cannot be fitted in slices.
    """
    if not len(samples):
        raise ValueError("there is nothing to learn from: no samples")
    import torch

    device = choose_device(config.device)
    came_from = next((each.device for each in network.parameters()), torch.device("cpu"))
    recipe = _recipe(network, config, device, len(samples), identity)
    with steady(ranks.seed(config.seed), config.threads):
        state = _State(network.to(device).train(), config, device, ranks)
        found = load_checkpoint(checkpoint, recipe) if checkpoint else None
        ranks.agree(f"{recipe} {found.step if found else 0:012}")
        if found:
            state.resume(found)
        losses, begin, spent = state.losses, state.step, found.seconds if found else 0.0
        started = time.process_time()
        for step in range(begin, config.steps):
            losses[step] = value = state.advance(samples, loss)
            if not math.isfinite(value):
                raise DivergedError(f"the loss of step {step + 1} is {value}; a lower learning rate or a longer warm-up may help")
            if checkpoint and (state.step % config.checkpoint_every == 0 or state.step == config.steps):
                reached = state.checkpoint(recipe, spent + time.process_time() - started)
                if ranks.is_first:
                    save_checkpoint(checkpoint, reached)
            if watch:
                watch(state.step, value)
        seconds = spent + time.process_time() - started
        state.take_average()
        network.to(came_from).eval()
    return Fitted(losses, config.steps, seconds, begin, device)


def choose_samples(count: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Which samples a step sees: its places in an endless row of shuffled epochs.

    Args:
        count: Samples in an epoch.
        batch_size: Samples of a step.
        step: Counted from 0.
        seed: Of the shuffles.

    Returns:
        int64, shape (batch_size,).
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    chosen = np.empty(batch_size, np.int64)
    for epoch in range(int(places[0] // count), int(places[-1] // count) + 1):
        here = places // count == epoch
        chosen[here] = _shuffle(count, epoch, seed)[places[here] % count]
    return chosen


@functools.lru_cache(maxsize=2)
def _shuffle(count: int, epoch: int, seed: int) -> np.ndarray:
    """The order of an epoch; the steps of an epoch share it."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def rate_at(config: FitConfig, step: int) -> float:
    """The learning rate of a step, counted from 0: a line up, then half a cosine down to 0 or a constant."""
    rise = round(config.steps * config.warmup_share)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(config.steps - rise, 1)))


class _State:
    """A fit between two steps."""

    def __init__(self, network: "nn.Module", config: FitConfig, device: str, ranks: Ranks) -> None:
        if ranks.count > 1:
            refuse_slices(network)
        self.network, self.config, self.device, self.ranks = network, config, device, ranks
        self.step = 0
        self.losses = np.full(config.steps, np.nan)
        self.optimiser = _optimiser(network, config)
        self.average = {name: value.clone() for name, value in network.state_dict().items()} if config.ema_decay else {}

    def advance(self, samples: Samples, loss: "Callable[[Any, tuple[Tensor, ...]], Tensor]") -> float:
        """Do one step and give its loss."""
        import torch

        config = self.config
        rng = np.random.default_rng(self.ranks.stream(config.seed, _CHANGE, self.step))
        chosen = self.ranks.take(choose_samples(len(samples), config.batch_size, self.step, config.seed))
        batch = samples.batch(chosen, rng)
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(config, self.step)
        self.optimiser.zero_grad(set_to_none=True)
        value = loss(self.network, tuple(each.to(self.device) for each in batch)) * (len(chosen) / config.batch_size)
        value.backward()
        total = self.ranks.add_up(self.network, value)
        if config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.optimiser.step()
        self._follow()
        self.step += 1
        return total

    def _follow(self) -> None:
        """Move the running average towards the weights; counters are copied."""
        import torch

        if not self.average:
            return
        keep = min(self.config.ema_decay or 0.0, (1 + self.step) / (10 + self.step))
        now = self.network.state_dict()
        with torch.no_grad():
            for name, value in now.items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
                else:
                    self.average[name].copy_(value)

    def take_average(self) -> None:
        """Put the running average in the place of the weights."""
        if self.average:
            self.network.load_state_dict(self.average)

    def checkpoint(self, recipe: str, seconds: float) -> Checkpoint:
        """Everything that the rest of the fit depends on."""
        import torch

        parts: dict[str, Any] = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": {
                f"{place}/{name}": value for place, state in self.optimiser.state_dict()["state"].items() for name, value in state.items()
            },
            "random": {
                f"{device}/{rank}": each for device, own in _random_states(self.device) for rank, each in enumerate(self.ranks.collect(own))
            },
            "fit": {"losses": torch.from_numpy(self.losses)},
        }
        tensors = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        return Checkpoint(self.step, seconds, recipe, tensors)

    def resume(self, found: Checkpoint) -> None:
        """Stand where a checkpoint stood."""
        self.network.load_state_dict(found.part("network"))
        self.average = {name: value.to(self.device) for name, value in found.part("average").items()}
        state: dict[int, dict[str, Any]] = {}
        for key, value in found.part("optimiser").items():
            place, _, name = key.partition("/")
            state.setdefault(int(place), {})[name] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self._resume_random(found.part("random"))
        self.losses[:] = found.part("fit")["losses"].numpy()
        self.step = found.step

    def _resume_random(self, random: "dict[str, Tensor]") -> None:
        """Draw on as this rank did; one that was not there then begins a stream of its own."""
        import torch

        if (cpu := random.get(f"cpu/{self.ranks.number}")) is not None:
            torch.set_rng_state(cpu)
        if (cuda := random.get(f"cuda/{self.ranks.number}")) is not None:
            torch.cuda.set_rng_state(cuda)


def _random_states(device: str) -> "list[tuple[str, Tensor]]":
    """Torch's random states that a step may change."""
    import torch

    return [("cpu", torch.get_rng_state())] + ([("cuda", torch.cuda.get_rng_state())] if device.startswith("cuda") else [])


def _optimiser(network: "nn.Module", config: FitConfig) -> "AdamW":
    from torch.optim import AdamW

    learnt = [each for each in network.parameters() if each.requires_grad]
    groups = [
        {"params": [each for each in learnt if each.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [each for each in learnt if each.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate, fused=True)


def _recipe(network: "nn.Module", config: FitConfig, device: str, count: int, identity: str) -> str:
    """Digest of all that decides the result: only a fit of the same recipe may be resumed."""
    import torch

    facts = asdict(config) | {"device": device, "count": count, "identity": identity, "torch": torch.__version__, "numpy": np.__version__}
    facts.pop("checkpoint_every")
    hashed = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in network.state_dict().items():
        hashed.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()
