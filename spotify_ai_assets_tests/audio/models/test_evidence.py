from dataclasses import replace

import numpy as np
import pytest

from spotify_ai_assets.audio.models.encoder import DEMO, fit_standard, random_encoder, train_encoder
from spotify_ai_assets.audio.models.evidence import (
    CHALLENGERS,
    CONTROLS,
    Evidence,
    _hear,
    change_recording,
    choose_default,
    compare_embeddings,
    encode_mp3,
    measure_probe,
    measure_retrieval,
    retrieve,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def evidence(**means: float) -> list[Evidence]:
    """Scores of 200 cases around stated means on both tasks; the noise is shared, as it is between embeddings of one recording."""
    noise = np.random.default_rng(0).normal(0, 0.2, 200)
    own = {name: np.random.default_rng(len(name)).normal(0, 0.02, 200) for name in means}
    scores = {name: mean + noise + own[name] for name, mean in means.items()}
    return [Evidence(task, scores, np.arange(200)) for task in ("probe", "retrieval")]


def test_the_learnt_embedding_that_beats_all_controls_is_the_default() -> None:
    choice = choose_default(evidence(learnt=0.8, hand=0.7, random=0.5), ["learnt"], ["hand", "random"])
    assert choice.default == "learnt" and choice.has_earned_it
    assert choice.differences["learnt", "hand", "probe"].low > 0


def test_one_that_beats_only_one_control_leaves_the_better_control_in_place() -> None:
    choice = choose_default(evidence(learnt=0.7, hand=0.8, random=0.5), ["learnt"], ["random", "hand"])
    assert choice.default == "hand" and not choice.has_earned_it


def test_a_gain_inside_its_interval_earns_nothing() -> None:
    choice = choose_default(evidence(learnt=0.7005, hand=0.7, random=0.5), ["learnt"], ["hand", "random"])
    assert choice.default == "hand"
    assert choice.differences["learnt", "hand", "probe"].low <= 0


def test_a_control_that_is_hardly_better_does_not_replace_a_simpler_one() -> None:
    hand = np.random.default_rng(0).uniform(0.4, 0.9, 100)
    wider = hand + 0.001 + 0.1 * (-1.0) ** np.arange(100)
    found = [Evidence("retrieval", {"learnt": hand - 0.2, "hand": hand, "random_with_hand": wider}, np.arange(100))]
    assert wider.mean() > hand.mean()
    assert choose_default(found, ["learnt"], ["hand", "random_with_hand"]).default == "hand"
    assert choose_default(found, ["hand"], ["learnt", "random_with_hand"]).default == "random_with_hand"


def test_a_gain_on_one_task_alone_earns_nothing() -> None:
    first, second = evidence(learnt=0.9, hand=0.7)[0], evidence(learnt=0.6, hand=0.7)[1]
    assert choose_default([first, second], ["learnt"], ["hand"]).default == "hand"


def test_among_several_that_earned_it_the_best_is_chosen() -> None:
    assert choose_default(evidence(learnt=0.8, both=0.9, hand=0.7), ["learnt", "both"], ["hand"]).default == "both"


def test_a_choice_without_evidence_or_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="evidence"):
        choose_default([], ["learnt"], ["hand"])
    with pytest.raises(ValueError, match="scores"):
        choose_default(evidence(learnt=0.8), ["learnt"], ["hand"])


def test_retrieval_ranks_a_row_among_all_others() -> None:
    index = unit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    assert retrieve(index, index).tolist() == [1, 1, 1]
    assert retrieve(unit(np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.9]])), index).tolist() == [pytest.approx(1 / 3), 1, 1]


def test_a_constant_embedding_retrieves_nothing() -> None:
    assert retrieve(np.ones((5, 2)), np.ones((5, 2))).tolist() == [0.2] * 5


def test_changed_recordings_keep_their_length_and_change_as_named() -> None:
    mono = (0.2 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)).astype(np.float32)
    changed = change_recording(mono)
    assert {name: len(version) for name, version in changed.items()} == dict.fromkeys(changed, len(mono))
    assert np.abs(changed["louder"]).max() == pytest.approx(0.2 * 10**0.3, rel=1e-3)
    peak = {name: np.abs(np.fft.rfft(version)).argmax() for name, version in changed.items()}
    assert peak["mp3"] == peak["softer"] == 440
    assert peak["semitone_up"] == pytest.approx(440 * 2 ** (1 / 12), abs=3)
    assert peak["semitone_down"] == pytest.approx(440 / 2 ** (1 / 12), abs=3)


def test_mp3_changes_a_recording_but_not_beyond_recognition() -> None:
    mono = np.convolve(np.random.default_rng(0).normal(0, 0.1, 22_050), np.ones(8) / 8, mode="same").astype(np.float32)
    decoded = encode_mp3(mono)
    assert decoded.shape == mono.shape
    assert 0.9 < np.corrcoef(mono, decoded)[0, 1] < 0.99999


def test_an_embedding_that_hears_pitch_retrieves_better_than_one_that_hears_loudness() -> None:
    frequencies = 300 * 2 ** (np.arange(8) / 4)
    recordings = [(0.1 * np.sin(2 * np.pi * each * np.arange(22_050) / 22_050)).astype(np.float32) for each in frequencies]

    def by_pitch(sounds):
        return unit(
            np.stack(
                [
                    np.exp(-0.5 * ((np.arange(0, 5, 0.1) - np.log2(np.abs(np.fft.rfft(x, 22_050)).argmax() / 200)) / 0.1) ** 2)
                    for x in sounds
                ]
            )
        )

    def by_level(sounds):
        level = np.array([np.log(np.std(x)) for x in sounds])
        return np.stack([np.cos(level), np.sin(level)], 1)

    found = measure_retrieval(recordings, {"pitch": by_pitch, "level": by_level})
    assert set(found.parts["pitch"]) == {"mp3", "softer", "louder", "semitone_down", "semitone_up", "excerpt"}
    assert found.scores["pitch"].mean() > 0.9
    assert found.scores["level"].mean() < 0.6


def test_a_probe_scores_groups_that_it_was_not_fitted_on() -> None:
    rng = np.random.default_rng(0)
    labels = [("a", "b")[index % 2] for index in range(80)]
    groups = [index // 4 for index in range(80)]
    signal = np.array([[label == "a", label == "b"] for label in labels], float)
    # What gives only the group away helps no probe that is scored on other groups.
    found = measure_probe(
        {"told": unit(signal + rng.normal(0, 0.2, (80, 2))), "leak": np.eye(20)[groups], "noise": unit(rng.normal(size=(80, 4)))},
        labels,
        groups,
    )
    assert found.scores["told"].mean() > 0.95
    assert abs(found.scores["leak"].mean() - 0.5) < 0.2
    assert abs(found.scores["noise"].mean() - 0.5) < 0.2
    assert found.means()["told"].count == 20


def test_a_probe_needs_groups_to_fit_to_tune_and_to_score_on() -> None:
    with pytest.raises(ValueError, match="three groups"):
        measure_probe({"x": np.eye(4)}, ["a", "b", "a", "b"], [0, 0, 1, 1])


def test_the_embeddings_are_compared_on_the_same_recordings_and_a_default_is_chosen() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(22_050) / 22_050
    recordings, labels = [], []
    for number in range(8):
        tone = 0.2 * np.sin(2 * np.pi * 220 * 2 ** (number / 3) * times) * (1 + np.sin(2 * np.pi * (2 + number) * times))
        recordings.append((tone + rng.normal(0, 0.01 * (1 + number % 2), 22_050)).astype(np.float32))
        labels.append(("clean", "noisy")[number % 2])
    features = np.stack([_hear(mono)[1] for mono in recordings])
    standard = fit_standard(features, [str(place) for place in range(features.shape[1])])
    mels = [_hear(mono)[0] for mono in recordings]
    recipe = replace(DEMO, fit=replace(DEMO.fit, steps=3, batch_size=6), frames=32, width=4, projection=8, shifts=2)
    found, choice = compare_embeddings(
        recordings, train_encoder(mels, recipe), random_encoder(mels, recipe), standard, labels, [number // 2 for number in range(8)]
    )
    assert [each.task for each in found] == ["retrieval", "probe"]
    assert all(set(each.scores) == {*CHALLENGERS, *CONTROLS} for each in found)
    assert all(((score > 0) & (score <= 1)).all() for score in found[0].scores.values())
    assert found[0].parts["hand"]["louder"] == 1
    assert choice.default in {*CHALLENGERS, *CONTROLS}
    assert len(choice.differences) == 2 * 3 * 2
    unlabelled, _ = compare_embeddings(recordings[:3], train_encoder(mels, recipe), random_encoder(mels, recipe), standard)
    assert [each.task for each in unlabelled] == ["retrieval"]
