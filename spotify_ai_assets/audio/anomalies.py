"""What is wrong with files, from all that is known of them: faults of one, duplicates among several, tracks unlike their artist."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.audio.contracts import ANOMALIES
from spotify_ai_assets.audio.faults.duplicates import find_duplicates
from spotify_ai_assets.audio.faults.judgement import FAULTS, judge_file
from spotify_ai_assets.audio.faults.outliers import find_outliers

if TYPE_CHECKING:
    from spotify_ai_assets.audio.studio import Studio
    from spotify_ai_assets.making import Inputs

LOSSY = ("ogg", "mp3")
MOST_PICTURES = 200
"""Faults of one file that are drawn at most, the clearest first: each is decoded once more for it. Others have no picture."""

OTHER_ARTIST = "unlike_artist"


def find_anomalies(read: "Inputs", studio: "Studio") -> pl.DataFrame:
    """All anomalies of the catalogue.

    Returns:
        Rows of ``audio/anomalies``.
    """
    files = read("audio/files").select("file_id", "container", "codec", "is_excerpt", "audio_digest").collect()
    rows = [
        *_faults(files, read("audio/evidence").collect()),
        *_duplicates(files, read("audio/fingerprints").select("file_id", "hashes", "frames").collect()),
        *_outliers(read("audio/embeddings").collect(), read("audio/track_links").collect(), read("catalog/tracks").collect()),
    ]
    drawable = sorted((row for row in rows if row["fault"] in FAULTS), key=lambda row: -row["score"])
    drawn = {(row["file_id"], row["fault"]) for row in drawable[:MOST_PICTURES]}
    for done, row in enumerate(rows, 1):
        row["picture"] = studio.draw(row["file_id"], row["fault"]) if (row["file_id"], row["fault"]) in drawn else None
        studio.tell("anomalies", done, len(rows))
    return pl.DataFrame(rows, schema=ANOMALIES.schema).sort(ANOMALIES.primary_key)


def _faults(files: pl.DataFrame, evidence: pl.DataFrame) -> Iterator[dict[str, Any]]:
    known = files.rows_by_key("file_id", named=True, unique=True)
    for (file_id,), measures in evidence.sort("file_id", "measure").group_by("file_id", maintain_order=True):
        facts = known.get(file_id)
        if facts is None:
            continue
        is_lossy = facts["container"] in LOSSY and facts["codec"] != "flac"
        found = dict(measures.select("measure", "value").iter_rows())
        for fault in judge_file(found, is_lossy=is_lossy, is_excerpt=facts["is_excerpt"]):
            yield _row(file_id, fault.fault, fault.score, fault.severity, fault.evidence)


def _duplicates(files: pl.DataFrame, prints: pl.DataFrame) -> Iterator[dict[str, Any]]:
    landmarks = {
        file_id: np.column_stack([np.asarray(hashes, np.uint32), np.asarray(frames, np.uint32)])
        for file_id, hashes, frames in prints.iter_rows()
    }
    digests = dict(files.filter(pl.col("audio_digest") != "").select("file_id", "audio_digest").iter_rows())
    for pair in find_duplicates(landmarks, digests).iter_rows(named=True):
        one, two = pair.pop("file_id"), pair.pop("other_file_id")
        kind, score = pair.pop("kind"), pair.pop("score")
        severity = "severe" if kind == "exact" else "clear" if kind == "near" else "slight"
        # The one whose id comes later is called the duplicate: which was first nobody can say of two files.
        yield _row(two, f"{kind}_duplicate", score, severity, {name: value for name, value in pair.items() if value is not None}, one)


def _outliers(embeddings: pl.DataFrame, links: pl.DataFrame, tracks: pl.DataFrame) -> Iterator[dict[str, Any]]:
    artists = links.join(tracks.select("track_id", "artist_id"), on="track_id").select("file_id", "artist_id")
    vectors = {file_id: np.asarray(vector) for file_id, vector in embeddings.select("file_id", "embedding").iter_rows()}
    for row in find_outliers(vectors, dict(artists.iter_rows())).iter_rows(named=True):
        evidence = {name: row[name] for name in ("distance", "usual_distance", "distance_to_others")}
        yield _row(row["file_id"], OTHER_ARTIST, row["score"], "severe" if row["score"] >= 0.95 else "clear", evidence)


def _row(file_id: str, fault: str, score: float, severity: str, evidence: dict[str, Any], other: str = "") -> dict[str, Any]:
    shown = {name: round(value, 6) if isinstance(value, float) else value for name, value in evidence.items()}
    return {
        "file_id": file_id,
        "fault": fault,
        "other_file_id": other,
        "score": float(np.clip(score, 0, 1)),
        "severity": severity,
        "evidence": json.dumps(shown, sort_keys=True),
    }
