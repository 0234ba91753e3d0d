"""How audio's models come to be: what they learn from, what is claimed of them, and whether they may serve.

Each training is recorded by MLflow, kept in the registry with its card, and promoted only through its gate; a version that fails
stays the challenger, and its table goes on telling of the champion.
"""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.audio.contracts import ENCODER, PERCEPTUAL_MODEL, SOUND_MODEL
from spotify_ai_assets.audio.measurements import sole_extractor, unpack_mels
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.training.gates import Gate, GateResult, Need
from spotify_ai_assets.training.manifests import DataWindow, Manifest, Metric, installed_packages
from spotify_ai_assets.training.workplace import if_enough

if TYPE_CHECKING:
    from spotify_ai_assets.audio.models.perceptual import Trained as Estimator
    from spotify_ai_assets.audio.models.sound_classifier import ClassifierConfig, Trained
    from spotify_ai_assets.audio.models.validation import Validation
    from spotify_ai_assets.audio.studio import Studio
    from spotify_ai_assets.training.registry import Entry

META, WEIGHTS, ARRAYS = "meta.json", "model.safetensors", "arrays.npz"
SEED = 0
LEAST_RECORDINGS = 8
_LOG = logging.getLogger(__name__)
_PACKAGES = ("torch", "numpy", "librosa", "scikit-learn")
_LEAST_CLIPS = 4
"""Of a class in a sound model without groups, of which nothing is claimed."""
_CALIBRATED = {"full": 0.1, "demo": 0.3}
"""Largest calibration error that a sound model may serve with; the demo's few clips measure no smaller one."""


# The sound model -----------------------------------------------------------------------------------------------------------


@if_enough
def learn_sounds(read: Inputs, studio: "Studio") -> pl.DataFrame:
    """Train, keep and, if its gate lets it, promote a sound model.

    Returns:
        Rows of ``audio/sound_model``.
    """
    from safetensors.numpy import save

    from spotify_ai_assets.audio.models.sound_classifier import describe_input, describe_make, train

    clips = _labelled_clips(read)
    if clips["label"].n_unique() < 2:
        raise MissingInputError("fewer than two classes have files")
    extractor = sole_extractor(clips)
    groups, known_by = _groups(clips)
    mels = unpack_mels(clips)
    config = _recipe(studio)
    with studio.tracked(SOUND_MODEL.key) as run:
        run.log_parameters({"recipe": config.name, "digest": config.digest, "clips": clips.height, "groups": known_by})
        place, watch = _place(studio, config.digest), _watch(studio, config.fit.steps)
        trained = train(mels, clips["label"].to_list(), groups, config, checkpoints=place, watch=watch)
        model = trained.model
        manifest = _write_down(
            studio,
            "labelled recordings",
            clips,
            config.fit.seed,
            purpose="Which class a recording is of, by its sound.",
            kind="torch",
            make=describe_make(model),
            inputs=describe_input(model),
            extractor=extractor,
            labels=tuple(model.classes),
            config={"recipe": model.meta["config"], "groups": known_by},
            metrics=tuple(_sound_metrics(trained, clips.height)),
            limits=_sound_limits(trained),
            gate=_judge_sounds(trained, studio.champion(SOUND_MODEL.key), mels, clips, groups, studio),
        )
        served = studio.serve(run, SOUND_MODEL.key, {WEIGHTS: save(model.tensors), META: _json(model.meta)}, manifest)
        shutil.rmtree(place)
        return served


def _labelled_files(read: Inputs) -> pl.DataFrame:
    """``file_id, name, landed_on, label, artist, fold`` of the files that have a label, by name or digest."""
    labels = read("audio/labels").collect()
    files = read("audio/files").select("file_id", "name", "landed_on").collect()
    by_id = files.join(labels, left_on="file_id", right_on="file")
    by_name = files.join(labels, left_on="name", right_on="file").join(by_id, on="file_id", how="anti")
    return pl.concat([by_id, by_name.select(by_id.columns)]).unique("file_id", keep="first", maintain_order=True)


def _labelled_clips(read: Inputs) -> pl.DataFrame:
    """Labelled files with what a model hears of them, ``mel, frames, extractor``; those of which there is something to hear."""
    files = _labelled_files(read)
    heard = read("audio/spectrograms").select("file_id", "mel", "frames", "extractor").filter(pl.col("frames") > 0)
    mels = heard.join(files.lazy().select("file_id"), on="file_id", how="semi").collect()
    return files.join(mels, on="file_id").sort("file_id")


def _groups(clips: pl.DataFrame) -> tuple[list[str] | None, str]:
    """What must not be on both sides of a validation: official folds where every clip has one, else artists."""
    for name in ("fold", "artist"):
        if not clips[name].null_count():
            return clips[name].to_list(), name
    return None, "none"


def _recipe(studio: "Studio") -> "ClassifierConfig":
    from spotify_ai_assets.audio.models import sound_classifier

    return sound_classifier.DEMO if studio.settings.model_size == "demo" else sound_classifier.FULL


def _judge_sounds(
    trained: "Trained",
    champion: "Entry | None",
    mels: Sequence[np.ndarray],
    clips: pl.DataFrame,
    groups: list[str] | None,
    studio: "Studio",
) -> GateResult:
    """Whether a sound model may serve: it beats guessing, is calibrated, and its recipe is no worse than the champion's.

    Recipes are compared, not ages: a champion of the same recipe is no rival, so that an equal training is the equal version.
    """
    found = trained.validation
    if found is None:
        least = min(trained.model.meta["clips_by_class"].values())
        return Gate("unvalidated sound model", (Need("clips of each class", "least", ">=", _LEAST_CLIPS),)).judge({"least": least})
    figures = {"over_majority": found.accuracy_by_group.low - found.majority, "calibration_error": found.reliability.error}
    needs = [
        Need("accuracy beats the commonest class by its interval", "over_majority", ">", 0.0),
        Need("calibration error", "calibration_error", "<=", _CALIBRATED[studio.settings.model_size]),
    ]
    rival = _find_rival(trained, champion)
    if rival is None:
        return Gate("sound model", tuple(needs)).judge(figures)
    version, theirs = rival
    figures["gain"] = _gain(found, theirs, mels, clips, groups)
    needs.append(Need("no worse than the champion's recipe on the same clips, by its interval", "gain", ">=", 0.0))
    return Gate("sound model", tuple(needs)).judge(figures, version)


def _find_rival(trained: "Trained", champion: "Entry | None") -> "tuple[str, ClassifierConfig] | None":
    """The champion's version and recipe, where it tells the same classes by another recipe."""
    from spotify_ai_assets.audio.models.sound_classifier import read_config

    if champion is None or set(champion.manifest.labels) != set(trained.model.classes):
        return None
    theirs = read_config(champion.manifest.config["recipe"])
    return None if theirs.digest == trained.model.meta["config_digest"] else (champion.version, theirs)


def _gain(
    found: "Validation", theirs: "ClassifierConfig", mels: Sequence[np.ndarray], clips: pl.DataFrame, groups: list[str] | None
) -> float:
    """Upper end of the interval of our accuracy less that of another recipe, fitted and validated on the same clips."""
    from spotify_ai_assets.audio.models.sound_classifier import train
    from spotify_ai_assets.training.metrics import paired_difference

    rival = train(mels, clips["label"].to_list(), groups, theirs).validation
    if rival is None:  # no comparison, so nothing that a gate could let through
        return math.nan
    right = [(each.logits.argmax(1) == each.labels).astype(float) for each in (found, rival)]
    return paired_difference(*right, groups=np.array(groups)).high


def _sound_metrics(trained: "Trained", clips: int) -> Iterator[Metric]:
    yield Metric("clips", clips, count=clips)
    yield Metric("classes", len(trained.model.classes), count=clips)
    found = trained.validation
    if found is None:
        return
    data = "held-out groups"
    yield Metric.of("accuracy", found.accuracy_by_group, data=data)
    yield Metric.of("accuracy_wilson", found.accuracy, data=data)
    yield Metric("majority", found.majority, count=clips, data=data)
    yield Metric("calibration_error", found.reliability.error, count=clips, data=data)
    yield Metric("log_loss", found.log_loss, count=clips, data=data)
    for number, label in enumerate(trained.model.classes):
        own = int(found.confusion[number].sum())
        yield Metric("recall", float(found.confusion[number, number] / max(own, 1)), count=own, data=data, part=label)


def _sound_limits(trained: "Trained") -> tuple[str, ...]:
    limits = ["Hears at most 30 seconds from the middle of a file.", "Answers with one of its classes even where none fits."]
    if trained.validation is None:
        limits.append("No artist or fold of its clips is known, so nothing is claimed of its accuracy and its probabilities are raw.")
    return tuple(limits)


# The perceptual model ------------------------------------------------------------------------------------------------------


@if_enough
def learn_perception(read: Inputs, studio: "Studio") -> pl.DataFrame:
    """Train, keep and, if its gate lets it, promote an estimator of how tracks are perceived.

    Returns:
        Rows of ``audio/perceptual_model``.
    """
    from spotify_ai_assets.audio.models.estimator import MEANING, count_values
    from spotify_ai_assets.audio.models.perceptual import LEAST_TRACKS, train
    from spotify_ai_assets.training.adapters.contract import InputContract

    tracks = _labelled_tracks(read)
    features = read("audio/features").collect().join(tracks.select("file_id"), on="file_id", how="semi").sort("file_id")
    tracks = features.select("file_id").join(tracks, on="file_id", maintain_order="left")
    labels = tracks.drop("file_id", "artist", "landed_on")
    if not any(labels[name].count() >= LEAST_TRACKS for name in labels.columns):
        raise MissingInputError(f"no perceptual label has {LEAST_TRACKS} tracks with features")
    extractor = sole_extractor(features)
    groups = tracks["artist"].to_list() if tracks["artist"].null_count() < tracks.height else None
    with studio.tracked(PERCEPTUAL_MODEL.key) as run:
        run.log_parameters({"tracks": tracks.height, "labels": ", ".join(labels.columns), "seed": SEED})
        trained = train(_plain_features(features), labels, groups, SEED)
        served = _better_labels(trained)
        need = Need("labels that beat the mean and shuffled labels by their interval", "served", ">=", 1.0)
        manifest = _write_down(
            studio,
            "labelled tracks",
            tracks,
            SEED,
            purpose="How a track is perceived, by its features.",
            kind="own",
            make={"class": "spotify_ai_assets.audio.models.estimator:Estimator", "config": trained.meta},
            inputs=InputContract("features", (None, count_values(trained.meta["inputs"])), "float64", MEANING),
            extractor=extractor,
            labels=served,
            config=trained.meta,
            metrics=tuple(_perceptual_metrics(trained, tracks.height)),
            limits=_perceptual_limits(trained),
            gate=Gate("perceptual model", (need,)).judge({"served": float(len(served))}),
        )
        return studio.serve(run, PERCEPTUAL_MODEL.key, {ARRAYS: _npz(trained.arrays), META: _json(trained.meta)}, manifest)


def _labelled_tracks(read: Inputs) -> pl.DataFrame:
    """``file_id, artist, landed_on`` and a column for each label of the files that have some, by digest, name, track or ISRC."""
    files = read("audio/files").select("file_id", "name", "isrc", "landed_on").collect()
    links = read("audio/track_links").select("file_id", "track_id").collect()
    tracks = read("catalog/tracks").select("track_id", credited="artist_id").collect()
    files = files.join(links, on="file_id", how="left").join(tracks, on="track_id", how="left")
    bare = pl.col("track_id").str.split(":").list.last()
    names = pl.concat(
        [files.select("file_id", item=name) for name in (pl.col("file_id"), pl.col("name"), pl.col("track_id"), bare, pl.col("isrc"))]
    )
    labels = read("audio/perceptual_labels").collect()
    found = names.drop_nulls().unique().join(labels, on="item").unique(["file_id", "feature"], keep="first", maintain_order=True)
    wide = found.sort("file_id", "feature").pivot("feature", index="file_id", values="value")
    artists = found.group_by("file_id").agg(pl.col("artist").drop_nulls().first())
    known = files.select("file_id", "landed_on", "credited").unique("file_id", keep="first")
    joined = wide.join(artists, on="file_id").join(known, on="file_id")
    return joined.with_columns(artist=pl.coalesce("artist", "credited")).drop("credited").sort("file_id")


def _plain_features(features: pl.DataFrame) -> pl.DataFrame:
    """The features that an estimator may use: no ids, no times."""
    return features.drop("shard", "file_id", "extractor", "beats_ms")


def _better_labels(trained: "Estimator") -> tuple[str, ...]:
    """What may be published: labels that beat the controls; all where nothing can be claimed."""
    if trained.evidence is None:
        return tuple(trained.meta["labels"])
    return tuple(trained.evidence.filter("is_better")["label"])


def _perceptual_metrics(trained: "Estimator", tracks: int) -> Iterator[Metric]:
    yield Metric("tracks", tracks, count=tracks)
    for row in trained.evidence.iter_rows(named=True) if trained.evidence is not None else ():
        for name in ("mae", "r2", "spearman", "gain"):
            yield Metric(name, row[name], row[f"{name}_low"], row[f"{name}_high"], row["tracks"], "held-out artists", row["label"])
        yield Metric("calibration_error", row["calibration_error"], count=row["tracks"], data="held-out artists", part=row["label"])


def _perceptual_limits(trained: "Estimator") -> tuple[str, ...]:
    limits = ["Says how people who made its labels would judge, not what is true of a track."]
    if trained.evidence is None:
        limits.append("The artists of its tracks are not known, so nothing is claimed of its errors.")
    return tuple(limits)


# The encoder ---------------------------------------------------------------------------------------------------------------


@if_enough
def learn_encoder(read: Inputs, studio: "Studio") -> pl.DataFrame:
    """Train, judge, keep and, if its gate lets it, promote an encoder.

    Returns:
        Rows of ``audio/encoder``.
    """
    from spotify_ai_assets.audio.embedding import train_and_judge

    mels = read("audio/spectrograms").filter(pl.col("frames") > 0).select("file_id", "mel", "frames", "extractor").collect()
    days = read("audio/files").select("file_id", "landed_on").collect()
    features = read("audio/features").collect()
    rows = features.join(mels.drop("extractor"), on="file_id").join(days, on="file_id").sort("file_id")
    if rows.height < LEAST_RECORDINGS:
        raise MissingInputError(f"fewer than {LEAST_RECORDINGS} recordings can be told apart")
    extractor = sole_extractor(features, mels)
    labels = _labelled_files(read).select("file_id", "label", "artist")
    with studio.tracked(ENCODER.key) as run:
        found = train_and_judge(rows, labels, studio)
        run.log_parameters({"recordings": rows.height, "parts": ", ".join(found.parts)})
        manifest = _write_down(
            studio,
            "recordings",
            rows,
            SEED,
            purpose="Where a recording lies among others by its sound.",
            kind="torch",
            make=found.make,
            inputs=found.inputs,
            extractor=extractor,
            config={"parts": list(found.parts), **found.config},
            metrics=found.metrics,
            limits=(
                "Files of less than a second have little to go by.",
                "Trained on this catalogue: another one's vectors are not comparable.",
            ),
            gate=found.gate,
        )
        return studio.serve(run, ENCODER.key, found.files, manifest)


# What all of them do -------------------------------------------------------------------------------------------------------


def _write_down(studio: "Studio", learnt_from: str, rows: pl.DataFrame, seed: int, **own: Any) -> Manifest:
    """The manifest of a training: what only it can say, and what is said of all alike.

    Args:
        studio: How large its models are.
        learnt_from: What the rows are, in a few words.
        rows: ``file_id, landed_on`` of what it learnt from.
        seed: Of the training.
        own: Further fields of the manifest.
    """
    digest = hashlib.sha256("\n".join(rows["file_id"]).encode()).hexdigest()[:16]
    return Manifest(
        data=DataWindow(learnt_from, rows.height, str(rows["landed_on"].min()), str(rows["landed_on"].max()), digest),
        seeds=(seed,),
        is_demo=studio.settings.model_size == "demo",
        packages=installed_packages(*_PACKAGES),
        **own,
    )


def _place(studio: "Studio", digest: str) -> Path:
    folder = studio.settings.data / "scratch" / "trainings" / digest
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _watch(studio: "Studio", steps: int):
    return lambda what, step, loss: studio.tell(_("training, {part}").format(part=what), step, steps)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})
    return buffer.getvalue()


# Pictures ------------------------------------------------------------------------------------------------------------------


def champion_pictures(studio: "Studio", key: str) -> dict[str, str]:
    """Pictures of a champion's evidence, as Markdown: confusion and reliability of the sound model."""
    entry = studio.champion(key)
    if entry is None or key != SOUND_MODEL.key:
        return {}
    found = json.loads(studio.artifacts.read(key, entry.version, META))["validation"]
    if found is None:
        return {}
    from spotify_ai_assets.audio.pictures import draw_confusion, draw_reliability

    return {
        "confusion": draw_confusion(np.array(found["confusion"]), entry.manifest.labels),
        "reliability": draw_reliability(found["reliability"]),
    }
