"""Whether the learnt embedding is better than what costs nothing: two tasks, two controls or more, paired intervals.

* Probe: a logistic regression on the vectors names the labels of recordings whose group trained nothing.
* Retrieval: a changed recording is to find itself among all unchanged ones by cosine: after mp3, 6 dB softer and louder, a semitone
  down and up, and the second half of it among first halves. The score of a recording is its mean reciprocal rank over these.

Controls are the hand features, the same network untrained, and both together, so that a gain by mere width is seen as such.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce

import numpy as np

from spotify_ai_assets.audio.models.encoder import EncoderModel, Standard, combine, embed, lay_out_features
from spotify_ai_assets.audio.models.mels import SAMPLE_RATE, pack
from spotify_ai_assets.audio.models.validation import deal_groups
from spotify_ai_assets.training.metrics import Interval, bootstrap_interval, paired_difference

Embed = Callable[[Sequence[np.ndarray]], np.ndarray]
"""From recordings (mono, float32, 22,050 Hz) to vectors of length 1, one row each."""

CHALLENGERS = ("learnt_with_hand", "learnt")
CONTROLS = ("hand", "random", "random_with_hand")
"""Embeddings by what they are made of; a control needs no training."""

GAIN_DB, SEMITONES, MP3_QUALITY = 6.0, 1.0, 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of embeddings on one task, case by case.

    Attributes:
        task: ``probe`` or ``retrieval``.
        scores: By embedding: the score of each case, float64, shape (cases,), 1 is best.
        groups: What each case belongs to, shape (cases,); whole groups are resampled.
        parts: Means of the parts of the task by embedding and part, such as the changes of the retrieval.
    """

    task: str
    scores: dict[str, np.ndarray]
    groups: np.ndarray
    parts: dict[str, dict[str, float]] = field(default_factory=dict)

    def means(self, seed: int = 0) -> dict[str, Interval]:
        """The mean score of each embedding with its interval."""
        return {name: bootstrap_interval(score, groups=self.groups, seed=seed) for name, score in self.scores.items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which embedding is the default, and why.

    Attributes:
        default: Its name.
        differences: By challenger, control and task: challenger minus control.
        has_earned_it: Whether a challenger was chosen; else it is a control.
    """

    default: str
    differences: dict[tuple[str, str, str], Interval]
    has_earned_it: bool


def choose_default(evidence: Sequence[Evidence], challengers: Sequence[str], controls: Sequence[str], seed: int = 0) -> Choice:
    """A learnt embedding is the default only if it beats every control on every task by its 95 % interval.

    Among several that do, the one with the highest mean over the tasks is chosen. Where none does, it is the first control, or a later
    one that beats those chosen before it on every task by its interval.

    Args:
        evidence: One of each task, with scores of all that are named.
        challengers: What would have to earn its place.
        controls: What needs no training, the simplest first.
        seed: Of the resamples.

    Raises:
        ValueError: There is no evidence, no control, or an embedding without scores.
    """
    if not evidence or not controls:
        raise ValueError("a choice needs evidence and controls")
    if any(name not in each.scores for each in evidence for name in (*challengers, *controls)):
        raise ValueError("each embedding needs scores on each task")

    def beats(ours: str, theirs: str) -> bool:
        return all(_differ(each, ours, theirs, seed).is_gain for each in evidence)

    def mean(name: str) -> float:
        return float(np.mean([each.scores[name].mean() for each in evidence]))

    differences = {
        (ours, control, each.task): _differ(each, ours, control, seed) for ours in challengers for control in controls for each in evidence
    }
    earned = [ours for ours in challengers if all(found.is_gain for (name, _, _), found in differences.items() if name == ours)]
    if earned:
        return Choice(max(earned, key=mean), differences, True)
    return Choice(reduce(lambda chosen, control: control if beats(control, chosen) else chosen, controls), differences, False)


def _differ(evidence: Evidence, ours: str, theirs: str, seed: int) -> Interval:
    return paired_difference(evidence.scores[ours], evidence.scores[theirs], groups=evidence.groups, seed=seed)


def change_recording(mono: np.ndarray) -> dict[str, np.ndarray]:
    """A recording changed in the ways by which it should still be known.

    Args:
        mono: float32, shape (samples,), 22,050 Hz.

    Returns:
        By name: mono, float32. A semitone is made without a change of speed, by a phase vocoder.
    """
    import librosa

    factor = np.float32(10 ** (GAIN_DB / 20))
    return {
        "mp3": encode_mp3(mono),
        "softer": mono / factor,
        "louder": mono * factor,
        "semitone_down": librosa.effects.pitch_shift(mono, sr=SAMPLE_RATE, n_steps=-SEMITONES),
        "semitone_up": librosa.effects.pitch_shift(mono, sr=SAMPLE_RATE, n_steps=SEMITONES),
    }


def encode_mp3(mono: np.ndarray) -> np.ndarray:
    """A recording after encoding as mp3 and decoding: as long as before, peaks beyond full scale clipped."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(mono, -1, 1), SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=MP3_QUALITY)
    buffer.seek(0)
    decoded = soundfile.read(buffer, dtype="float32")[0][: len(mono)]
    return np.pad(decoded, (0, len(mono) - len(decoded)))


def retrieve(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Reciprocal rank of each query's own row of the index by cosine.

    Args:
        queries: Of length 1, shape (recordings, size).
        index: Of length 1, likewise.

    Returns:
        float64, shape (recordings,): 1 where it comes first. What is as near as its own row counts as nearer, so that a constant
        embedding earns nothing.
    """
    likeness = queries @ index.T
    own = np.diag(likeness)[:, None]
    return 1.0 / np.maximum((likeness >= own).sum(1), 1)


def measure_retrieval(
    recordings: Sequence[np.ndarray], embeddings: Mapping[str, Embed], groups: Sequence[object] | None = None
) -> Evidence:
    """Score embeddings on the retrieval of changed recordings.

    Args:
        recordings: Mono, float32, 22,050 Hz; at least two.
        embeddings: By name.
        groups: Source of each recording; each is its own unless given.
    """
    if len(recordings) < 2:
        raise ValueError("retrieval needs at least two recordings")
    changed: dict[str, list[np.ndarray]] = {}
    for mono in recordings:
        for name, version in change_recording(mono).items():
            changed.setdefault(name, []).append(version)
    firsts, seconds = [mono[: len(mono) // 2] for mono in recordings], [mono[len(mono) // 2 :] for mono in recordings]
    scores, parts = {}, {}
    for name, embedding in embeddings.items():
        index = embedding(recordings)
        ranks = {change: retrieve(embedding(versions), index) for change, versions in changed.items()}
        ranks["excerpt"] = retrieve(embedding(seconds), embedding(firsts))
        scores[name] = np.mean(list(ranks.values()), axis=0)
        parts[name] = {change: float(rank.mean()) for change, rank in ranks.items()}
    return Evidence("retrieval", scores, _numbered(groups, len(recordings)), parts)


def compare_embeddings(
    recordings: Sequence[np.ndarray],
    learnt: EncoderModel,
    untrained: EncoderModel,
    standard: Standard,
    labels: Sequence[str] | None = None,
    groups: Sequence[object] | None = None,
    seed: int = 0,
) -> tuple[list[Evidence], Choice]:
    """Measure the learnt embedding, alone and with the hand features, beside its controls, and choose the default.

    Args:
        recordings: Mono, float32, 22,050 Hz; at least two, which trained nothing where that can be had.
        learnt: The encoder.
        untrained: ``random_encoder`` of the same recipe.
        standard: Of the hand features of the catalogue.
        labels: What each recording is; without labels and three groups or more there is no probe.
        groups: Artist or source of each recording.
        seed: Of the resamples.

    Returns:
        The evidence of each task, and the choice among ``CHALLENGERS`` and ``CONTROLS``.
    """
    # Every embedding is asked about the same arrays: what is costly is done once for each, and the array kept so that its id is.
    heard: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def hear(sounds: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        for sound in sounds:
            if id(sound) not in heard:
                heard[id(sound)] = (sound, *_hear(sound))
        return [heard[id(sound)][1] for sound in sounds], np.stack([heard[id(sound)][2] for sound in sounds])

    def embed_as(name: str, sounds: Sequence[np.ndarray]) -> np.ndarray:
        mels, features = hear(sounds)
        model, _, hand = name.partition("_with_")
        if name == "hand":
            return standard.apply(features)
        vectors = embed(learnt if model == "learnt" else untrained, mels)
        return combine(vectors, standard.apply(features)) if hand else vectors

    embeddings = {name: partial(embed_as, name) for name in (*CONTROLS, *CHALLENGERS)}
    evidence = [measure_retrieval(recordings, embeddings, groups)]
    if labels is not None and groups is not None and len(set(groups)) >= 3 and len(set(labels)) >= 2:
        evidence.append(measure_probe({name: each(recordings) for name, each in embeddings.items()}, labels, groups))
    return evidence, choose_default(evidence, CHALLENGERS, CONTROLS, seed)


def _hear(mono: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The packed mel and the hand features of a recording."""
    from spotify_ai_assets.audio.measures.description import describe, summarise

    description = describe(mono)
    scalars, vectors = summarise(description)
    return pack(description.model_mel), lay_out_features(scalars, vectors)[1]


def measure_probe(
    vectors: Mapping[str, np.ndarray],
    labels: Sequence[str],
    groups: Sequence[object],
    parts: int = 4,
    strengths: Sequence[float] = (0.1, 1, 10, 100),
) -> Evidence:
    """Score embeddings by a linear probe on groups that it was not fitted on.

    Each part of the groups is named by a probe of the others. How strongly the probe is held back is chosen for each embedding and
    part anew, on an inner part of what it may see: each control is tuned as the challenger is.

    Args:
        vectors: By embedding: of length 1, shape (recordings, size).
        labels: What each recording is.
        groups: Artist, source or fold of each recording; at least three different ones.
        parts: Into how many the groups are dealt.
        strengths: Inverse strengths of the penalty to choose from.

    Raises:
        ValueError: Fewer than three groups: none would be left to tune on.
    """
    if len(set(groups)) < 3:
        raise ValueError("a probe needs at least three groups: to fit, to tune and to score on")
    classes = sorted(set(labels))
    numbers = np.array([classes.index(label) for label in labels])
    part = deal_groups(groups, numbers, parts)
    scores = {name: _probe(np.asarray(rows, float), numbers, part, groups, strengths) for name, rows in vectors.items()}
    return Evidence("probe", scores, _numbered(groups, len(numbers)))


def _probe(rows: np.ndarray, numbers: np.ndarray, part: np.ndarray, groups: Sequence[object], strengths: Sequence[float]) -> np.ndarray:
    """1 where the probe of the other parts is right."""
    right = np.zeros(len(rows))
    for held in range(int(part.max()) + 1):
        inside, outside = np.flatnonzero(part != held), np.flatnonzero(part == held)
        inner = deal_groups([groups[index] for index in inside.tolist()], numbers[inside], 3)
        fitting, tuning = inside[inner != 0], inside[inner == 0]
        tuned = [(_name(rows, numbers, fitting, tuning, strength) == numbers[tuning]).mean() for strength in strengths]
        right[outside] = _name(rows, numbers, inside, outside, strengths[int(np.argmax(tuned))]) == numbers[outside]
    return right


def _name(rows: np.ndarray, numbers: np.ndarray, fitted: np.ndarray, asked: np.ndarray, strength: float) -> np.ndarray:
    """Classes of the asked rows by a logistic regression of the fitted ones, every column scaled on these."""
    if len(np.unique(numbers[fitted])) < 2:
        return np.full(len(asked), numbers[fitted][0])
    from sklearn.linear_model import LogisticRegression

    mean, spread = rows[fitted].mean(0), rows[fitted].std(0)
    scaled = (rows - mean) / np.where(spread > 1e-12, spread, 1.0)
    probe = LogisticRegression(C=strength / rows.shape[1], max_iter=2_000)
    return probe.fit(scaled[fitted], numbers[fitted]).predict(scaled[asked])


def _numbered(groups: Sequence[object] | None, count: int) -> np.ndarray:
    if groups is None:
        return np.arange(count)
    numbers = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups])
