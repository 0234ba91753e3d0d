"""Numbers, dates and countries as a reader of a language writes them, by the Unicode locale data (CLDR) of babel.

Texts do not belong here (``locale``).
"""

import functools
from datetime import date, time
from typing import TYPE_CHECKING

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import LANGUAGES

if TYPE_CHECKING:
    from babel import Locale

MISSING = "–"
MINUS = "−"
FLAT = "±"


def sign(value: float) -> str:
    """What stands before the size of a change."""
    return "+" if value > 0 else MINUS if value < 0 else FLAT


class Notation:
    """Writes values in one language.

    Attributes:
        language: One of ``settings.LANGUAGES``.

    Raises:
        SettingsError: The language is not supported.
    """

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise SettingsError(f"a language must be one of {', '.join(LANGUAGES)}")
        self.language = language
        self._locale = _locale(language)

    def whole(self, value: float | None) -> str:
        """A whole number with its groups of thousands."""
        return self._number(value, "#,##0")

    def decimal(self, value: float | None) -> str:
        """A number with one decimal."""
        return self._number(value, "#,##0.0")

    def points(self, share: float | None) -> str:
        """A difference of shares, in percentage points with one decimal and its sign."""
        if share is None:
            return MISSING
        size = _("{points} pp", self.language).format(points=self.decimal(abs(round(100 * share, 1))))
        return sign(round(100 * share, 1)) + size

    def change(self, share: float | None) -> str:
        """A relative change in per cent with one decimal and its sign."""
        return MISSING if share is None else sign(round(share, 3)) + self.percent(abs(round(share, 3)))

    def whole_percent(self, share: float) -> str:
        """A share between 0 and 1 as whole per cent."""
        return self._number(share, self._locale.percent_formats[None].pattern)

    def percent(self, share: float | None) -> str:
        """A share between 0 and 1 as per cent with one decimal."""
        if share is None:
            return MISSING
        # The locale's own pattern knows the space before the sign; only the digits are ours.
        pattern = self._locale.percent_formats[None].pattern.replace("#,##0", "#,##0.0")
        return self._number(share, pattern)

    def _number(self, value: float | None, pattern: str) -> str:
        return MISSING if value is None else _format(value, pattern, self.language)

    def full_date(self, day: date) -> str:
        """A date with its weekday and month in full."""
        from babel.dates import format_date

        return format_date(day, "full", self._locale)

    def long_date(self, day: date) -> str:
        """A date with its month in full."""
        return self._date(day, "yMMMMd")

    def weekday_date(self, day: date) -> str:
        """A short date with its weekday, without its year."""
        return self._date(day, "MMMEd")

    def short_date(self, day: date) -> str:
        """A short date without its year."""
        return self._date(day, "MMMd")

    def month(self, day: date) -> str:
        """A month with its year."""
        return self._date(day, "yMMMM")

    def days(self, first: date, last: date) -> str:
        """The days from one date to another, with their months in full."""
        return self._interval(first, last, "yMMMMd")

    def months(self, first: date, last: date) -> str:
        """The months from that of one date to that of another."""
        same = (first.year, first.month) == (last.year, last.month)
        return self.month(last) if same else self._interval(first, last, "yMMMM")

    def _interval(self, first: date, last: date, skeleton: str) -> str:
        from babel.dates import format_interval

        return format_interval(first, last, skeleton, locale=self._locale)

    def month_name(self, number: int, *, is_short: bool = False) -> str:
        """A month of the year, 1 to 12, standing alone."""
        return self._locale.months["stand-alone"]["abbreviated" if is_short else "wide"][number]

    def weekday_name(self, number: int) -> str:
        """A day of the week, 1 (Monday) to 7, standing alone."""
        return self._locale.days["stand-alone"]["wide"][number - 1]

    def hour(self, number: float) -> str:
        """An hour of the day, on a clock of 24."""
        from babel.dates import format_skeleton

        return format_skeleton("Hm", time(int(number)), locale=self._locale)

    def _date(self, day: date, skeleton: str) -> str:
        from babel.dates import format_skeleton

        return format_skeleton(skeleton, day, locale=self._locale)

    def country(self, code: str) -> str:
        """A country by its ISO 3166-1 code; the code itself where the locale has no name for it."""
        name = self._locale.territories.get(code, code)
        # The name stands alone, as a heading or a label; French writes "région indéterminée" small.
        return name[:1].upper() + name[1:]


@functools.cache
def _locale(language: str) -> "Locale":
    from babel import Locale

    return Locale.parse(language)


@functools.lru_cache(maxsize=2**16)
def _format(value: float, pattern: str, language: str) -> str:
    """A number by a pattern; pages repeat many, above all small ones."""
    from babel.numbers import format_decimal

    return format_decimal(value, pattern, _locale(language)).replace("-", MINUS)
