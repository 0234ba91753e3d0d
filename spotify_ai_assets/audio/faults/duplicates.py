"""Which files are the same recording: exact, near, and at another speed, tempo or pitch.

An inverted index on quantised landmarks proposes pairs of files, and each pair is verified on all of its landmarks: those that agree
must lie on one line of time (a histogram of offsets, Wang 2003) at one ratio of pitch, cover what both have in common, and be
distinct: a share of its landmarks, less what lines beside it reach (``DISTINCT``). Tracks of like tempo, key and beat agree by
chance in up to a quarter of their landmarks, but then on a family of lines, a beat apart; a copy stands out over them.

Another speed is searched on a grid of pitch shifts a quarter of a semitone apart, each with the time that belongs to the same
playback speed and with unchanged time; pure changes of tempo on a grid of 1.5 %. (Triplets that no ratio changes, as in Six and
Leman 2014, "Panako", or the quads of Sonnleitner and Widmer 2014, cover wider ranges at the price of weaker keys.) The limits: pitch
and speed within ``MOST_SEMITONES``, tempo alone within 6 %; at least ``LEAST_VOTES`` landmarks on one line over some seconds. Two
performances of one work are not duplicates, nor do covers match. Music that a machine repeats to the sample (one loop in many
tracks) does match where the loop plays.

The cost is linear in the landmarks: a key meets at most ``neighbours`` others, those that follow it in the order of files, so
that a thousand copies are a chain and not a million pairs; above ``budget`` landmarks, only keys whose mixed bits fall in a share
are looked up, the same keys in all files.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from spotify_ai_assets.audio.faults.fingerprints import HOP, RATE, STEPS, unpack

MOST_SEMITONES = 1.5
LEAST_VOTES = 12
LEAST_COVERAGE = 0.35
DISTINCT = {"near": 0.11, "speed": 0.10, "pitch": 0.065, "tempo": 0.12}
"""Least of the share of landmarks in common time that agree, in the file that has fewer there, times the square of the share of votes
that the next best line of time does not have. By kind: what no change is supposed of and what pitch and time must both agree on are
safe; that a beat fits another beat at another tempo is the likeliest chance. Chosen on clips of seeds 0 to 4 of the benchmark of faults
and on the demo's music, 420 tracks of two seeds."""
LEAST_SHARE = 0.33
"""Or, where no change is supposed, the plain share: a copy of what a machine repeats is not distinct in itself."""
_PROPOSED_SHARE = 0.02
LEAST_OVERLAP_S = 5.0
"""Or three fifths of the shorter file: two pieces of like music agree by chance for the few seconds of a tail."""
_GRAIN = 4
_PITCH_STEP = 4
_TEMPOS = tuple(1 + 0.015 * step for step in (-4, -3, -2, -1, 1, 2, 3, 4))
_PROPOSED = 4
_MOST_PROPOSALS = 6
_SECOND = RATE / HOP
_SEMITONE = STEPS / 12

SCHEMA = {
    "file_id": pl.String,
    "other_file_id": pl.String,
    "kind": pl.String,
    "score": pl.Float64,
    "votes": pl.Int64,
    "coverage": pl.Float64,
    "share": pl.Float64,
    "overlap_ms": pl.Int64,
    "offset_ms": pl.Int64,
    "speed": pl.Float64,
    "pitch_semitones": pl.Float64,
}
"""Columns of ``find_duplicates``: ``other_file_id`` plays ``speed`` times as fast and ``pitch_semitones`` higher; its beginning is
``offset_ms`` behind that of ``file_id``, in the latter's time."""


class Index(NamedTuple):
    """Landmarks of all files, file by file: shape (rows,) each but ``ends``.

    Attributes:
        file: Number of the file.
        pitch: As ``fingerprints.Landmarks``.
        other: Likewise.
        gap: Likewise.
        frame: Likewise.
        ends: First row of each file, and the number of rows: shape (files + 1,).
    """

    file: np.ndarray
    pitch: np.ndarray
    other: np.ndarray
    gap: np.ndarray
    frame: np.ndarray
    ends: np.ndarray


class Shift(NamedTuple):
    """A supposed change: steps of pitch, and times as fast."""

    steps: int
    speed: float


class Match(NamedTuple):
    """What verification found of a pair; see ``SCHEMA``."""

    votes: int
    coverage: float
    share: float
    distinct: float
    overlap: float
    offset: float
    speed: float
    steps: float


def find_duplicates(
    prints: Mapping[str, np.ndarray],
    audio_digests: Mapping[str, str] | None = None,
    *,
    with_changed: bool = True,
    neighbours: int = 24,
    budget: int = 20_000_000,
) -> pl.DataFrame:
    """Pairs of files that are one recording, in whole or in part.

    Args:
        prints: Landmarks of each file by its id, as ``fingerprints.find_landmarks`` gives them.
        audio_digests: ``fingerprints.digest_audio`` of files, where known: equal ones are duplicates of kind ``exact``.
        with_changed: Look for changed speed, tempo and pitch too; ten times the work.
        neighbours: Most rows that one key is compared with.
        budget: Landmarks to look up at most; above, a share of the keys is.

    Returns:
        ``SCHEMA``, one row a pair, ids in ascending order within it and over the rows. ``kind`` is ``exact`` (the same decoded
        samples), ``near`` (the same at another gain, in another encoding or as an excerpt), ``speed`` (pitch and time
        changed, as by playing faster), ``tempo`` or ``pitch`` (one of them). ``score`` is half at the limit and near 1 for copies.
        Of more than ``neighbours`` copies each is paired with some.
    """
    names = sorted(prints)
    index = _make_index([prints[name] for name in names])
    rows = list(_pair_digests(audio_digests or {}))
    known = {(row[0], row[1]) for row in rows}
    for one, two, shifts in _propose(index, _list_shifts(with_changed), neighbours, budget):
        pair = (names[one], names[two])
        if pair in known:
            continue
        match = _choose([_verify(index, one, two, shift) for shift in shifts])
        score = _score(match)
        if score >= 0.5:
            rows.append((*pair, *_describe(match, score)))
    return pl.DataFrame(sorted(rows), schema=SCHEMA, orient="row")


def _make_index(stored: Sequence[np.ndarray]) -> Index:
    parts = [unpack(landmarks) for landmarks in stored]
    lengths = [len(part.frame) for part in parts]
    columns = [np.concatenate([np.zeros(0, np.int64), *column]).astype(np.int32) for column in zip(*parts, strict=True)] or [
        np.zeros(0, np.int32)
    ] * 4
    file = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)
    return Index(file, *columns, ends=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _pair_digests(digests: Mapping[str, str]) -> Iterator[tuple[object, ...]]:
    """Each file with the next one of the same samples."""
    last: dict[str, str] = {}
    for name in sorted(digests):
        digest = digests[name]
        if digest in last:
            yield (last[digest], name, "exact", 1.0, 0, 1.0, 1.0, None, 0, 1.0, 0.0)
        last[digest] = name


def _list_shifts(with_changed: bool) -> list[Shift]:
    same = [Shift(0, 1.0)]
    if not with_changed:
        return same
    most = round(MOST_SEMITONES * _SEMITONE)
    steps = [step for step in range(-most, most + 1, _PITCH_STEP) if step]
    return [
        *same,
        *(Shift(step, 2 ** (step / STEPS)) for step in steps),
        *(Shift(step, 1.0) for step in steps),
        *(Shift(0, tempo) for tempo in _TEMPOS),
    ]


def _make_keys(pitch: np.ndarray, other: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The quantised landmark: the first pitch to 25 cents, the interval to 25 cents, the gap to a frame."""
    interval = (other - pitch) // _GRAIN + 256
    return ((pitch // _GRAIN + 128).astype(np.int64) << 16) | (interval.astype(np.int64) << 7) | gap


def _mix(keys: np.ndarray) -> np.ndarray:
    """Keys with their bits mixed, so that a share of them is no range of pitches (the finaliser of splitmix64)."""
    mixed = keys.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _propose(index: Index, shifts: list[Shift], neighbours: int, budget: int) -> Iterator[tuple[int, int, list[Shift]]]:
    """Pairs that share keys on one line of time, with the changes under which they share most."""
    share = np.uint64(max(-(-len(index.file) // budget), 1))
    keys = _make_keys(index.pitch, index.other, index.gap)
    chosen = np.flatnonzero(_mix(keys) % share == 0)
    order = chosen[np.lexsort((index.file[chosen], keys[chosen]))]
    places = (keys[order] << 24) | index.file[order]
    found = [_count_pairs(index, order, places, number, shift, neighbours, share) for number, shift in enumerate(shifts)]
    pairs = pl.concat(found).sort("one", "two", "votes", descending=[False, False, True]).group_by("one", "two", maintain_order=True)
    lengths = np.diff(index.ends)
    for (one, two), rows in pairs:
        # pyright takes the keys of a group, and its values, for any that a frame can hold: these are whole numbers.
        # Most pairs share a few keys by chance, and to verify one costs more than to propose a hundred.
        if rows["votes"][0] * int(share) < _PROPOSED_SHARE * min(lengths[one], lengths[two]):  # pyright: ignore[reportArgumentType]
            continue
        yield int(one), int(two), [shifts[number] for number in rows["shift"].head(_MOST_PROPOSALS)]  # pyright: ignore[reportArgumentType]


def _count_pairs(
    index: Index, order: np.ndarray, places: np.ndarray, number: int, shift: Shift, neighbours: int, share: np.uint64
) -> pl.DataFrame:
    """Votes of pairs of files for a change: the most landmarks in one second of offsets."""
    gap = np.rint(index.gap / shift.speed).astype(np.int64)
    keys = _make_keys(index.pitch + shift.steps, index.other + shift.steps, np.clip(gap, 0, 127))
    asked = np.flatnonzero(_mix(keys) % share == 0) if share > 1 else np.arange(len(keys))
    begin = np.searchsorted(places, (keys[asked] << 24) | (index.file[asked].astype(np.int64) + 1))
    end = np.searchsorted(places, (keys[asked] + 1) << 24)
    lengths = np.clip(end - begin, 0, neighbours)
    query = np.repeat(asked, lengths)
    within = np.arange(len(query)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    answer = order[np.repeat(begin, lengths) + within]
    offset = (index.frame[query] - shift.speed * index.frame[answer]) / _SECOND
    votes = (
        pl.LazyFrame({"one": index.file[query], "two": index.file[answer], "offset": np.floor(offset).astype(np.int32)})
        .group_by("one", "two", "offset")
        .agg(votes=pl.len())
        .sort("one", "two", "offset")
        # Two neighbouring seconds count together: a line may lie on their border.
        .with_columns(
            votes=pl.col("votes")
            + pl.when(pl.col("offset").shift(-1).over("one", "two") == pl.col("offset") + 1)
            .then(pl.col("votes").shift(-1).over("one", "two"))
            .otherwise(0)
        )
        .group_by("one", "two")
        .agg(pl.col("votes").max())
        .filter(pl.col("votes") >= _PROPOSED)
        .with_columns(shift=pl.lit(number, pl.Int32))
        .sort("one", "two")
    )
    return votes.collect()


def _choose(matches: list[Match]) -> Match:
    """The best match; one that changes less where it has nearly as many votes."""
    most = max(match.votes * match.coverage for match in matches)
    good = [match for match in matches if match.votes * match.coverage >= 0.8 * most]
    return min(good, key=lambda match: (_count_changes(match), -match.votes * match.coverage))


def _count_changes(match: Match) -> int:
    semitones, speed = _tell_change(match)
    together = bool(semitones) and bool(speed != 1) and abs(match.speed / 2 ** (match.steps / STEPS) - 1) <= 0.01
    return 1 if together else bool(semitones) + bool(speed != 1)


def _tell_change(match: Match) -> tuple[float, float]:
    """Semitones and speed, without what measuring alone scatters by."""
    semitones = match.steps / _SEMITONE
    return (semitones if abs(semitones) > 0.12 else 0.0), (match.speed if abs(match.speed - 1) > 0.006 else 1.0)


def _verify(index: Index, one: int, two: int, shift: Shift) -> Match:
    """Match all landmarks of two files under a supposed change, which is refined on the way."""
    a, b = (slice(int(index.ends[file]), int(index.ends[file + 1])) for file in (one, two))
    first, second = _match_landmarks(index, a, b, shift)
    if len(first) < LEAST_VOTES:
        return _no_match(0.0, shift.speed, shift.steps)
    steps = (index.pitch[b][second] + index.other[b][second] - index.pitch[a][first] - index.other[a][first]) / 2
    middle = _find_mode(steps)
    near = np.abs(steps - middle) <= 2
    first, second = first[near], second[near]
    pitch = float(steps[near].mean())
    times, others = index.frame[a][first].astype(float), index.frame[b][second].astype(float)
    speed, offset = _fit_line(times, others, shift, pitch)
    agreed = np.abs(times - speed * others - offset) <= 2
    # A landmark that agrees with several of the other file is still one.
    chosen = np.unique(first[agreed])
    ends = float(index.frame[a].max()), float(speed * index.frame[b].max())
    length = min(ends[0], ends[1] + offset) - max(0.0, offset)
    if length < min(LEAST_OVERLAP_S * _SECOND, 0.6 * min(ends)):
        return _no_match(offset, speed, pitch)
    ours = index.frame[a][_lies_within(index.frame[a], offset, length)]
    theirs = np.count_nonzero(_lies_within(speed * index.frame[b] + offset, offset, length))
    heard = np.unique((index.frame[a][chosen] // _SECOND).astype(int))
    coverage = len(heard) / max(len(np.unique((ours // _SECOND).astype(int))), 1)
    fewer = max(min(len(ours), theirs), 1)
    share = min(len(chosen), len(np.unique(second[agreed])), fewer) / fewer
    alone = max(1 - _count_rivals(times - speed * others, offset) / max(len(chosen), 1), 0.0)
    return Match(len(chosen), min(coverage, 1.0), share, share * alone**2, max(length, 0.0), offset, speed, pitch)


def _no_match(offset: float, speed: float, steps: float) -> Match:
    return Match(0, 0.0, 0.0, 0.0, 0.0, offset, speed, float(steps))


def _count_rivals(offsets: np.ndarray, offset: float) -> int:
    """Votes for the best line of time beside the one at an offset."""
    beside = np.sort(offsets[np.abs(offsets - offset) > 8])
    return int((np.searchsorted(beside, beside + 4, side="right") - np.arange(len(beside))).max(initial=0))


def _lies_within(frames: np.ndarray, offset: float, length: float) -> np.ndarray:
    begin = max(0.0, offset)
    return (frames >= begin) & (frames <= begin + length)


def _match_landmarks(index: Index, a: slice, b: slice, shift: Shift) -> tuple[np.ndarray, np.ndarray]:
    """Rows of landmarks within a step of quantisation of each other, in the two files."""
    gap = np.rint(index.gap[a] / shift.speed).astype(np.int64)
    pitch, interval = (index.pitch[a] + shift.steps) // _GRAIN, (index.other[a] - index.pitch[a]) // _GRAIN
    theirs = _join_parts(index.pitch[b] // _GRAIN, (index.other[b] - index.pitch[b]) // _GRAIN, index.gap[b].astype(np.int64))
    order = np.argsort(theirs, kind="stable")
    ordered = theirs[order]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for near in np.ndindex(3, 3, 3):
        ours = _join_parts(pitch + near[0] - 1, interval + near[1] - 1, gap + near[2] - 1)
        begin, end = np.searchsorted(ordered, ours), np.searchsorted(ordered, ours, side="right")
        lengths = end - begin
        rows = np.repeat(np.arange(len(ours)), lengths)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        found.append((rows, order[np.repeat(begin, lengths) + within]))
    return np.concatenate([rows for rows, _ in found]), np.concatenate([rows for _, rows in found])


def _join_parts(pitch: np.ndarray, interval: np.ndarray, gap: np.ndarray) -> np.ndarray:
    return ((pitch.astype(np.int64) + 128) << 20) | ((interval.astype(np.int64) + 256) << 8) | (gap + 1)


def _find_mode(values: np.ndarray) -> float:
    """The middle of the fullest stretch of two steps."""
    ordered = np.sort(values)
    counts = np.searchsorted(ordered, ordered + 2, side="right") - np.arange(len(ordered))
    best = int(counts.argmax())
    return float(ordered[best : best + int(counts[best])].mean())


def _fit_line(times: np.ndarray, others: np.ndarray, shift: Shift, pitch: float) -> tuple[float, float]:
    """The speed and offset on which most pairs of times lie within two frames."""
    supposed = 2 ** (pitch / STEPS) if shift.steps and shift.speed != 1 else shift.speed
    spread = 0.012 if shift.speed != 1 else 0.004
    best = (supposed, 0.0, 0)
    for speed in supposed * (1 + np.linspace(-spread, spread, 25)):
        offsets = np.sort(times - speed * others)
        counts = np.searchsorted(offsets, offsets + 3, side="right") - np.arange(len(offsets))
        place = int(counts.argmax())
        votes = int(counts[place])
        # Of equal counts the one nearest to what was supposed.
        if (votes, -abs(speed - supposed)) > (best[2], -abs(best[0] - supposed)):
            best = (float(speed), float(np.median(offsets[place : place + votes])), votes)
    return best[0], best[1]


def _score(match: Match) -> float:
    """Half where the weakest of votes, coverage and distinctness is at its limit, near 1 where it is twice that."""
    kind = _name_kind(match)
    distinct = match.distinct / DISTINCT[kind]
    if kind == "near":
        distinct = max(distinct, match.share / LEAST_SHARE)
    ratio = min(match.votes / LEAST_VOTES, match.coverage / LEAST_COVERAGE, distinct)
    return ratio**4 / (1 + ratio**4)


def _name_kind(match: Match) -> str:
    semitones, speed = _tell_change(match)
    return {(False, False): "near", (True, False): "pitch", (False, True): "tempo", (True, True): "speed"}[bool(semitones), speed != 1]


def _describe(match: Match, score: float) -> tuple[object, ...]:
    semitones, speed = _tell_change(match)
    milliseconds = 1000 / _SECOND
    return (
        _name_kind(match),
        round(score, 4),
        match.votes,
        round(match.coverage, 4),
        round(match.share, 4),
        round(match.overlap * milliseconds),
        round(match.offset * milliseconds),
        round(speed, 4),
        round(semitones, 3),
    )
