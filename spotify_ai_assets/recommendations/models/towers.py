"""The networks of the two-tower model, its samples and its loss.

One tower places items by their content, the other places listeners by the items of their history. Trained on (listener, item) pairs
by a softmax over the items of a batch, whose logits are corrected by how often an item is drawn (log-Q; Bengio and Senécal, 2008;
Yi et al., 2019): without that, frequent items would be pushed away for being frequent negatives.
"""

import math

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional

from spotify_ai_assets.recommendations.models.parts import shape_of


class ItemTower(nn.Module):
    """Content to a vector of unit length: a linear map plus a network of one hidden layer. What has no content is at the origin.

    The linear map alone keeps likenesses of content, roughly; so training starts from content neighbours instead of from nothing.

    Args:
        content: Numbers of an item's content.
        hidden: Units of the hidden layer.
        size: Numbers of a vector.
        dropout: Share of the content that is left out at random while training.
    """

    def __init__(self, content: int, hidden: int, size: int, dropout: float) -> None:
        super().__init__()
        self.gain = math.sqrt(content)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(content, size, bias=False)
        self.network = nn.Sequential(nn.Linear(content, hidden), nn.GELU(), nn.Linear(hidden, size))

    def forward(self, content: Tensor) -> Tensor:
        """Vectors, shape (items, size)."""
        scaled = self.dropout(content * self.gain)
        vectors = functional.normalize(self.linear(scaled) + self.network(scaled), dim=1)
        return vectors * content.any(dim=1, keepdim=True)


class ListenerTower(nn.Module):
    """What a listener's vector has beside the mean of the history's: a network of one hidden layer, which starts as nothing.

    Args:
        size: Numbers of a vector.
        hidden: Units of the hidden layer.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        last = nn.Linear(hidden, size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), last)

    def forward(self, means: Tensor) -> Tensor:
        """What is added to means of histories, shape (listeners, size)."""
        return self.network(means)


class Towers(nn.Module):
    """Both towers.

    Args:
        content: Numbers of an item's content.
        hidden: Units of the hidden layers.
        size: Numbers of a vector.
        dropout: Of the item tower.
        temperature: What inner products are divided by.
    """

    def __init__(self, content: int, hidden: int, size: int, dropout: float, temperature: float) -> None:
        super().__init__()
        self.items = ItemTower(content, hidden, size, dropout)
        self.listeners = ListenerTower(size, hidden)
        self.temperature = temperature

    def forward(self, content: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Place items and listeners.

        Args:
            content: Shape (items, d).
            shares: What each item counts in a history, rows that add up to 1 or 0; shape (listeners, items).

        Returns:
            Vectors of items, and of listeners divided by the temperature.
        """
        items = self.items(content)
        means = shares @ items
        return items, (means + self.listeners(means)) / self.temperature


class TasteOfPlays(nn.Module):
    """The listener tower as a function of what each play adds to the mean, for attributions.

    Args:
        listeners: The tower.
        items: Vectors of the items that are answered for, divided by the temperature; shape (items, size).
    """

    def __init__(self, listeners: ListenerTower, items: Tensor) -> None:
        super().__init__()
        self.listeners = listeners
        self.register_buffer("answered", items)

    def forward(self, plays: Tensor) -> Tensor:
        """What the tower adds to the scores of the items, shape (cases, items), of plays of shape (cases, plays, size)."""
        return self.listeners(plays.sum(dim=1)) @ self.get_buffer("answered").T


class Pairs:
    """The samples: each play that has other plays beside it, with some of those as its history.

    Args:
        matrix: Weights of histories, shape (listeners, items).
        content: Shape (items, d); items without content are neither asked for nor part of a history.
        longest: Plays of a history at most, drawn anew each time.
    """

    def __init__(self, matrix: csr_matrix, content: np.ndarray, longest: int) -> None:
        rows, columns = shape_of(matrix)
        has_content = np.asarray(content.any(axis=1), np.float32)
        known = csr_matrix((matrix.data * has_content[matrix.indices], matrix.indices.copy(), matrix.indptr.copy()), shape=(rows, columns))
        known.eliminate_zeros()
        known.sort_indices()
        lengths = np.diff(known.indptr)
        self._rows = np.repeat(np.arange(rows), lengths)
        self._entries = np.flatnonzero(np.repeat(lengths, lengths) > 1)
        self._matrix, self._content, self._longest = known, content, longest
        drawn = np.bincount(known.indices[self._entries], minlength=columns)
        self._log_q = np.log(np.maximum(drawn, 1) / max(len(self._entries), 1)).astype(np.float32)

    def __len__(self) -> int:
        return len(self._entries)

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Make one batch.

        Args:
            indices: Which pairs.
            rng: Draws the parts of long histories.

        Returns:
            Content of the items of the batch, shape (items, d); shares of each history over them, shape (batch, items); the place
            of each pair's item among them, shape (batch,); log of the probability to draw it, shape (batch,).
        """
        entries = self._entries[indices]
        others = [self._choose(entry, rng) for entry in entries]
        rows = np.repeat(np.arange(len(entries)), [len(each) for each in others])
        chosen = np.concatenate(others)
        items, places = np.unique(np.concatenate([self._matrix.indices[entries], self._matrix.indices[chosen]]), return_inverse=True)
        shares = np.zeros((len(entries), len(items)), np.float32)
        shares[rows, places[len(entries) :]] = self._matrix.data[chosen]
        shares /= shares.sum(axis=1, keepdims=True)
        asked = self._matrix.indices[entries]
        arrays = (self._content[items], shares, places[: len(entries)], self._log_q[asked])
        return tuple(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays)

    def _choose(self, entry: np.int64, rng: np.random.Generator) -> np.ndarray:
        row = self._rows[entry]
        begin, end = self._matrix.indptr[row : row + 2]
        count = int(end - begin) - 1
        others = np.arange(count) if count <= self._longest else rng.choice(count, self._longest, replace=False)
        return begin + others + (others >= entry - begin)


def pair_loss(towers: Towers, batch: tuple[Tensor, ...]) -> Tensor:
    """Cross entropy of each pair's item among the items of the batch; what a listener has played besides is no wrong answer."""
    content, shares, places, log_q = batch
    items, listeners = towers(content, shares)
    logits = listeners @ items[places].T - log_q[None, :]
    own = torch.arange(len(places), device=places.device)
    is_no_negative = (shares[:, places] > 0) | (places[:, None] == places[None, :])
    is_no_negative[own, own] = False
    return functional.cross_entropy(logits.masked_fill(is_no_negative, -math.inf), own)
