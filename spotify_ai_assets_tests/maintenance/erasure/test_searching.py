"""The search finds what a plain search finds, however a stream is cut."""

import base64
import random

from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.maintenance.erasure.forms import EXACT, Needles
from spotify_ai_assets.maintenance.erasure.searching import Finder

PLACE = ("store", "path", "")
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=20)


def cut(contents: bytes, seed: int) -> list[bytes]:
    places = sorted(random.Random(seed).choices(range(len(contents) + 1), k=5))
    return [contents[begin:end] for begin, end in zip([0, *places], [*places, None], strict=True)]


@given(st.binary(max_size=400), st.lists(st.binary(max_size=100), max_size=4), st.integers(0, 9))
def test_every_place_of_a_long_value_is_found_once(head, between, seed):
    value = "a value that says enough"
    contents = head + b"".join(value.encode() + each for each in between)
    finder = Finder(Needles.of(value))
    assert finder.search(PLACE, cut(contents, seed), is_text=False) == len(contents)
    found = {form.name: count for (_, form), count in finder.finds.settle().items()}
    assert found.get("utf-8", 0) == contents.count(value.encode()) == len(between)
    assert set(found) <= {"utf-8"}


@given(VALUES, st.binary(max_size=9), st.binary(max_size=9), st.integers(0, 9))
def test_base64_finds_a_value_between_any_neighbours(value, before, after, seed):
    if len(value.encode()) < EXACT or value.isdecimal():
        value = f"long enough {value}"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        finder = Finder(Needles.of(value))
        finder.search(PLACE, cut(b"{" + encode(before + value.encode() + after) + b"}", seed), is_text=True)
        assert any(form.name.startswith("base64") for _, form in finder.finds.settle())


@given(st.text("abc_12 ,-", max_size=80), st.integers(0, 9))
def test_a_shorter_value_is_found_as_a_word(text, seed):
    """Against the definition: split by whatever is no part of a word."""
    value = "abc_12c"
    finder = Finder(Needles.of(value))
    finder.search(PLACE, cut(f"{text} {value} {text}".encode(), seed), is_text=True)
    words = f"{text} {value} {text}".replace(",", " ").replace("-", " ").split(" ")
    assert finder.finds.settle()[PLACE, next(form for form in finder.forms if form.name == "utf-8")] == words.count(value)


@given(st.binary(max_size=300))
def test_nothing_is_found_where_nothing_is(contents):
    finder = Finder(Needles.of("a value that says enough", "661e6efafc09313a75273ece21d18ab5", email="a.person@example.org"))
    finder.search(PLACE, [contents], is_text=False)
    assert not finder.finds.settle()
