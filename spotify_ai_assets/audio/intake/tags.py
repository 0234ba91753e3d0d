"""What a file's tags say, made harmless: short, of printable characters, and without weight beyond a proposal of which track it is.

Runs in a child of the sandbox: tags are the easiest part of a file to forge.
"""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

FIELDS = ("title", "artist", "album", "isrc", "recording_mbid")
LONGEST = 300
"""Characters that are kept of a tag."""

_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
_MBID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNIQUE_ID = re.compile(rb"http://musicbrainz\.org\x00([0-9A-Fa-f-]{36})")
_HEAD = 2**20


def read_tags(path: Path) -> dict[str, str]:
    """The tags of a file: those of ``FIELDS`` that it has.

    The MusicBrainz id is that of the recording, which Vorbis comments call ``musicbrainz_trackid``, MP4 ``MusicBrainz Track Id``
    and ID3 ``UFID:http://musicbrainz.org``. What no parser understands has no tags.
    """
    from tinytag import TinyTag, TinyTagException

    try:
        tag = TinyTag.get(path, duration=False)
    except (TinyTagException, ValueError, KeyError, IndexError):
        return {}
    other = {name.lower(): values for name, values in tag.other.items()}
    isrc = (_isrc(value) for value in other.get("isrc", []))
    mbid = (_mbid(value) for name in ("musicbrainz_trackid", "musicbrainz track id") for value in other.get(name, []))
    found = {
        "title": clean(tag.title),
        "artist": clean(tag.artist),
        "album": clean(tag.album),
        "isrc": next(filter(None, isrc), ""),
        "recording_mbid": next(filter(None, mbid), "") or next(_unique_ids(path), ""),
    }
    return {name: value for name, value in found.items() if value}


def clean(text: str | None) -> str:
    """A tag as one short line: composed characters, no control, direction or unassigned ones, single spaces.

    Such characters turn a terminal's or a page's text around, or stand for nothing that can be read.
    """
    text = unicodedata.normalize("NFC", (text or "")[: 4 * LONGEST])
    printable = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(printable.split())[:LONGEST].rstrip()


def escape_name(path: Path) -> str:
    r"""A file's own name for people: its last part, with ``\x1b`` or ``\udc80`` for what is not printable, at most 255 characters."""
    shown = (each if each.isprintable() and each != "\\" else each.encode("unicode_escape").decode("ascii") for each in path.name)
    return "".join(shown)[:255]


def _isrc(text: str) -> str:
    """An International Standard Recording Code (ISO 3901) without the hyphens that some write."""
    code = re.sub(r"[\s-]", "", text[:64]).upper().removeprefix("ISRC")
    return code if _ISRC.fullmatch(code) else ""


def _mbid(text: str) -> str:
    text = text[:64].strip().lower()
    return text if _MBID.fullmatch(text) else ""


def _unique_ids(path: Path) -> Iterator[str]:
    """Recording ids in the UFID frames of an ID3 tag, which the parser leaves out: in front of an mp3, in a chunk of a wav or aiff."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, path.stat().st_size - _HEAD))
        ends = head + file.read(_HEAD)
    for found in _UNIQUE_ID.finditer(ends):
        if mbid := _mbid(found[1].decode("ascii")):
            yield mbid
