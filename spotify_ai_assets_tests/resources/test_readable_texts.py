"""Texts as everything can hold them."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.resources.texts import readable


@dataclass(frozen=True)
class Named:
    """Something with a text in it."""

    name: str
    more: tuple[object, ...] = ()


def test_half_a_character_is_written_by_its_number_wherever_it_stands() -> None:
    assert readable({"a\ud800": [Named("é\udfff", ("\ud801", 1, None))]}) == {"a\\ud800": [Named("é\\udfff", ("\\ud801", 1, None))]}


@given(st.text(st.characters(categories=["L", "N", "Cs", "Zs"])))
def test_whatever_becomes_of_a_text_can_be_written_and_a_whole_one_stays_as_it_is(text: str) -> None:
    found = readable(text)
    assert found.encode().decode() == found
    assert readable(found) == found
    if not any("\ud800" <= each <= "\udfff" for each in text):
        assert found == text
