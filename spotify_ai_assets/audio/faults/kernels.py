"""Compiled loops over samples and over spectra; nothing imports this module at load.

All take finite float32 arrays of full scale +-1 and release the interpreter's lock. What they count is decided on in ``judgement``.
"""

import numba
import numpy as np

QUIET_SPAN = 24
"""Samples on either side of a suspected click that do not count as its surroundings."""
NEAR_SPAN = 72
"""Samples on either side within which the ringing of a recorded sound would be."""
_SUSPECT = np.float32(8)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def sum_blocks(samples: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums over blocks of each channel.

    Args:
        samples: Shape (frames, channels).
        block: Frames of a block; the last one may be shorter.

    Returns:
        Shape (channels, blocks, 4): sum, sum of squares, least and greatest sample. Shape (blocks,): sum of the products of the
        first two channels, zero where there is one.
    """
    frames, channels = samples.shape
    blocks = (frames + block - 1) // block
    table = np.zeros((channels, blocks, 4))
    products = np.zeros(blocks)
    one, two = np.zeros(block, np.float32), np.zeros(block, np.float32)
    for number in range(blocks):
        begin = number * block
        size = min(block, frames - begin)
        for channel in range(channels):
            # A contiguous copy: strided sums do not vectorise.
            part = one if channel != 1 else two
            for k in range(size):
                part[k] = samples[begin + k, channel]
            total, squares, least, greatest = np.float32(0), np.float32(0), part[0], part[0]
            for k in range(size):
                value = part[k]
                total += value
                squares += value * value
                least = value if value < least else least
                greatest = value if value > greatest else greatest
            table[channel, number, 0], table[channel, number, 1] = total, squares
            table[channel, number, 2], table[channel, number, 3] = least, greatest
            if channel == 1:
                product = np.float32(0)
                for k in range(size):
                    product += one[k] * two[k]
                products[number] = product
    return table, products


@numba.njit(cache=True, nogil=True)
def count_corners(samples: np.ndarray, channel: int, low: float, high: float, tolerance: float) -> tuple[int, int]:
    """Flat tops: runs of three or more samples at an extreme that the signal reaches and leaves with a bend.

    Args:
        samples: Shape (frames, channels).
        channel: Which one.
        low: The least sample.
        high: The greatest sample.
        tolerance: How far from the extreme a sample is still at it.

    Returns:
        Number of such runs, and of the samples in them.
    """
    frames = samples.shape[0]
    runs, flat, frame = 0, 0, 1
    while frame < frames - 3:
        value = samples[frame, channel]
        if low + tolerance < value < high - tolerance:
            frame += 1
            continue
        level = high if value >= high - tolerance else low
        end = frame + 1
        while end < frames and abs(samples[end, channel] - level) <= tolerance:
            end += 1
        if end - frame >= 3 and end < frames:
            # The top of a sine reaches the tolerance by steps of its own size; a clipped wave arrives with its whole slope.
            into, out = abs(samples[frame - 1, channel] - level), abs(samples[end, channel] - level)
            if min(into, out) > 4 * tolerance:
                runs += 1
                flat += end - frame
        frame = end
    return runs, flat


@numba.njit(cache=True, nogil=True)
def measure_tops(samples: np.ndarray, channel: int, starts: np.ndarray, length: int) -> np.ndarray:
    """How broad the tops of the wave are: samples within 5 % of a stretch's extreme, over those above half of it.

    Args:
        samples: Shape (frames, channels).
        channel: Which one.
        starts: First frames of the stretches.
        length: Their length in frames.

    Returns:
        Shape (stretches,): the greater of the shares of both signs. A sine has 0.30, a square wave 1.
    """
    shares = np.zeros(len(starts))
    for number in range(len(starts)):
        begin, end = starts[number], min(starts[number] + length, samples.shape[0])
        low, high = np.float32(0), np.float32(0)
        for frame in range(begin, end):
            low, high = min(low, samples[frame, channel]), max(high, samples[frame, channel])
        counts = np.zeros(4)
        for frame in range(begin, end):
            value = samples[frame, channel]
            if value > 0.5 * high:
                counts[0] += 1
                counts[1] += value >= 0.95 * high
            elif value < 0.5 * low:
                counts[2] += 1
                counts[3] += value <= 0.95 * low
        # A handful of samples is no shape.
        upper = counts[1] / counts[0] if counts[0] >= 8 else 0.0
        lower = counts[3] / counts[2] if counts[2] >= 8 else 0.0
        shares[number] = max(upper, lower)
    return shares


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def scan_clicks(samples: np.ndarray, channel: int, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The most impulsive place of each block: fourth differences against those around it.

    The fourth difference is a fixed predictor that takes away what is smooth (Godsill and Rayner 1998, chapter 5, fit one to each
    block); an impulse of few samples leaves a residual of few samples, where a recorded attack rings on.

    Args:
        samples: Shape (frames, channels).
        channel: Which one.
        block: Frames of a block.

    Returns:
        Shape (blocks,) each: largest absolute difference; where that stands out, the mean absolute difference of the block without
        ``QUIET_SPAN`` samples on either side, or on one side from there to ``NEAR_SPAN``, whichever is more; frame of the largest.
    """
    frames = samples.shape[0]
    blocks = max((frames - 4) // block, 0)
    peaks, floors, places = np.zeros(blocks), np.zeros(blocks), np.zeros(blocks, np.int64)
    part, differences = np.zeros(block + 4, np.float32), np.zeros(block, np.float32)
    four, six = np.float32(4), np.float32(6)
    for number in range(blocks):
        begin = number * block
        for k in range(block + 4):
            part[k] = samples[begin + k, channel]
        total, peak = np.float32(0), np.float32(0)
        for k in range(block):
            difference = abs(part[k] - four * part[k + 1] + six * part[k + 2] - four * part[k + 3] + part[k + 4])
            differences[k] = difference
            total += difference
            peak = difference if difference > peak else peak
        if peak * block <= _SUSPECT * total:
            peaks[number], floors[number], places[number] = peak, total / block, begin
            continue
        place = 0
        while differences[place] != peak:
            place += 1
        near, count = np.float32(0), 0
        for k in range(max(place - QUIET_SPAN, 0), min(place + QUIET_SPAN + 1, block)):
            near += differences[k]
            count += 1
        floor = max(total - near, np.float32(0)) / (block - count)
        ringing = max(_ring(samples, channel, begin + place, 1), _ring(samples, channel, begin + place, -1))
        peaks[number], floors[number], places[number] = peak, max(floor, ringing), begin + place + 2
    return peaks, floors, places


@numba.njit(cache=True, nogil=True)
def _ring(samples: np.ndarray, channel: int, place: int, side: int) -> float:
    """Mean absolute fourth difference a little before or behind a place; zero beyond the signal."""
    total, count = 0.0, 0
    for step in range(QUIET_SPAN + 1, NEAR_SPAN + 1):
        i = place + side * step
        if 0 <= i < samples.shape[0] - 4:
            total += abs(
                samples[i, channel]
                - 4 * samples[i + 1, channel]
                + 6 * samples[i + 2, channel]
                - 4 * samples[i + 3, channel]
                + samples[i + 4, channel]
            )
            count += 1
    return total / count if count else 0.0


@numba.njit(cache=True, nogil=True)
def pick_peaks(spectrum: np.ndarray, first: int, last: int, floor: float, time_span: int, bin_span: int) -> np.ndarray:
    """Places of a spectrogram that nothing in the rectangle around them exceeds.

    Args:
        spectrum: Magnitudes, shape (frames, bins).
        first: First frame to look at; those before it are context.
        last: Frame to stop before.
        floor: Smallest magnitude of a peak.
        time_span: Frames on either side.
        bin_span: Bins on either side.

    Returns:
        Shape (peaks, 2): frame, bin; by frame, then by bin.
    """
    bins = spectrum.shape[1]
    found = []
    for frame in range(first, last):
        for place in range(1, bins - 1):
            value = spectrum[frame, place]
            if value < floor or value <= spectrum[frame, place - 1] or value < spectrum[frame, place + 1]:
                continue
            if not _is_top(spectrum, frame, place, time_span, bin_span):
                continue
            found.append((frame, place))
    peaks = np.zeros((len(found), 2), np.int64)
    for number, (frame, place) in enumerate(found):
        peaks[number, 0], peaks[number, 1] = frame, place
    return peaks


@numba.njit(cache=True, nogil=True)
def _is_top(spectrum: np.ndarray, frame: int, place: int, time_span: int, bin_span: int) -> bool:
    frames, bins = spectrum.shape
    value = spectrum[frame, place]
    first, last = max(frame - time_span, 0), min(frame + time_span + 1, frames)
    # Its own bin first: that rules out most candidates.
    for near in range(first, last):
        if spectrum[near, place] > value:
            return False
    for other in range(max(place - bin_span, 0), min(place + bin_span + 1, bins)):
        if spectrum[frame, other] > value:
            return False
    for near in range(first, last):
        for other in range(max(place - bin_span, 0), min(place + bin_span + 1, bins)):
            if spectrum[near, other] > value:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def pair_peaks(frames: np.ndarray, pitches: np.ndarray, fan: int, least: int, most: int, reach: int) -> np.ndarray:
    """Pairs of each peak with the next few in its target zone.

    Args:
        frames: Frame of each peak, ascending.
        pitches: Its pitch in steps.
        fan: Most pairs of one peak.
        least: Fewest frames between the two.
        most: Most frames between the two.
        reach: Most steps of pitch between the two.

    Returns:
        Shape (pairs, 2): numbers of the peaks.
    """
    count = len(frames)
    pairs = np.zeros((count * fan, 2), np.int64)
    found = 0
    for anchor in range(count):
        taken = 0
        for other in range(anchor + 1, count):
            gap = frames[other] - frames[anchor]
            if gap > most or taken == fan:
                break
            if gap >= least and abs(pitches[other] - pitches[anchor]) <= reach:
                pairs[found, 0], pairs[found, 1] = anchor, other
                found += 1
                taken += 1
    return pairs[:found]
