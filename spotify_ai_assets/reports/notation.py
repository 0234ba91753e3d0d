"""Numbers, dates and countries as a reader of a language writes them, by the Unicode locale data (CLDR) of babel.

Texts do not belong here (``locale``).
"""

import functools
from datetime import date
from typing import TYPE_CHECKING

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.settings import LANGUAGES

if TYPE_CHECKING:
    from babel import Locale

MISSING = "–"
MINUS = "−"
FLAT = "±"


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

    def percent(self, share: float | None) -> str:
        """A share between 0 and 1 as per cent with one decimal."""
        if share is None:
            return MISSING
        # The locale's own pattern knows the space before the sign; only the digits are ours.
        pattern = self._locale.percent_formats[None].pattern.replace("#,##0", "#,##0.0")
        return self._number(share, pattern)

    def _number(self, value: float | None, pattern: str) -> str:
        from babel.numbers import format_decimal

        if value is None:
            return MISSING
        return format_decimal(value, pattern, self._locale).replace("-", MINUS)

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
