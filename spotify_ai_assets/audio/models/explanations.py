"""Which times and frequencies an answer of the sound classifier came from, for one clip and for all of a class.

The answer that is explained is the one that serves: the mean logit over the pieces of the clip. Integrated gradients start at a clip
whose every band has the level that it has on average in the training data. Completeness, deletion, insertion and randomised weights
are tested as ``training.explanation`` says.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.audio.models.mels import BANDS, HOP, SAMPLE_RATE, trim_silence, unpack
from spotify_ai_assets.audio.models.sound_classifier import Model, load, read_config, read_scale
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import COLOURS, HEIGHT_PX, PLOT_BYTES, WIDTH_PX
from spotify_ai_assets.training.calibration import calibrate
from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.explanation import Faithfulness, attribute, measure_faithfulness, measure_sanity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import nn

    from spotify_ai_assets.audio.models.networks import WholeClip

PATCH = 8
"""Bands and frames that deletion, insertion and occlusion take away together: a single cell is too little to be missed."""

_DPI = 100
_INK, _QUIET = "#1b1a17", "#8a857b"
_COLUMNS = (160, 120, 80, 40, 20)
"""Columns of a picture, fewer where more would be too many bytes."""
_TICKS = (128, 512, 2_048, 8_192)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the answer for a clip came from.

    Attributes:
        label: The class whose logit is explained.
        probability: Of that class, calibrated.
        mel_db: What was heard, digital silence at the ends left out; float32, shape (64, frames).
        attribution: What each cell added to the logit, float32, shape (64, frames).
        difference: The logit less that of the baseline.
        gap: How far the shares are from adding up to it, relative.
    """

    label: str
    probability: float
    mel_db: np.ndarray
    attribution: np.ndarray
    difference: float
    gap: float


def explain_clip(model: Model, mel: np.ndarray, label: str | None = None, *, most_gap: float = 0.01) -> Explanation:
    """Explain an answer by integrated gradients.

    Args:
        model: The classifier.
        mel: A packed mel.
        label: The class to explain; the likeliest unless given.
        most_gap: The completeness gap at which the path is fine enough.
    """
    network, case = _network(model), _case(model, mel)
    logits = _answer(network, case[None], model)[0]
    target = int(logits.argmax()) if label is None else model.classes.index(label)
    found = attribute(network, case[None], np.array([target]), np.zeros_like(case), most_gap=most_gap, batch=_at_once(model))
    return Explanation(
        model.classes[target],
        float(calibrate(logits, model.meta["temperature"])[target]),
        unpack(trim_silence(mel)),
        found.values[0],
        float(found.difference[0]),
        float(found.gap[0]),
    )


def check_explanation(model: Model, mel: np.ndarray, explanation: Explanation, *, orders: int = 5, points: int = 10) -> Faithfulness:
    """Delete and insert patches of the clip in the order of the explanation and in random orders.

    Args:
        model: The classifier.
        mel: The packed mel that was explained.
        explanation: Of it.
        orders: How many random ones.
        points: Steps from nothing to everything.
    """
    network, target = _network(model), model.classes.index(explanation.label)
    case = _case(model, mel)
    return measure_faithfulness(
        lambda cases: _answer(network, cases, model)[:, target],
        case,
        explanation.attribution,
        np.zeros_like(case),
        points=points,
        patch=PATCH,
        orders=orders,
    )


def check_sanity(model: Model, mels: Sequence[np.ndarray], *, seed: int = 0) -> float:
    """How alike the maps of the classifier and of one with random weights are: rank correlation, -1..1; near 0 is sane."""

    def explain(mel: np.ndarray, target: int, network: "nn.Module") -> np.ndarray:
        case = _case(model, mel)
        return attribute(network, case[None], np.array([target]), np.zeros_like(case), most_gap=1.0, batch=_at_once(model)).values

    network, found = _network(model), []
    for mel in mels:
        target = int(_answer(network, _case(model, mel)[None], model)[0].argmax())
        found.append(measure_sanity(network, lambda each, mel=mel, target=target: explain(mel, target, each), seed))
    return float(np.mean(found))


def weigh_bands(explanations: Sequence[Explanation], classes: Sequence[str]) -> np.ndarray:
    """Global importance of the bands for each class: the mean size of what a band added to the explained logit.

    Args:
        explanations: Of clips.
        classes: The labels.

    Returns:
        float64, shape (classes, 64): shares of 1 in each row; not a number for a class of which no clip was explained.
    """
    sums = np.full((len(classes), BANDS), np.nan)
    for row, label in enumerate(classes):
        own = [np.abs(each.attribution).mean(axis=1, dtype=float) for each in explanations if each.label == label]
        if own:
            mean = np.mean(own, axis=0)
            sums[row] = mean / max(float(mean.sum()), 1e-300)
    return sums


def occlude_bands(model: Model, mels: Sequence[np.ndarray], width: int = PATCH) -> np.ndarray:
    """What the likeliest class of each clip loses when neighbouring bands are held at their average level.

    Args:
        model: The classifier.
        mels: Packed mels.
        width: Bands that are held together.

    Returns:
        float64, shape (clips, 64 / width): logit before less logit after.
    """
    network, starts = _network(model), range(0, BANDS, width)
    losses = np.empty((len(mels), len(starts)))
    for row, mel in enumerate(mels):
        case = _case(model, mel)
        held = np.stack([case, *(np.where(_is_in(start, width), 0, case) for start in starts)]).astype(np.float32)
        logits = _answer(network, held, model)
        target = int(logits[0].argmax())
        losses[row] = logits[0, target] - logits[1:, target]
    return losses


def draw_explanation(explanation: Explanation) -> bytes:
    """A clip and what spoke for and against the answer: a PNG of 480 x 200 px and at most ``PLOT_BYTES`` bytes.

    The upper half is the sound, the lower one the attribution: green spoke for the class, pink against it.
    """
    picture = b""
    for columns in _COLUMNS:
        picture = _draw(explanation, columns)
        if len(picture) <= PLOT_BYTES:
            break
    return picture


def _draw(explanation: Explanation, columns: int) -> bytes:
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(WIDTH_PX / _DPI, HEIGHT_PX / _DPI), dpi=_DPI)
    seconds = explanation.mel_db.shape[1] * HOP / SAMPLE_RATE
    heard, spoke = _shrink(explanation.mel_db, columns), _shrink(explanation.attribution, columns)
    limit = max(float(np.quantile(np.abs(spoke), 0.995)), 1e-12)
    upper, lower = figure.add_axes((0.09, 0.53, 0.89, 0.33)), figure.add_axes((0.09, 0.13, 0.89, 0.33))
    top = float(heard.max())
    # Few colours make few bytes, and the same ones in every picture.
    for axes, cells, colours, lowest, highest in (
        (upper, heard, colormaps["Greys"].resampled(8), top - 60, top),
        (lower, spoke, colormaps["PiYG"].resampled(9), -limit, limit),
    ):
        axes.imshow(
            cells,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            cmap=colours,
            vmin=lowest,
            vmax=highest,
            extent=(0, seconds, 0, BANDS),
        )
        _mark_frequencies(axes)
    title = _("{label}, probability {probability:.2f}: what spoke for it (green) and against it (pink); Hz, seconds")
    shown = title.format(label=_plain(explanation.label), probability=explanation.probability)
    upper.set_title(shown, loc="left", fontsize=7, color=_INK, parse_math=False)
    upper.set_xticks([])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    size = canvas.get_width_height()
    buffer = io.BytesIO()
    picture = Image.frombytes("RGBA", size, canvas.buffer_rgba().tobytes()).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _network(model: Model) -> "WholeClip":
    from spotify_ai_assets.audio.models.networks import WholeClip

    config = read_config(model.meta["config"])
    return WholeClip(load(model.tensors, len(model.classes), config).network, config.frames, config.shifts).eval()


def _at_once(model: Model) -> int:
    """Points of the path that are computed together: about 64 pieces."""
    return max(1, 64 // read_config(model.meta["config"]).shifts)


def _case(model: Model, mel: np.ndarray) -> np.ndarray:
    return read_scale(model.tensors).apply(unpack(trim_silence(mel)))


def _answer(network: "WholeClip", cases: np.ndarray, model: Model) -> np.ndarray:
    """Logits of scaled mels of one length: float64, shape (cases, classes)."""
    import torch

    with steady(0, read_config(model.meta["config"]).fit.threads), torch.inference_mode():
        return np.concatenate([network(torch.from_numpy(case[None])).numpy() for case in cases]).astype(float)


def _is_in(start: int, width: int) -> np.ndarray:
    bands = np.arange(BANDS)[:, None]
    return (bands >= start) & (bands < start + width)


def _shrink(cells: np.ndarray, columns: int) -> np.ndarray:
    """Means over neighbouring frames, so that at most so many are left."""
    edges = np.unique(np.linspace(0, cells.shape[1], min(cells.shape[1], columns) + 1).astype(int))
    return np.add.reduceat(cells, edges[:-1], axis=1) / np.diff(edges)


def _mark_frequencies(axes: "Axes") -> None:
    axes.set_yticks([_band_of(frequency) for frequency in _TICKS], [str(frequency) for frequency in _TICKS])
    axes.tick_params(labelsize=6, colors=_QUIET, length=0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _band_of(frequency: float) -> float:
    """Place of a frequency among 64 bands of Slaney's mel scale up to 11,025 Hz: a line up to 1 kHz, then a logarithm."""

    def mel(hertz: float) -> float:
        return 3 * hertz / 200 if hertz < 1_000 else 15 + 27 * float(np.log(hertz / 1_000) / np.log(6.4))

    return BANDS * mel(frequency) / mel(SAMPLE_RATE / 2)


def _plain(label: str) -> str:
    """A label in printable characters, cut to what fits."""
    shown = "".join(char if char.isprintable() and ord(char) < 0x250 else "·" for char in label)
    return shown if len(shown) <= 24 else shown[:23] + "…"
