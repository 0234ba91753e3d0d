"""What the champions say of files: embeddings, classes and why, and how tracks are perceived."""

import json
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from spotify_ai_assets.audio.contracts import EMBEDDINGS, ENCODER, EXPLANATIONS, PERCEPTUAL, PERCEPTUAL_MODEL, PREDICTIONS, SOUND_MODEL
from spotify_ai_assets.audio.measurements import sole_extractor, unpack_mels
from spotify_ai_assets.audio.trainings import META, WEIGHTS
from spotify_ai_assets.contracts import SHARD
from spotify_ai_assets.making import Inputs

if TYPE_CHECKING:
    from spotify_ai_assets.audio.models.sound_classifier import Model
    from spotify_ai_assets.audio.studio import Studio

_AT_ONCE = 8
"""Files that are answered at once: each is several pieces, and more would only take more memory."""


def embed_files(read: Inputs, studio: "Studio") -> pl.DataFrame:
    """Embeddings of a shard's files, by the champion of ``audio/encoder``.

    Raises:
        ExtractorMismatchError: The champion learnt from another extractor's measurements.
        MissingInputError: Several extractors measured the shard's files.
    """
    from spotify_ai_assets.audio.embedding import HAND, embed_recordings, read_hand

    features = read("audio/features").collect()
    mels = read("audio/spectrograms").filter(pl.col("frames") > 0).collect()
    rows = mels.join(features.drop(SHARD, "extractor"), on="file_id").sort("file_id")
    if rows.is_empty():
        return EMBEDDINGS.empty()
    opened = studio.registry.open(ENCODER.key, extractor=sole_extractor(mels, features))
    config = opened.entry.manifest.config
    standard = read_hand(studio.artifacts.read(ENCODER.key, opened.entry.version, HAND))
    vectors = embed_recordings(config["parts"], rows, opened.model, config["recipe"], standard)
    made = rows.select(SHARD, "file_id").with_columns(
        model_version=pl.lit(opened.entry.version), embedding=pl.Series(vectors.tolist(), dtype=EMBEDDINGS.schema["embedding"])
    )
    return made.select(*EMBEDDINGS.schema)


def classify_files(read: Inputs, studio: "Studio") -> pl.DataFrame:
    """Probabilities of a shard's files, by the champion of ``audio/sound_model``.

    Raises:
        ExtractorMismatchError: The champion learnt from another extractor's measurements.
        MissingInputError: Several extractors measured the shard's files.
    """
    from spotify_ai_assets.audio.models.sound_classifier import read_config, take_pieces

    rows = read("audio/spectrograms").filter(pl.col("frames") > 0).collect().sort("file_id")
    if rows.is_empty():
        return PREDICTIONS.empty()
    opened = studio.registry.open(SOUND_MODEL.key, extractor=sole_extractor(rows))
    config, mels = read_config(opened.entry.manifest.config["recipe"]), unpack_mels(rows)
    answers = [opened.model.predict(take_pieces(mels[begin : begin + _AT_ONCE], config)) for begin in range(0, len(mels), _AT_ONCE)]
    probabilities = np.concatenate(answers).astype(np.float64)
    labels = opened.entry.manifest.labels
    made = pl.DataFrame(
        {
            SHARD: np.repeat(rows[SHARD].to_numpy(), len(labels)),
            "file_id": np.repeat(rows["file_id"].to_numpy(), len(labels)),
            "label": list(labels) * rows.height,
            "probability": probabilities.ravel().clip(0, 1),
            "rank": (np.argsort(np.argsort(-probabilities, axis=1, kind="stable"), axis=1) + 1).ravel(),
            "model_version": [opened.entry.version] * (rows.height * len(labels)),
        },
        schema=PREDICTIONS.schema,
    )
    return made


def perceive_files(read: Inputs, studio: "Studio") -> pl.DataFrame:
    """Estimates of a shard's files, by the champion of ``audio/perceptual_model``; only where it beats guessing.

    Raises:
        ExtractorMismatchError: The champion learnt from another extractor's measurements.
        MissingInputError: Several extractors measured the shard's files.
    """
    from spotify_ai_assets.audio.models.estimator import take_cases

    rows = read("audio/features").collect().sort("file_id")
    if rows.is_empty():
        return PERCEPTUAL.empty()
    opened = studio.registry.open(PERCEPTUAL_MODEL.key, extractor=sole_extractor(rows))
    told = opened.entry.manifest
    found = opened.model.predict(take_cases(rows, told.config["inputs"])).astype(np.float64).clip(0, 1)
    wide = rows.select(SHARD, "file_id").with_columns(pl.Series(name, found[:, place]) for place, name in enumerate(told.config["labels"]))
    long = wide.unpivot(list(told.labels), index=[SHARD, "file_id"], variable_name="feature", value_name="value")
    return long.with_columns(model_version=pl.lit(opened.entry.version)).select(*PERCEPTUAL.schema)


def explain_classes(read: Inputs, studio: "Studio") -> pl.DataFrame:
    """The clearest file of each class, and which regions of its spectrogram spoke for it.

    Raises:
        ExtractorMismatchError: The champion learnt from another extractor's measurements.
        MissingInputError: Several extractors measured the files.
    """
    from spotify_ai_assets.audio.models.explanations import draw_explanation, explain_clip, weigh_bands

    best = read("audio/predictions").sort("label", "probability", "file_id", descending=[False, True, False]).collect()
    best = best.filter(pl.col("rank") == 1).unique("label", keep="first", maintain_order=True)
    mels = read("audio/spectrograms").select("file_id", "mel", "frames", "extractor")
    mels = mels.join(best.lazy().select("file_id"), on="file_id", how="semi").collect()
    rows = best.join(mels, on="file_id", maintain_order="left")
    if rows.is_empty():
        return EXPLANATIONS.empty()
    version = studio.registry.open(SOUND_MODEL.key, extractor=sole_extractor(rows)).entry.version
    model = read_classifier(studio, version)
    made = []
    for done, (row, mel) in enumerate(zip(rows.iter_rows(named=True), unpack_mels(rows), strict=True), 1):
        found = explain_clip(model, mel, row["label"])
        made.append(
            {
                "label": row["label"],
                "file_id": row["file_id"],
                "probability": row["probability"],
                "completeness_gap": abs(found.gap),
                "bands": weigh_bands([found], [found.label])[0].tolist(),
                "picture": draw_explanation(found),
                "model_version": version,
            }
        )
        studio.tell("explanations", done, rows.height)
    return pl.DataFrame(made, schema=EXPLANATIONS.schema)


def read_classifier(studio: "Studio", version: str) -> "Model":
    """A version of the sound model as its own module knows it."""
    from safetensors.numpy import load

    from spotify_ai_assets.audio.models.sound_classifier import Model

    meta = json.loads(studio.artifacts.read(SOUND_MODEL.key, version, META))
    return Model(load(studio.artifacts.read(SOUND_MODEL.key, version, WEIGHTS)), meta)
