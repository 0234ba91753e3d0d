"""Tags as taggers write them, of which libsndfile cannot write some: ID3v2.4 (MP3, WAV, AIFF) and Vorbis comments (FLAC, Ogg).

A recording's MusicBrainz id is a ``UFID`` frame in ID3 and ``MUSICBRAINZ_TRACKID`` in comments, as MusicBrainz Picard documents; an
ISRC is ``TSRC`` and ``ISRC``.
"""

from collections.abc import Mapping

from spotify_ai_assets.demo.audio.ogg import rewrite

_FRAMES = {"title": b"TIT2", "artist": b"TPE1", "isrc": b"TSRC"}
_COMMENTS = {"title": "TITLE", "artist": "ARTIST", "isrc": "ISRC", "mbid": "MUSICBRAINZ_TRACKID"}
_VENDOR = b"demo world"


def add_tags(audio: bytes, container: str, tags: Mapping[str, str]) -> bytes:
    """A file with tags.

    Args:
        audio: The file without any.
        container: ``flac``, ``ogg``, ``mp3``, ``wav`` or ``aiff``. An Ogg file is made reproducible as well.
        tags: Of ``title``, ``artist``, ``isrc`` and ``mbid``.
    """
    if container == "ogg":
        return rewrite(audio, _make_comment(tags))
    if not tags:
        return audio
    if container == "flac":
        return _comment_flac(audio, _make_comment(tags))
    tag = make_id3(tags)
    if container == "mp3":
        return tag + audio
    order = "little" if container == "wav" else "big"
    chunk = (b"id3 " if container == "wav" else b"ID3 ") + len(tag).to_bytes(4, order) + tag + bytes(len(tag) % 2)
    body = audio[8:] + bytes(len(audio) % 2) + chunk
    return audio[:4] + len(body).to_bytes(4, order) + body


def make_id3(tags: Mapping[str, str]) -> bytes:
    """An ID3v2.4 tag in UTF-8."""
    frames = [(_FRAMES[name], b"\x03" + text.encode()) for name, text in tags.items() if name in _FRAMES]
    if "mbid" in tags:
        frames.append((b"UFID", b"http://musicbrainz.org\0" + tags["mbid"].encode()))
    body = b"".join(name + _sync_safe(len(text)) + bytes(2) + text for name, text in frames)
    return b"ID3\x04\0\0" + _sync_safe(len(body)) + body


def _make_comment(tags: Mapping[str, str]) -> bytes:
    """A Vorbis comment: the vendor, a count, and texts with their lengths."""
    vendor, *texts = (
        len(text).to_bytes(4, "little") + text
        for text in (_VENDOR, *(f"{_COMMENTS[name]}={value}".encode() for name, value in tags.items()))
    )
    return vendor + len(texts).to_bytes(4, "little") + b"".join(texts)


def _sync_safe(number: int) -> bytes:
    """28 bits in four bytes of seven."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _comment_flac(audio: bytes, comment: bytes) -> bytes:
    """Replace the comment block of a FLAC file; it follows the stream's description, which is always first."""
    blocks, place, last = [], 4, False
    while not last:
        last, kind = audio[place] >= 0x80, audio[place] & 0x7F
        size = int.from_bytes(audio[place + 1 : place + 4], "big")
        if kind != 4:
            blocks.append((kind, audio[place + 4 : place + 4 + size]))
        place += 4 + size
    blocks.insert(1, (4, comment))
    head = b"".join(
        bytes([kind | (0x80 if number == len(blocks) - 1 else 0)]) + len(body).to_bytes(3, "big") + body
        for number, (kind, body) in enumerate(blocks)
    )
    return audio[:4] + head + audio[place:]
