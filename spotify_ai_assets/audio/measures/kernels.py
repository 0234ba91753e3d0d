"""Compiled loops over samples and spectra, eight or sixteen frames at a time. Nothing imports this at load: numba is heavy.

Frames lie side by side in the lanes of a vector, so that no loop has a branch or a sum across lanes: one value of sixteen frames is
one load. The vectors are written out, because the compiler's own vectoriser gives up where it cannot rule out that arrays overlap.
LLVM splits them on processors with narrower registers. Compiled code is cached beside this file, by processor; the cache knows the
age of this file only, so what is compiled together stays in one file.
"""
# pyright: reportCallIssue=false
# numba's decorators pass the typing context, and the type checker asks for it at each call.

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

BINS = 1025
LANES = 16
HOP = 512
PAD = 1024
SPAN = 20
"""Hops that sixteen frames reach over, and the one before."""

TILE = 256
"""Frames of eight parts of a signal that lie side by side while they are filtered."""

STRETCH = 64
"""Intervals between samples that are interpolated together."""

SPREAD = 1 << 13
"""Intervals whose samples are laid out at a time; a multiple of the former."""

LEVELS = 9
"""Bins at either end of a band whose mean is its peak or its valley: at most 9, 2 % of 431."""


class _Lanes(types.Type):
    """A vector of float32 or float64."""

    def __init__(self, bits: int, count: int) -> None:
        self.bits, self.count = bits, count
        super().__init__(name=f"lanes{count}xfloat{bits}")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        element = ir.FloatType() if lanes.bits == 32 else ir.DoubleType()
        super().__init__(manager, lanes, ir.VectorType(element, lanes.count))


_READ_ROW = types.Array(types.float32, 1, "C", readonly=True)
_READ_TABLE = types.Array(types.float32, 2, "C", readonly=True)
"""Signals, which nothing here writes: arrays that may be written are taken as well."""

_SINGLE = _Lanes(32, LANES)
_HALF = _Lanes(32, 8)
_DOUBLE = _Lanes(64, 8)


def _pointer(context, builder, array_type, array, index, kind):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _loader(element: int, lanes: _Lanes, loaded: _Lanes):
    """Make a function that loads lanes from a flat array at an index."""

    @intrinsic
    def load(typing, array, index):
        def generate(context, builder, signature, arguments):
            kind = context.get_value_type(loaded)
            pointer = _pointer(context, builder, signature.args[0], *arguments, kind)
            value = builder.load(pointer)
            value.align = element
            return value if loaded is lanes else builder.fpext(value, context.get_value_type(lanes))

        return lanes(array, types.intp), generate

    return load


_load = _loader(4, _SINGLE, _SINGLE)
_load8 = _loader(8, _DOUBLE, _DOUBLE)
_load_wide = _loader(4, _DOUBLE, _HALF)


@intrinsic
def _store(typing, array, index, value):
    """Store lanes into a flat array at an index, narrowed where the array is."""

    def generate(context, builder, signature, arguments):
        kind, lanes = signature.args[0].dtype, signature.args[2]
        item = arguments[2]
        if kind.bitwidth < lanes.bits:
            item = builder.fptrunc(item, context.get_value_type(_HALF))
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2], item.type)
        builder.store(item, pointer).align = kind.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


def _splatter(lanes: _Lanes, number):
    """Make a function that fills all lanes with one number."""

    @intrinsic
    def splat(typing, value):
        def generate(context, builder, signature, arguments):
            kind = context.get_value_type(lanes)
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0))
            mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
            return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)

        return lanes(number), generate

    return splat


_splat = _splatter(_SINGLE, types.float32)
_splat8 = _splatter(_DOUBLE, types.float64)


def _operator(build):
    """Make a function of two vectors of one kind."""

    @intrinsic
    def operate(typing, left, right):
        return left(left, right), lambda context, builder, signature, arguments: build(builder, *arguments)

    return operate


_add = _operator(lambda builder, a, b: builder.fadd(a, b, flags=("contract",)))
_sub = _operator(lambda builder, a, b: builder.fsub(a, b, flags=("contract",)))
_mul = _operator(lambda builder, a, b: builder.fmul(a, b, flags=("contract",)))
_most = _operator(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
_least = _operator(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))


@intrinsic
def _root(typing, value):
    """The square root of each lane."""

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(signature.args[0])
        name = f"llvm.sqrt.v{signature.args[0].count}f{signature.args[0].bits}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
        return builder.call(function, arguments)

    return value(value), generate


@intrinsic
def _is_less(typing, left, right):
    """1 in the lanes where the left is less, else 0."""

    def generate(context, builder, signature, arguments):
        return builder.uitofp(builder.fcmp_ordered("<", *arguments), arguments[0].type)

    return left(left, right), generate


@intrinsic
def _peak_mask(typing, below, at, above, floor):
    """One bit for each lane in which a value exceeds a floor and the value below, and is no less than the one above."""

    def generate(context, builder, signature, arguments):
        below, at, above, floor = arguments
        found = builder.and_(builder.fcmp_ordered(">", at, floor), builder.fcmp_ordered(">", at, below))
        found = builder.and_(found, builder.fcmp_ordered(">=", at, above))
        return builder.zext(builder.bitcast(found, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(below, at, above, floor), generate


def _sifter(rows: int):
    """Make a function that sifts rows of a tile into the sorted largest and smallest values of each lane."""

    @intrinsic
    def sift(typing, levels, tile, index):
        def generate(context, builder, signature, arguments):
            kind = context.get_value_type(_SINGLE)

            def place(array, number, base=None):
                offset = ir.Constant(ir.IntType(64), number * LANES)
                offset = offset if base is None else builder.add(base, offset)
                return _pointer(context, builder, signature.args[array], arguments[array], offset, kind)

            def load(pointer):
                value = builder.load(pointer)
                value.align = 4
                return value

            values = [load(place(1, row, arguments[2])) for row in range(rows)]
            for first, keep, pass_on in ((0, ">", "<"), (LEVELS, "<", ">")):
                rest = list(values)
                for level in range(LEVELS):
                    pointer = place(0, first + level)
                    held = load(pointer)
                    for row, value in enumerate(rest):
                        kept = builder.select(builder.fcmp_ordered(keep, held, value), held, value)
                        rest[row] = builder.select(builder.fcmp_ordered(pass_on, held, value), held, value)
                        held = kept
                    builder.store(held, pointer).align = 4
            return context.get_dummy_value()

        return types.void(levels, tile, types.intp), generate

    return sift


_sift = _sifter(1)
_sift4 = _sifter(4)


@intrinsic
def _split_exponent(typing, value):
    """Split lanes into a mantissa in [1, 2) and an exponent, both float64; for normal positive numbers."""

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(_DOUBLE)
        whole = ir.VectorType(ir.IntType(64), 8)

        def constant(number):
            return ir.Constant(whole, [number] * 8)

        bits = builder.bitcast(arguments[0], whole)
        exponent = builder.sitofp(builder.sub(builder.lshr(bits, constant(52)), constant(1023)), kind)
        mantissa = builder.or_(builder.and_(bits, constant((1 << 52) - 1)), constant(1023 << 52))
        return context.make_tuple(builder, signature.return_type, (builder.bitcast(mantissa, kind), exponent))

    return types.UniTuple(value, 2)(value), generate


@njit(nogil=True)
def _butterflies(re, im, to_re, to_im, length, stride, turn_re, turn_im):
    """One pass of a radix-4 Stockham transform of 1,024 complex numbers in eight lanes."""
    quarter = length // 4
    step = 1024 // length
    for p in range(quarter):
        w1r, w1i = _splat8(turn_re[p * step]), _splat8(turn_im[p * step])
        w2r, w2i = _splat8(turn_re[2 * p * step]), _splat8(turn_im[2 * p * step])
        w3r, w3i = _splat8(turn_re[3 * p * step]), _splat8(turn_im[3 * p * step])
        for q in range(stride):
            a = (q + stride * p) * 8
            b, c, d = a + stride * quarter * 8, a + stride * quarter * 16, a + stride * quarter * 24
            ar, ai, br, bi = _load8(re, a), _load8(im, a), _load8(re, b), _load8(im, b)
            cr, ci, dr, di = _load8(re, c), _load8(im, c), _load8(re, d), _load8(im, d)
            pr, pi, mr, mi = _add(ar, cr), _add(ai, ci), _sub(ar, cr), _sub(ai, ci)
            sr, si, tr, ti = _add(br, dr), _add(bi, di), _sub(br, dr), _sub(bi, di)
            to = (q + stride * 4 * p) * 8
            _store(to_re, to, _add(pr, sr))
            _store(to_im, to, _add(pi, si))
            er, ei = _add(mr, ti), _sub(mi, tr)
            _store(to_re, to + stride * 8, _sub(_mul(w1r, er), _mul(w1i, ei)))
            _store(to_im, to + stride * 8, _add(_mul(w1r, ei), _mul(w1i, er)))
            fr, fi = _sub(pr, sr), _sub(pi, si)
            _store(to_re, to + stride * 16, _sub(_mul(w2r, fr), _mul(w2i, fi)))
            _store(to_im, to + stride * 16, _add(_mul(w2r, fi), _mul(w2i, fr)))
            gr, gi = _sub(mr, ti), _add(mi, tr)
            _store(to_re, to + stride * 24, _sub(_mul(w3r, gr), _mul(w3i, gi)))
            _store(to_im, to + stride * 24, _add(_mul(w3r, gi), _mul(w3i, gr)))


@njit(nogil=True)
def _transform(re, im, other_re, other_im, turn_re, turn_im):
    """Transform 1,024 complex numbers in eight lanes; the result is in the other pair of arrays."""
    _butterflies(re, im, other_re, other_im, 1024, 1, turn_re, turn_im)
    _butterflies(other_re, other_im, re, im, 256, 4, turn_re, turn_im)
    _butterflies(re, im, other_re, other_im, 64, 16, turn_re, turn_im)
    _butterflies(other_re, other_im, re, im, 16, 64, turn_re, turn_im)
    _butterflies(re, im, other_re, other_im, 4, 256, turn_re, turn_im)


@njit(nogil=True)
def _moments(power, magnitude, k, sums):
    """Add a bin to a frame's sums: of magnitude, magnitude x bin, magnitude x bin squared, and power above the floor."""
    place = _splat8(k)
    weighed = _mul(magnitude, place)
    return (
        _add(sums[0], magnitude),
        _add(sums[1], weighed),
        _add(sums[2], _mul(weighed, place)),
        _add(sums[3], power),
    )


@njit(nogil=True)
def _finish_spectrum(re, im, turn_re, turn_im, tile, half, sums):
    """From the transform of even and odd samples as complex numbers to the power spectrum of the real signal, and its sums.

    ``sums`` gets, for each of eight lanes: the sums of :func:`_moments` and the sum of the base-2 logarithms of the power.
    """
    zero, quarter, floor = _splat8(0.0), _splat8(0.25), _splat8(1e-10)
    total, first, second, energy = zero, zero, zero, zero
    exponents, product = zero, _splat8(1.0)
    for k in range(513):
        other = 1024 - k
        ar, ai = _load8(re, k * 8), _load8(im, k * 8)
        br, bi = _load8(re, (other & 1023) * 8), _load8(im, (other & 1023) * 8)
        er, ei = _add(ar, br), _sub(ai, bi)
        odd_r, odd_i = _add(ai, bi), _sub(br, ar)
        wr, wi = _splat8(turn_re[k]), _splat8(turn_im[k])
        tr, ti = _sub(_mul(wr, odd_r), _mul(wi, odd_i)), _add(_mul(wr, odd_i), _mul(wi, odd_r))
        xr, xi, yr, yi = _add(er, tr), _add(ei, ti), _sub(er, tr), _sub(ei, ti)
        power = _mul(_add(_mul(xr, xr), _mul(xi, xi)), quarter)
        _store(tile, k * LANES + half, power)
        raised = _most(power, floor)
        product = _mul(product, raised)
        total, first, second, energy = _moments(raised, _root(power), float(k), (total, first, second, energy))
        if k < 512:
            power = _mul(_add(_mul(yr, yr), _mul(yi, yi)), quarter)
            _store(tile, other * LANES + half, power)
            raised = _most(power, floor)
            product = _mul(product, raised)
            total, first, second, energy = _moments(raised, _root(power), float(other), (total, first, second, energy))
        if k & 7 == 7 or k == 512:
            # A product of 16 stays within float64 for powers from 1e-10 to 1e19.
            product, exponent = _split_exponent(product)
            exponents = _add(exponents, exponent)
    _store(sums, 0, total)
    _store(sums, 8, first)
    _store(sums, 16, second)
    _store(sums, 24, energy)
    _store(sums, 32, exponents)
    _store(sums, 40, product)


@njit(nogil=True)
def _lay_hops(mono, first, block):
    """Twenty hops of a signal side by side, from one before ``first``; zeros outside of it."""
    start = (first - 1) * HOP - PAD
    if start >= 0 and start + SPAN * HOP <= len(mono):
        for number in range(HOP):
            for hop in range(SPAN):
                block[number * SPAN + hop] = mono[start + hop * HOP + number]
        return
    block[:] = 0.0
    for hop in range(SPAN):
        place = start + hop * HOP
        for number in range(max(0, -place), min(HOP, len(mono) - place)):
            block[number * SPAN + hop] = mono[place + number]


@njit(nogil=True)
def _measure_hops(block, hops, width, at):
    """Energy, sign changes and changes at the first sample of sixteen hops; the changes count those at the first sample too."""
    energy = changes = _splat(np.float32(0.0))
    floor = _splat(np.float32(-1e-10))
    before = _is_less(_load(block, (HOP - 1) * SPAN), floor)
    for number in range(HOP):
        sample = _load(block, number * SPAN + 1)
        energy = _add(energy, _mul(sample, sample))
        now = _is_less(sample, floor)
        step = _sub(now, before)
        changes = _add(changes, _mul(step, step))
        if number == 0:
            _store(hops, 2 * width + at, changes)
        before = now
    _store(hops, at, energy)
    _store(hops, width + at, changes)


@njit(nogil=True)
def _window_frames(block, half, window, re, im):
    """Eight windowed frames, even samples as real and odd ones as imaginary parts."""
    for q in range(4):
        for r in range(256):
            n = q * HOP + 2 * r
            to = (q * 256 + r) * 8
            at = 2 * r * SPAN + 1 + half + q
            _store(re, to, _mul(_load_wide(block, at), _splat8(window[n])))
            _store(im, to, _mul(_load_wide(block, at + SPAN), _splat8(window[n + 1])))


@njit(nogil=True)
def _apply_bank(tile, starts, offsets, weights, out, width, at):
    """Sparse filters, rows of ``weights`` from ``offsets``, onto a tile."""
    for band in range(len(starts)):
        total = _splat(np.float32(0.0))
        start = starts[band]
        for number in range(offsets[band], offsets[band + 1]):
            total = _add(total, _mul(_splat(weights[number]), _load(tile, (start + number - offsets[band]) * LANES)))
        _store(out, band * width + at, total)


@njit(nogil=True)
def _find_rolloff(tile, running, part, out, at):
    """The first bin at which the magnitudes so far reach a part of all."""
    total = _splat(np.float32(0.0))
    for k in range(BINS):
        total = _add(total, _root(_load(tile, k * LANES)))
        _store(running, k * LANES, total)
    threshold, count = _mul(total, _splat(part)), _splat(np.float32(0.0))
    for k in range(BINS):
        count = _add(count, _is_less(_load(running, k * LANES), threshold))
    _store(out, at, count)


@njit(nogil=True)
def _find_contrast(tile, bands, levels, peaks, valleys, width, at):
    """Mean magnitude of the strongest and of the weakest bins of each band; rows of ``bands`` are first bin, end, count."""
    for band in range(len(bands)):
        start, end, count = bands[band]
        for level in range(LEVELS):
            _store(levels, level * LANES, _splat(np.float32(-1.0)))
            _store(levels, (LEVELS + level) * LANES, _splat(np.float32(np.inf)))
        k = start
        while k + 4 <= end:
            _sift4(levels, tile, k * LANES)
            k += 4
        while k < end:
            _sift(levels, tile, k * LANES)
            k += 1
        top, bottom = _splat(np.float32(0.0)), _splat(np.float32(0.0))
        for level in range(count):
            top = _add(top, _root(_load(levels, level * LANES)))
            bottom = _add(bottom, _root(_load(levels, (LEVELS + level) * LANES)))
        share = _splat(np.float32(1.0 / count))
        _store(peaks, band * width + at, _mul(top, share))
        _store(valleys, band * width + at, _mul(bottom, share))


@njit(nogil=True)
def _find_peaks(tile, lowest, highest, lanes, places, heights, found):
    """Peaks of the power spectra above a tenth of their maximum, interpolated by parabolas; returns how many there are now."""
    loudest = _splat(np.float32(0.0))
    for k in range(BINS):
        loudest = _most(loudest, _load(tile, k * LANES))
    floor = _mul(loudest, _splat(np.float32(0.1)))
    for k in range(lowest, highest):
        at = k * LANES
        mask = _peak_mask(_load(tile, at - LANES), _load(tile, at), _load(tile, at + LANES), floor)
        if mask == 0:
            continue
        for lane in range(lanes):
            if mask >> lane & 1:
                below, here, above = tile[at - LANES + lane], tile[at + lane], tile[at + LANES + lane]
                bend, slope = above + below - 2 * here, (above - below) / 2
                shift = 0.0 if abs(slope) >= abs(bend) else -slope / bend
                places[found] = k + shift
                heights[found] = here + 0.5 * slope * shift
                found += 1
    return found


_ROW, _WIDE_ROW, _WHOLE_ROW = types.float32[::1], types.float64[::1], types.int64[::1]


@njit(
    types.int64(
        _READ_ROW, types.int64, types.int64, _WIDE_ROW, _WIDE_ROW, _WIDE_ROW, _WHOLE_ROW, _WHOLE_ROW, _ROW,
        _WHOLE_ROW, _WHOLE_ROW, _ROW, types.int64[:, ::1], types.int64, types.int64, _ROW, _ROW, _ROW, _ROW,
        _ROW, _ROW, types.float64[:, ::1], _ROW, _ROW, _ROW,
    ),
    cache=True,
    nogil=True,
    error_model="numpy",
)  # fmt: skip
def scan(
    mono, frames, width, window, turn_re, turn_im, starts, offsets, weights,
    model_starts, model_offsets, model_weights, bands, lowest, highest, power, mel, model_mel, peaks,
    valleys, rolloff, sums, hops, places, heights,
):  # fmt: skip
    """One pass over a signal: its power spectrogram and all that each frame gives alone.

    Args:
        mono: The signal; 1,024 zeros are thought around it.
        frames: Frames wanted.
        width: Columns of all results but ``power``: the frames, rounded up to a multiple of 16, and 16 more.
        window: 2,048 weights.
        turn_re: cos(2 pi k / 2048), 1,024 numbers: the real part of the twiddle factors; every second one serves the transform.
        turn_im: -sin of the same.
        starts: First bin of each mel band.
        offsets: Where the weights of each band begin; one more at the end.
        weights: Of all bands.
        model_starts: The same of a second bank.
        model_offsets: The same of a second bank.
        model_weights: The same of a second bank.
        bands: First bin, end and count of strongest bins of the bands of the contrast.
        lowest: First bin in which peaks are looked for.
        highest: End of these bins.
        power: Gets the power, by tile of 16 frames, bin and frame.
        mel: Gets the mel power, flat (bands, width).
        model_mel: Gets that of the second bank.
        peaks: Gets the mean magnitude of the strongest bins, flat (7, width).
        valleys: Gets that of the weakest.
        rolloff: Gets the bin of the roll-off.
        sums: Gets per frame: sums of magnitude, magnitude x bin, magnitude x bin squared, power floored at 1e-10, log2 of it.
        hops: Gets per hop, flat (3, width): energy, sign changes, sign changes at the first sample.
        places: Gets the bins of peaks, as fractions; room for half of the bins of each frame.
        heights: Gets their power.

    Returns:
        The number of peaks.
    """
    re, im, other_re, other_im = np.empty(8192), np.empty(8192), np.empty(8192), np.empty(8192)
    half_re, half_im = turn_re[::2].copy(), turn_im[::2].copy()
    full_re, full_im = np.concatenate((half_re, -half_re)), np.concatenate((half_im, -half_im))
    running = np.empty(BINS * LANES, np.float32)
    levels = np.empty(2 * LEVELS * LANES, np.float32)
    part = np.empty(48)
    block = np.empty(HOP * SPAN, np.float32)
    found = 0
    for at in range(0, width, LANES):
        _lay_hops(mono, at, block)
        _measure_hops(block, hops, width, at)
        if at >= frames:
            break
        tile = power[at * BINS : (at + LANES) * BINS]
        for half in range(0, LANES, 8):
            _window_frames(block, half, window, re, im)
            _transform(re, im, other_re, other_im, full_re, full_im)
            _finish_spectrum(other_re, other_im, turn_re, turn_im, tile, half, part)
            for lane in range(8):
                for which in range(4):
                    sums[which, at + half + lane] = part[which * 8 + lane]
                sums[4, at + half + lane] = part[32 + lane] + np.log2(part[40 + lane])
        _apply_bank(tile, starts, offsets, weights, mel, width, at)
        _apply_bank(tile, model_starts, model_offsets, model_weights, model_mel, width, at)
        _find_rolloff(tile, running, np.float32(0.85), rolloff, at)
        _find_contrast(tile, bands, levels, peaks, valleys, width, at)
        found = _find_peaks(tile, lowest, highest, min(LANES, frames - at), places, heights, found)
    return found


@njit("float32[:,::1](float32[:,::1], float32[::1], int64, int64, int64)", cache=True, nogil=True)
def project(weights, values, tiles, row, tile):
    """A dense matrix times values of which sixteen frames lie side by side.

    Args:
        weights: Shape (outputs, inputs); outputs a multiple of 4.
        values: Flat.
        tiles: Blocks of 16 frames.
        row: Distance from one input to the next.
        tile: Distance from one block to the next.

    Returns:
        Shape (outputs, 16 tiles).
    """
    outputs, inputs = weights.shape
    out = np.empty((outputs, tiles * LANES), np.float32)
    flat = out.reshape(-1)
    for number in range(tiles):
        for output in range(0, outputs, 4):
            a = b = c = d = _splat(np.float32(0.0))
            for k in range(inputs):
                value = _load(values, number * tile + k * row)
                a = _add(a, _mul(_splat(weights[output, k]), value))
                b = _add(b, _mul(_splat(weights[output + 1, k]), value))
                c = _add(c, _mul(_splat(weights[output + 2, k]), value))
                d = _add(d, _mul(_splat(weights[output + 3, k]), value))
            at = output * tiles * LANES + number * LANES
            _store(flat, at, a)
            _store(flat, at + tiles * LANES, b)
            _store(flat, at + 2 * tiles * LANES, c)
            _store(flat, at + 3 * tiles * LANES, d)
    return out


@njit(nogil=True)
def _sort_lanes(values):
    """Sort 128 values in each lane by Batcher's odd-even merge network (Knuth 5.2.2M)."""
    p = 1
    while p < 128:
        k = p
        while k >= 1:
            for j in range(k % p, 128 - k, 2 * k):
                for i in range(min(k, 128 - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        low, high = _load(values, (i + j) * LANES), _load(values, (i + j + k) * LANES)
                        _store(values, (i + j) * LANES, _least(low, high))
                        _store(values, (i + j + k) * LANES, _most(low, high))
            k //= 2
        p *= 2


@njit("Tuple((float32[::1], float32[::1]))(float32[::1], int64, int64)", cache=True, nogil=True)
def weigh_onsets(levels, width, frames) -> tuple[np.ndarray, np.ndarray]:
    """Mean and median over 128 bands of the rise in level from each frame to the next, at least 0.

    Args:
        levels: In dB, flat (128, width); 16 columns more than the frames at least.
        width: Columns.
        frames: Frames.

    Returns:
        Two arrays of frames - 1 numbers.
    """
    rises = np.empty(128 * LANES, np.float32)
    means, medians = np.empty(width, np.float32), np.empty(width, np.float32)
    zero = _splat(np.float32(0.0))
    for at in range(0, frames - 1, LANES):
        total = zero
        for band in range(128):
            place = band * width + at
            rise = _most(_sub(_load(levels, place + 1), _load(levels, place)), zero)
            total = _add(total, rise)
            _store(rises, band * LANES, rise)
        _store(means, at, _mul(total, _splat(np.float32(1 / 128))))
        _sort_lanes(rises)
        middle = _add(_load(rises, 63 * LANES), _load(rises, 64 * LANES))
        _store(medians, at, _mul(middle, _splat(np.float32(0.5))))
    return means[: frames - 1].copy(), medians[: frames - 1].copy()


@njit("float64[::1](float64[::1], int64, float64[::1], float64[::1], float64[::1], float64[::1])", cache=True, nogil=True)
def sum_autocorrelation_spectra(padded, frames, window, scales, turn_re, turn_im):
    """Sum over frames of the power spectra, 1,024 points, of windows that slide by one, each scaled.

    Two frames are transformed as real and imaginary part of one complex signal: what the parts add to each other's spectrum cancels
    between a frequency and its negative.

    Args:
        padded: The signal; 16 + the window's length beyond the frames at least.
        frames: Frames.
        window: Weights, at most 512, so that nothing wraps around.
        scales: One for each frame, and 16 zeros behind.
        turn_re: As in :func:`scan`.
        turn_im: As in :func:`scan`.

    Returns:
        1,024 numbers, symmetric.
    """
    re, im, other_re, other_im = np.empty(8192), np.empty(8192), np.empty(8192), np.empty(8192)
    half_re, half_im = turn_re[::2].copy(), turn_im[::2].copy()
    full_re, full_im = np.concatenate((half_re, -half_re)), np.concatenate((half_im, -half_im))
    total = np.zeros(8192)
    for at in range(0, frames, LANES):
        first, second = _load8(scales, at), _load8(scales, at + 8)
        for i in range(len(window)):
            weight = _splat8(window[i])
            _store(re, i * 8, _mul(_mul(_load8(padded, at + i), weight), first))
            _store(im, i * 8, _mul(_mul(_load8(padded, at + 8 + i), weight), second))
        re[len(window) * 8 :] = 0.0
        im[len(window) * 8 :] = 0.0
        _transform(re, im, other_re, other_im, full_re, full_im)
        for k in range(1024):
            a, b = _load8(other_re, k * 8), _load8(other_im, k * 8)
            _store(total, k * 8, _add(_load8(total, k * 8), _add(_mul(a, a), _mul(b, b))))
    spectrum = np.empty(1024)
    for k in range(1024):
        spectrum[k] = total[k * 8 : k * 8 + 8].sum()
    return (spectrum + np.concatenate((spectrum[:1], spectrum[:0:-1]))) / 2


@njit("Tuple((float64[::1], int64[::1], float64[::1]))(float64[::1], int64, float64)", cache=True, nogil=True)
def link_beats(onsets, period, tightness):
    """Ellis' dynamic programme: the best predecessor of each frame as a beat.

    Args:
        onsets: Onset strength in units of its standard deviation.
        period: Frames from beat to beat.
        tightness: Price of a step that differs from it.

    Returns:
        The smoothed onset strength, the predecessor of each frame (-1: none) and the score of the best path to it.
    """
    frames = len(onsets)
    local, scores = np.empty(frames), np.empty(frames)
    links = np.empty(frames, np.int64)
    bell = np.exp(-0.5 * (np.arange(-period, period + 1) * 32.0 / period) ** 2)
    for i in range(frames):
        total = 0.0
        for k in range(max(0, i + period - frames + 1), min(i + period, 2 * period + 1)):
            total += bell[k] * onsets[i + period - k]
        local[i] = total
    prices = np.zeros(2 * period + 1)
    for distance in range(1, 2 * period + 1):
        prices[distance] = tightness * (np.log(distance) - np.log(period)) ** 2
    floor, is_first = 0.01 * local.max(), True
    nearest = int(np.round(period / 2))
    for i in range(frames):
        best, place = -np.inf, -1
        for earlier in range(i - nearest, max(-1, i - 2 * period - 1), -1):
            score = scores[earlier] - prices[i - earlier]
            if score > best:
                best, place = score, earlier
        scores[i] = local[i] + best if place >= 0 else local[i]
        if is_first and local[i] < floor:
            links[i] = -1
        else:
            links[i], is_first = place, False
    return local, links, scores


@njit(_ROW(_READ_TABLE), cache=True, nogil=True)
def mix(samples):
    """The mean of the channels.

    Args:
        samples: Shape (frames, channels).

    Returns:
        Shape (frames,).
    """
    frames, channels = samples.shape
    mono = np.empty(frames, np.float32)
    if channels == 2:
        for frame in range(frames):
            mono[frame] = (samples[frame, 0] + samples[frame, 1]) * np.float32(0.5)
        return mono
    for frame in range(frames):
        total = 0.0
        for channel in range(channels):
            total += samples[frame, channel]
        mono[frame] = total / channels
    return mono


@njit(nogil=True)
def _lay_parts(samples, channel, first, apart, length, block):
    """Frames of eight parts of one channel side by side; zeros outside of the signal."""
    for lane in range(8):
        start = first + lane * apart
        if start >= 0 and start + length <= len(samples):
            for number in range(length):
                block[number * 8 + lane] = samples[start + number, channel]
        else:
            for number in range(length):
                inside = 0 <= start + number < len(samples)
                block[number * 8 + lane] = samples[start + number, channel] if inside else np.float32(0.0)


@njit(types.float64[::1](_READ_TABLE, types.int64, types.int64, types.int64, types.float64[:, ::1]), cache=True, nogil=True)
def sum_filtered_squares(samples, channel, step, settling, sections):
    """Energy of one channel in equal steps behind two second-order recursive filters, in float64.

    The signal is cut in eight parts that are filtered side by side, each from a few steps before its begin on: after these nothing
    is left in the filters of what was before.

    Args:
        samples: Shape (frames, channels).
        channel: Which.
        step: Frames of a step.
        settling: Steps in which the filters forget.
        sections: Shape (2, 6): ``b0 b1 b2 1 a1 a2``.

    Returns:
        The sum of squares of each complete step.
    """
    count = len(samples) // step
    each = (count + 7) // 8
    energies, found, block = np.empty(8 * each), np.empty(8), np.empty(TILE * 8, np.float32)
    # Each state from the last input and the states before, not from the output: one operation less to wait for.
    b0, a1, a2 = _splat8(sections[0, 0]), _splat8(sections[0, 4]), _splat8(sections[0, 5])
    b1 = _splat8(sections[0, 1] - sections[0, 4] * sections[0, 0])
    b2 = _splat8(sections[0, 2] - sections[0, 5] * sections[0, 0])
    d0, c1, c2 = _splat8(sections[1, 0]), _splat8(sections[1, 4]), _splat8(sections[1, 5])
    d1 = _splat8(sections[1, 1] - sections[1, 4] * sections[1, 0])
    d2 = _splat8(sections[1, 2] - sections[1, 5] * sections[1, 0])
    zero, tiny = _splat8(0.0), _splat8(1e-30)
    p, q, r, s = zero, zero, zero, zero
    for number in range(-settling, each):
        energy = zero
        for first in range(0, step, TILE):
            length = min(TILE, step - first)
            _lay_parts(samples, channel, number * step + first, each * step, length, block)
            for place in range(length):
                x = _load_wide(block, place * 8)
                y = _add(_mul(b0, x), p)
                p, q = _sub(_add(_mul(b1, x), q), _mul(a1, p)), _sub(_mul(b2, x), _mul(a2, p))
                z = _add(_mul(d0, y), r)
                r, s = _sub(_add(_mul(d1, y), s), _mul(c1, r)), _sub(_mul(d2, y), _mul(c2, r))
                energy = _add(energy, _mul(z, z))
        # What is far below every rounding becomes zero: numbers that sink for ever end where processors are slow.
        p, q = _sub(_add(p, tiny), tiny), _sub(_add(q, tiny), tiny)
        r, s = _sub(_add(r, tiny), tiny), _sub(_add(s, tiny), tiny)
        if number >= 0:
            _store(found, 0, energy)
            for lane in range(8):
                energies[lane * each + number] = found[lane]
    return energies[:count].copy()


@njit(nogil=True)
def _find_largest(values, at, count):
    """The largest magnitude in each lane of ``count`` neighbours, a multiple of 16."""
    zero = _splat(np.float32(0.0))
    largest = zero
    for place in range(at, at + count, LANES):
        value = _load(values, place)
        largest = _most(largest, _most(value, _sub(zero, value)))
    return largest


@njit(nogil=True)
def _interpolate_largest(values, at, taps):
    """The largest magnitude in each lane between neighbours, in ``STRETCH`` intervals from ``at`` on; ``taps`` has a row for each place."""
    zero = _splat(np.float32(0.0))
    largest = zero
    for phase in range(len(taps)):
        a = b = c = d = zero
        for tap in range(taps.shape[1]):
            weight = _splat(taps[phase, tap])
            a = _add(a, _mul(weight, _load(values, at + tap)))
            b = _add(b, _mul(weight, _load(values, at + tap + LANES)))
            c = _add(c, _mul(weight, _load(values, at + tap + 2 * LANES)))
            d = _add(d, _mul(weight, _load(values, at + tap + 3 * LANES)))
        high, low = _most(_most(a, b), _most(c, d)), _least(_least(a, b), _least(c, d))
        largest = _most(largest, _most(high, _sub(zero, low)))
    return largest


@njit(nogil=True)
def _exceeds(value, limit):
    """Whether any lane exceeds a limit of at least 0."""
    zero = _splat(np.float32(0.0))
    return _peak_mask(zero, value, zero, _splat(limit)) != 0


@njit(types.float64(_READ_TABLE, types.float32[:, ::1]), cache=True, nogil=True)
def find_interpolated_peak(samples, taps):
    """The largest magnitude of all channels, of samples and of what lies between them; zeros are thought around the signal.

    No interpolated value exceeds the sum of its weights' magnitudes times the largest sample under them: stretches that cannot hold
    the peak are left out. The result is that of interpolating everything.

    Args:
        samples: Shape (frames, channels).
        taps: Shape (places between two samples, 16): weights of the eight samples before and the eight after.
    """
    frames, channels = samples.shape
    reach = taps.shape[1]
    bound = 1.0
    for phase in range(len(taps)):
        bound = max(bound, np.abs(taps[phase]).sum())
    bound *= 1 + 1e-6  # weights and sums are rounded
    laid, lanes = np.zeros(SPREAD + reach, np.float32), np.empty(LANES, np.float32)
    peak = np.float32(0.0)
    for channel in range(channels):
        for start in range(-reach // 2, frames + 1 - reach // 2, SPREAD):  # the first interval ends at the first sample
            first, end = max(0, -start), max(0, min(SPREAD + reach, frames - start))
            laid[:first], laid[end:] = 0.0, 0.0
            for place in range(first, end):
                laid[place] = samples[start + place, channel]
            for at in range(0, min(SPREAD, end), STRETCH):
                largest = _find_largest(laid, at, STRETCH + reach)
                if _exceeds(largest, np.float32(peak / bound)):
                    largest = _most(largest, _interpolate_largest(laid, at, taps))
                    if _exceeds(largest, peak):
                        _store(lanes, 0, largest)
                        peak = lanes.max()
    return np.float64(peak)
