"""From analyses to rows: every number that was measured is in its table, and each table keeps its contract."""

import numpy as np
import polars as pl
import pytest
from audio_world import digest, sound, write

from spotify_ai_assets.audio.analysis import from_npz
from spotify_ai_assets.audio.contracts import EVIDENCE, FEATURES, FINGERPRINTS, SPECTROGRAMS
from spotify_ai_assets.audio.measurements import (
    sole_extractor,
    tabulate_evidence,
    tabulate_features,
    tabulate_fingerprints,
    tabulate_spectrograms,
    unpack_mels,
)
from spotify_ai_assets.contracts import shard_of
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.validation import require

pytestmark = pytest.mark.xdist_group("audio_world")


@pytest.fixture(scope="module")
def measured(measuring, tmp_path_factory):
    """The shard, the id and the analysis of a song, and of digital silence."""
    folder = tmp_path_factory.mktemp("measured")
    found = []
    for name, samples in {"song.wav": sound("song", 1, 1.5), "silence.wav": np.zeros(22_050)}.items():
        path = write(folder / name, samples)
        found.append((digest(path), from_npz(measuring.ask("analyse", path).payload)))
    return found


def test_features_are_those_of_the_analysis(measured):
    (file_id, analysis), (silent, _) = measured
    rows = tabulate_features(shard_of(file_id), measured)
    require(FEATURES, rows)
    row = rows.filter(file_id=file_id).row(0, named=True)
    columns = set(FEATURES.schema) - {"shard", "file_id", "extractor"}
    assert columns == columns & ({*analysis.values} | {*analysis.vectors}), "each column is measured"
    for name in columns:
        expected = analysis.values.get(name, analysis.vectors.get(name))
        is_whole = FEATURES.schema[name] == pl.Int64 or name == "beats_ms"
        given = expected.tolist() if isinstance(expected, np.ndarray) else expected
        assert row[name] == (given if given is None else pytest.approx(given, rel=1e-6, abs=is_whole)), name
    assert row["extractor"] == analysis.extractor and row["shard"] == shard_of(file_id)
    assert rows.filter(file_id=silent).select("loudness", "key").row(0) == (None, None)


def test_the_packed_mel_comes_back_byte_by_byte(measured):
    rows = tabulate_spectrograms("00", measured)
    require(SPECTROGRAMS, rows)
    for (_, analysis), mel, row in zip(measured, unpack_mels(rows), rows.iter_rows(named=True), strict=True):
        assert mel.dtype == np.uint8 and np.array_equal(mel, analysis.mel)
        assert len(row["wave"]) % 3 == 0 and np.abs(row["wave"][len(row["wave"]) // 3 :]).max() <= 1


def test_landmarks_keep_their_frames_and_silence_has_none(measured):
    rows = tabulate_fingerprints("00", measured)
    require(FINGERPRINTS, rows)
    (_, analysis), _ = measured
    assert list(zip(rows["hashes"][0], rows["frames"][0], strict=True)) == [tuple(pair) for pair in analysis.prints.tolist()]
    assert len(rows["hashes"][0]) > 10 and len(rows["hashes"][1]) == 0


def test_evidence_has_a_row_for_each_measure(measured):
    rows = tabulate_evidence("00", measured)
    require(EVIDENCE, rows)
    for file_id, analysis in measured:
        assert dict(rows.filter(file_id=file_id).select("measure", "value").iter_rows()) == pytest.approx(analysis.evidence)


@pytest.mark.parametrize("tabulate", [tabulate_features, tabulate_spectrograms, tabulate_fingerprints, tabulate_evidence])
def test_a_shard_without_analyses_is_an_empty_table(tabulate):
    assert tabulate("00", []).is_empty()


def test_rows_that_are_used_together_have_one_extractor():
    old, new = (pl.DataFrame({"file_id": [name], "extractor": [name * 16]}) for name in "ab")
    assert sole_extractor(new) == sole_extractor(new, new.drop("file_id"), new.clear()) == "b" * 16
    for tables in ((old, new), (pl.concat([new, old]),)):
        with pytest.raises(MissingInputError, match=r"one extractor, not 2: a{16}, b{16}$"):
            sole_extractor(*tables)
    with pytest.raises(MissingInputError, match="not 0: no rows"):
        sole_extractor(new.clear())
