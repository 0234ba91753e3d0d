"""An embedding of sound learnt without labels from the user's own audio, and the vectors that similarity search uses.

The trunk of the classifier is taught that two random pieces of one recording, each with its own gain, pitch, speed and masks, belong
together and that those of other recordings of the batch do not (SimCLR, Chen et al. 2020; NT-Xent loss). How loud a piece is tells
nothing about what it is, so each is made equally loud before it is heard. What is kept is the mean of the trunk's vectors of several
pieces.

A track's embedding is made of up to two such parts, each of length 1 before they are put together, so that neither outvotes the
other: the learnt one, and its hand features standardised over the catalogue. Which parts are used is decided on evidence
(``evidence.choose_default``).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spotify_ai_assets.audio.models.augmentation import Augmentation, mask, vary
from spotify_ai_assets.audio.models.mels import BANDS, MEANING, Scale, fit_scale, level, spread_pieces, stack_pieces, trim_silence, unpack
from spotify_ai_assets.training.adapters.contract import InputContract
from spotify_ai_assets.training.determinism import choose_device, steady
from spotify_ai_assets.training.fit import FitConfig, fit

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spotify_ai_assets.audio.models.networks import Encoder, ServedEncoder

_CHUNK = 8
"""Recordings that are embedded at once."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """A recipe; all of it but ``name`` decides the result.

    Attributes:
        name: What cards and records call it.
        fit: The loop; a step sees ``batch_size`` recordings, two pieces of each.
        augmentation: What is done to each piece; pieces are not mixed.
        frames: Of a piece.
        width: Channels of the first block.
        doubled: How many of the last blocks convolve twice.
        projection: Size of the space of the contrast.
        temperature: Of the contrast.
        shifts: Pieces whose vectors are averaged.
        precision: As of the classifier.
    """

    name: str
    fit: FitConfig
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(tilt_db=3.0, stretch=0.1, shift_bands=1.5, mix_alpha=0.0))
    frames: int = 216
    width: int = 24
    doubled: int = 0
    projection: int = 64
    temperature: float = 0.2
    shifts: int = 8
    precision: Literal["auto", "bfloat16", "float32"] = "auto"

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the result, first 16 hexadecimal digits."""
        facts = asdict(self)
        facts.pop("name")
        facts["fit"].pop("checkpoint_every")
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


FULL = EncoderConfig("full", FitConfig(steps=1_000, batch_size=32, learning_rate=2e-3, weight_decay=0.01, warmup_share=0.1, ema_decay=0.99))
"""Minutes on one core."""

DEMO = EncoderConfig(
    "demo",
    FitConfig(steps=150, batch_size=24, learning_rate=4e-3, weight_decay=0.01, warmup_share=0.1, ema_decay=0.95),
    frames=128,
    width=8,
    projection=32,
    shifts=4,
)
"""Seconds; for the demo world and tests, and labelled so."""


@dataclass(frozen=True, slots=True)
class EncoderModel:
    """A trained encoder, ready to be kept.

    Attributes:
        tensors: The state of ``networks.ServedEncoder``.
        meta: A JSON document.
    """

    tensors: dict[str, np.ndarray]
    meta: dict[str, Any]


def train_encoder(
    mels: Sequence[np.ndarray],
    config: EncoderConfig,
    *,
    checkpoint: Path | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> EncoderModel:
    """Teach an encoder which pieces are of one recording.

    Args:
        mels: Packed mels, one per recording; at least two.
        config: The recipe.
        checkpoint: A file to resume from and to keep the place in.
        watch: Told the steps done and the loss.

    Raises:
        ValueError: Fewer than two recordings: there is nothing to tell apart.
    """
    if len(mels) < 2:
        raise ValueError("an encoder needs at least two recordings to tell apart")
    import torch

    from spotify_ai_assets.audio.models.networks import choose_precision

    precision = choose_precision(choose_device(config.fit.device)) if config.precision == "auto" else getattr(torch, config.precision)
    pairs, network = _Pairs(mels, config), _build(config)
    identity = f"{config.digest} {precision} {_digest_mels(mels)}" if checkpoint else ""

    def loss(network: "nn.Module", batch: "tuple[Tensor, ...]") -> "Tensor":
        with torch.autocast(batch[0].device.type, precision, enabled=precision != torch.float32):
            vectors = network(batch[0])
        return contrast(vectors, batch[1], config.temperature)

    fitted = fit(network, pairs, loss, config.fit, checkpoint=checkpoint, identity=identity, watch=watch)
    tail = fitted.losses[-max(1, len(fitted.losses) // 10) :]
    return _keep(network, pairs.scale, config, {"recordings": len(mels), "loss": float(tail.mean()), "is_trained": True})


def random_encoder(mels: Sequence[np.ndarray], config: EncoderConfig) -> EncoderModel:
    """The control: the same network with its initial weights, and the scale of the same recordings.

    Its batch normalisation has the statistics of the recordings, as a trained one has; otherwise the control would lose for the wrong
    reason.
    """
    import torch

    clips = [trim_silence(mel) for mel in mels]
    network, scale = _build(config), fit_scale(clips)
    rng = np.random.default_rng([config.fit.seed, 2])
    with steady(config.fit.seed, config.fit.threads), torch.no_grad():
        network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # averages over all batches
        for _ in range(4):
            chosen = rng.integers(len(mels), size=config.fit.batch_size)
            pieces = np.concatenate([spread_pieces(clips[index], config.frames, 1) for index in chosen])
            levelled = np.stack([level(piece, float(scale.mean.mean())) for piece in unpack(pieces)])
            network(torch.from_numpy(scale.apply(levelled)))
    return _keep(network.eval(), scale, config, {"recordings": len(mels), "loss": None, "is_trained": False})


def embed(model: EncoderModel, mels: Sequence[np.ndarray]) -> np.ndarray:
    """Learnt vectors of recordings.

    Args:
        model: As ``train_encoder`` gave it or the registry kept it.
        mels: Packed mels.

    Returns:
        float32, shape (recordings, 16 * width), each of length 1.
    """
    import torch

    config = read_config(model.meta["config"])
    device = choose_device(config.fit.device)
    network = load(model).to(device)
    vectors = np.empty((len(mels), model.meta["size"]), np.float32)
    with steady(0, config.fit.threads), torch.inference_mode():
        for begin in range(0, len(mels), _CHUNK):
            pieces = take_pieces(mels[begin : begin + _CHUNK], config)
            vectors[begin : begin + _CHUNK] = network(torch.from_numpy(pieces).to(device)).cpu().numpy()
    return vectors


def take_pieces(mels: Sequence[np.ndarray], config: EncoderConfig) -> np.ndarray:
    """What the network of a model takes of recordings: uint8, shape (recordings, shifts, 64, frames)."""
    return stack_pieces([trim_silence(mel) for mel in mels], config.frames, config.shifts)


def describe_make(model: EncoderModel) -> dict[str, Any]:
    """What the registry's torch adapter needs to serve a model."""
    config = read_config(model.meta["config"])
    return {
        "architecture": "spotify_ai_assets.audio.models.networks:ServedEncoder",
        "config": {"width": config.width, "doubled": config.doubled, "projection": config.projection},
    }


def describe_input(model: EncoderModel) -> InputContract:
    """What a served model takes: the result of ``take_pieces``."""
    config = read_config(model.meta["config"])
    return InputContract("packed_pieces", (None, config.shifts, BANDS, config.frames), "uint8", MEANING)


_LINES = ("centroid_hz", "bandwidth_hz", "rolloff_hz", "flatness", "zcr", "onset_strength")
HAND_SCALARS = ("tempo", *(f"{name}_{what}" for name in _LINES for what in ("mean", "std")))
HAND_VECTORS = (
    *(f"{name}_{what}" for name in ("mfcc", "chroma", "contrast", "tonnetz") for what in ("mean", "std")),
    "mfcc_delta_std",
    "mfcc_delta2_std",
)
"""Columns of ``audio/features`` that make the hand features. What follows the level of a recording is left out: loudness, RMS, log-mel,
and of ``mfcc_mean`` the first; so are its length and its key, in which near is not alike."""


def lay_out_features(
    scalars: Mapping[str, float | None], vectors: Mapping[str, Sequence[float] | np.ndarray]
) -> tuple[list[str], np.ndarray]:
    """The hand features of a recording as one row.

    Args:
        scalars: Columns of ``audio/features`` with one number; a missing one may be ``None``.
        vectors: Those with several.

    Returns:
        Names such as ``mfcc_mean_3``, and float64 of shape (features,); not a number where there is none.
    """
    names, values = list(HAND_SCALARS), [np.nan if scalars[name] is None else float(scalars[name] or 0.0) for name in HAND_SCALARS]
    for name in HAND_VECTORS:
        first = 1 if name == "mfcc_mean" else 0
        row = np.asarray(vectors[name], float)[first:]
        names += [f"{name}_{number + first}" for number in range(len(row))]
        values += row.tolist()
    return names, np.array(values)


@dataclass(frozen=True, slots=True)
class Standard:
    """What makes hand features comparable: mean and deviation of each over the recordings that it was made of.

    Attributes:
        names: Of the features, in order.
        mean: float64, shape (features,); over the values that are there.
        spread: float64, shape (features,); 1 where a feature is the same everywhere.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    spread: np.ndarray

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Vectors of length 1: standardised, a missing value as the mean, none farther than 5 deviations; float32."""
        scaled = (features - self.mean) / self.spread
        return _unit(np.clip(np.nan_to_num(scaled, nan=0.0, posinf=5.0, neginf=-5.0), -5, 5).astype(np.float32))


def fit_standard(features: np.ndarray, names: Sequence[str]) -> Standard:
    """The standard of a catalogue.

    Args:
        features: Shape (recordings, features); a missing value is not a number.
        names: Of the features.

    Raises:
        ValueError: No recordings, or as many names as features there are not.
    """
    if not len(features) or features.shape[1] != len(names):
        raise ValueError("a standard needs recordings and a name for each feature")
    known = np.where(np.isfinite(features), features, np.nan)
    there = np.isfinite(known)
    counts = np.maximum(there.sum(0), 1)
    mean = np.where(there, known, 0).sum(0) / counts
    spread = np.sqrt((np.where(there, known - mean, 0) ** 2).sum(0) / counts)
    return Standard(tuple(names), mean, np.where(spread > 1e-9, spread, 1.0))


def combine(*parts: np.ndarray) -> np.ndarray:
    """Embeddings of several parts: each made of length 1, side by side, and the whole of length 1 again; float32."""
    return _unit(np.concatenate([_unit(np.asarray(part, np.float32)) for part in parts], axis=1))


def contrast(vectors: "Tensor", groups: "Tensor", temperature: float) -> "Tensor":
    """The NT-Xent loss (Chen et al. 2020, eq. 1): of each piece, how surely its partner is picked out of all other pieces.

    Args:
        vectors: Of length 1, shape (2 * batch, size): first pieces, then their partners in the same order.
        groups: Recording of each first piece, int64, shape (batch,). Where one came twice into a batch, its other pieces are no
            counter-examples.
        temperature: Divides cosines.
    """
    import torch

    count = len(groups)
    likeness = vectors @ vectors.T / temperature
    both = torch.cat([groups, groups])
    partner = torch.arange(2 * count, device=vectors.device).roll(count)
    same = both[:, None] == both[None, :]
    same[torch.arange(2 * count, device=vectors.device), partner] = False
    return torch.nn.functional.cross_entropy(likeness.masked_fill(same, float("-inf")), partner)


def read_config(facts: Mapping[str, Any]) -> EncoderConfig:
    """The recipe that a JSON document holds, as ``asdict`` wrote it."""
    return EncoderConfig(**{**facts, "fit": FitConfig(**facts["fit"]), "augmentation": Augmentation(**facts["augmentation"])})


def load(model: EncoderModel) -> "ServedEncoder":
    """The network of a model, in evaluation mode on the CPU."""
    import torch

    from spotify_ai_assets.audio.models.networks import ServedEncoder

    config = read_config(model.meta["config"])
    network = ServedEncoder(config.width, config.doubled, config.projection)
    network.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in model.tensors.items()})
    return network.eval()


class _Pairs:
    """Two pieces of each recording, as ``fit`` wants them."""

    def __init__(self, mels: Sequence[np.ndarray], config: EncoderConfig) -> None:
        self.mels, self.config = [trim_silence(mel) for mel in mels], config
        self.scale: Scale = fit_scale(self.mels)

    def __len__(self) -> int:
        return len(self.mels)

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> "tuple[Tensor, ...]":
        import torch

        how = self.config.augmentation
        pieces = [mask(self._scale(vary(self.mels[index], self.config.frames, how, rng)), how, rng) for _ in range(2) for index in indices]
        return torch.from_numpy(np.stack(pieces)), torch.from_numpy(np.asarray(indices, np.int64))

    def _scale(self, piece: np.ndarray) -> np.ndarray:
        return self.scale.apply(level(piece, float(self.scale.mean.mean())))


def _build(config: EncoderConfig) -> "Encoder":
    from spotify_ai_assets.audio.models.networks import Encoder

    with steady(config.fit.seed, config.fit.threads):
        return Encoder(config.width, config.doubled, config.projection)


def _keep(network: "Encoder", scale: Scale, config: EncoderConfig, facts: dict[str, Any]) -> EncoderModel:
    weights = {f"network.{name}": value.detach().contiguous().numpy().copy() for name, value in network.state_dict().items()}
    meta = {"kind": "sound_encoder", "config": asdict(config), "config_digest": config.digest, "size": network.trunk.size, **facts}
    return EncoderModel(weights | {"scale.mean": scale.mean, "scale.spread": scale.spread}, meta)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))


def _digest_mels(mels: Sequence[np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for mel in mels:
        hashed.update(str(mel.shape).encode() + np.ascontiguousarray(mel).tobytes())
    return hashed.hexdigest()
