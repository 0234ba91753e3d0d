"""How near what is measured and found in the files of the audio demo is to what was put there.

* Tempo, key and metre are scored on files with nothing wrong, tempo and metre only where there is a beat. A tempo is right within
  2 %; apart from that it is counted whether a third, half, double or triple of it would be.
* Loudness and length are scored on every file that has features: the truth was measured on the signal after its fault.
* A link is right if it is to one of the ids of the track that the file says it is; a file that says nothing has none.
* A fault is found if the file has it, whatever else it has. A false alarm is any fault of a clean file; a pair of files is false if
  they do not play one recording. Clean files that are the first of a pair are clean.

Files are known by the digest of their bytes: copies are one file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

TEMPO_SHARE, LOUDNESS_LU, DURATION_MS = 0.02, 0.5, 60
_OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)
_DUPLICATE = "_duplicate"

Truth = Mapping[str, Mapping[str, Any]]


def score_audio(
    truth: Mapping[str, Any],
    *,
    files: pl.DataFrame,
    features: pl.DataFrame,
    links: pl.DataFrame,
    anomalies: pl.DataFrame,
    rejected: pl.DataFrame,
) -> dict[str, Any]:
    """Score what the platform made of the audio demo.

    Args:
        truth: What ``write_audio`` returned.
        files: ``audio/files``: ``file_id, is_partial``.
        features: ``audio/features``: ``file_id, tempo, key, mode, time_signature, loudness, duration_ms``.
        links: ``audio/track_links``: ``file_id, track_id``.
        anomalies: ``audio/anomalies``: ``file_id, fault, other_file_id``.
        rejected: ``audio/rejected``: ``file_id``.

    Returns:
        ``tempo``, ``key``, ``time_signature``, ``loudness``, ``duration``, ``links``, ``faults``, ``duplicates`` and ``intake``, each
        with the number of cases ``n``; a share of no cases is null.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for told in truth["tracks"].values():
        known.setdefault(told["sha256"], told)
    measured = {row["file_id"]: row for row in features.iter_rows(named=True)}
    pairs = [(known[name], row) for name, row in measured.items() if name in known]
    clean = [(told, row) for told, row in pairs if told["kind"] in ("music", "duplicate")]
    return {
        "tempo": _score_tempo(clean),
        "key": _score_key(clean),
        "time_signature": _score_metre(clean),
        "loudness": _score_distance(pairs, "loudness_lufs", "loudness", LOUDNESS_LU),
        "duration": _score_distance(pairs, "duration_ms", "duration_ms", DURATION_MS),
        "links": _score_links(known, dict(links.select("file_id", "track_id").iter_rows())),
        "faults": _score_faults(known, anomalies),
        "duplicates": _score_duplicates(truth["tracks"], known, anomalies),
        "intake": _score_intake(known, files, measured.keys(), set(rejected["file_id"])),
    }


Pairs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def _share(right: int, count: int) -> float | None:
    return round(right / count, 4) if count else None


def _score_tempo(pairs: Pairs) -> dict[str, Any]:
    beaten = [(told["tempo"], row["tempo"] or 0.0) for told, row in pairs if told["has_beat"]]
    strict = sum(_near(found, tempo) for tempo, found in beaten)
    tolerant = sum(any(_near(found, tempo * octave) for octave in _OCTAVES) for tempo, found in beaten)
    return {"n": len(beaten), "within_2_percent": _share(strict, len(beaten)), "octave_tolerant": _share(tolerant, len(beaten))}


def _near(found: float, tempo: float) -> bool:
    return abs(found - tempo) <= TEMPO_SHARE * tempo


def _score_key(pairs: Pairs) -> dict[str, Any]:
    tuned = [(told, row) for told, row in pairs if told["key"] is not None]
    count = len(tuned)
    keys, modes = (sum(told[name] == row[name] for told, row in tuned) for name in ("key", "mode"))
    both = sum((told["key"], told["mode"]) == (row["key"], row["mode"]) for told, row in tuned)
    return {"n": count, "exact": _share(both, count), "key": _share(keys, count), "mode": _share(modes, count)}


def _score_metre(pairs: Pairs) -> dict[str, Any]:
    beaten = [(told["time_signature"], row["time_signature"]) for told, row in pairs if told["has_beat"]]
    by_metre = {}
    for metre in sorted({told for told, _ in beaten}):
        mine = [found == metre for told, found in beaten if told == metre]
        by_metre[str(metre)] = {"n": len(mine), "right": _share(sum(mine), len(mine))}
    return {"n": len(beaten), "right": _share(sum(told == found for told, found in beaten), len(beaten)), "by_metre": by_metre}


def _score_distance(pairs: Pairs, name: str, column: str, limit: float) -> dict[str, Any]:
    """How many are within a limit, and the worst; a measure that is missing is not within it, and one without truth not counted."""
    told = [(known[name], row[column]) for known, row in pairs if known[name] is not None]
    distances = [abs(found - value) for value, found in told if found is not None]
    return {
        "n": len(told),
        "within": _share(sum(distance <= limit for distance in distances), len(told)),
        "worst": round(max(distances), 4) if distances else None,
        "missing": len(told) - len(distances),
    }


def _as_catalogued(track: str) -> str:
    """A track by the id that the catalogue gives it."""
    return track.replace("spotify:track:", "spotify:")


def _score_links(known: Truth, links: Mapping[str, str]) -> dict[str, Any]:
    by_method: dict[str, dict[str, int]] = {}
    for file_id, told in known.items():
        if told["expect"] == "rejected":
            continue
        counts = by_method.setdefault(told["link"], {"n": 0, "linked": 0, "right": 0})
        counts["n"] += 1
        counts["linked"] += file_id in links
        counts["right"] += links.get(file_id) in [_as_catalogued(track) for track in told["track_ids"]]
    linked, right = (sum(counts[name] for counts in by_method.values()) for name in ("linked", "right"))
    telling = sum(counts["n"] for method, counts in by_method.items() if method != "none")
    return {
        "n": telling,
        "precision": _share(right, linked),
        "recall": _share(right, telling),
        "by_method": {
            method: {**counts, "precision": _share(counts["right"], counts["linked"])}
            | ({} if method == "none" else {"recall": _share(counts["right"], counts["n"])})
            for method, counts in sorted(by_method.items())
        },
    }


def _score_faults(known: Truth, anomalies: pl.DataFrame) -> dict[str, Any]:
    single = anomalies.filter(~pl.col("fault").str.ends_with(_DUPLICATE)).select("file_id", "fault").unique()
    found = set(single.iter_rows())
    clean = {file_id for file_id, told in known.items() if told["kind"] == "music"}
    planted: dict[str, list[str]] = {}
    for file_id, told in known.items():
        for fault in told["faults"]:
            planted.setdefault(fault, []).append(file_id)
    by_fault = {}
    for fault in sorted(planted.keys() | {fault for _, fault in found}):
        mine = planted.get(fault, [])
        hits = sum((file_id, fault) in found for file_id in mine)
        false = sum((file_id, fault) in found for file_id in clean)
        by_fault[fault] = {
            "n": len(mine),
            "found": hits,
            "recall": _share(hits, len(mine)),
            "false_alarms": false,
            "false_alarms_per_100": round(100 * false / len(clean), 3) if clean else None,
        }
    false_files = {file_id for file_id, _ in found if file_id in clean}
    return {"clean_files": len(clean), "clean_files_blamed": len(false_files), "by_fault": by_fault}


def _score_duplicates(tracks: Truth, known: Truth, anomalies: pl.DataFrame) -> dict[str, Any]:
    rows = anomalies.filter(pl.col("fault").str.ends_with(_DUPLICATE) & (pl.col("other_file_id") != ""))
    found: dict[frozenset[str], set[str]] = {}
    for one, two, fault in rows.select("file_id", "other_file_id", "fault").iter_rows():
        found.setdefault(frozenset((one, two)), set()).add(fault.removesuffix(_DUPLICATE))
    by_kind: dict[str, dict[str, int]] = {}
    for told in tracks.values():
        if told["of"] is None or told["repeats"] == "same_bytes":
            continue
        kinds = found.get(frozenset((told["sha256"], tracks[told["of"]]["sha256"])), set())
        counts = by_kind.setdefault(told["repeats"], {"n": 0, "found": 0, "found_as_such": 0})
        counts["n"] += 1
        counts["found"] += bool(kinds)
        counts["found_as_such"] += told["repeats"] in kinds
    heard = [{known[name]["heard_track_id"] for name in pair if name in known} for pair in found if all(name in known for name in pair)]
    return {
        "n": sum(counts["n"] for counts in by_kind.values()),
        "by_kind": {kind: {**counts, "recall": _share(counts["found"], counts["n"])} for kind, counts in sorted(by_kind.items())},
        "pairs": len(found),
        "false_pairs": sum(len(one) > 1 for one in heard),
    }


def _score_intake(known: Truth, files: pl.DataFrame, measured: Any, rejected: set[str]) -> dict[str, Any]:
    expected = {
        name: {file_id for file_id, told in known.items() if told["expect"] == name} for name in ("features", "partial", "rejected")
    }
    partial = set(files.filter("is_partial")["file_id"])
    return {
        "n": len(known),
        "features": {
            "n": len(expected["features"]),
            "right": len(expected["features"] & set(measured) - rejected),
            "wrongly_rejected": len(expected["features"] & rejected),
            "wrongly_partial": len(expected["features"] & partial),
        },
        "partial": {"n": len(expected["partial"]), "right": len(expected["partial"] & partial & set(measured))},
        "rejected": {"n": len(expected["rejected"]), "right": len(expected["rejected"] & rejected - set(measured))},
    }
