"""From evidence to faults: one closed form for each, with a score, a severity and the numbers that show it.

A score is a logistic function of how far the evidence is beyond its limit, so one half is the limit itself; where several conditions
must hold, the weakest decides. The limits were chosen on the clips of seeds 0 to 4 of ``benchmarks/audio_faults.py``; faults planted
into the clips of seeds 5 to 9 and the synthetic ones of those were not looked at before they were scored. An early survey did print
quantiles of the evidence over all real clips: how few alarms the real ones of seeds 5 to 9 give is an optimistic figure.

What these cannot tell apart: a square wave that a synthesiser made from a clipped one; a hard gate as an effect from a dropout; the
border between two movements that run on from an end broken off; a loss of bandwidth that an artist wanted. Files in lossy formats
have a cut-off by design: say ``is_lossy`` for them. The end of an excerpt is not the end of a recording: say ``is_excerpt``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log10
from typing import Literal

Severity = Literal["slight", "clear", "severe"]

FOUND = 0.5
"""A fault is one with this score or more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one file.

    Attributes:
        fault: One of ``FAULTS``.
        score: From ``FOUND`` to 1.
        severity: ``slight`` below a score of 0.75, ``severe`` from 0.95 on.
        evidence: The numbers that it was judged by, as ``gather_evidence`` names them.
    """

    fault: str
    score: float
    severity: Severity
    evidence: dict[str, float]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one fault is judged.

    Attributes:
        score: From evidence to a number from 0 to 1.
        shows: Names of the evidence to show.
    """

    score: Callable[[Mapping[str, float]], float]
    shows: tuple[str, ...]


def judge_file(evidence: Mapping[str, float], *, is_lossy: bool = False, is_excerpt: bool = False) -> list[Fault]:
    """The faults that a file's evidence shows.

    Args:
        evidence: As ``gather_evidence`` gives it.
        is_lossy: The file's own format is lossy, so its encoder's low-pass is no fault.
        is_excerpt: The samples stop before the recording does.

    Returns:
        Faults with a score of ``FOUND`` or more, the highest first, equal ones by name.

    Raises:
        KeyError: Evidence is missing.
    """
    scores = score_file(evidence, is_lossy=is_lossy, is_excerpt=is_excerpt)
    found = [
        Fault(name, round(score, 4), _grade(score), {key: evidence[key] for key in RULES[name].shows})
        for name, score in scores.items()
        if score >= FOUND
    ]
    return sorted(found, key=lambda fault: (-fault.score, fault.fault))


def score_file(evidence: Mapping[str, float], *, is_lossy: bool = False, is_excerpt: bool = False) -> dict[str, float]:
    """The score of each fault, found or not, in the order of ``FAULTS``; arguments as of ``judge_file``."""
    scores = {name: rule.score(evidence) for name, rule in RULES.items()}
    if is_lossy and evidence["cutoff_share"] > _LOSSY_SHARE:
        scores["bandwidth_cutoff"] = 0.0
    if is_excerpt:
        scores["truncated_end"] = 0.0
    return scores


def _grade(score: float) -> Severity:
    if score >= 0.95:
        return "severe"
    return "clear" if score >= 0.75 else "slight"


def _above(value: float, limit: float, scale: float) -> float:
    """One half at the limit, 0.73 a scale above it, 0.95 three above."""
    return 1 / (1 + exp(min(max((limit - value) / scale, -60.0), 60.0)))


def _is_heard(e: Mapping[str, float]) -> float:
    """0 for a file that is silent as a whole: it has that fault and no other."""
    return 1 - _score_silence(e)


_SILENCE_DB = -60.0
_LOSSY_SHARE = 0.65


def _score_silence(e: Mapping[str, float]) -> float:
    """All but a hundredth of the file is quieter than -60 dB of full scale."""
    return _above(-e["loud_db"], -_SILENCE_DB, 3.0)


def _score_dropout(e: Mapping[str, float]) -> float:
    """Silence within the sound that begins and ends at the level of the sound: a pause fades, a dropout does not."""
    return min(_above(log10(max(e["longest_dropout_s"], 1e-4)), log10(0.012), 0.2), _is_heard(e))


def _score_clipping(e: Mapping[str, float]) -> float:
    """Flat tops with bends, wherever the extreme of the signal lies; or more of the wave piled up near its extreme than a free
    one has (a sine a third, music below a thirtieth)."""
    hard = _score_hard(e)
    # A lasting pure tone is as often near its extreme as this; nothing else has all three numbers of a sine.
    is_tone = abs(e["broad_tops"] - 0.30) < 0.03 and abs(e["piled_ratio"] - 0.70) < 0.04 and e["piled_share"] < 0.32
    soft = 0.0 if is_tone else max(_above(e["broad_tops"], 0.46, 0.03), _above(e["piled_share"], 0.038, 0.004))
    return max(hard, soft)


def _score_hard(e: Mapping[str, float]) -> float:
    return min(_above(log10(max(e["clipped_share"], 1e-7)), log10(1e-4), 0.3), _above(e["clipped_runs"], 4.5, 1.0))


def _score_offset(e: Mapping[str, float]) -> float:
    """A steady mean, relative to the signal without it."""
    return min(_above(log10(max(e["offset_ratio"], 1e-6)), log10(0.05), 0.15), _above(-e["offset_scatter"], -0.5, 0.1))


def _score_channel(e: Mapping[str, float]) -> float:
    """One side of a pair far below the other, or cut off for a while."""
    lower = min(_above(abs(e["balance_db"]), 14.5, 1.5), _is_heard(e))
    return max(lower, min(_above(log10(max(e["lost_channel_s"], 1e-3)), log10(0.25), 0.2), _is_heard(e)))


def _score_phase(e: Mapping[str, float]) -> float:
    """The sides of a pair move against each other, as a whole and in most seconds."""
    return min(_above(-e["correlation"], 0.4, 0.1), _above(-e["correlation_median"], 0.3, 0.1), _is_heard(e))


def _score_bandwidth(e: Mapping[str, float]) -> float:
    """A spectrum that ends in an edge well below half the sampling rate, and nothing above it."""
    return min(
        _above(e["cutoff_drop_db"], 22.0, 3.0),
        _above(-e["cutoff_share"], -0.89, 0.01),
        _above(-e["cutoff_above_db"], 40.0, 5.0),
        _is_heard(e),
    )


def _score_start(e: Mapping[str, float]) -> float:
    """The first 3 ms are at the level of the sound, without an attack."""
    # Behind a longer silence than an encoder leaves, an abrupt beginning is an attack.
    return min(_above(e["start_db"], -26.0, 2.0), _above(-e["start_rise_db"], -12.0, 2.0), _above(-e["lead_s"], -0.1, 0.01), _is_heard(e))


def _score_end(e: Mapping[str, float]) -> float:
    """The last 3 ms are at the level of the sound: no decay, no fade."""
    return min(_above(e["end_db"], -26.0, 2.0), _above(-e["end_fall_db"], -12.0, 2.0), _is_heard(e))


def _score_clicks(e: Mapping[str, float]) -> float:
    """An impulse of a few samples that nothing rings on from; the bends of flat tops are weak ones."""
    least = 104.0 if _score_hard(e) >= FOUND else 52.0
    return min(_above(log10(max(e["click_ratio"], 1.0)), log10(least), 0.07), _is_heard(e))


RULES: Mapping[str, Rule] = {
    "silence": Rule(_score_silence, ("loud_db", "peak_dbfs", "silent_share")),
    "dropout": Rule(_score_dropout, ("dropouts", "longest_dropout_s")),
    "clipping": Rule(_score_clipping, ("clipped_share", "clipped_runs", "broad_tops", "piled_share", "piled_ratio", "peak_dbfs")),
    "dc_offset": Rule(_score_offset, ("offset", "offset_ratio", "offset_scatter")),
    "dropped_channel": Rule(_score_channel, ("balance_db", "lost_channel_s")),
    "inverted_phase": Rule(_score_phase, ("correlation", "correlation_median")),
    "bandwidth_cutoff": Rule(_score_bandwidth, ("cutoff_hz", "cutoff_share", "cutoff_drop_db", "cutoff_above_db")),
    "truncated_start": Rule(_score_start, ("start_db", "start_rise_db", "lead_s")),
    "truncated_end": Rule(_score_end, ("end_db", "end_fall_db")),
    "clicks": Rule(_score_clicks, ("click_ratio", "clicks_12", "clicks_20", "clicks_32")),
}
"""The rule of each fault that one file shows by itself."""

FAULTS = tuple(RULES)
