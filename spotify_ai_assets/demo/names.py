"""Invented names and ids: pronounceable, reproducible, and a few that break careless software.

Which artist has which name belongs to ``music``.
"""

import zlib

import numpy as np

from spotify_ai_assets.catalog.ids import fold_name

ONSETS, VOWELS, ADJECTIVES, NOUNS = (
    text.split()
    for text in (
        "b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh st t tr v w y z",
        "a e i o u ai ea io ou",
        """amber blue borrowed broken distant early electric empty falling final golden hollow last little lost neon northern quiet
        restless salt second silver slow static tender velvet wild winter""",
        """airport avenue bicycle bridge cinema city coast comet desert echo engine field fire garden glass harbour heart highway
        island kitchen lantern letter machine meadow mirror moon morning ocean orchard paper piano radio river satellite season shadow
        signal summer telephone tide tower train weather window""",
    )
)
CODAS = ("", "", "", "l", "m", "n", "r", "s", "t", "x", "nd", "rk")
ALPHABET = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", dtype=np.uint8)

HOSTILE_ARTISTS = (
    '<img src=x onerror="alert(1)">',
    "**Bold** [Move](javascript:alert(1))",
    '=HYPERLINK("http://example.invalid","click")',
    "'; DROP TABLE plays;--",
    "{{ 7 * 7 }} ${HOME}",
    "Commas, Quotes \"and\" 'Apostrophes'",
    "فرقة القمر",
    "להקת הים",
    "夜の散歩",
    "🦊🎧",
    "Zoe\u0308 Ångström",
    "\u202egnihton",
    "null",
)
HOSTILE_TITLES = (
    "<script>alert('title')</script>",
    "# Heading | with | pipes",
    "-2+3+cmd|' /C calc'!A0",
    "../../etc/passwd",
    "さよなら、電車 🚃",
    "Ünïcödé, \\n not a line",
    "long " * 60 + "title",
    "%s %d {0} %(name)s",
    "مرحبا (Remix) [feat. 夜の散歩]",
)


def draw_from(seed: int, purpose: str, day: int = 0) -> np.random.Generator:
    """A generator of its own for each purpose and day, so that no draw moves another.

    Args:
        seed: The world's seed, 0 or more.
        purpose: What is drawn.
        day: Ordinal of the day (``date.toordinal``), 0 for what lasts.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), day])


def invent_words(rng: np.random.Generator, count: int) -> list[str]:
    """Capitalised words of two or three syllables that one can say aloud."""
    syllables = rng.integers(2, 4, count)
    onsets, vowels = rng.integers(0, len(ONSETS), (count, 3)), rng.integers(0, len(VOWELS), (count, 3))
    codas = rng.integers(0, len(CODAS), count)
    parts = [[ONSETS[onset] + VOWELS[vowel] for onset, vowel in zip(*word, strict=True)] for word in zip(onsets, vowels, strict=True)]
    return [("".join(word[:size]) + CODAS[coda]).capitalize() for word, size, coda in zip(parts, syllables, codas, strict=True)]


def invent_artists(rng: np.random.Generator, count: int) -> list[str]:
    """Names of artists; no two are the same when folded."""
    names: dict[str, str] = {}
    while len(names) < count:
        first, second = invent_words(rng, count), invent_words(rng, count)
        forms, nouns = rng.integers(0, 6, count), rng.integers(0, len(NOUNS), count)
        for one, two, form, noun in zip(first, second, forms, nouns, strict=True):
            thing = NOUNS[noun].capitalize()
            name = (f"{one} {two}", f"The {one} {thing}s", one, f"{one} & {two}", f"{thing} {one}", f"DJ {one}")[form]
            names.setdefault(fold_name(name), name)
    return list(names.values())[:count]


def invent_titles(rng: np.random.Generator, count: int) -> list[str]:
    """Titles of albums and tracks; a few occur more than once, as in life."""
    words = invent_words(rng, count)
    picks = rng.integers(0, 1 << 30, (count, 4))
    titles = []
    for word, (form, *picked) in zip(words, picks, strict=True):
        adjective, thing, place = (
            pool[pick % len(pool)].capitalize() for pool, pick in zip((ADJECTIVES, NOUNS, NOUNS), picked, strict=True)
        )
        forms = (
            f"{adjective} {thing}",
            f"{thing} in {word}",
            word,
            f"{thing} of the {place}",
            f"{adjective} {word} (Live)",
            f"{word}'s {thing}",
        )
        titles.append(forms[form % len(forms)])
    return titles


def invent_ids(rng: np.random.Generator, count: int, length: int = 22, letters: int = 62) -> list[str]:
    """Ids as Spotify's: 22 characters of base 62; 28 of base 36 for accounts."""
    return ALPHABET[rng.integers(0, letters, (count, length))].view(f"S{length}").ravel().astype(str).tolist()
