"""A small picture of a fault, at the place where it shows best."""

import io
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import HEIGHT_PX, PLOT_BYTES, WIDTH_PX

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg

_DPI = 100
_INK, _QUIET, _ACCENT, _ALARM = "#1b1a17", "#8a857b", "#14694a", "#b3372b"
_COLUMNS = 430


def draw_fault(samples: np.ndarray, rate: int, fault: str) -> bytes:
    """Draw a file's fault: the spectrum for a cut-off, the wave for all others, close to where it is worst.

    Args:
        samples: Native-rate signal, shape (frames, channels) or (frames,).
        rate: Its sampling rate in Hz.
        fault: One of ``judgement.FAULTS``.

    Returns:
        A PNG of 480 x 200 px and at most ``PLOT_BYTES`` bytes.

    Raises:
        KeyError: No such fault.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    title = _titles()[fault]
    signal = np.nan_to_num(np.atleast_2d(np.asarray(samples, dtype=np.float32).T).T, nan=0.0, posinf=0.0, neginf=0.0)
    signal = signal if len(signal) else np.zeros((1, 1), np.float32)
    figure = Figure(figsize=(WIDTH_PX / _DPI, HEIGHT_PX / _DPI), dpi=_DPI)
    axes = figure.add_axes((0.1, 0.17, 0.87, 0.7))
    axes.set_title(title, loc="left", fontsize=8, color=_INK, parse_math=False)
    if fault == "bandwidth_cutoff":
        _draw_spectrum(axes, signal, rate)
    else:
        _draw_wave(axes, signal, rate, fault)
    axes.tick_params(labelsize=7, colors=_QUIET, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_QUIET)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return _png(canvas)


def _titles() -> dict[str, str]:
    return {
        "silence": _("Silence: the whole file, full scale 1"),
        "dropout": _("Dropout: the wave around the longest, by seconds"),
        "clipping": _("Clipping: the wave at its most clipped, by seconds"),
        "dc_offset": _("DC offset: the mean beside zero, by seconds"),
        "dropped_channel": _("Dropped channel: left above, right below, by seconds"),
        "inverted_phase": _("Inverted phase: left and right, by seconds"),
        "bandwidth_cutoff": _("Bandwidth: level in dB by kHz"),
        "truncated_start": _("Truncated start: the first tenth of a second"),
        "truncated_end": _("Truncated end: the last tenth of a second"),
        "clicks": _("Click: the wave around the sharpest, by seconds"),
    }


def _draw_spectrum(axes: "Axes", signal: np.ndarray, rate: int) -> None:
    from spotify_ai_assets.audio.faults.evidence import gather_evidence, measure_spectrum

    padded = np.pad(signal, ((0, max(4096 - len(signal), 0)), (0, 0)))
    starts = np.unique(np.linspace(0, len(padded) - 4096, 64).astype(np.int64))
    hz, level, _weak = measure_spectrum(padded, rate, starts)
    axes.plot(hz / 1000, level, color=_ACCENT, linewidth=1.2)
    axes.axvline(gather_evidence(signal, rate)["cutoff_hz"] / 1000, color=_ALARM, linewidth=1, linestyle="--")


def _draw_wave(axes: "Axes", signal: np.ndarray, rate: int, fault: str) -> None:
    begin, end = _find_window(signal, rate, fault)
    part = signal[begin:end]
    pair = part[:, :2] if fault in {"dropped_channel", "inverted_phase"} and part.shape[1] > 1 else _find_loudest(part)
    for channel, colour in zip(range(pair.shape[1]), (_ACCENT, _ALARM), strict=False):
        shift = (1.0, -1.0)[channel] * float(np.abs(pair).max(initial=1e-6)) if fault == "dropped_channel" else 0.0
        _draw_envelope(axes, begin, pair[:, channel] + shift, rate, colour)
    if fault == "dc_offset":
        axes.axhline(0, color=_QUIET, linewidth=0.8)
        axes.axhline(float(pair.mean()), color=_ALARM, linewidth=1, linestyle="--")
    if fault == "silence":
        axes.set_ylim(-1, 1)


def _draw_envelope(axes: "Axes", begin: int, wave: np.ndarray, rate: int, colour: str) -> None:
    """A line where samples are few, else the extremes of each column of pixels: what a line of all would paint."""
    if len(wave) <= 4 * _COLUMNS:
        axes.plot((begin + np.arange(len(wave))) / rate, wave, color=colour, linewidth=1)
        return
    edges = np.linspace(0, len(wave), _COLUMNS + 1).astype(np.int64)[:-1]
    low, high = np.minimum.reduceat(wave, edges), np.maximum.reduceat(wave, edges)
    axes.fill_between((begin + edges) / rate, low, high, color=colour, linewidth=0)


def _find_loudest(part: np.ndarray) -> np.ndarray:
    """The channel with the greatest sample, as a column."""
    loudest = int(np.abs(part).max(axis=0, initial=0).argmax())
    return part[:, loudest : loudest + 1]


def _find_window(signal: np.ndarray, rate: int, fault: str) -> tuple[int, int]:
    """First frame to draw and the one to stop before."""
    frames = len(signal)
    if fault == "truncated_start":
        return 0, min(rate // 10 + 1, frames)
    if fault == "truncated_end":
        return max(frames - rate // 10 - 1, 0), frames
    spans = {"clipping": 0.02, "clicks": 0.01, "dropout": 1.0, "inverted_phase": 0.02}
    if fault not in spans:
        return 0, frames
    half = max(round(spans[fault] * rate / 2), 8)
    centre = _find_place(signal, rate, fault)
    return max(centre - half, 0), min(centre + half, frames)


def _find_place(signal: np.ndarray, rate: int, fault: str) -> int:
    """The frame at which a fault shows best."""
    loud = np.abs(signal).max(axis=1)
    if fault == "clicks" and len(signal) > 4:
        return int(np.abs(np.diff(signal, 4, axis=0)).max(axis=1).argmax()) + 2
    if fault == "clipping":
        tops = np.convolve(loud >= 0.99 * loud.max(), np.ones(max(rate // 100, 1)), mode="same")
        return int(tops.argmax())
    if fault == "dropout":
        return _find_gap(loud)
    return int(loud.argmax())


def _find_gap(loud: np.ndarray) -> int:
    """The middle of the longest stretch of silence inside the sound."""
    sound = np.flatnonzero(loud > 10 ** (-75 / 20))
    if len(sound) < 2:
        return len(loud) // 2
    gaps = np.diff(sound)
    widest = int(gaps.argmax())
    return int(sound[widest] + gaps[widest] // 2)


def _png(canvas: "FigureCanvasAgg") -> bytes:
    from PIL import Image

    picture = Image.frombytes("RGBA", canvas.get_width_height(), canvas.buffer_rgba().tobytes()).convert("RGB")
    drawn = b""
    # A ragged wave takes more bytes than a smooth line: fewer shades of its edges then.
    for colours in (64, 16, 6):
        buffer = io.BytesIO()
        picture.quantize(colours).save(buffer, "PNG", optimize=True)
        drawn = buffer.getvalue()
        if len(drawn) <= PLOT_BYTES:
            break
    return drawn
