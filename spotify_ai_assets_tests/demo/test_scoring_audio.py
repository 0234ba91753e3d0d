from typing import Any

import polars as pl

from spotify_ai_assets.demo.scoring_audio import score_audio

FEATURES = {
    **dict.fromkeys(("file_id",), pl.String),
    **dict.fromkeys(("tempo", "loudness"), pl.Float64),
    **dict.fromkeys(("key", "mode", "time_signature", "duration_ms"), pl.Int64),
}


def tell(sha: str, **other: Any) -> dict[str, Any]:
    plain = {
        **{"sha256": sha, "kind": "music", "expect": "features", "link": "isrc", "track_ids": [f"t:{sha}"], "heard_track_id": f"t:{sha}"},
        **{"tempo": 120.0, "has_beat": True, "key": 3, "mode": 1, "time_signature": 4, "loudness_lufs": -14.0, "duration_ms": 12_000},
        **{"faults": [], "of": None, "repeats": None},
    }
    return plain | other


TRUTH = {
    "tracks": {
        "a": tell("a"),
        "b": tell("b", link="csv", has_beat=False, mode=0),
        "copy of a": tell("a", kind="duplicate", of="a", repeats="same_bytes"),
        "near a": tell("n", kind="duplicate", of="a", repeats="near", heard_track_id="t:a", track_ids=["t:a"], link="none")
        | {"track_ids": []},
        "clipped": tell("c", kind="fault", faults=["clipping"], link="mbid", track_ids=["mbid:c", "t:c"]),
        "text": tell("x", kind="corrupt", expect="rejected"),
        "half": tell("h", kind="corrupt", expect="partial", loudness_lufs=None, duration_ms=None, link="none", track_ids=[]),
    }
}


def score(**changes: Any) -> dict[str, Any]:
    rows = [
        {"file_id": name, "tempo": 120.0, "loudness": -14.0, "key": 3, "mode": 1, "time_signature": 4, "duration_ms": 12_000}
        | ({"mode": 0} if name == "b" else {})
        | changes.get(name, {})
        for name in ("a", "b", "n", "c", "h")
    ]
    links = {"a": "t:a", "b": "t:b", "c": "mbid:c"} | changes.get("links", {})
    anomalies = [("n", "near_duplicate", "a"), ("c", "clipping", ""), *changes.get("anomalies", [])]
    return score_audio(
        TRUTH,
        files=pl.DataFrame({"file_id": ["a", "b", "n", "c", "h"], "is_partial": [False, False, False, False, True]}),
        features=pl.DataFrame(rows, schema=FEATURES),
        links=pl.DataFrame({"file_id": list(links), "track_id": list(links.values())}),
        anomalies=pl.DataFrame(anomalies, schema=["file_id", "fault", "other_file_id"], orient="row"),
        rejected=pl.DataFrame({"file_id": changes.get("rejected", ["x"])}),
    )


def test_what_is_all_right_scores_one() -> None:
    found = score()
    assert found["tempo"] == {"n": 2, "within_2_percent": 1.0, "octave_tolerant": 1.0}
    assert found["key"] == {"n": 3, "exact": 1.0, "key": 1.0, "mode": 1.0}
    assert found["time_signature"] == {"n": 2, "right": 1.0, "by_metre": {"4": {"n": 2, "right": 1.0}}}
    assert found["loudness"] == {"n": 4, "within": 1.0, "worst": 0.0, "missing": 0}
    assert found["duration"]["n"] == 4
    assert (found["links"]["n"], found["links"]["precision"], found["links"]["recall"]) == (3, 1.0, 1.0)
    assert found["faults"]["by_fault"] == {"clipping": {"n": 1, "found": 1, "recall": 1.0, "false_alarms": 0, "false_alarms_per_100": 0.0}}
    assert found["duplicates"] == {
        **{"n": 1, "pairs": 1, "false_pairs": 0},
        "by_kind": {"near": {"n": 1, "found": 1, "found_as_such": 1, "recall": 1.0}},
    }
    assert found["intake"]["features"] == {"n": 4, "right": 4, "wrongly_rejected": 0, "wrongly_partial": 0}
    assert found["intake"]["partial"] == {"n": 1, "right": 1}
    assert found["intake"]["rejected"] == {"n": 1, "right": 1}


def test_a_double_tempo_counts_as_octave_tolerant_only_and_a_wrong_one_not_at_all() -> None:
    assert score(a={"tempo": 240.0})["tempo"] == {"n": 2, "within_2_percent": 0.5, "octave_tolerant": 1.0}
    assert score(a={"tempo": 122.3})["tempo"]["within_2_percent"] == 1.0
    assert score(a={"tempo": 122.5})["tempo"] == {"n": 2, "within_2_percent": 0.5, "octave_tolerant": 0.5}
    assert score(a={"tempo": None})["tempo"]["octave_tolerant"] == 0.5
    assert score(b={"tempo": 77.0})["tempo"]["within_2_percent"] == 1.0, "ambient music has no beat to find"


def test_a_relative_key_is_wrong() -> None:
    found = score(a={"key": 0, "mode": 0})["key"]
    assert (found["exact"], found["key"], found["mode"]) == (0.6667, 0.6667, 0.6667)
    assert score(a={"key": None, "mode": None})["key"]["exact"] == 0.6667


def test_loudness_counts_missing_and_far_values_and_tells_the_worst() -> None:
    found = score(a={"loudness": -14.6}, b={"loudness": None})["loudness"]
    assert found == {"n": 4, "within": 0.5, "worst": 0.6, "missing": 1}


def test_wrong_links_cost_precision_and_missing_ones_recall() -> None:
    wrong = score(links={"a": "t:z", "n": "t:a"})["links"]
    assert wrong["precision"] == 0.5
    assert wrong["recall"] == 0.6667
    assert wrong["by_method"]["isrc"] == {"n": 1, "linked": 1, "right": 0, "precision": 0.0, "recall": 0.0}
    assert wrong["by_method"]["none"] == {"n": 2, "linked": 1, "right": 0, "precision": 0.0}
    assert score(links={"c": "t:c"})["links"]["recall"] == 1.0, "either id names the track"


def test_alarms_on_clean_files_are_false_and_pairs_that_play_different_tracks_are() -> None:
    found = score(anomalies=[("b", "clicks", ""), ("b", "near_duplicate", "a"), ("c", "clicks", "")])
    assert found["faults"]["clean_files_blamed"] == 1
    assert found["faults"]["by_fault"]["clicks"] == {"n": 0, "found": 0, "recall": None, "false_alarms": 1, "false_alarms_per_100": 50.0}
    assert found["duplicates"]["false_pairs"] == 1


def test_a_file_refused_without_reason_is_counted() -> None:
    found = score(rejected=["a"])["intake"]
    assert found["features"] == {"n": 4, "right": 3, "wrongly_rejected": 1, "wrongly_partial": 0}
    assert found["rejected"] == {"n": 1, "right": 0}
