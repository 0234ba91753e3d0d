"""A classifier of sound for any set of labels: genre, mood, instrument, or what else a ``labels.csv`` holds.

It learns from packed log-mels alone, without pretrained weights: random pieces of each clip, changed as ``augmentation`` says, a
convolutional net, AdamW under a cosine, a running average of the weights, a fixed number of steps. An answer is the mean of the
logits of several pieces that start at equal distances around the clip.

What is claimed of a model is measured on clips whose group (artist, recording, official fold) trained nothing: the groups are dealt
into parts, each part is held out once, and its clips are answered by a model of the others. The temperature of the probabilities
comes from those answers; the reliability that is reported of it is cross-fitted, each half of the groups scored at the temperature
of the other. Without groups a random split would hold the same recordings on both sides, so there is no claim then.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spotify_ai_assets.audio.models.augmentation import Augmentation, mask, mix, vary
from spotify_ai_assets.audio.models.mels import BANDS, MEANING, Scale, fit_scale, stack_pieces, trim_silence
from spotify_ai_assets.audio.models.validation import Validation, deal_groups, judge, summarise, why_no_claim
from spotify_ai_assets.training.adapters.contract import InputContract
from spotify_ai_assets.training.calibration import calibrate
from spotify_ai_assets.training.determinism import choose_device, steady
from spotify_ai_assets.training.fit import FitConfig, fit

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spotify_ai_assets.audio.models.networks import ServedClassifier

_CHUNK = 8
"""Clips that are answered at once."""

Watch = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class ClassifierConfig:
    """A recipe; all of it but ``name`` decides the result.

    Attributes:
        name: What cards and records call it.
        fit: The loop.
        augmentation: What is done to each piece.
        frames: Of a piece; 216 are five seconds.
        width: Channels of the first block.
        doubled: How many of the last blocks convolve twice.
        dropout: Before the head.
        shifts: Pieces whose logits are averaged in an answer.
        parts: Into how many parts the groups are dealt for validation; each is held out once.
        precision: Of the convolutions in training: ``auto`` is bfloat16 where the processor multiplies it natively. Answers are
            always computed in float32.
    """

    name: str
    fit: FitConfig
    augmentation: Augmentation = field(default_factory=Augmentation)
    frames: int = 216
    width: int = 24
    doubled: int = 0
    dropout: float = 0.2
    shifts: int = 8
    parts: int = 4
    precision: Literal["auto", "bfloat16", "float32"] = "auto"

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the result, first 16 hexadecimal digits."""
        facts = asdict(self)
        for unimportant in ("name", "parts"):
            facts.pop(unimportant)
        facts["fit"].pop("checkpoint_every")
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


FULL = ClassifierConfig(
    "full",
    FitConfig(steps=600, batch_size=32, learning_rate=2e-3, weight_decay=0.05, warmup_share=0.1, ema_decay=0.99, clip_norm=5.0),
    width=32,
    dropout=0.4,
)
"""Minutes on one core for each fit; a validated training is ``parts`` + 1 fits. Chosen as ``benchmarks/sound_classes.py`` says."""

DEMO = ClassifierConfig(
    "demo",
    FitConfig(steps=120, batch_size=24, learning_rate=4e-3, weight_decay=0.02, warmup_share=0.1, ema_decay=0.95),
    Augmentation(tilt_db=3.0, band_masks=1, time_masks=1, time_width=16, mix_alpha=0.0),
    frames=128,
    width=8,
    dropout=0.1,
    shifts=4,
    parts=2,
)
"""Seconds; for the demo world and tests, and labelled so."""


@dataclass(frozen=True, slots=True)
class Model:
    """A trained classifier, ready to be kept.

    Attributes:
        tensors: The state of ``networks.ServedClassifier``.
        meta: A JSON document: classes, recipe, temperature, evidence. ``validation`` is ``None`` where there is no claim, and
            ``no_claim`` then names the reason.
    """

    tensors: dict[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def classes(self) -> list[str]:
        """The labels, sorted; column k of an answer belongs to label k."""
        return self.meta["classes"]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and its evidence.

    Attributes:
        model: Fitted on all clips.
        validation: ``None`` where the clips' groups allow no claim.
    """

    model: Model
    validation: Validation | None


def train(
    mels: Sequence[np.ndarray],
    labels: Sequence[str],
    groups: Sequence[object] | None,
    config: ClassifierConfig,
    *,
    checkpoints: Path | None = None,
    watch: Callable[[str, int, float], None] | None = None,
) -> Trained:
    """Validate a recipe on held-out groups, then fit it on all clips.

    Args:
        mels: Packed mels, one per clip.
        labels: What each clip is.
        groups: Artist, recording or fold of each clip; ``None`` where nothing like it is known.
        config: The recipe.
        checkpoints: A folder in which each fit may keep its place; the caller removes it when the model is safe.
        watch: Told which fit (``part 1 of 4``, ``all``), the steps done and the loss.

    Raises:
        ValueError: Fewer than two classes, or the arguments are not of the same clips.
    """
    if len(mels) != len(labels) or (groups is not None and len(groups) != len(labels)):
        raise ValueError("each clip needs a mel, a label and, where there are groups, a group")
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise ValueError("a classifier needs at least two classes")
    numbers = np.array([classes.index(label) for label in labels])
    no_claim = why_no_claim(groups)
    fit_named = _fits(classes, config, checkpoints, watch)
    validation = None
    if groups is not None and not no_claim:
        validation = _validate(mels, numbers, list(groups), len(classes), config, fit_named)
    tensors = fit_named("all", mels, numbers)
    meta = {
        "kind": "sound_classifier",
        "classes": classes,
        "config": asdict(config),
        "config_digest": config.digest,
        "precision": find_precision(config),
        "clips": len(mels),
        "clips_by_class": dict(zip(classes, np.bincount(numbers, minlength=len(classes)).tolist(), strict=True)),
        "temperature": validation.temperature if validation else 1.0,
        "is_calibrated": validation is not None,
        "validation": summarise(validation) if validation else None,
        "no_claim": no_claim,
    }
    return Trained(Model(tensors, meta), validation)


def predict(model: Model, mels: Sequence[np.ndarray]) -> np.ndarray:
    """Calibrated probabilities of the classes.

    Args:
        model: As ``train`` gave it or the registry kept it.
        mels: Packed mels.

    Returns:
        float64, shape (clips, classes).
    """
    config = read_config(model.meta["config"])
    return calibrate(score(model.tensors, mels, len(model.classes), config), model.meta["temperature"])


def read_config(facts: Mapping[str, Any]) -> ClassifierConfig:
    """The recipe that a JSON document holds, as ``asdict`` wrote it."""
    return ClassifierConfig(**{**facts, "fit": FitConfig(**facts["fit"]), "augmentation": Augmentation(**facts["augmentation"])})


def fit_weights(
    mels: Sequence[np.ndarray],
    numbers: np.ndarray,
    classes: int,
    config: ClassifierConfig,
    *,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
) -> dict[str, np.ndarray]:
    """Fit one network, from random weights.

    Args:
        mels: Packed mels.
        numbers: Class of each, int, shape (clips,).
        classes: How many there are.
        config: The recipe.
        checkpoint: A file to resume from and to keep the place in.
        watch: Told the steps done and the loss.

    Returns:
        The tensors of a model.
    """
    import torch

    from spotify_ai_assets.audio.models.networks import Classifier

    clips = [trim_silence(mel) for mel in mels]
    precision = getattr(torch, find_precision(config))
    samples = _Clips(clips, numbers, classes, config)
    with steady(config.fit.seed, config.fit.threads):
        network = Classifier(classes, config.width, config.doubled, config.dropout)
    identity = f"{config.digest} {precision} {_digest_clips(mels, numbers)}" if checkpoint else ""

    def loss(network: "nn.Module", batch: "tuple[Tensor, ...]") -> "Tensor":
        pieces, shares = batch
        with torch.autocast(pieces.device.type, precision, enabled=precision != torch.float32):
            logits = network(pieces)
        return -(shares * torch.log_softmax(logits, 1)).sum(1).mean()

    fit(network, samples, loss, config.fit, checkpoint=checkpoint, identity=identity, watch=watch)
    weights = {f"network.{name}": value.contiguous().numpy().copy() for name, value in network.state_dict().items()}
    return weights | {"scale.mean": samples.scale.mean, "scale.spread": samples.scale.spread}


def find_precision(config: ClassifierConfig) -> str:
    """What the convolutions of a recipe are trained in on this machine: ``bfloat16`` or ``float32``."""
    if config.precision != "auto":
        return config.precision
    from spotify_ai_assets.audio.models.networks import choose_precision

    return str(choose_precision(choose_device(config.fit.device))).removeprefix("torch.")


def score(tensors: Mapping[str, np.ndarray], mels: Sequence[np.ndarray], classes: int, config: ClassifierConfig) -> np.ndarray:
    """Logits of clips: the mean over ``config.shifts`` pieces.

    Returns:
        float64, shape (clips, classes).
    """
    import torch

    device = choose_device(config.fit.device)
    network = load(tensors, classes, config).to(device)
    logits = np.empty((len(mels), classes))
    with steady(0, config.fit.threads), torch.inference_mode():
        for begin in range(0, len(mels), _CHUNK):
            pieces = take_pieces(mels[begin : begin + _CHUNK], config)
            logits[begin : begin + _CHUNK] = network(torch.from_numpy(pieces).to(device)).cpu().numpy()
    return logits


def take_pieces(mels: Sequence[np.ndarray], config: ClassifierConfig) -> np.ndarray:
    """What the network of a model takes of clips: uint8, shape (clips, shifts, 64, frames)."""
    return stack_pieces([trim_silence(mel) for mel in mels], config.frames, config.shifts)


def load(tensors: Mapping[str, np.ndarray], classes: int, config: ClassifierConfig) -> "ServedClassifier":
    """The network of a model, in evaluation mode on the CPU."""
    import torch

    from spotify_ai_assets.audio.models.networks import ServedClassifier

    network = ServedClassifier(classes, config.width, config.doubled)
    network.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in tensors.items()})
    return network.eval()


def read_scale(tensors: Mapping[str, np.ndarray]) -> Scale:
    """The scale of a model."""
    return Scale(np.asarray(tensors["scale.mean"]), np.asarray(tensors["scale.spread"]))


def describe_make(model: Model) -> dict[str, Any]:
    """What the registry's torch adapter needs to serve a model."""
    config = read_config(model.meta["config"])
    return {
        "architecture": "spotify_ai_assets.audio.models.networks:ServedClassifier",
        "config": {"classes": len(model.classes), "width": config.width, "doubled": config.doubled},
        "activation": "softmax",
        "temperature": model.meta["temperature"],
    }


def describe_input(model: Model) -> InputContract:
    """What a served model takes: the result of ``take_pieces``."""
    config = read_config(model.meta["config"])
    return InputContract("packed_pieces", (None, config.shifts, BANDS, config.frames), "uint8", MEANING)


class _Clips:
    """Pieces of clips as ``fit`` wants them."""

    def __init__(self, mels: Sequence[np.ndarray], numbers: np.ndarray, classes: int, config: ClassifierConfig) -> None:
        self.mels, self.config = mels, config
        self.scale: Scale = fit_scale(mels)
        self.shares = np.eye(classes, dtype=np.float32)[numbers]

    def __len__(self) -> int:
        return len(self.mels)

    def batch(self, indices: np.ndarray, rng: np.random.Generator) -> "tuple[Tensor, ...]":
        import torch

        how = self.config.augmentation
        pieces = np.stack([vary(self.mels[index], self.config.frames, how, rng) for index in indices])
        pieces, shares = mix(self.scale.apply(pieces), self.shares[indices], how, rng)
        for piece in pieces:
            mask(piece, how, rng)
        return torch.from_numpy(pieces), torch.from_numpy(shares)


_Fit = Callable[[str, Sequence[np.ndarray], np.ndarray], dict[str, np.ndarray]]


def _fits(
    classes: Sequence[str], config: ClassifierConfig, checkpoints: Path | None, watch: Callable[[str, int, float], None] | None
) -> _Fit:
    """``fit_weights`` for a training of several fits, each with a name."""

    def fit_named(name: str, mels: Sequence[np.ndarray], numbers: np.ndarray) -> dict[str, np.ndarray]:
        checkpoint = checkpoints / f"{name.replace(' ', '_')}.safetensors" if checkpoints else None
        told = partial(watch, name) if watch else None
        return fit_weights(mels, numbers, len(classes), config, checkpoint=checkpoint, watch=told)

    return fit_named


def _validate(
    mels: Sequence[np.ndarray], numbers: np.ndarray, groups: list[object], classes: int, config: ClassifierConfig, fit_named: _Fit
) -> Validation:
    part = deal_groups(groups, numbers, config.parts)
    logits = np.empty((len(mels), classes))
    parts = int(part.max()) + 1
    for held in range(parts):
        inside, outside = np.flatnonzero(part != held), np.flatnonzero(part == held)
        tensors = fit_named(f"part {held + 1} of {parts}", [mels[index] for index in inside.tolist()], numbers[inside])
        logits[outside] = score(tensors, [mels[index] for index in outside.tolist()], classes, config)
    return judge(logits, numbers, groups, part)


def _digest_clips(mels: Sequence[np.ndarray], numbers: np.ndarray) -> str:
    hashed = hashlib.sha256(np.asarray(numbers, np.int64).tobytes())
    for mel in mels:
        hashed.update(str(mel.shape).encode() + np.ascontiguousarray(mel).tobytes())
    return hashed.hexdigest()


def reseed(config: ClassifierConfig, seed: int) -> ClassifierConfig:
    """The same recipe with another seed."""
    return replace(config, fit=replace(config.fit, seed=seed))
