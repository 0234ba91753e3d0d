"""Attention over the last items of a sequence, for what comes next: SASRec with a softmax over all items.

Kang & McAuley (2018), "Self-Attentive Sequential Recommendation", with the loss of Klenitskiy & Vasilev (2023), who found that its
published distance to BERT4Rec was the sampled loss. Layers normalise first; the vectors of items are those of the answers too.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional

from spotify_ai_assets.recommendations.models.ordering import find_places, read_order
from spotify_ai_assets.recommendations.models.parts import read_config, refuse
from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.distributed import ALONE, Ranks
from spotify_ai_assets.training.explanation import Attribution, attribute
from spotify_ai_assets.training.fit import FitConfig, Fitted, fit
from spotify_ai_assets.training.launch import launch, write_job

_NOTHING = -1
"""Fills the places before the first item, and is the target where there is none."""

_AT_ONCE = 256
"""Sequences scored at once."""


@dataclass(frozen=True, slots=True)
class AttentionConfig:
    """A network and its fit.

    Attributes:
        dimensions: Of the vectors.
        layers: Of attention.
        heads: Of a layer.
        length: Items looked back on.
        dropout: Share of what is dropped of vectors in training.
        epochs: Passes over all windows.
        batch_size: Windows of a step.
        learning_rate: The highest.
        seed: Of everything random.
        processes: On which it is fitted; another number is another stream of dropout.
    """

    dimensions: int = 64
    layers: int = 2
    heads: int = 2
    length: int = 50
    dropout: float = 0.5
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        refuse(
            (
                min(self.layers, self.heads, self.length, self.epochs, self.batch_size, self.processes) < 1,
                "sizes, epochs and processes must be at least 1",
            ),
            (self.dimensions < self.heads or self.dimensions % self.heads != 0, "dimensions must be a multiple of heads"),
            (not 0 <= self.dropout < 1, "dropout must be in 0..1"),
        )


class Attention(nn.Module):
    """The network: from the items so far to a score of each item at each place."""

    def __init__(self, items: int, config: AttentionConfig) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.randn(items, config.dimensions) * 0.02)
        self.places = nn.Parameter(torch.randn(config.length, config.dimensions) * 0.02)
        self.bias = nn.Parameter(torch.zeros(items))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dimensions)
        self.dropout = nn.Dropout(config.dropout)

    def embed(self, sequences: Tensor) -> Tensor:
        """Vectors of items, 0 where there is none; shape (n, length, dimensions)."""
        return functional.embedding(sequences.clamp(min=0), self.items) * (sequences != _NOTHING).unsqueeze(-1)

    def read(self, vectors: Tensor, present: Tensor) -> Tensor:
        """What each place knows of those up to it.

        Args:
            vectors: As ``embed`` gives them.
            present: Whether there is an item, bool, shape (n, length).

        Returns:
            Shape (n, length, dimensions).
        """
        length = vectors.shape[1]
        up_to = torch.ones(length, length, dtype=torch.bool, device=vectors.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=vectors.device)
        # A place before the first item sees itself, since a softmax over nothing is no number.
        mask = (present[:, None, None, :] & up_to) | itself
        hidden = self.dropout(vectors + self.places[-length:])
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.norm(hidden)

    def answer(self, hidden: Tensor) -> Tensor:
        """Scores of all items, shape (..., items)."""
        return hidden @ self.items.T + self.bias

    def forward(self, sequences: Tensor) -> Tensor:
        """Scores of all items after whole sequences.

        Args:
            sequences: int64, shape (n, at most length), the last item last, -1 before the first one.

        Returns:
            Shape (n, items).
        """
        return self.answer(self.read(self.embed(sequences), sequences != _NOTHING)[:, -1])


class _Layer(nn.Module):
    """Attention to earlier places, and two dense layers."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        size = config.dimensions
        self.heads = config.heads
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.ask, self.give = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.widen, self.narrow = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        count, length, size = hidden.shape
        asked, keys, values = self.ask(self.before(hidden)).view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(asked, keys, values, attn_mask=mask)
        hidden = hidden + self.dropout(self.give(seen.transpose(1, 2).reshape(count, length, size)))
        return hidden + self.dropout(self.narrow(functional.gelu(self.widen(self.between(hidden)))))


class Windows:
    """Pieces of sequences as samples: each item but a sequence's first is a target once.

    Args:
        sequences: Numbers of items, the oldest first.
        length: Inputs of a piece.
    """

    def __init__(self, sequences: Sequence[np.ndarray], length: int) -> None:
        pieces = [
            each[max(end - length - 1, 0) : end]
            for each in (np.asarray(each, np.int64) for each in sequences)
            for end in range(len(each), 1, -length)
        ]
        self.inputs = pad([piece[:-1] for piece in pieces], length)
        self.targets = pad([piece[1:] for piece in pieces], length)
        self.mean_length = float((self.targets != _NOTHING).sum() / max(len(pieces), 1))

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets, int64, as long as the longest piece among them."""
        inputs, targets = self.inputs[indices], self.targets[indices]
        begin = int((targets != _NOTHING).any(0).argmax())
        return torch.from_numpy(inputs[:, begin:]), torch.from_numpy(targets[:, begin:])


def pad(sequences: Sequence[np.ndarray], length: int) -> np.ndarray:
    """The last items of sequences as rows, int64, shape (n, length), with -1 before the first one."""
    rows = np.full((len(sequences), length), _NOTHING, np.int64)
    for row, each in zip(rows, sequences, strict=True):
        if len(each):
            row[-len(each) :] = each[-length:]
    return rows


def fit_attention(
    sequences: Sequence[np.ndarray],
    items: int,
    config: AttentionConfig,
    *,
    ranks: Ranks = ALONE,
    checkpoint: Path | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[Attention, Fitted]:
    """Fit a network, from random weights.

    Args:
        sequences: Numbers of items, the oldest first; those of fewer than two teach nothing.
        items: How many there are.
        config: Network and fit.
        ranks: As of ``training.fit``.
        checkpoint: As of ``training.fit``.
        watch: Told the steps done and the loss.

    Raises:
        ValueError: No sequence has two items.
    """
    windows = Windows(sequences, config.length)
    steps = max(round(config.epochs * len(windows) / config.batch_size), 1)
    how = FitConfig(steps, config.batch_size, config.learning_rate, ema_decay=None, seed=config.seed, checkpoint_every=max(steps // 20, 1))
    with steady(config.seed, how.threads):
        network = Attention(items, config)

    def loss(network: Attention, batch: tuple[Tensor, ...]) -> Tensor:
        inputs, targets = batch
        known = targets != _NOTHING
        answers = network.answer(network.read(network.embed(inputs), inputs != _NOTHING)[known])
        # By the mean length of a window rather than by this batch's, so that it is a mean over samples, which ranks can add up.
        return functional.cross_entropy(answers, targets[known], reduction="sum") / (len(inputs) * windows.mean_length)

    identity = f"{asdict(config)} {hashlib.sha256(windows.inputs.tobytes() + windows.targets.tobytes()).hexdigest()}"
    return network, fit(network, windows, loss, how, checkpoint=checkpoint, identity=identity, watch=watch, ranks=ranks)


def train(
    arrays: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    *,
    ranks: Ranks,
    checkpoint: Path | None,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[dict[str, np.ndarray], Fitted]:
    """The task of a distributed fit (``training.launch``).

    Args:
        arrays: As ``pack_sequences`` gives them.
        config: Of ``AttentionConfig``, as JSON has it.
        ranks: Which of how many processes this is.
        checkpoint: Where the fit keeps its place.
        watch: Told the steps done and the loss.
    """
    sequences = np.split(arrays["flat"], np.cumsum(arrays["lengths"])[:-1])
    chosen = read_config(AttentionConfig, config)
    network, fitted = fit_attention(sequences, int(arrays["items"]), chosen, ranks=ranks, checkpoint=checkpoint, watch=watch)
    return take_tensors(network), fitted


def pack_sequences(sequences: Sequence[np.ndarray], items: int) -> dict[str, np.ndarray]:
    """Sequences as the arrays of a job."""
    lengths = np.array([len(each) for each in sequences], np.int64)
    return {"flat": np.concatenate(sequences).astype(np.int32), "lengths": lengths, "items": np.array(items)}


def take_tensors(network: Attention) -> dict[str, np.ndarray]:
    """The weights of a network, by name."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def load_attention(tensors: Mapping[str, np.ndarray], config: AttentionConfig) -> Attention:
    """The network that ``take_tensors`` took apart, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        network = Attention(len(tensors["items"]), config)
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()})
    return network.eval()


def score_sequences(network: Attention, sequences: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Scores of all items after sequences, float32, shape (n, items); those after nothing are the items' biases alone."""
    scores = np.empty((len(sequences), len(network.items)), np.float32)
    rows = pad(sequences, length)
    with torch.inference_mode():
        for begin in range(0, len(rows), _AT_ONCE):
            part = torch.from_numpy(rows[begin : begin + _AT_ONCE])
            scores[begin : begin + _AT_ONCE] = network(part).numpy()
    scores[[not len(each) for each in sequences]] = network.bias.detach().numpy()
    return scores


class _FromVectors(nn.Module):
    """The network after the look-up of vectors, for gradients along a path of vectors."""

    def __init__(self, network: Attention) -> None:
        super().__init__()
        self.network = network

    def forward(self, vectors: Tensor) -> Tensor:
        present = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        return self.network.answer(self.network.read(vectors, present)[:, -1])


def attribute_sequence(network: Attention, sequence: np.ndarray, items: np.ndarray, length: int, **options: Any) -> Attribution:
    """Integrated gradients of items' scores by the items of a sequence, from places that hold nothing.

    Args:
        network: In evaluation mode.
        sequence: Numbers of items, the oldest first; at least one.
        items: Whose scores are explained.
        length: Items that the network looks back on.
        options: Of ``training.explanation.attribute``.

    Returns:
        With values of shape (items, len(sequence)); items that are further back than ``length`` have 0.
    """
    with torch.inference_mode():
        vectors = network.embed(torch.from_numpy(np.asarray(sequence[-length:], np.int64))[None]).numpy()
    cases = np.repeat(vectors, len(items), axis=0)
    found = attribute(_FromVectors(network), cases, np.asarray(items), np.zeros_like(vectors[0]), **options)
    values = np.zeros((len(items), len(sequence)), np.float32)
    values[:, -vectors.shape[1] :] = found.values.sum(2)
    return Attribution(values, found.difference, found.gap, found.steps)


@dataclass(frozen=True, slots=True, eq=False)
class Attending:
    """Attention as one way among others.

    Attributes:
        config: Of the network.
        network: Fitted, in evaluation mode.
    """

    config: AttentionConfig
    network: Attention

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray], items: int, settings: Mapping[str, Any]) -> Self:
        """Learn from sequences, in this process or on several.

        Raises:
            ValueError: No sequence has two items.
            LaunchError: The processes failed more often than they may.
        """
        config = read_config(AttentionConfig, settings)
        if config.processes == 1:
            return cls(config, fit_attention(sequences, items, config)[0])
        with tempfile.TemporaryDirectory() as folder:
            write_job(Path(folder), f"{__name__}:{train.__name__}", pack_sequences(sequences, items), asdict(config))
            tensors, _ = launch(Path(folder), config.processes)
        return cls(config, load_attention(tensors, config))

    def score(self, histories: csr_matrix) -> np.ndarray:
        """Scores of all items after histories, float32, shape (n, items)."""
        return score_sequences(self.network, read_order(histories), self.config.length)

    def attribute(self, history: csr_matrix, items: np.ndarray) -> Attribution:
        """Which entries of a history scores hang on, in their order in the row; as ``attribute_sequence``."""
        (places,) = find_places(history)
        found = attribute_sequence(self.network, history.indices[places], items, self.config.length)
        values = np.empty_like(found.values)
        values[:, places] = found.values
        return Attribution(values, found.difference, found.gap, found.steps)

    def arrays(self) -> dict[str, np.ndarray]:
        """The network's weights."""
        return take_tensors(self.network)

    @classmethod
    def from_arrays(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Make it again."""
        config = read_config(AttentionConfig, settings)
        return cls(config, load_attention(arrays, config))
