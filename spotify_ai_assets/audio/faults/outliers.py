"""Recordings unlike the others of their artist: wrong metadata, most likely.

The distance of a track to its artist is the mean cosine distance to the nearest three of the artist's other tracks (Ramaswamy,
Rastogi and Shim 2000 rank outliers by such distances), which lets an artist have several styles. It is compared with the same
distance of the artist's other tracks, robustly: the median and 1.4826 times the median absolute deviation, the latter not below
half of the catalogue's own, so that five nearly equal tracks do not make an outlier of the sixth. A track must also be nearer to
tracks of others than to those of its artist: someone's single ballad is unusual, not wrong.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

LEAST_TRACKS = 5
NEAREST = 3
LIMIT = 4.0
"""Robust deviations at which the score is one half."""
_BLOCK = 1024

SCHEMA = {
    "file_id": pl.String,
    "artist": pl.String,
    "score": pl.Float64,
    "tracks": pl.Int64,
    "distance": pl.Float64,
    "usual_distance": pl.Float64,
    "deviations": pl.Float64,
    "distance_to_others": pl.Float64,
}


def find_outliers(
    embeddings: Mapping[str, np.ndarray], artists: Mapping[str, str], *, least_tracks: int = LEAST_TRACKS, least_score: float = 0.5
) -> pl.DataFrame:
    """Tracks whose sound is far from that of their artist's other tracks.

    Args:
        embeddings: Vector of each file, of one length; the norm does not matter.
        artists: Artist of each file; files without one, or with fewer than ``least_tracks`` of the artist, are not judged.
        least_tracks: Tracks of an artist that it takes, ``NEAREST`` + 2 at least.
        least_score: Leave out rows below this; 0 gives all that were judged.

    Returns:
        ``SCHEMA``, highest score first, then by id. ``distance`` is the mean cosine distance to the nearest three own tracks,
        ``usual_distance`` its median over the artist's others, ``distance_to_others`` that to the nearest three of other artists.

    Raises:
        ValueError: Vectors differ in length or are not finite, or ``least_tracks`` is too small.
    """
    if least_tracks < NEAREST + 2:
        raise ValueError(f"at least {NEAREST + 2} tracks are needed to judge one by the others")
    names = sorted(name for name in embeddings if name in artists)
    if not names:
        return pl.DataFrame(schema=SCHEMA)
    vectors = np.stack([np.asarray(embeddings[name], dtype=np.float64) for name in names])
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError("embeddings are finite vectors of one length")
    vectors = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    artist_names, artist = np.unique([artists[name] for name in names], return_inverse=True)
    counts = np.bincount(artist)
    judged = np.flatnonzero(counts[artist] >= least_tracks)
    own, other = _measure_distances(vectors, artist, judged)
    usual, deviation = _find_usual(own, artist[judged])
    # Half of the usual deviation of the whole catalogue is the least that an artist is believed.
    floor = max(0.5 * float(np.median(deviation)), 0.01) if len(deviation) else 0.01
    deviations = (own - usual) / np.maximum(deviation, floor)
    scores = 1 / (1 + np.exp(-np.clip(np.minimum(deviations - LIMIT, (own - other) / floor), -30, 30)))
    frame = pl.DataFrame(
        {
            "file_id": [names[i] for i in judged],
            "artist": [str(artist_names[artist[i]]) for i in judged],
            "score": scores,
            "tracks": counts[artist[judged]],
            "distance": own,
            "usual_distance": usual,
            "deviations": deviations,
            "distance_to_others": other,
        },
        schema=SCHEMA,
    )
    return frame.filter(pl.col("score") >= least_score).sort(["score", "file_id"], descending=[True, False])


def _measure_distances(vectors: np.ndarray, artist: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance to the nearest tracks of the same artist, and of others; 2, the largest, where there are none."""
    own, other = np.zeros(len(judged)), np.zeros(len(judged))
    for begin in range(0, len(judged), _BLOCK):
        rows = judged[begin : begin + _BLOCK]
        distances = 1 - vectors[rows] @ vectors.T
        same = artist[rows][:, None] == artist[None, :]
        distances[np.arange(len(rows)), rows] = np.inf
        for found, mask in ((own, same), (other, ~same)):
            nearest = np.where(mask, distances, np.inf)
            nearest = np.partition(nearest, min(NEAREST, nearest.shape[1]) - 1, axis=1)[:, :NEAREST]
            nearest = np.where(np.isfinite(nearest), nearest, 2.0)
            found[begin : begin + len(rows)] = np.maximum(nearest.mean(axis=1), 0)
    return own, other


def _find_usual(own: np.ndarray, artist: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and scaled median deviation of the distances of each track's fellows, without its own."""
    usual, deviation = np.zeros(len(own)), np.zeros(len(own))
    for number in np.unique(artist):
        rows = np.flatnonzero(artist == number)
        for row in rows:
            others = own[rows[rows != row]]
            usual[row] = np.median(others)
            deviation[row] = 1.4826 * np.median(np.abs(others - usual[row]))
    return usual, deviation
