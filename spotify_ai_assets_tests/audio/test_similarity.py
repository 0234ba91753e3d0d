"""Search for what sounds alike: exact, without the file itself, and only where it is clear which file is meant."""

import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.audio.similarity import find_similar
from spotify_ai_assets.contracts import shard_of
from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.tables import TABLES

ANGLES = {"aa": 0.0, "ab": 0.3, "b0": 0.1, "c0": 2.0}


@pytest.fixture
def filled(lake):
    """Four files at angles, two of them linked to a track."""
    ids = {name: name.ljust(64, "0") for name in ANGLES}
    rows = [
        {"shard": shard_of(ids[name]), "file_id": ids[name], "model_version": "v", "embedding": [np.cos(angle), np.sin(angle)]}
        for name, angle in ANGLES.items()
    ]
    frame = pl.DataFrame(rows, schema=TABLES["audio/embeddings"].schema)
    for (shard,), mine in frame.group_by("shard"):
        lake.write("audio/embeddings", mine, shard)
    links = [{"file_id": ids[name], "track_id": "spotify:x", "method": "csv", "confidence": 1.0} for name in ("b0", "c0")]
    lake.write("audio/track_links", pl.DataFrame(links, schema=TABLES["audio/track_links"].schema))
    return lake


def test_the_nearest_come_first_and_the_file_itself_is_left_out(filled):
    found = find_similar(filled, "aa", 10)
    assert [each[:2] for each in found["file_id"]] == ["b0", "ab", "c0"]
    assert found["cosine"].to_list() == pytest.approx([np.cos(0.1), np.cos(0.3), np.cos(2.0)], abs=1e-6)
    assert found["track_id"].to_list() == ["spotify:x", None, "spotify:x"]
    assert find_similar(filled, "aa", 1).height == 1


def test_a_track_stands_for_the_first_of_its_files(filled):
    assert find_similar(filled, "spotify:x", 10)["file_id"].to_list() == find_similar(filled, "b0", 10)["file_id"].to_list()


@pytest.mark.parametrize(("item", "count"), [("a", 2), ("zz", 0), ("spotify:y", 0), ("", 4)])
def test_a_name_that_fits_several_or_no_file_is_refused(filled, item, count):
    with pytest.raises(MissingInputError, match=rf"^{count} files"):
        find_similar(filled, item, 3)


def test_without_embeddings_there_is_nothing_to_search(lake):
    with pytest.raises(MissingInputError, match="no embeddings yet"):
        find_similar(lake, "aa", 3)
