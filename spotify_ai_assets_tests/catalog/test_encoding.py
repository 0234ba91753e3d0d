import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.catalog import encoding
from spotify_ai_assets.catalog.encoding import CharacterGrams, SentenceEncoder, choose_precision, find_encoder
from spotify_ai_assets.errors import PermanentError, SettingsError

TEXTS = [
    "Motörhead - Ace of Spades - heavy metal",
    "Black Sabbath - Paranoid - doom metal",
    "Erik Satie - Gymnopédie No. 1 - classical piano",
    "a quiet piano piece",
    "坂本龍一 - Merry Christmas Mr. Lawrence",
    *(f"Band {number} - Song of the year {number} - LP - pop" for number in range(40)),
]


@pytest.fixture(scope="module")
def minilm() -> SentenceEncoder:
    found = find_encoder()
    assert isinstance(found, SentenceEncoder)
    return found


def folder_of(encoder: SentenceEncoder) -> Path:
    return encoder.folder


@given(st.text())
def test_any_text_has_a_vector_of_unit_length_by_its_spelling(text):
    (vector,) = CharacterGrams().encode([text])
    assert vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1)


def test_texts_that_share_stems_are_nearer_by_their_spelling():
    metal, doom, piano = CharacterGrams().encode(["heavy metal", "METALLICA", "classical piano"])
    assert metal @ doom > metal @ piano + 0.1


def test_grams_are_hashed_alike_in_every_process():
    (vector,) = CharacterGrams().encode(["ab"])
    assert sorted(np.flatnonzero(vector).tolist()) == sorted({encoding.zlib.crc32(gram) % 384 for gram in (b"<ab>", b"<ab", b"ab>")})


def test_spelling_serves_where_it_is_asked_for_and_where_there_is_nothing_else(monkeypatch, caplog):
    assert find_encoder("ngrams").name == "character-ngrams:1"
    monkeypatch.setattr(encoding.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert isinstance(find_encoder(), CharacterGrams)
    assert "spelling" in caplog.text


def test_another_model_in_the_place_of_the_known_one_is_refused(monkeypatch):
    monkeypatch.setattr(encoding, "_PACKAGED_DIGEST", "0" * 64)
    with pytest.raises(PermanentError, match="digest"):
        find_encoder()


def test_a_folder_that_is_no_model_and_an_id_that_is_none_are_refused(tmp_path):
    with pytest.raises(PermanentError, match="safetensors"):
        find_encoder(str(tmp_path))
    with pytest.raises(SettingsError, match="SPOTIFY_AI_TEXT_MODEL"):
        find_encoder("no/such/model")


def test_a_folder_is_a_model_whose_name_tells_every_change_of_it(minilm, tmp_path):
    copied = tmp_path / "mine"
    shutil.copytree(folder_of(minilm), copied)
    first = find_encoder(str(copied))
    assert first.name.removeprefix("mine:") == minilm.name.removeprefix("all-MiniLM-L6-v2:")
    (copied / "2_Normalize").mkdir(exist_ok=True)
    (copied / "2_Normalize/pytorch_model.bin").touch()
    with pytest.raises(PermanentError, match="pickled"):
        find_encoder(str(copied))
    (copied / "2_Normalize/pytorch_model.bin").unlink()
    (copied / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    assert find_encoder(str(copied)).name != first.name


def test_fast_vectors_are_those_of_plain_sentence_transformers(minilm):
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(folder_of(minilm)), device="cpu").encode(TEXTS, show_progress_bar=False)
    fast = minilm.encode(TEXTS)
    assert fast.dtype == np.float32 and fast.shape == (len(TEXTS), 384)
    assert np.linalg.norm(fast, axis=1) == pytest.approx(1, abs=1e-5)
    assert (fast * plain).sum(axis=1).min() >= 0.999
    exact = SentenceEncoder(folder_of(minilm), precision="float32").encode(TEXTS)
    assert (exact * plain).sum(axis=1).min() >= 0.999_99
    assert choose_precision() in ("bfloat16", "float32")


def test_the_company_of_a_text_does_not_change_its_vector(minilm):
    together = minilm.encode(TEXTS)
    backwards = minilm.encode(TEXTS[::-1] + TEXTS[:1])
    assert (together * backwards[-2::-1]).sum(axis=1).min() > 0.999_99
    assert np.array_equal(backwards[-1], backwards[-2])
    assert minilm.encode([]).shape == (0, 384)


def test_vectors_know_what_texts_mean(minilm):
    ace, paranoid, satie, quiet = minilm.encode(TEXTS[:4])
    assert ace @ paranoid > ace @ satie + 0.1 and satie @ quiet > ace @ quiet + 0.1
