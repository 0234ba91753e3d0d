"""Numbers and dates look as a reader of each language expects."""

from datetime import date

import pytest

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.reports.notation import Notation

DAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("language", "whole", "decimal", "percent"),
    [
        ("en", "1,234,567", "1,234.5", "12.3%"),
        ("de", "1.234.567", "1.234,5", "12,3\u00a0%"),
        ("fr", "1\u202f234\u202f567", "1\u202f234,5", "12,3\u00a0%"),
    ],
)
def test_numbers_are_grouped_as_the_language_does(language: str, whole: str, decimal: str, percent: str) -> None:
    notation = Notation(language)

    assert (notation.whole(1_234_567.0), notation.decimal(1234.5), notation.percent(0.1234)) == (whole, decimal, percent)


@pytest.mark.parametrize(
    ("language", "full", "short", "month"),
    [
        ("en", "Sunday, March 1, 2026", "Sun, Mar 1", "March 2026"),
        ("de", "Sonntag, 1. März 2026", "So., 1. März", "März 2026"),
        ("fr", "dimanche 1 mars 2026", "dim. 1 mars", "mars 2026"),
    ],
)
def test_dates_are_written_as_the_language_does(language: str, full: str, short: str, month: str) -> None:
    notation = Notation(language)

    assert (notation.full_date(DAY), notation.weekday_date(DAY), notation.month(DAY)) == (full, short, month)


def test_a_missing_number_is_a_dash_and_a_negative_one_has_a_true_minus() -> None:
    notation = Notation("de")

    assert [notation.whole(None), notation.decimal(None), notation.percent(None)] == ["–"] * 3
    assert notation.whole(-5) == "−5"


@pytest.mark.parametrize(("code", "name"), [("CH", "Suisse"), ("ZZ", "Région indéterminée"), ("QQ", "QQ")])
def test_a_country_has_its_name(code: str, name: str) -> None:
    assert Notation("fr").country(code) == name


def test_an_unsupported_language_is_refused() -> None:
    with pytest.raises(SettingsError, match="en, de, fr"):
        Notation("es")
