import numpy as np
import polars as pl
import pytest

from spotify_ai_assets.audio.contracts import EMBEDDINGS, TRACK_LINKS
from spotify_ai_assets.catalog.contracts import TEXT_EMBEDDINGS
from spotify_ai_assets.recommendations.content import content_of

ITEMS = np.array(["a", "b", "c"])


def texts(**embeddings: list[float]) -> pl.DataFrame:
    rows = [{"item_id": item, "subject": "track", "encoder": "e:1", "embedding": values} for item, values in embeddings.items()]
    return pl.DataFrame(rows, schema=TEXT_EMBEDDINGS.schema)


def audio(**embeddings: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"file_id": file, "model_version": "1", "embedding": values} for file, values in embeddings.items()], schema=EMBEDDINGS.schema
    )


def links(*given: tuple[str, str, float]) -> pl.DataFrame:
    rows = [{"file_id": file, "track_id": track, "confidence": sure} for file, track, sure in given]
    return pl.DataFrame(rows, schema=TRACK_LINKS.schema)


def test_a_row_is_text_then_audio_then_what_there_is():
    found = content_of(ITEMS, texts(a=[0.6, 0.8], x=[1, 0]), audio(f=[1, 0, 0], g=[0, 1, 0]), links(("f", "a", 1), ("g", "b", 0.5)))
    assert found.vectors.dtype == np.float32 and (found.encoder, found.extractor) == ("e:1", "1")
    assert found.vectors == pytest.approx(np.array([[0.6, 0.8, 1, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0, 1], [0] * 7]))


def test_recordings_of_one_track_are_averaged_by_how_sure_their_links_are():
    found = content_of(ITEMS[:1], texts(), audio(f=[1, 0], g=[0, 1]), links(("f", "a", 0.9), ("g", "a", 0.3))).vectors
    assert found == pytest.approx(np.array([[0.9 / np.hypot(0.9, 0.3), 0.3 / np.hypot(0.9, 0.3), 0, 1]]))


def test_only_the_audio_model_with_the_most_files_counts():
    other = audio(h=[1, 0, 0]).with_columns(model_version=pl.lit("0"))
    given = links(("f", "a", 1), ("g", "b", 1), ("h", "c", 1))
    found = content_of(ITEMS, texts(), pl.concat([other, audio(f=[1, 0], g=[0, 1])]), given)
    assert found.extractor == "1" and found.vectors.any(axis=1).tolist() == [True, True, False]


def test_where_nothing_is_known_there_are_rows_of_zeros():
    found = content_of(ITEMS, texts(), audio(), links())
    assert found.vectors.shape == (3, 2) and not found.vectors.any() and (found.encoder, found.extractor) == ("", "")
    assert content_of(ITEMS[:0], texts(a=[1, 0]), audio(), links()).vectors.shape == (0, 4)


def test_the_order_of_rows_changes_nothing():
    given = audio(f=[0.1, 0.995], g=[0.6, 0.8], h=[0.8, 0.6])
    linked = links(("f", "a", 0.9), ("g", "a", 0.7), ("h", "a", 0.3))
    one = content_of(ITEMS, texts(b=[1, 0]), given, linked).vectors
    assert np.array_equal(one, content_of(ITEMS, texts(b=[1, 0]), given.reverse(), linked.sample(fraction=1, shuffle=True, seed=1)).vectors)
