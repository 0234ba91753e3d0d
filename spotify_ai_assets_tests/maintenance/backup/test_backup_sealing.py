"""What is sealed opens with its key and under its name alone, and any changed bit is seen."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.sealing import Seal
from spotify_ai_assets.resources.keys import mark_key

SEAL = Seal(bytes(range(32)))


@given(st.binary(max_size=5000) | st.integers(1, 10**6).map(bytes))
def test_what_is_sealed_comes_back_and_does_not_show(content: bytes) -> None:
    name = SEAL.name(content)
    sealed = SEAL.close(name, content)
    assert SEAL.open_piece(name, sealed) == content
    assert len(content) < 8 or content not in sealed
    assert len(sealed) <= len(content) + 64


@given(st.binary(max_size=200), st.data())
def test_any_flipped_bit_is_seen(content: bytes, data: st.DataObject) -> None:
    name = SEAL.name(content)
    sealed = bytearray(SEAL.close(name, content))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BackupError, match="damaged"):
        SEAL.open(name, bytes(sealed))


def test_a_piece_cannot_take_the_place_of_another() -> None:
    with pytest.raises(BackupError):
        SEAL.open(SEAL.name(b"one"), SEAL.close(SEAL.name(b"two"), b"two"))
    name = SEAL.name(b"one")
    with pytest.raises(BackupError, match="another one"):
        SEAL.open_piece(name, SEAL.close(name, b"two"))


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(12), bytes(28)])
def test_what_was_cut_off_is_refused(sealed: bytes) -> None:
    with pytest.raises(BackupError):
        SEAL.open("name", sealed)


def test_another_key_opens_nothing_and_names_otherwise() -> None:
    other = Seal(bytes(32))
    with pytest.raises(BackupError):
        other.open("name", SEAL.close("name", b"content"))
    assert other.name(b"content") != SEAL.name(b"content") and other.mark != SEAL.mark == mark_key(SEAL.key)
    assert SEAL.key.hex()[:16] not in repr(SEAL) + SEAL.mark


def test_equal_contents_are_sealed_differently_under_one_name() -> None:
    assert SEAL.close("name", b"content") != SEAL.close("name", b"content")
    assert SEAL.name(b"content") == SEAL.name(b"content")
