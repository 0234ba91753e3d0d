"""From analyses to rows and back: what one pass over each file gave, as the tables of a shard, and what readers of them all ask."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.audio.contracts import EVIDENCE, FEATURES, FINGERPRINTS, SPECTROGRAMS
from spotify_ai_assets.audio.models.mels import BANDS
from spotify_ai_assets.contracts import SHARD, Table
from spotify_ai_assets.errors import MissingInputError

if TYPE_CHECKING:
    from spotify_ai_assets.audio.analysis import Analysis

Analyses = Iterable[tuple[str, "Analysis"]]
"""Files and their analyses."""


def tabulate_features(shard: str, analyses: Analyses) -> pl.DataFrame:
    """Features of each file: scalars, and vectors as lists."""
    return _tabulate(FEATURES, shard, analyses, _feature_rows)


def tabulate_spectrograms(shard: str, analyses: Analyses) -> pl.DataFrame:
    """The packed mel of each file."""
    return _tabulate(SPECTROGRAMS, shard, analyses, _spectrogram_rows)


def tabulate_fingerprints(shard: str, analyses: Analyses) -> pl.DataFrame:
    """The landmarks of each file."""
    return _tabulate(FINGERPRINTS, shard, analyses, _fingerprint_rows)


def tabulate_evidence(shard: str, analyses: Analyses) -> pl.DataFrame:
    """What the detectors of faults judge each file by, a row for each measure."""
    return _tabulate(EVIDENCE, shard, analyses, _evidence_rows)


def _tabulate(table: Table, shard: str, analyses: Analyses, rows: "Callable[[Analysis], Iterator[dict[str, Any]]]") -> pl.DataFrame:
    found = [{SHARD: shard, "file_id": file_id, **row} for file_id, analysis in analyses for row in rows(analysis)]
    return pl.DataFrame(found, schema=table.schema)


def _feature_rows(analysis: "Analysis") -> Iterator[dict[str, Any]]:
    vectors = {name: vector.tolist() for name, vector in analysis.vectors.items()}
    known = {**analysis.values, **vectors, "extractor": analysis.extractor}
    yield {name: known[name] for name in FEATURES.schema if name in known}


def _spectrogram_rows(analysis: "Analysis") -> Iterator[dict[str, Any]]:
    yield {
        "extractor": analysis.extractor,
        "frames": analysis.mel.shape[1],
        "mel": analysis.mel.tobytes(),
        "wave": analysis.vectors["wave"].tolist(),
    }


def _fingerprint_rows(analysis: "Analysis") -> Iterator[dict[str, Any]]:
    hashes, frames = analysis.prints.T
    yield {"extractor": analysis.extractor, "hashes": hashes.tolist(), "frames": frames.tolist()}


def _evidence_rows(analysis: "Analysis") -> Iterator[dict[str, Any]]:
    for measure, value in sorted(analysis.evidence.items()):
        yield {"measure": measure, "value": float(value)}


def unpack_mels(rows: pl.DataFrame) -> list[np.ndarray]:
    """Packed mels of rows of ``audio/spectrograms``: uint8, shape (64, frames) each."""
    return [np.frombuffer(mel, np.uint8).reshape(BANDS, frames) for mel, frames in rows.select("mel", "frames").iter_rows()]


def sole_extractor(*tables: pl.DataFrame) -> str:
    """The extractor that measured all rows: what a model learns from, or answers by, is never a mixture.

    Args:
        tables: Rows that are used together, of any tables with a column ``extractor``.

    Raises:
        MissingInputError: Several extractors measured them, as while a new one goes over the shards, or there are no rows.
    """
    names = pl.concat([table.select("extractor") for table in tables])["extractor"].unique().sort().to_list()
    if len(names) != 1:
        raise MissingInputError(f"the rows must be measured by one extractor, not {len(names)}: {', '.join(names) or 'no rows'}")
    return names[0]
