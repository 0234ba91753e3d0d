"""The convolutional trunk over log-mels, its heads, and what serves them; nothing imports this module at load.

A VGG-like net (Kong et al., PANNs, 2020), narrow enough for minutes on one core: a 5x5 convolution that halves both sides at once,
then three blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 maximum, then mean and maximum over what is left of time and
frequency. Batch normalisation and pooling of a first block at full size took two thirds of the time, which the stride saves. It
takes any number of frames from 16 up.
"""

import torch
from torch import Tensor, nn

from spotify_ai_assets.audio.models.mels import BANDS, FLOOR_DB, STEP_DB

BLOCKS = 4


class Trunk(nn.Module):
    """From scaled log-mels to a vector.

    Args:
        width: Channels of the first block; each later block has twice as many.
        doubled: How many of the last three blocks convolve twice.
    """

    def __init__(self, width: int, doubled: int = 0) -> None:
        super().__init__()
        blocks = [nn.Sequential(*_convolve(1, width, kernel=5, stride=2))]
        for number in range(1, BLOCKS):
            wide = width << number
            layers = _convolve(wide // 2, wide)
            if number >= BLOCKS - doubled:
                layers += _convolve(wide, wide)
            blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.blocks = nn.Sequential(*blocks)
        self.size = 2 * (width << (BLOCKS - 1))

    def forward(self, mels: Tensor) -> Tensor:
        """float32 vectors of shape (batch, size) of mels of shape (batch, bands, frames)."""
        # Channels last is what the fast kernels of the CPU want.
        deep = self.blocks(mels[:, None].contiguous(memory_format=torch.channels_last))
        return torch.cat([deep.mean((2, 3)), deep.amax((2, 3))], 1).float()


def _convolve(channels: int, wide: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, wide, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(inplace=True),
    ]


class Classifier(nn.Module):
    """Logits of classes from scaled log-mels.

    Args:
        classes: How many.
        width: As of the trunk.
        doubled: As of the trunk.
        dropout: Share of the trunk's vector that training leaves out.
    """

    def __init__(self, classes: int, width: int, doubled: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.trunk = Trunk(width, doubled)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.trunk.size, classes)

    def forward(self, mels: Tensor) -> Tensor:
        """float32 logits of shape (batch, classes) of mels of shape (batch, bands, frames)."""
        deep = self.dropout(self.trunk(mels))
        # The head is small: in float32 its sums are exact enough to compare, whatever the trunk was computed in.
        with torch.autocast(mels.device.type, enabled=False):
            return self.head(deep)


class Encoder(nn.Module):
    """Unit vectors from scaled log-mels, in the space that the contrast is taken in.

    Args:
        width: As of the trunk.
        doubled: As of the trunk.
        projection: Size of that space; what is kept is the trunk's own vector (Chen et al., SimCLR, 2020, section 4.2).
    """

    def __init__(self, width: int, doubled: int = 0, projection: int = 64) -> None:
        super().__init__()
        self.trunk = Trunk(width, doubled)
        self.projector = nn.Sequential(nn.Linear(self.trunk.size, self.trunk.size), nn.ReLU(), nn.Linear(self.trunk.size, projection))

    def forward(self, mels: Tensor) -> Tensor:
        """float32 vectors of shape (batch, projection), of length 1, of mels of shape (batch, bands, frames)."""
        return nn.functional.normalize(self.projector(self.trunk(mels)).float(), dim=1)


class Scaling(nn.Module):
    """From bytes of packed mels to scaled decibels; its two tensors travel with the weights.

    Args:
        is_levelled: Whether each piece is first made as loud as the training data is on average.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, is_levelled: bool = False) -> None:
        super().__init__()
        self.is_levelled = is_levelled
        self.register_buffer("mean", torch.zeros(BANDS))
        self.register_buffer("spread", torch.ones(BANDS))

    def forward(self, packed: Tensor) -> Tensor:
        """float32, shape as given, of uint8 of shape (..., bands, frames)."""
        decibels = packed.float() * STEP_DB + FLOOR_DB
        if self.is_levelled:
            decibels = decibels - (decibels.mean((-2, -1), keepdim=True) - self.mean.mean())
        return (decibels - self.mean[:, None]) / self.spread[:, None]


class ServedClassifier(nn.Module):
    """The classifier as it serves: packed pieces of clips in, the mean of their logits out.

    Args:
        classes: How many.
        width: As of the trunk.
        doubled: As of the trunk.
    """

    def __init__(self, classes: int, width: int, doubled: int = 0) -> None:
        super().__init__()
        self.scale = Scaling()
        self.network = Classifier(classes, width, doubled)

    def forward(self, packed: Tensor) -> Tensor:
        """float32 logits of shape (clips, classes) of uint8 of shape (clips, pieces, bands, frames)."""
        logits = self.network(self.scale(packed.flatten(0, 1)))
        return logits.unflatten(0, packed.shape[:2]).mean(1)


class WholeClip(nn.Module):
    """The classifier over a whole clip: cuts it into the pieces of an answer itself, so that an explanation can follow it back.

    Args:
        network: Over pieces.
        frames: Of a piece.
        pieces: How many, starting at equal distances around the clip.
    """

    def __init__(self, network: Classifier, frames: int, pieces: int) -> None:
        super().__init__()
        self.network, self.frames, self.pieces = network, frames, pieces

    def forward(self, mels: Tensor) -> Tensor:
        """float32 logits of shape (clips, classes) of scaled mels of shape (clips, bands, length)."""
        length = mels.shape[2]
        starts = torch.arange(self.pieces, device=mels.device)[:, None] * length // self.pieces
        places = (starts + torch.arange(self.frames, device=mels.device)) % length
        pieces = mels[:, :, places].transpose(1, 2)
        return self.network(pieces.flatten(0, 1)).unflatten(0, pieces.shape[:2]).mean(1)


class ServedEncoder(nn.Module):
    """The encoder as it serves: packed pieces of recordings in, one vector of length 1 out.

    Args:
        width: As of the trunk.
        doubled: As of the trunk.
        projection: As of the encoder; the projector itself is not used here.
    """

    def __init__(self, width: int, doubled: int = 0, projection: int = 64) -> None:
        super().__init__()
        self.scale = Scaling(is_levelled=True)
        self.network = Encoder(width, doubled, projection)

    def forward(self, packed: Tensor) -> Tensor:
        """float32 vectors of shape (recordings, trunk.size) of uint8 of shape (recordings, pieces, bands, frames)."""
        vectors = nn.functional.normalize(self.network.trunk(self.scale(packed.flatten(0, 1))), dim=1)
        return nn.functional.normalize(vectors.unflatten(0, packed.shape[:2]).mean(1), dim=1)


def choose_precision(device: str = "cpu") -> torch.dtype:
    """What to train convolutions in: bfloat16 where the processor multiplies it natively (about twice as fast), else float32."""
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    can = torch.cpu.get_capabilities()
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32
