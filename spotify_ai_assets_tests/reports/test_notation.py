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


@pytest.mark.parametrize(
    ("language", "week", "weeks", "months", "one"),
    [
        ("en", "Mar 1\u2009–\u20097, 2026", "Feb 23\u2009–\u2009Mar 1, 2026", "January\u2009–\u2009March 2026", "March 2026"),
        ("de", "1.–7. März 2026", "23. Feb.\u2009–\u20091. März 2026", "Januar–März 2026", "März 2026"),
        ("fr", "1–7 mars 2026", "23 févr.\u2009–\u20091 mars 2026", "janvier\u2009–\u2009mars 2026", "mars 2026"),
    ],
)
def test_ranges_do_not_repeat_what_both_ends_share(language: str, week: str, weeks: str, months: str, one: str) -> None:
    notation = Notation(language)

    assert notation.days(DAY, date(2026, 3, 7)) == week
    assert notation.days(date(2026, 2, 23), DAY) == weeks
    assert notation.months(date(2026, 1, 1), DAY) == months
    assert notation.months(DAY, DAY) == one


@pytest.mark.parametrize(
    ("language", "change", "points", "whole", "month", "weekday", "hour"),
    [
        ("en", "+50.0%", "−1.2 pp", "50%", ("March", "Mar"), "Monday", "14:00"),
        ("de", "+50,0\u00a0%", "−1,2\u00a0Pp.", "50\u00a0%", ("März", "Mär"), "Montag", "14:00"),
        ("fr", "+50,0\u00a0%", "−1,2\u202fpt", "50\u00a0%", ("mars", "mars"), "lundi", "14:00"),
    ],
)
def test_changes_months_and_hours_are_written_as_the_language_does(
    language: str, change: str, points: str, whole: str, month: tuple[str, str], weekday: str, hour: str
) -> None:
    notation = Notation(language)

    assert (notation.change(0.5), notation.points(-0.012), notation.whole_percent(0.5)) == (change, points, whole)
    assert (notation.month_name(3), notation.month_name(3, is_short=True)) == month
    assert (notation.weekday_name(1), notation.hour(14)) == (weekday, hour)


def test_no_change_has_no_direction() -> None:
    notation = Notation("en")

    assert (notation.change(0.0001), notation.points(-0.0001)) == ("±0.0%", "±0.0 pp")
    assert (notation.change(None), notation.points(None)) == ("–", "–")
