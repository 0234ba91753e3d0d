import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TEXT_EMBEDDINGS, TRACKS
from spotify_ai_assets.catalog.embedding import TextStudio, embed_catalog, embed_texts
from spotify_ai_assets.catalog.encoding import CharacterGrams
from spotify_ai_assets.catalog.pictures import texts_by_neighbour
from spotify_ai_assets.validation import require


class Counting(CharacterGrams):
    """Remembers what it was asked."""

    def __init__(self, name: str = "counting:1") -> None:
        self.name, self.asked = name, []

    def encode(self, texts):
        self.asked += texts
        return super().encode(texts)


def described(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"item_id": [f"t{place}" for place in range(len(texts))], "subject": "track", "text": texts})


NONE = TEXT_EMBEDDINGS.empty()


def test_each_distinct_text_is_embedded_once():
    encoder = Counting()
    rows, embedded = embed_texts(described("a song", "another", "a song"), encoder, NONE)
    assert sorted(encoder.asked) == ["a song", "another"] and embedded == 2
    require(TEXT_EMBEDDINGS, rows)
    assert rows["embedding"][0].to_list() == rows["embedding"][2].to_list() != rows["embedding"][1].to_list()


def test_only_new_and_changed_texts_are_embedded():
    before, _ = embed_texts(described("one", "two"), Counting(), NONE)
    encoder = Counting()
    rows, embedded = embed_texts(described("one", "two, remastered", "three"), encoder, before)
    assert sorted(encoder.asked) == ["three", "two, remastered"] and embedded == 2
    afresh, _ = embed_texts(described("one", "two, remastered", "three"), Counting(), NONE)
    assert rows.equals(afresh)
    assert embed_texts(described("one", "two, remastered", "three"), encoder, rows)[1] == 0


def test_vectors_of_another_encoder_are_not_kept():
    before, _ = embed_texts(described("one"), Counting("old:1"), NONE)
    rows, embedded = embed_texts(described("one"), Counting("new:1"), before)
    assert embedded == 1 and rows["encoder"].to_list() == ["new:1"]


def test_vectors_are_of_half_precision_and_still_of_unit_length():
    rows, _ = embed_texts(described("one", "two"), Counting(), NONE)
    vectors = np.asarray(rows["embedding"].to_list(), np.float32)
    assert np.array_equal(vectors, vectors.astype(np.float16).astype(np.float32))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)


def test_the_catalogue_becomes_rows_of_its_contract(settings, monkeypatch):
    track = {"track_id": "t", "name": "Song", "artist_id": "a", "artist_name": "Band"}
    given = {TRACKS: [track], ALBUMS: [], ARTISTS: [{"artist_id": "artist:" + "0" * 20, "name": "Band"}]}
    frames = {table.key: pl.LazyFrame(rows, schema=table.schema) for table, rows in given.items()}
    monkeypatch.setattr("spotify_ai_assets.catalog.embedding.find_encoder", lambda model: Counting())
    rows = embed_catalog(frames.__getitem__, TextStudio(settings))
    require(TEXT_EMBEDDINGS, rows)
    assert rows["subject"].to_list() == ["artist", "track"]
    empty = {table.key: pl.LazyFrame(schema=table.schema) for table in given}
    assert embed_catalog(empty.__getitem__, TextStudio(settings)).equals(NONE)


def test_the_plot_counts_tracks_by_their_nearest_neighbour():
    rows, _ = embed_texts(described("heavy metal song", "heavy metal songs", "Gymnopédie"), Counting(), NONE)
    plot = texts_by_neighbour(rows.lazy())
    assert sum(plot.y) == 3 and plot.y[-1] + plot.y[-2] + plot.y[-3] + plot.y[-4] == 2
    assert sum(texts_by_neighbour(NONE.lazy()).y) == 0
