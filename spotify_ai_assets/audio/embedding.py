"""Which embedding serves: a learnt one, the hand features, or both together, decided on recordings found again after changes.

The learnt encoder must beat a random one and the hand features by its interval on every task; else what needs no training serves.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.audio.measurements import unpack_mels
from spotify_ai_assets.audio.models import encoder
from spotify_ai_assets.audio.models.encoder import Standard
from spotify_ai_assets.audio.models.evidence import Choice, Evidence, compare_embeddings
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.training.gates import Gate, GateResult, Need
from spotify_ai_assets.training.manifests import Metric

if TYPE_CHECKING:
    from spotify_ai_assets.audio.studio import Studio
    from spotify_ai_assets.training.adapters.contract import InputContract, Model

HAND, WEIGHTS = "hand.json", "model.safetensors"

_JUDGED = {"full": 96, "demo": 16}
"""Recordings that are kept out of the training, changed and found again; of few recordings all train and are judged too."""

_AT_ONCE = 8
_SECONDS = 10
"""Length of the recordings that are changed: what is told apart in less is told apart in more."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was trained and chosen.

    Attributes:
        parts: What an embedding is made of.
        make: For the registry's adapter.
        inputs: What the network takes.
        config: Recipe and choice, for the manifest.
        metrics: Figures of all embeddings that were compared.
        gate: Whether it may serve.
        files: Bytes of the version.
    """

    parts: tuple[str, ...]
    make: dict[str, Any]
    inputs: "InputContract"
    config: dict[str, Any]
    metrics: tuple[Metric, ...]
    gate: GateResult
    files: dict[str, bytes]


def train_and_judge(rows: pl.DataFrame, labels: pl.DataFrame, studio: "Studio") -> Judged:
    """Train an encoder, compare it with its controls, and choose.

    Args:
        rows: ``audio/features`` of the recordings and their ``mel`` and ``frames``, in order of ``file_id``.
        labels: ``file_id, label, artist`` of those that have a label; with three artists or more they make a second task.
        studio: The pool that decodes, and who is told.
    """
    from safetensors.numpy import save

    recipe = encoder.DEMO if studio.settings.model_size == "demo" else encoder.FULL
    judged = _hold_out(rows, labels, _JUDGED[studio.settings.model_size])
    is_held_out = 4 * len(judged) <= rows.height
    trained_on = unpack_mels(rows.filter(~pl.col("file_id").is_in(sorted(judged))) if is_held_out else rows)
    learnt = encoder.train_encoder(
        trained_on, recipe, watch=lambda step, loss: studio.tell(_("training the encoder"), step, recipe.fit.steps)
    )
    untrained = encoder.random_encoder(trained_on, recipe)
    standard = fit_hand(rows)
    heard = {file_id: mono[: _SECONDS * 22_050] for file_id, mono in sorted(studio.mono(judged).items()) if len(mono) > 22_050}
    known = pl.DataFrame({"file_id": list(heard)}).join(labels, on="file_id", how="left", maintain_order="left")
    named = (known["label"].to_list(), known["artist"].to_list()) if not known.null_count().sum_horizontal().item() else (None, None)
    evidence, choice = compare_embeddings(list(heard.values()), learnt, untrained, standard, *named)
    served = untrained if choice.default.startswith("random") else learnt
    retrieval = evidence[0].means()[choice.default]
    chance = float(np.mean(1 / np.arange(1, len(heard) + 1)))
    gate = Gate("encoder", (Need("finds changed recordings better than chance, by its interval", "over_chance", ">", 0.0),))
    told = {"names": list(standard.names), "mean": standard.mean.tolist(), "spread": standard.spread.tolist()}
    return Judged(
        parts=tuple("hand" if part == "hand" else "learnt" for part in choice.default.split("_with_")),
        make=encoder.describe_make(served),
        inputs=encoder.describe_input(served),
        config={
            "recipe": asdict(recipe),
            "default": choice.default,
            "has_earned_it": choice.has_earned_it,
            "judged_on": "recordings that trained nothing" if is_held_out else "recordings that trained it, since there are few",
        },
        metrics=tuple(_metrics(evidence, choice, chance)),
        gate=gate.judge({"over_chance": retrieval.low - chance}),
        files={WEIGHTS: save(served.tensors), HAND: json.dumps(told).encode()},
    )


def _hold_out(rows: pl.DataFrame, labels: pl.DataFrame, count: int) -> set[str]:
    """Files spread evenly over the catalogue's digests, which are random; of labelled ones where those are enough."""
    labelled = rows.join(labels.drop_nulls(), on="file_id", how="semi")["file_id"].to_list()
    file_ids = labelled if len(labelled) >= 4 * count else rows["file_id"].to_list()
    return set(file_ids[:: max(1, len(file_ids) // count)][:count])


def lay_out(features: pl.DataFrame) -> tuple[list[str], np.ndarray]:
    """Hand features of rows of ``audio/features``: names, and float64 of shape (rows, features)."""
    laid = [encoder.lay_out_features(row, row) for row in features.iter_rows(named=True)]
    return laid[0][0], np.stack([values for _, values in laid])


def fit_hand(features: pl.DataFrame) -> Standard:
    """The standard by which hand features of rows of ``audio/features`` become comparable."""
    names, values = lay_out(features)
    return encoder.fit_standard(values, names)


def read_hand(data: bytes) -> Standard:
    """Read the standard that a version keeps."""
    told = json.loads(data)
    return Standard(tuple(told["names"]), np.array(told["mean"]), np.array(told["spread"]))


def embed_recordings(parts: Sequence[str], rows: pl.DataFrame, model: "Model", recipe: Mapping[str, Any], standard: Standard) -> np.ndarray:
    """Embeddings as a champion gives them.

    Args:
        parts: What they are made of.
        rows: ``audio/features`` of the recordings and their ``mel`` and ``frames``.
        model: The served network.
        recipe: Its recipe, as the manifest has it.
        standard: Of the hand features.

    Returns:
        float32, shape (recordings, size), each of length 1.
    """
    made: list[np.ndarray] = []
    if "learnt" in parts:
        config, mels = encoder.read_config(recipe), unpack_mels(rows)
        answers = [model.predict(encoder.take_pieces(mels[begin : begin + _AT_ONCE], config)) for begin in range(0, len(mels), _AT_ONCE)]
        made.append(np.concatenate(answers))
    if "hand" in parts:
        made.append(standard.apply(lay_out(rows)[1]))
    return encoder.combine(*made)


def _metrics(evidence: Sequence[Evidence], choice: Choice, chance: float) -> list[Metric]:
    found = [Metric.of(each.task, interval, part=name) for each in evidence for name, interval in each.means().items()]
    found += [
        Metric.of(f"{task}_gain", interval, part=f"{ours} over {theirs}") for (ours, theirs, task), interval in choice.differences.items()
    ]
    return [*found, Metric("chance", chance), Metric("has_earned_it", float(choice.has_earned_it), part=choice.default)]
