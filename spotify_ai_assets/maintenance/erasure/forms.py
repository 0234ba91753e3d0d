"""How a value may be written in bytes: the forms in which a person's identifiers are sought.

A value of at least ``EXACT`` bytes says enough to be sought wherever it stands. A shorter one may be part of another word
(``user_12`` of ``user_123``), so that it counts only where it is a word of its own; one of fewer than ``INFORMATION`` bytes, or of
few digits, is sought in text alone: in arbitrary bytes it would be found by chance.
"""

import base64
import html
import json
import math
import re
import unicodedata
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from spotify_ai_assets.errors import PermanentError

INFORMATION = 6
"""Bytes that a form must tell: in a tebibyte of random bytes a given one of six bytes stands once in 256 times."""
EXACT = 12
"""Bytes from which a value counts wherever it stands."""
DIGITS = 10
"""Digits from which a number counts like any text; shorter ones are also sizes, times and counts."""

Edge = Literal["any", "word", "wide", "hex", "base64", "text", "whole"]
"""What must be around a form: ``any``: whatever; ``word``, ``wide``, ``hex`` and ``base64``: the end of a word, in that writing;
``text``: the same, and the form is sought in text only; ``whole``: there too, and only where it is a value of its own: in quotes, a
cell, a part of a path."""

_INT_64 = 2**63
_UUID = re.compile(r"\{?[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}\}?")


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a value.

    Attributes:
        value: Name of the value.
        name: Name of the writing, such as ``utf-16-le``.
        pattern: Its bytes.
        edge: What must be around it.
        unit: Bytes of a character, for ``wide``.
        before: Characters of its first group of four that are not part of it, for ``base64``.
    """

    value: str
    name: str
    pattern: bytes
    edge: Edge = "any"
    unit: int = 1
    before: int = 0


@dataclass(frozen=True, slots=True)
class Needles:
    """What is sought.

    Attributes:
        forms: All forms of all values, each pattern once.
        narrowed: Names of the values that say too little to be sought outside of text, and of those that are words like others.
    """

    forms: tuple[Form, ...]
    narrowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, user_id: str | None = None, pseudonym: str | None = None, **others: str) -> "Needles":
        """The forms of a person's identifiers.

        Args:
            user_id: The real id.
            pseudonym: The id in the lake.
            others: More values by name, such as an address or a planted secret.

        Raises:
            PermanentError: There is nothing to seek.
        """
        given = {"user_id": user_id, "pseudonym": pseudonym, **others}
        return cls.of_values({name: value for name, value in given.items() if value is not None})

    @classmethod
    def of_values(cls, values: Mapping[str, str], is_common: Callable[[str], bool] = lambda value: False) -> "Needles":
        """The forms of any values, by their names.

        Args:
            values: The values.
            is_common: Whether a value is a word that texts hold whoever they are about: it is sought as a whole value only.

        Raises:
            PermanentError: There is nothing to seek, or a value is empty: it would be found everywhere.
        """
        if not values or not all(value.strip() for value in values.values()):
            raise PermanentError("a scan needs values to seek, and none of them empty")
        forms: dict[bytes, Form] = {}
        for name, value in values.items():
            for form in forms_of(name, value, is_common=is_common(value)):
                forms.setdefault(form.pattern, form)
        return cls(tuple(forms.values()), tuple(name for name, value in values.items() if _says_little(value) or is_common(value)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the forms that are sought, sorted."""
        return tuple(sorted({form.name for form in self.forms}))

    @property
    def has_numbers(self) -> bool:
        """Whether a value is sought as a 64-bit number too."""
        return any(form.name.startswith("int64") for form in self.forms)


def forms_of(name: str, value: str, *, is_common: bool = False) -> Iterator[Form]:
    """All forms of a value.

    Args:
        name: Its name.
        value: It.
        is_common: Whether it is a word like others.
    """
    size = len(value.encode())
    if is_common:
        yield from (Form(name, spelling, text.encode(), "whole") for spelling, text in _spellings(value))
        return
    if _says_little(value):
        yield from (Form(name, spelling, text.encode(), "text") for spelling, text in _spellings(value))
        return
    is_exact = size >= EXACT
    for spelling, text in _spellings(value):
        yield from _written(name, spelling, text.encode(), is_exact=is_exact)
        for encoding, unit in (("utf-16-le", 2), ("utf-16-be", 2), ("utf-32-le", 4), ("utf-32-be", 4)):
            yield Form(name, _join(encoding, spelling), text.encode(encoding), "any" if is_exact else "wide", unit)
    for escape, text in _escapes(value):
        yield Form(name, escape, text.encode(), "any" if is_exact else "word")
    for kind, found in _binaries(value):
        yield Form(name, kind, found)
        yield from _base64(name, f"base64 of {kind}", found, "any")


def _says_little(value: str) -> bool:
    return len(value.encode()) < INFORMATION or (value.isdecimal() and len(value) < DIGITS)


def _join(encoding: str, spelling: str) -> str:
    return f"{encoding} {spelling}".strip()


def _written(name: str, spelling: str, text: bytes, *, is_exact: bool) -> Iterator[Form]:
    yield Form(name, _join("utf-8", spelling), text, "any" if is_exact else "word")
    for kind, written in (("hex", text.hex()), ("HEX", text.hex().upper())):
        yield Form(name, _join(kind, spelling), written.encode(), "any" if is_exact else "hex")
    yield from _base64(name, _join("base64", spelling), text, "any" if is_exact else "base64")


def _base64(name: str, kind: str, contents: bytes, edge: Edge) -> Iterator[Form]:
    """Both alphabets, for each of the three places in a group of three bytes at which the value may begin.

    Characters that a neighbour decides in part are left out.
    """
    for shift in range(3):
        padded = b"\0" * shift + contents
        begin, end = math.ceil(8 * shift / 6), 8 * len(padded) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield Form(name, kind, encode(padded)[begin:end], edge, before=begin)


def _spellings(value: str) -> Iterator[tuple[str, str]]:
    """The value as it is and as tools write it: in one case, in another normal form, a UUID with and without dashes."""
    yield "", value
    yield "lower", value.lower()
    yield "upper", value.upper()
    yield "nfc", unicodedata.normalize("NFC", value)
    yield "nfd", unicodedata.normalize("NFD", value)
    if _UUID.fullmatch(value):
        found = uuid.UUID(value)
        for text in (found.hex, str(found)):
            yield "uuid", text
            yield "uuid upper", text.upper()


def _escapes(value: str) -> Iterator[tuple[str, str]]:
    """The value inside of other notations, where that changes it."""
    inside_json = json.dumps(value)[1:-1]
    found = [
        ("json", inside_json),
        ("json", json.dumps(value, ensure_ascii=False)[1:-1]),
        ("json", inside_json.replace("/", "\\/")),
        ("json in json", json.dumps(inside_json)[1:-1]),
        ("percent", urllib.parse.quote(value, safe="")),
        ("percent", urllib.parse.quote_plus(value)),
        ("percent", re.sub("%..", lambda match: match[0].lower(), urllib.parse.quote(value, safe=""))),
        ("html", html.escape(value)),
        ("html", html.escape(value, quote=False)),
        ("html", html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")),
        ("sql", value.replace("'", "''")),
        ("csv", value.replace('"', '""')),
    ]
    yield from ((name, text) for name, text in found if text != value)


def _binaries(value: str) -> Iterator[tuple[str, bytes]]:
    """The value as a number or as the bytes that its digits stand for."""
    if value.isascii() and value.isdecimal() and int(value) < _INT_64 and int(value).bit_length() > 8 * (INFORMATION - 1):
        yield "int64-le", int(value).to_bytes(8, "little")
        yield "int64-be", int(value).to_bytes(8, "big")
    if _UUID.fullmatch(value):
        found = uuid.UUID(value)
        yield "uuid-16", found.bytes
        yield "uuid-16-le", found.bytes_le
    elif re.fullmatch("([0-9a-fA-F]{2}){6,}", value) and not value.isdecimal():
        yield "bytes", bytes.fromhex(value)
