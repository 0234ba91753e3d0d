"""What a file is, from its bytes: container and codec, and the length that its header declares. The name of a file says nothing here."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

READABLE = frozenset({"wav", "w64", "aiff", "flac", "ogg", "mp3", "au", "caf"})
"""Containers that the decoder opens."""

_HEAD = 4096
_SEARCHED = 1 << 20  # junk in front of the first MPEG frame is searched this far
_MOST_TAGS = 16
_MOST_CHUNKS = 4096
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)

_MAGICS: tuple[tuple[bytes, str, str], ...] = (
    (b"fLaC", "flac", "flac"),
    (b".snd", "au", ""),
    (b"caff", "caf", ""),
    (b"riff\x2e\x91\xcf\x11", "w64", ""),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf", "wma"),
    (b"MThd", "midi", "midi"),
    (b"wvpk", "wavpack", "wavpack"),
    (b"MPCK", "musepack", "musepack"),
    (b"MP+", "musepack", "musepack"),
    (b"DSD ", "dsf", "dsd"),
    (b"FRM8", "dsdiff", "dsd"),
    (b"ADIF", "adif", "aac"),
    (b"\x0b\x77", "ac3", "ac3"),
    (b"MAC ", "monkeys_audio", "ape"),
    (b"TTA1", "tta", "tta"),
    (b"OFR ", "optimfrog", "optimfrog"),
    (b"#!AMR", "amr", "amr"),
    (b".RMF", "realmedia", "realaudio"),
    (b"\x1aE\xdf\xa3", "matroska", ""),
    (b"\x7f\xfe\x80\x01", "dts", "dts"),
)

_OGG_CODECS: tuple[tuple[bytes, str], ...] = (
    (b"\x01vorbis", "vorbis"),
    (b"OpusHead", "opus"),
    (b"\x7fFLAC", "flac"),
    (b"Speex   ", "speex"),
    (b"\x80theora", "theora"),
)

_MP4_ATOMS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})


@dataclass(frozen=True, slots=True)
class Container:
    """What a file holds.

    Attributes:
        name: Container, as ``wav`` or ``mp3``; empty where nothing known was found.
        codec: Codec where the container's head tells it; empty otherwise.
        start: Bytes of tags, or of junk, in front of it.
    """

    name: str
    codec: str
    start: int


def identify(file: BinaryIO) -> Container:
    """Tell what a file holds, whatever its name.

    ID3 tags in front are skipped, as many as there are. An MPEG stream is known by two frame headers in a row that agree, which
    are looked for in the first mebibyte behind the tags.

    Args:
        file: Open for reading; its position is lost.
    """
    start = _skip_tags(file)
    head = _read(file, start, _HEAD)
    found = _by_magic(head)
    if found is not None:
        return Container(*found, start)
    frame = find_mpeg_frame(_read(file, start, _SEARCHED))
    return Container("", "", start) if frame is None else Container("mp3", "", start + frame)


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _skip_tags(file: BinaryIO) -> int:
    start = 0
    for _ in range(_MOST_TAGS):
        head = _read(file, start, 10)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 0x10 else 0)
    return start


def _by_magic(head: bytes) -> tuple[str, str] | None:
    for magic, name, codec in _MAGICS:
        if head.startswith(magic):
            return name, codec
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return ("wav", "") if head[8:12] == b"WAVE" else ("riff", "")
    if head[:4] == b"FORM":
        return ("aiff", "") if head[8:12] in (b"AIFF", b"AIFC") else ("iff", "")
    if head[:4] == b"OggS":
        return "ogg", next((codec for magic, codec in _OGG_CODECS if magic in head[:256]), "")
    if head[4:8] in _MP4_ATOMS:
        return "mp4", next((codec for atom, codec in ((b"alac", "alac"), (b"mp4a", "aac")) if atom in head), "")
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "adts", "aac"
    return None


_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


@dataclass(frozen=True, slots=True)
class MpegFrame:
    """The header of one MPEG audio frame (ISO 11172-3 and 13818-3).

    Attributes:
        size: Bytes of the frame.
        samples: Sample frames that it decodes to.
        likeness: What all frames of a stream share: version, layer and rate.
        side: Bytes of side information behind the header, where a Xing header begins.
    """

    size: int
    samples: int
    likeness: int
    side: int


def read_mpeg_frame(data: bytes, at: int) -> MpegFrame | None:
    """Read the header of an MPEG frame, or nothing where there is none.

    Args:
        data: Bytes.
        at: Where the header would begin.
    """
    if at + 4 > len(data):
        return None
    word = int.from_bytes(data[at : at + 4], "big")
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bitrate, rate = word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz, padding = _RATES[version][rate], word >> 9 & 1
    bits = 1000 * _BITRATES[first, layer][bitrate - 1]
    if layer == 1:
        return MpegFrame((12 * bits // hertz + padding) * 4, 384, word & 0xFFFE0C00, 0)
    samples = 576 if layer == 3 and not first else 1152
    is_mono = word >> 6 & 3 == 3
    side = (17 if is_mono else 32) if first else (9 if is_mono else 17)
    return MpegFrame(samples // 8 * bits // hertz + padding, samples, word & 0xFFFE0C00, side)


def find_mpeg_frame(data: bytes) -> int | None:
    """Where an MPEG stream begins: the first frame header that a like one follows, or that reaches exactly to the end.

    Args:
        data: Bytes without tags in front.
    """
    at = data.find(b"\xff")
    while at >= 0:
        frame = read_mpeg_frame(data, at)
        if frame is not None:
            following = read_mpeg_frame(data, at + frame.size)
            if at + frame.size == len(data) or (following is not None and following.likeness == frame.likeness):
                return at
        at = data.find(b"\xff", at + 1)
    return None


def declared_frames(file: BinaryIO, container: Container) -> int | None:
    """Sample frames that a header promises, where the decoder would not tell of a shortfall; ``None`` where no header does.

    The decoder cuts the length of wav and aiff to what is in the file and estimates that of mp3; here the first comes from the
    size of the data chunk, the second from the Xing or VBRI header. Nothing is checked against what the file really holds.

    Args:
        file: Open for reading; its position is lost.
        container: What :func:`identify` said of it.
    """
    reader: dict[str, Callable[[BinaryIO, int], int | None]] = {"wav": _declared_wav, "aiff": _declared_aiff, "mp3": _declared_mpeg}
    return reader[container.name](file, container.start) if container.name in reader else None


def _chunks(file: BinaryIO, start: int, order: str) -> dict[bytes, tuple[int, bytes]]:
    """Size and first bytes of the chunks of a RIFF or IFF file, up to the audio."""
    found: dict[bytes, tuple[int, bytes]] = {}
    at = start + 12
    for _ in range(_MOST_CHUNKS):
        head = _read(file, at, 8 + 32)
        if len(head) < 8:
            break
        name, size = head[:4], struct.unpack(order + "I", head[4:8])[0]
        found.setdefault(name, (size, head[8:]))
        if name in (b"data", b"SSND"):
            break
        at += 8 + size + size % 2
    return found


def _declared_wav(file: BinaryIO, start: int) -> int | None:
    order = ">" if _read(file, start, 4) == b"RIFX" else "<"
    chunks = _chunks(file, start, order)
    size = chunks.get(b"data", (0, b""))[0]
    form = chunks.get(b"fmt ", (0, b""))[1]
    if size in _UNKNOWN_SIZES or len(form) < 14:
        return None
    code, align = struct.unpack(order + "H", form[:2])[0], struct.unpack(order + "H", form[12:14])[0]
    # Only with uncompressed samples is a block one sample frame.
    return size // align if code in (1, 3, 6, 7, 0xFFFE) and align else None


def _declared_aiff(file: BinaryIO, start: int) -> int | None:
    common = _chunks(file, start, ">").get(b"COMM", (0, b""))[1]
    return struct.unpack(">I", common[2:6])[0] or None if len(common) >= 6 else None


def _declared_mpeg(file: BinaryIO, start: int) -> int | None:
    data = _read(file, start, _SEARCHED)
    at = find_mpeg_frame(data)
    frame = None if at is None else read_mpeg_frame(data, at)
    if at is None or frame is None:
        return None
    xing = data[at + 4 + frame.side : at + 4 + frame.side + 12]
    if xing[:4] in (b"Xing", b"Info") and len(xing) == 12 and xing[7] & 1:
        return int.from_bytes(xing[8:12], "big") * frame.samples or None
    vbri = data[at + 36 : at + 36 + 18]
    if vbri[:4] == b"VBRI" and len(vbri) == 18:
        return int.from_bytes(vbri[14:18], "big") * frame.samples or None
    return None


def is_cut_ogg(file: BinaryIO) -> bool:
    """Whether an Ogg file lacks its last page: the page marked as the end of the stream (RFC 3533), whole.

    Args:
        file: Open for reading; its position is lost.
    """
    size = file.seek(0, 2)
    tail = _read(file, max(0, size - 0x1_0400), 0x1_0400)  # a page has at most 65,307 bytes
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return True
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    is_whole = len(segments) == tail[at + 26] and at + 27 + len(segments) + sum(segments) <= len(tail)
    return not (tail[at + 5] & 4 and is_whole)
