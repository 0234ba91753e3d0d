"""Texts in the reader's language: English in the code, German and French in gettext catalogues beside this file.

Code marks a text by calling ``_("...")`` (``from spotify_ai_assets.locale import translate as _``), a template likewise; the
docstrings of assets, checks, jobs, schedules and sensors are messages as a whole. ``python -m spotify_ai_assets.locale update``
collects all of them, ``compile`` writes the ``.mo`` files that are read here. Values are filled in after translation:
``_("{count} rows").format(count=3)``. Numbers and dates do not belong here (``reports/notation.py``).
"""

import functools
import gettext
from pathlib import Path

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.settings import LANGUAGES, Settings

DOMAIN = "spotify_ai_assets"
FOLDER = Path(__file__).parent


def translate(text: str, language: str | None = None) -> str:
    """A text in another language.

    Args:
        text: The English text, exactly as in the code.
        language: One of ``settings.LANGUAGES``; the language of the settings unless given.

    Returns:
        The translation, or the English text where the catalogue has none.

    Raises:
        SettingsError: The language is not supported.
    """
    # The empty message is the catalogue's header.
    return _catalogue(language or _language_of_settings()).gettext(text) if text else text


def translate_plural(one: str, many: str, count: int, language: str | None = None) -> str:
    """The form of a text that goes with a number, in another language.

    Args:
        one: The English text for one.
        many: The English text for any other number.
        count: The number, which the text holds as ``{count}`` and the caller fills in.
        language: One of ``settings.LANGUAGES``; the language of the settings unless given.

    Raises:
        SettingsError: The language is not supported.
    """
    return _catalogue(language or _language_of_settings()).ngettext(one, many, count)


@functools.cache
def _language_of_settings() -> str:
    try:
        return Settings.from_environment().language
    except SettingsError:  # texts are needed while modules load; whoever uses the settings afterwards says what is wrong
        return LANGUAGES[0]


@functools.cache
def _catalogue(language: str) -> gettext.NullTranslations:
    if language not in LANGUAGES:
        raise SettingsError(f"a language must be one of {', '.join(LANGUAGES)}")
    if language == LANGUAGES[0]:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, FOLDER, [language])
