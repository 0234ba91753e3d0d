"""What each asset of audio shows: plots of its rows, and pictures of what a table cannot say: spectrograms, waves, faults, cards."""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from spotify_ai_assets.audio.measurements import unpack_mels
from spotify_ai_assets.catalog.pictures import bars
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import Plot, draw_markdown, drawable, escape_markdown, plot_markdown

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from spotify_ai_assets.audio.studio import Studio

_FRAME_S = 512 / 22_050
_MOST_COLUMNS, _ROWS, _LEVEL = 120, 32, 8
_HISTOGRAMS = ("loudness", "energy", "danceability", "duration_ms")


# Plots ---------------------------------------------------------------------------------------------------------------------


def containers(rows: pl.LazyFrame) -> Plot:
    """How many files have which container."""
    return bars(_("Files by container"), rows, "container")


def rejected_by_rule(rows: pl.LazyFrame) -> Plot:
    """How many files broke which rule."""
    return bars(_("Rejected files by rule"), rows, "rule")


def files_by_given_label(rows: pl.LazyFrame) -> Plot:
    """How many files have which label."""
    return bars(_("Files by given label"), rows, "label")


def perceptual_labels_by_feature(rows: pl.LazyFrame) -> Plot:
    """How many labels there are of which feature."""
    return bars(_("Labels by feature"), rows, "feature")


def links_by_method(rows: pl.LazyFrame) -> Plot:
    """How many files were linked by which method."""
    return bars(_("Files by how their track is known"), rows, "method")


def tempo_histogram(rows: pl.LazyFrame) -> Plot:
    """How many files have which tempo."""
    return _histogram(rows, "tempo", 10, _("Files by tempo in BPM"))


def landmarks_by_file(rows: pl.LazyFrame) -> Plot:
    """How many files have how many landmarks."""
    return _histogram(rows.select(landmarks=pl.col("hashes").list.len()), "landmarks", 100, _("Files by number of landmarks"))


def evidence_by_measure(rows: pl.LazyFrame) -> Plot:
    """How many measurements there are of which kind."""
    return bars(_("Measurements by kind"), rows, "measure")


def recall_by_class(rows: pl.LazyFrame) -> Plot:
    """How many of each class were recognised."""
    return bars(_("Recognised share by class"), rows.filter(metric="recall"), "slice", pl.mean("value"))


def error_by_feature(rows: pl.LazyFrame) -> Plot:
    """The mean absolute error of each feature."""
    return bars(_("Mean absolute error by feature"), rows.filter(metric="mae"), "slice", pl.mean("value"))


def files_by_label(rows: pl.LazyFrame) -> Plot:
    """How many files are of which class in the first place."""
    return bars(_("Files by most probable class"), rows.filter(pl.col("rank") == 1), "label")


def perceptual_means(rows: pl.LazyFrame) -> Plot:
    """The mean of each estimated feature."""
    return bars(_("Mean estimate by feature"), rows, "feature", pl.mean("value"))


def files_by_fault(rows: pl.LazyFrame) -> Plot:
    """How many files have which fault."""
    return bars(_("Files by fault"), rows, "fault", pl.n_unique("file_id").cast(pl.Float64))


def drift_by_feature(rows: pl.LazyFrame) -> Plot:
    """The largest stability index of each feature."""
    return bars(_("Largest population stability index by feature"), rows, "feature", pl.max("psi"))


def _histogram(rows: pl.LazyFrame, name: str, width: float, title: str) -> Plot:
    binned = (pl.col(name) / width).floor() * width
    counts = rows.drop_nulls(name).group_by(binned.alias("bin")).len("files").sort("bin").collect()
    return Plot(title, "line", counts["bin"].to_list(), counts["files"].to_list())


PICTURES = {
    "audio/files": containers,
    "audio/rejected": rejected_by_rule,
    "audio/labels": files_by_given_label,
    "audio/perceptual_labels": perceptual_labels_by_feature,
}
"""By the keys of the tables that intake fills."""


# Pictures ------------------------------------------------------------------------------------------------------------------


def present_features(studio: "Studio", rows: pl.LazyFrame) -> dict[str, Any]:
    """Histograms of the features that people ask for first."""
    widths = {"loudness": 2.0, "energy": 0.1, "danceability": 0.1, "duration_ms": 30_000.0}
    titles = {
        "loudness": _("Files by loudness in LUFS"),
        "energy": _("Files by energy"),
        "danceability": _("Files by danceability"),
        "duration_ms": _("Files by length in milliseconds"),
    }
    return {f"histogram_{name}": plot_markdown(*_histogram(rows, name, widths[name], titles[name])) for name in _HISTOGRAMS}


def present_spectrograms(studio: "Studio", rows: pl.LazyFrame) -> dict[str, Any]:
    """The spectrogram and the wave of one file."""
    import numpy as np

    first = rows.filter(pl.col("frames") > 0).head(1).collect()
    if first.is_empty():
        return {}
    [mel], row = unpack_mels(first), first.row(0, named=True)
    shown = row["file_id"][:12]
    return {
        "spectrogram": draw_spectrogram(mel, _("Mel spectrogram of {file}, by seconds").format(file=shown)),
        "waveform": draw_wave(np.asarray(row["wave"]), _("Wave of {file}, by seconds").format(file=shown)),
    }


def draw_spectrogram(mel: "np.ndarray", title: str) -> str:
    """A packed mel as a picture.

    Args:
        mel: uint8, shape (bands, frames).
        title: What it shows.
    """

    shown = _coarsen(mel)

    def draw(axes: "Axes") -> None:
        extent = (0, mel.shape[1] * _FRAME_S, 0, mel.shape[0])
        axes.imshow(shown, aspect="auto", origin="lower", cmap="magma", interpolation="nearest", extent=extent)

    return draw_markdown(title, draw)


def _coarsen(mel: "np.ndarray") -> "np.ndarray":
    """Means of the cells that a picture has room for, in few levels: an instance keeps it, and noise does not compress."""
    import numpy as np

    columns = np.linspace(0, mel.shape[1], min(mel.shape[1], _MOST_COLUMNS) + 1).astype(int)[:-1]
    wide = np.add.reduceat(mel.astype(float), columns, axis=1) / np.diff([*columns, mel.shape[1]])
    return np.rint(wide.reshape(_ROWS, -1, wide.shape[1]).mean(axis=1) / _LEVEL) * _LEVEL


def draw_wave(wave: "np.ndarray", title: str) -> str:
    """The outline of a wave as a picture.

    Args:
        wave: float, shape (3, n) flattened: the seconds, the lowest and the highest samples of equal parts.
        title: What it shows.
    """
    seconds, low, high = wave.reshape(3, -1)

    def draw(axes: "Axes") -> None:
        axes.fill_between(seconds, low, high, color="#14694a", linewidth=0, step="mid", antialiased=False)
        axes.set_ylim(-1.05, 1.05)

    return draw_markdown(title, draw)


def draw_confusion(confusion: "np.ndarray", labels: Sequence[str]) -> str:
    """A confusion matrix as a picture: rows are the truth, each adding up to 1.

    Args:
        confusion: Counts, shape (classes, classes).
        labels: The classes in order.
    """
    shares = confusion / confusion.sum(axis=1, keepdims=True).clip(1)

    def draw(axes: "Axes") -> None:
        axes.imshow(shares, cmap="Greens", vmin=0, vmax=1, aspect="auto")
        places = range(len(labels))
        axes.set_yticks(places, [drawable(label, 22) for label in labels], parse_math=False)
        axes.set_xticks(places, [drawable(label, 6) for label in labels], parse_math=False)
        for row in places if len(labels) <= 12 else ():
            axes.text(row, row, f"{shares[row, row]:.2f}", ha="center", va="center", fontsize=6, color="#b3372b")

    return draw_markdown(_("Answers by truth, on held-out groups"), draw, left=0.28)


def draw_reliability(found: Mapping[str, Any]) -> str:
    """How often answers of a stated probability were right, as a picture.

    Args:
        found: ``confidence``, ``accuracy`` and ``counts`` of bins; empty bins are ``None``.
    """
    known = [(sure, right) for sure, right in zip(found["confidence"], found["accuracy"], strict=True) if sure is not None]

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color="#8a857b", linewidth=0.8)
        axes.plot([sure for sure, _right in known], [right for _sure, right in known], color="#14694a", marker="o", markersize=3)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)

    return draw_markdown(_("Share of right answers by stated probability"), draw)


def present_model(studio: "Studio", rows: pl.LazyFrame) -> dict[str, Any]:
    """The card of the champion, its figures and its pictures."""
    from spotify_ai_assets.audio.trainings import champion_pictures

    found = rows.select("model_version", "metric", "slice").collect()
    if found.is_empty():
        return {"champion": _("none: no version has passed its gate")}
    key = studio.model
    return {
        "champion": found["model_version"][0],
        "card": studio.registry.card(key),
        **{name: picture for name, picture in champion_pictures(studio, key).items()},
    }


def present_embeddings(studio: "Studio", rows: pl.LazyFrame) -> dict[str, Any]:
    """The two files of the shard that sound most alike."""
    import numpy as np

    found = rows.select("file_id", "embedding").collect()
    if found.height < 2:
        return {}
    vectors = np.array(found["embedding"].to_list())
    likeness = vectors @ vectors.T - 2 * np.eye(len(vectors))
    one, two = np.unravel_index(likeness.argmax(), likeness.shape)
    ids = found["file_id"]
    return {"most_alike": f"{ids[int(one)][:12]} {ids[int(two)][:12]}", "their_cosine": float(likeness[one, two])}


def present_explanations(studio: "Studio", rows: pl.LazyFrame) -> dict[str, Any]:
    """The pictures of up to three explanations."""
    found = rows.sort("probability", descending=True).head(3).collect()
    return {f"explanation_{number}": _embed(row["label"], row["picture"]) for number, row in enumerate(found.iter_rows(named=True), 1)}


def present_faults(studio: "Studio", rows: pl.LazyFrame) -> dict[str, Any]:
    """The picture of the clearest case of each of up to four faults."""
    drawn = rows.filter(pl.col("picture").is_not_null()).sort("score", descending=True).collect()
    shown = drawn.unique("fault", keep="first", maintain_order=True).head(4)
    return {f"fault_{number}": _embed(row["fault"], row["picture"]) for number, row in enumerate(shown.iter_rows(named=True), 1)}


def _embed(title: str, png: bytes) -> str:
    return f"![{escape_markdown(title)}](data:image/png;base64,{base64.b64encode(png).decode()})"
