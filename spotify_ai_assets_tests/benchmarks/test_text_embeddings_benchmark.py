import numpy as np
import pytest

from benchmarks import text_embeddings


def test_texts_are_lines_of_a_catalogue_and_differ():
    texts = text_embeddings.invent_texts(50)
    assert len(set(texts)) == 50 and all(text.count(" - ") >= 2 for text in texts)
    assert texts == text_embeddings.invent_texts(50)


def test_neighbours_are_shared_where_vectors_are_alike():
    vectors = np.random.default_rng(0).normal(size=(40, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert text_embeddings._overlap(vectors, vectors.copy()) == 1
    assert text_embeddings._overlap(vectors, vectors[::-1]) < 0.6


@pytest.mark.slow
def test_both_sides_embed_the_same_texts_alike():
    found = text_embeddings.measure(texts=40, rounds=1)
    assert found["texts"] == 40 and float(str(found["cosine_least"])) >= 0.999
