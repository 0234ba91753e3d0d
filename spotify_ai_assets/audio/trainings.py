"""How audio's models come to be: what they learn from, what is claimed of them, and whether they may serve.

Each training is recorded by MLflow, kept in the registry with its card, and promoted only through its gate; a version that fails
stays the challenger, and its table goes on telling of the champion.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.audio.contracts import ENCODER, PERCEPTUAL_MODEL, SOUND_MODEL
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.training.errors import GateFailedError, UnknownModelError
from spotify_ai_assets.training.gates import Gate, GateResult, Need
from spotify_ai_assets.training.images import champion_rows
from spotify_ai_assets.training.manifests import DataWindow, Manifest, Metric, installed_packages

if TYPE_CHECKING:
    from spotify_ai_assets.audio.models.perceptual import Trained as Estimator
    from spotify_ai_assets.audio.models.sound_classifier import ClassifierConfig, Trained
    from spotify_ai_assets.audio.studio import Studio
    from spotify_ai_assets.resources.tracking import TrackedRun
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


def if_enough(learn: Callable[[Inputs, "Studio"], pl.DataFrame]) -> Callable[[Inputs, "Studio"], pl.DataFrame]:
    """A training that, where there is too little to learn from, says so and leaves the champion what it is."""

    @wraps(learn)
    def attempt(read: Inputs, studio: "Studio") -> pl.DataFrame:
        try:
            return learn(read, studio)
        except MissingInputError as error:
            _LOG.warning("%s: nothing was trained: %s", studio.model, error)
            return champion_rows(studio.registry, studio.model)

    return attempt


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
    groups, known_by = _groups(clips)
    mels = unpack_mels(clips)
    config = _recipe(studio)
    with studio.tracked(SOUND_MODEL.key) as run:
        run.log_parameters({"recipe": config.name, "digest": config.digest, "clips": clips.height, "groups": known_by})
        place, watch = _place(studio, config.digest), _watch(studio, config.fit.steps)
        trained = train(mels, clips["label"].to_list(), groups, config, checkpoints=place, watch=watch)
        gate = _judge_sounds(trained, _champion(studio, SOUND_MODEL.key), mels, clips, groups, studio)
        model = trained.model
        manifest = Manifest(
            purpose="Which class a recording is of, by its sound.",
            kind="torch",
            make=describe_make(model),
            inputs=describe_input(model),
            extractor=_extractor(clips),
            data=_window("labelled recordings", clips),
            labels=tuple(model.classes),
            config={"recipe": model.meta["config"], "groups": known_by},
            seeds=(config.fit.seed,),
            metrics=tuple(_sound_metrics(trained, clips.height)),
            limits=_sound_limits(trained),
            gate=gate,
            is_demo=studio.settings.model_size == "demo",
            packages=installed_packages(*_PACKAGES),
        )
        served = _serve(studio, run, SOUND_MODEL.key, {WEIGHTS: save(model.tensors), META: _json(model.meta)}, manifest)
        shutil.rmtree(place)
        return served


def _labelled_clips(read: Inputs) -> pl.DataFrame:
    """``file_id, mel, frames, extractor, label, artist, fold, landed_on`` of the files that have a label, by name or digest."""
    labels = read("audio/labels").collect()
    files = read("audio/files").select("file_id", "name", "landed_on").collect()
    by_id = files.join(labels, left_on="file_id", right_on="file")
    by_name = files.join(labels, left_on="name", right_on="file").join(by_id, on="file_id", how="anti")
    named = pl.concat([by_id, by_name.select(by_id.columns)]).unique("file_id", keep="first", maintain_order=True)
    mels = read("audio/spectrograms").select("file_id", "mel", "frames", "extractor").filter(pl.col("frames") > 0).collect()
    return named.join(mels, on="file_id").sort("file_id")


def _groups(clips: pl.DataFrame) -> tuple[list[str] | None, str]:
    """What must not be on both sides of a validation: official folds where every clip has one, else artists."""
    for name in ("fold", "artist"):
        if not clips[name].null_count():
            return clips[name].to_list(), name
    return None, "none"


def unpack_mels(rows: pl.DataFrame) -> list[np.ndarray]:
    """Packed mels of rows of ``audio/spectrograms``: uint8, shape (64, frames)."""
    return [np.frombuffer(mel, np.uint8).reshape(64, frames) for mel, frames in rows.select("mel", "frames").iter_rows()]


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
    """Whether a sound model may serve: it beats guessing, is calibrated, and its recipe is no worse than the champion's."""
    found = trained.validation
    if found is None:
        least = min(trained.model.meta["clips_by_class"].values())
        return Gate("unvalidated sound model", (Need("clips of each class", "least", ">=", _LEAST_CLIPS),)).judge({"least": least})
    sure = trained.model.meta["validation"]["calibration_error"]
    figures = {"over_majority": found.accuracy_by_group.low - found.majority, "calibration_error": sure}
    needs = [
        Need("accuracy beats the commonest class by its interval", "over_majority", ">", 0.0),
        Need("calibration error", "calibration_error", "<=", _CALIBRATED[studio.settings.model_size]),
    ]
    against = None
    if champion is not None and set(champion.manifest.labels) == set(trained.model.classes):
        against = champion.version
        figures["gain"] = _gain(trained, champion, mels, clips, groups)
        needs.append(Need("no worse than the champion's recipe on the same clips, by its interval", "gain", ">=", 0.0))
    return Gate("sound model", tuple(needs)).judge(figures, against)


def _gain(trained: "Trained", champion: "Entry", mels: Sequence[np.ndarray], clips: pl.DataFrame, groups: list[str] | None) -> float:
    """Upper end of the interval of our accuracy less that of the champion's recipe, fitted and validated on the same clips."""
    from spotify_ai_assets.audio.models.sound_classifier import read_config, train
    from spotify_ai_assets.training.metrics import paired_difference

    theirs = read_config(champion.manifest.config["recipe"])
    found = trained.validation
    if found is None or theirs.digest == read_config(trained.model.meta["config"]).digest:
        return 0.0
    rival = train(mels, clips["label"].to_list(), groups, theirs).validation
    if rival is None:
        return 0.0
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
    yield Metric("calibration_error", trained.model.meta["validation"]["calibration_error"], count=clips, data=data)
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
    tracks = features.select("file_id", "extractor").join(tracks, on="file_id", maintain_order="left")
    labels = tracks.drop("file_id", "extractor", "artist", "landed_on")
    if not any(labels[name].count() >= LEAST_TRACKS for name in labels.columns):
        raise MissingInputError(f"no perceptual label has {LEAST_TRACKS} tracks with features")
    groups = tracks["artist"].to_list() if tracks["artist"].null_count() < tracks.height else None
    with studio.tracked(PERCEPTUAL_MODEL.key) as run:
        run.log_parameters({"tracks": tracks.height, "labels": ", ".join(labels.columns), "seed": SEED})
        trained = train(_plain_features(features), labels, groups, SEED)
        served = _better_labels(trained)
        figures = {"served": float(len(served)), "labelled": float(len(trained.meta["labels"]))}
        need = Need("labels that beat the mean and shuffled labels by their interval", "served", ">=", 1.0)
        manifest = Manifest(
            purpose="How a track is perceived, by its features.",
            kind="own",
            make={"class": "spotify_ai_assets.audio.models.estimator:Estimator", "config": trained.meta},
            inputs=InputContract("features", (None, count_values(trained.meta["inputs"])), "float64", MEANING),
            extractor=_extractor(tracks),
            data=_window("labelled tracks", tracks),
            labels=served,
            config=trained.meta,
            seeds=(SEED,),
            metrics=tuple(_perceptual_metrics(trained, tracks.height)),
            limits=_perceptual_limits(trained),
            gate=Gate("perceptual model", (need,)).judge(figures),
            is_demo=studio.settings.model_size == "demo",
            packages=installed_packages(*_PACKAGES),
        )
        return _serve(studio, run, PERCEPTUAL_MODEL.key, {ARRAYS: _npz(trained.arrays), META: _json(trained.meta)}, manifest)


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

    mels = read("audio/spectrograms").filter(pl.col("frames") > 0).select("file_id", "mel", "frames").collect()
    days = read("audio/files").select("file_id", "landed_on").collect()
    rows = read("audio/features").collect().join(mels, on="file_id").join(days, on="file_id").sort("file_id")
    if rows.height < LEAST_RECORDINGS:
        raise MissingInputError(f"fewer than {LEAST_RECORDINGS} recordings can be told apart")
    labels = _labelled_clips(read).select("file_id", "label", "artist")
    with studio.tracked(ENCODER.key) as run:
        found = train_and_judge(rows, unpack_mels(rows), labels, studio)
        run.log_parameters({"recordings": rows.height, "parts": ", ".join(found.parts)})
        manifest = Manifest(
            purpose="Where a recording lies among others by its sound.",
            kind="torch",
            make=found.make,
            inputs=found.inputs,
            extractor=_extractor(rows),
            data=_window("recordings", rows),
            config={"parts": list(found.parts), **found.config},
            seeds=(SEED,),
            metrics=found.metrics,
            limits=(
                "Files of less than a second have little to go by.",
                "Trained on this catalogue: another one's vectors are not comparable.",
            ),
            gate=found.gate,
            is_demo=studio.settings.model_size == "demo",
            packages=installed_packages(*_PACKAGES),
        )
        return _serve(studio, run, ENCODER.key, found.files, manifest)


# What all of them do -------------------------------------------------------------------------------------------------------


def _serve(studio: "Studio", run: "TrackedRun", key: str, files: Mapping[str, bytes], manifest: Manifest) -> pl.DataFrame:
    """Keep a version, promote it if its gate lets it, and give the rows of whoever serves now."""
    registry, origin = studio.registry, studio.origin(run)
    run.log_metrics({_metric_name(metric): metric.value for metric in manifest.metrics})
    entry = registry.add(key, files, manifest, origin)
    try:
        registry.promote(key, entry.version, origin=origin)
        _LOG.info("%s: version %s passed its gate and serves", key, entry.version)
    except GateFailedError as error:
        _LOG.warning("%s: version %s does not serve: %s", key, entry.version, error)
    run.log_text(registry.card(key, entry.version), "card.md")
    return champion_rows(registry, key)


def _metric_name(metric: Metric) -> str:
    kept = "".join(each if each.isascii() and (each.isalnum() or each in "_- ./") else "_" for each in metric.part)
    return f"{metric.name}/{kept}" if kept else metric.name


def _champion(studio: "Studio", key: str) -> "Entry | None":
    try:
        return studio.registry.entry(key)
    except UnknownModelError:
        return None


def _window(description: str, rows: pl.DataFrame) -> DataWindow:
    digest = hashlib.sha256("\n".join(rows["file_id"]).encode()).hexdigest()[:16]
    return DataWindow(description, rows.height, str(rows["landed_on"].min()), str(rows["landed_on"].max()), digest)


def _extractor(rows: pl.DataFrame) -> str:
    """The extractor that measured all rows; the newest analyses' where several did, whose rows are out of date."""
    return str(rows["extractor"].mode().sort().first())


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
    entry = _champion(studio, key)
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
