"""What a recording shows of each fault, as one flat table of numbers, gathered in one reading of its samples.

Numbers only, no verdicts (``judgement``). Levels are of the plain root mean square in dB; ``active_db`` is the mean power of the
blocks above a gate 10 dB below the mean of those that are not silent, as in ITU-R BS.1770-4 but unweighted, so that pauses do not
count. All ratios are relative to it or to the signal itself: the evidence of a recording and of its copy at another gain agree
wherever the absolute floor of silence is out of reach.
"""

from typing import NamedTuple

import numpy as np

SILENT_DB = -75.0
"""A block below this root mean square, relative to full scale, is silent."""
DEEP_DB = -55.0
"""So is one that far below the active level."""
FLOOR_DB = -160.0
_BLOCK_S = 0.005
_SECOND = 200
_EDGE = 2
_CLICK_BLOCK = 512
_CLICK_RATIOS = (12.0, 20.0, 32.0)
_FRAME, _MOST_FRAMES = 4096, 128
_BAND_HZ = 120.0
_TOP_S, _MOST_TOPS = 0.05, 24
_MOST_SAMPLES = 200_000


class Blocks(NamedTuple):
    """Sums over blocks of 5 ms.

    Attributes:
        frames: Frames of each block, shape (blocks,).
        power: Mean square of each channel, shape (channels, blocks).
        mean: Mean of each channel, shape (channels, blocks).
        low: Least sample of each channel, shape (channels,).
        high: Greatest sample of each channel, shape (channels,).
        product: Mean product of the first two channels, shape (blocks,).
        peak: Greatest absolute sample of each channel and block, shape (channels, blocks).
    """

    frames: np.ndarray
    power: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    product: np.ndarray
    peak: np.ndarray


def gather_evidence(samples: np.ndarray, rate: int) -> dict[str, float]:
    """Measure what the detectors of faults need.

    Args:
        samples: Native-rate signal, shape (frames, channels) or (frames,), full scale +-1. Any length; values that are not finite
            count as zero.
        rate: Its sampling rate in Hz.

    Returns:
        Finite numbers by name; the same names for every signal. See ``judgement`` for their meaning.

    Raises:
        ValueError: The rate is not positive, or the signal has more than two dimensions.
    """
    if rate <= 0 or np.ndim(samples) > 2:
        raise ValueError("a signal has one or two dimensions and a positive rate")
    signal = np.ascontiguousarray(samples, dtype=np.float32)
    signal = signal[:, None] if signal.ndim == 1 else signal
    if not signal.size:
        signal = np.zeros((1, 1), np.float32)
    length = max(round(rate * _BLOCK_S), 8)
    blocks = _sum_up(signal, length)
    if not np.isfinite(blocks.power).all():
        signal = np.nan_to_num(signal, nan=0.0, posinf=0.0, neginf=0.0)
        blocks = _sum_up(signal, length)
    total = blocks.power.mean(axis=0)
    active, silent = _find_active(total)
    found = {
        "duration_s": len(signal) / rate,
        "channels": float(signal.shape[1]),
        "rate_hz": float(rate),
        "peak_dbfs": _level(float(blocks.peak.max()) ** 2),
        "active_db": active,
    }
    found |= _weigh_silence(total, silent, active, blocks.frames / rate)
    found |= _weigh_offset(blocks)
    found |= _weigh_channels(blocks, silent)
    found |= _weigh_ends(signal, blocks, silent, rate, length)
    found |= _weigh_tops(signal, blocks, rate, length)
    found |= _weigh_clicks(signal, blocks, active, length)
    found |= _weigh_bandwidth(signal, total, rate, length)
    return {name: float(value) for name, value in found.items()}


def _sum_up(signal: np.ndarray, length: int) -> Blocks:
    from spotify_ai_assets.audio.faults.kernels import sum_blocks

    table, products = sum_blocks(signal, length)
    frames = np.full(table.shape[1], length)
    frames[-1] = len(signal) - length * (len(frames) - 1)
    return Blocks(
        frames,
        table[:, :, 1] / frames,
        table[:, :, 0] / frames,
        table[:, :, 2].min(axis=1),
        table[:, :, 3].max(axis=1),
        products / frames,
        np.abs(table[:, :, 2:]).max(axis=2),
    )


def _level(power: float) -> float:
    return 10 * float(np.log10(max(power, 10 ** (FLOOR_DB / 10))))


def _levels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


def _find_active(total: np.ndarray) -> tuple[float, np.ndarray]:
    """The active level in dB, and which blocks are silent."""
    levels = _levels(total)
    heard = total[levels > SILENT_DB]
    if not len(heard):
        return FLOOR_DB, np.ones(len(total), bool)
    gate = heard.mean() / 10
    active = _level(float(heard[heard >= gate].mean()))
    return active, levels < max(SILENT_DB, active + DEEP_DB)


def _find_runs(flags: np.ndarray) -> np.ndarray:
    """First block of each run of true flags and the block behind it, shape (runs, 2)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return changes.reshape(-1, 2)


def _weigh_silence(total: np.ndarray, silent: np.ndarray, active: float, seconds: np.ndarray) -> dict[str, float]:
    """The share of silence, and interruptions: silences that begin and end at the level of what they interrupt."""
    levels, longest, number, whole = _levels(total), 0.0, 0, 0.0
    runs = _find_runs(silent)
    inner = runs[(runs[:, 0] >= _EDGE) & (runs[:, 1] <= len(total) - _EDGE)]
    for begin, end in inner:
        # The block at either edge is partly silent itself.
        before, after = levels[begin - _EDGE : begin].max(), levels[end : end + _EDGE].max()
        length = float(seconds[begin:end].sum())
        whole = max(whole, length)
        if min(before, after) >= active - 15:
            longest, number = max(longest, length), number + 1
    return {
        "loud_db": float(np.quantile(levels, 0.99)),
        "silent_share": float(silent.mean()),
        "longest_pause_s": whole,
        "dropouts": float(number),
        "longest_dropout_s": longest,
    }


def _weigh_offset(blocks: Blocks) -> dict[str, float]:
    """The steady part of each channel's mean: the median over seconds, beside the scatter of the seconds."""
    offset, scatter, ratio = _find_offsets(blocks)
    worst = int(ratio.argmax())
    return {
        "offset": float(offset[worst]),
        "offset_ratio": min(float(ratio[worst]), 1e3),
        "offset_scatter": min(float(scatter[worst] / max(abs(offset[worst]), 1e-9)), 1e3),
    }


def _find_offsets(blocks: Blocks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The offset of each channel, the scatter of its seconds, and the offset over what the channel plays."""
    mean, power = blocks.mean, blocks.power
    seconds = max(mean.shape[1] // _SECOND, 1)
    parts = np.stack([part.mean(axis=1) for part in np.array_split(mean, seconds, axis=1)], axis=1)
    offset = np.median(parts, axis=1)
    scatter = np.median(np.abs(parts - offset[:, None]), axis=1)
    spread = np.sqrt(np.maximum(power.mean(axis=1) - offset**2, 0))
    # A channel of nothing but rounding has no offset worth a name.
    return offset, scatter, np.where(np.abs(offset) > 1e-5, np.abs(offset) / np.maximum(spread, 1e-5), 0)


def _weigh_channels(blocks: Blocks, silent: np.ndarray) -> dict[str, float]:
    """Balance and correlation of a stereo pair, and how long one side is gone while the other plays on."""
    if len(blocks.power) != 2:
        return {"balance_db": 0.0, "lost_channel_s": 0.0, "correlation": 1.0, "correlation_median": 1.0}
    left, right = blocks.power
    totals = left.sum(), right.sum()
    balance = _level(totals[0] / max(len(left), 1)) - _level(totals[1] / max(len(left), 1))
    norm = float(np.sqrt(totals[0] * totals[1]))
    seconds = max(len(left) // _SECOND, 1)
    parts = [part.sum(axis=1) for part in np.array_split(np.stack([left, right, blocks.product]), seconds, axis=1)]
    each = [c / np.sqrt(a * b) for a, b, c in parts if a * b > 1e-16]
    return {
        "balance_db": balance,
        "lost_channel_s": max(_find_loss(left, right, silent), _find_loss(right, left, silent)),
        "correlation": float(blocks.product.sum() / norm) if norm > 1e-9 else 1.0,
        "correlation_median": float(np.median(each)) if each else 1.0,
    }


def _find_loss(lost: np.ndarray, kept: np.ndarray, silent: np.ndarray) -> float:
    """Seconds of the longest stretch in which one channel is cut off, from its full level, while the other plays on."""
    levels, others = _levels(lost), _levels(kept)
    active, _ = _find_active(lost)
    longest = 0
    for begin, end in _find_runs((levels < max(SILENT_DB, active + DEEP_DB)) & ~silent):
        before = levels[max(begin - _EDGE, 0) : begin].max(initial=FLOOR_DB)
        after = levels[end : end + _EDGE].max(initial=FLOOR_DB)
        if max(before, after) >= active - 15 and np.median(others[begin:end]) > active - 20:
            longest = max(longest, int(end - begin))
    return longest * _BLOCK_S


def _weigh_ends(signal: np.ndarray, blocks: Blocks, silent: np.ndarray, rate: int, length: int) -> dict[str, float]:
    """Levels of the very first and last sound, relative to the active level, without the offset of either channel: what begins
    and ends at a steady offset is no sound that was cut."""
    offset, scatter, ratio = _find_offsets(blocks)
    offset = np.where((ratio > 0.01) & (scatter < 0.5 * np.abs(offset)), offset, 0)
    active, still = _find_active((blocks.power - 2 * offset[:, None] * blocks.mean + offset[:, None] ** 2).mean(axis=0))
    heard = np.flatnonzero(~silent & ~still)
    if not len(heard):
        return {"start_db": FLOOR_DB, "end_db": FLOOR_DB, "start_rise_db": 0.0, "end_fall_db": 0.0, "lead_s": 0.0}
    shift = offset.astype(np.float32)
    begin, end = _find_sound(signal, int(heard[0]) * length, min((int(heard[-1]) + 1) * length, len(signal)), active, shift)
    brief, near = max(round(0.003 * rate), 4), max(round(0.05 * rate), 8)

    def level(first: int, last: int) -> float:
        part = signal[max(first, begin) : min(last, end)] - shift
        return _level(float(np.square(part, dtype=np.float64).mean())) if part.size else FLOOR_DB

    first, last = level(begin, begin + brief), level(end - brief, end)
    return {
        "start_db": first - active,
        "end_db": last - active,
        "start_rise_db": level(begin, begin + near) - first,
        "end_fall_db": level(end - near, end) - last,
        "lead_s": begin / rate,
    }


def _find_sound(signal: np.ndarray, begin: int, end: int, active: float, shift: np.ndarray) -> tuple[int, int]:
    """Frames of the sound within its first and last block: what lies outside is silent to the sample."""
    least = 10 ** (max(SILENT_DB, active + DEEP_DB) / 20)
    edge = end - begin if end - begin < 4096 else 2048
    head, tail = (
        np.flatnonzero(np.minimum(np.abs(part), np.abs(part - shift)).max(axis=1) >= least)
        for part in (signal[begin : begin + edge], signal[end - edge : end])
    )
    return begin + (int(head[0]) if len(head) else 0), end - edge + (int(tail[-1]) + 1 if len(tail) else edge)


def _weigh_tops(signal: np.ndarray, blocks: Blocks, rate: int, length: int) -> dict[str, float]:
    """Flat tops: runs at the extremes with bends (hard), broad tops of the loudest stretches, and samples piled up below the
    extreme (soft)."""
    from spotify_ai_assets.audio.faults.kernels import count_corners, measure_tops

    runs = flat = 0
    broad = piled = steep = 0.0
    for channel in range(signal.shape[1]):
        low, high = float(blocks.low[channel]), float(blocks.high[channel])
        extent = max(-low, high)
        if extent < 1e-3:
            continue
        # Half a step of 16 bits at full scale, and the rounding of a gain behind the clipping.
        found = count_corners(signal, channel, low, high, max(2e-5, 1e-4 * extent))
        if found[1] > flat:
            runs, flat = found
        stretch = max(round(_TOP_S / _BLOCK_S), 1)
        peaks = blocks.peak[channel]
        tops = np.array([peaks[i : i + stretch].max() for i in range(0, len(peaks), stretch)])
        chosen = np.flatnonzero(tops >= 0.7 * extent)
        chosen = chosen[:: -(-len(chosen) // _MOST_TOPS)]
        shares = measure_tops(signal, channel, chosen * stretch * length, stretch * length)
        broad = max(broad, float(np.median(shares)))
        # An odd step, so that no period of the wave is met at one phase only.
        sizes = np.abs(signal[:: len(signal) // _MOST_SAMPLES * 2 + 1, channel]) / np.float32(extent)
        above, near = np.count_nonzero(sizes >= 0.1), np.count_nonzero(sizes >= 0.9)
        if above >= 1000 and near / above > piled:
            piled, steep = near / above, np.count_nonzero(sizes >= 0.95) / near
    return {
        "clipped_share": flat / len(signal),
        "clipped_runs": float(runs),
        "broad_tops": broad,
        "piled_share": piled,
        "piled_ratio": steep,
    }


def _weigh_clicks(signal: np.ndarray, blocks: Blocks, active: float, length: int) -> dict[str, float]:
    """Impulses that stand alone: their number at three ratios to the residual around them, and the greatest ratio. The edge of an
    interruption is none."""
    from spotify_ai_assets.audio.faults.kernels import scan_clicks

    counts, worst = np.zeros(len(_CLICK_RATIOS)), 0.0
    for channel in range(signal.shape[1]):
        peaks, floors, places = scan_clicks(signal, channel, _CLICK_BLOCK)
        if not len(peaks):
            continue
        # A neighbouring block counts as surroundings where the place lies in the quarter beside it.
        around, within = floors.copy(), places - _CLICK_BLOCK * np.arange(len(places))
        around[1:] = np.maximum(around[1:], np.where(within[1:] < _CLICK_BLOCK // 4, floors[:-1], 0))
        around[:-1] = np.maximum(around[:-1], np.where(within[:-1] >= _CLICK_BLOCK * 3 // 4, floors[1:], 0))
        # A click is one that is heard: its height (a sixth of the largest difference) is not below -40 dB of the sound.
        audible = peaks / 6 > 10 ** (max(active - 40, -70) / 20)
        silent = np.pad(_levels(blocks.power[channel]) < max(SILENT_DB, active + DEEP_DB), 2, mode="edge")
        block = np.minimum(places // length, len(silent) - 5)
        before, after = silent[block] | silent[block + 1], silent[block + 3] | silent[block + 4]
        ratios = np.where(audible & (before == after), peaks / np.maximum(around, 1e-6), 0)
        counts = np.maximum(counts, [(ratios >= limit).sum() for limit in _CLICK_RATIOS])
        worst = max(worst, float(ratios.max()))
    return {"click_ratio": min(worst, 1e4)} | {
        f"clicks_{limit:.0f}": float(count) for limit, count in zip(_CLICK_RATIOS, counts, strict=True)
    }


def measure_spectrum(signal: np.ndarray, rate: int, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean power spectrum of a signal, in bands.

    Args:
        signal: Shape (frames, channels).
        rate: Sampling rate in Hz.
        starts: First frames of the windows to average.

    Returns:
        Centres of the bands in Hz, their mean power per bin in dB, and that of one of their weakest bins, shape (bands,) each.
    """
    from scipy.fft import rfft
    from scipy.signal.windows import blackmanharris

    window = blackmanharris(_FRAME, sym=False).astype(np.float32)
    power = np.zeros(_FRAME // 2 + 1)
    for begin in range(0, len(starts), 32):
        # The first channel that plays: a sum could cancel what both have.
        parts = np.stack([signal[start : start + _FRAME, :2].sum(axis=1) for start in starts[begin : begin + 32]])
        bins = np.asarray(rfft(parts * window, axis=1))
        power += (np.real(bins) ** 2 + np.imag(bins) ** 2).sum(axis=0)
    width = max(round(_BAND_HZ * _FRAME / rate), 1)
    bands = len(power) // width
    bins = power[: bands * width].reshape(bands, width) / max(len(starts), 1)
    weak = np.partition(bins, width // 5, axis=1)[:, width // 5]
    return (np.arange(bands) + 0.5) * width * rate / _FRAME, _levels(bins.mean(axis=1)), _levels(weak)


def _weigh_bandwidth(signal: np.ndarray, total: np.ndarray, rate: int, length: int) -> dict[str, float]:
    """The steepest edge above which the spectrum stays empty."""
    nothing = {"cutoff_share": 1.0, "cutoff_hz": rate / 2, "cutoff_drop_db": 0.0, "cutoff_above_db": 0.0}
    last = len(signal) - _FRAME
    if last < 0 or rate < 16_000:
        return nothing
    starts = np.unique(np.linspace(0, last, min(_MOST_FRAMES, last // (_FRAME // 2) + 1)).astype(np.int64))
    loud = total[np.minimum((starts + _FRAME // 2) // length, len(total) - 1)]
    starts = starts[loud >= np.quantile(loud, 0.4)]
    hz, level, weak = measure_spectrum(signal, rate, starts)
    usable = hz < 0.97 * rate / 2
    level, weak, hz = level[usable], weak[usable], hz[usable]
    below, gap = max(round(900 / (hz[1] - hz[0])), 2), max(round(500 / (hz[1] - hz[0])), 1)
    ceiling = np.maximum.accumulate(level[::-1])[::-1]
    places = np.arange(below, len(level) - gap - 1)
    if not len(places):
        return nothing
    # What lies between the tones: where they end over a floor of noise that goes on, nothing was cut.
    sums = np.concatenate([[0.0], np.cumsum(weak)])
    before = (sums[places] - sums[places - below]) / below
    drops = np.where(hz[places] > 2_000, before - ceiling[places + gap], -np.inf)
    best = int(drops.argmax())
    if not np.isfinite(drops[best]):
        return nothing
    edge = float(hz[places[best]])
    return {
        "cutoff_share": 2 * edge / rate,
        "cutoff_hz": edge,
        "cutoff_drop_db": float(drops[best]),
        "cutoff_above_db": float(ceiling[places[best] + gap]) - float(level.max()),
    }
