"""Pages of Ogg files (RFC 3533): a fixed serial number, and comments that libsndfile cannot write."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SERIAL = b"demo"
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CONTINUED = 1


@dataclass(frozen=True, slots=True)
class _Page:
    """Flags, granule position, sizes of segments, and the segments."""

    flags: int
    granule: bytes
    sizes: bytes
    body: bytes


def rewrite(audio: bytes, comment: bytes | None) -> bytes:
    """An Ogg Vorbis file that is the same whenever it is made, which libsndfile's is not: it draws a serial number from the clock.

    Args:
        audio: The file.
        comment: What to write instead of its comments, as Vorbis lays them out; its own where there is none.
    """
    pages = list(_read(audio))
    if comment is not None:
        # Pages after the first hold the headers of comments and of codebooks; audio begins on a page of its own.
        end = 1 + next(number for number, count in enumerate(_finished(pages[1:])) if count == 2)
        own, books = _packets(pages[1 : end + 1])
        assert own.startswith(b"\x03vorbis"), "a Vorbis stream's second header holds its comments"
        pages[1 : end + 1] = _lay_out((b"\x03vorbis" + comment + b"\x01", books))
    return b"".join(_seal(page, number) for number, page in enumerate(pages))


def _read(audio: bytes) -> Iterator[_Page]:
    place = 0
    while place < len(audio):
        body = place + 27 + audio[place + 26]
        sizes = audio[place + 27 : body]
        yield _Page(audio[place + 5], audio[place + 6 : place + 14], sizes, audio[body : body + sum(sizes)])
        place = body + sum(sizes)


def _finished(pages: Sequence[_Page]) -> Iterator[int]:
    """How many packets have ended by the end of each page: a packet ends with a segment below 255."""
    count = 0
    for page in pages:
        count += sum(size < 255 for size in page.sizes)
        yield count


def _packets(pages: Sequence[_Page]) -> list[bytes]:
    found, begun = [], b""
    for page in pages:
        place = 0
        for size in page.sizes:
            begun += page.body[place : place + size]
            place += size
            if size < 255:
                found.append(begun)
                begun = b""
    return found


def _lay_out(packets: Sequence[bytes]) -> list[_Page]:
    sizes = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    body, pages, place = b"".join(packets), [], 0
    for first in range(0, len(sizes), 255):
        own = sizes[first : first + 255]
        flags = _CONTINUED if first and sizes[first - 1] == 255 else 0
        # A page on which no packet ends has no position.
        granule = bytes(8) if any(size < 255 for size in own) else b"\xff" * 8
        pages.append(_Page(flags, granule, own, body[place : place + sum(own)]))
        place += sum(own)
    return pages


def _seal(page: _Page, number: int) -> bytes:
    """A page with its number and checksum: CRC-32 of polynomial 04C11DB7, not reflected. With all bits turned around it is zlib's."""
    head = b"OggS\0" + bytes([page.flags]) + page.granule + _SERIAL + number.to_bytes(4, "little")
    rest = bytes([len(page.sizes)]) + page.sizes + page.body
    check = zlib.crc32((head + bytes(4) + rest).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return head + int(f"{check:032b}"[::-1], 2).to_bytes(4, "little") + rest
