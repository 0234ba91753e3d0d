"""What a file is, by its bytes."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.audio.measures.containers import Container, declared_frames, find_mpeg_frame, identify, is_cut_ogg, read_mpeg_frame

TONE = (0.3 * np.sin(np.arange(22_050) / 10)).astype(np.float32)
LAYER_3 = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s at 44.1 kHz: 417 bytes a frame


def encoded(kind: str, subtype: str | None = None, samples: np.ndarray = TONE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 22_050, format=kind, subtype=subtype)
    return buffer.getvalue()


def tagged(body: bytes, size: int = 40) -> bytes:
    return b"ID3\x04\x00\x00" + bytes((0, 0, size >> 7, size & 127)) + bytes(size) + body


def seen(data: bytes) -> Container:
    return identify(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "OGG", "MP3", "AU", "CAF", "W64", "RF64"])
def test_what_the_decoder_writes_is_known_by_its_bytes(kind):
    assert seen(encoded(kind)).name == {"RF64": "wav"}.get(kind, kind.lower())
    assert seen(encoded(kind)).start == 0


@pytest.mark.parametrize(("subtype", "codec"), [("VORBIS", "vorbis"), ("OPUS", "opus")])
def test_an_ogg_file_tells_its_codec(subtype, codec):
    samples = TONE if subtype == "VORBIS" else TONE[:8_000]
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 22_050 if subtype == "VORBIS" else 24_000, format="OGG", subtype=subtype)
    assert seen(buffer.getvalue()) == Container("ogg", codec, 0)


@pytest.mark.parametrize(
    ("head", "name", "codec"),
    [
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00isom mp4a", "mp4", "aac"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00isom alac", "mp4", "alac"),
        (b"\xff\xf1\x50\x80\x04\x3f\xfc", "adts", "aac"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "asf", "wma"),
        (b"MThd\x00\x00\x00\x06", "midi", "midi"),
        (b"FORM\x00\x00\xa3\xf2ILBMBMHD", "iff", ""),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "riff", ""),
        (b"wvpk\x82\x12\x00\x00", "wavpack", "wavpack"),
    ],
)
def test_formats_without_a_decoder_are_named(head, name, codec):
    assert seen(head + bytes(64)) == Container(name, codec, 0)


def test_tags_in_front_are_skipped_however_many():
    assert seen(tagged(encoded("FLAC"))) == Container("flac", "flac", 50)
    assert seen(tagged(tagged(LAYER_3 * 3, 300))) == Container("mp3", "", 360)


def test_an_mpeg_stream_is_two_headers_that_agree():
    assert find_mpeg_frame(LAYER_3 * 2) == 0
    assert find_mpeg_frame(b"\xff\xfbjunk\xff\xff" + LAYER_3 * 2) == 8
    assert find_mpeg_frame(LAYER_3 + b"\xff\xfb\x94\x00" + bytes(500)) is None  # another rate: 48 kHz
    assert find_mpeg_frame(LAYER_3 + b"nothing like it") is None
    assert find_mpeg_frame(LAYER_3) == 0  # alone, but to the very end


def test_a_frame_header_gives_size_and_samples():
    frame = read_mpeg_frame(LAYER_3, 0)
    assert frame is not None
    assert (frame.size, frame.samples, frame.side) == (417, 1152, 32)
    low = read_mpeg_frame(b"\xff\xf3\x84\xc0", 0)  # MPEG-2 layer III, 64 kbit/s, 24 kHz, mono
    assert low is not None
    assert (low.size, low.samples, low.side) == (192, 576, 9)
    assert read_mpeg_frame(b"\xff\xfb\xf0\x00", 0) is None
    assert read_mpeg_frame(b"\xff\xfb", 0) is None


@pytest.mark.parametrize("kind", ["WAV", "AIFF"])
def test_the_promise_of_a_header_outlives_the_cut(kind):
    data = encoded(kind)
    for part in (data, data[: len(data) // 2]):
        assert declared_frames(io.BytesIO(part), seen(part)) == len(TONE)


def test_a_streamed_wav_promises_nothing():
    data = bytearray(encoded("WAV"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert declared_frames(io.BytesIO(data), seen(bytes(data))) is None


def test_a_xing_header_promises_frames():
    data = bytearray(LAYER_3 * 3)
    data[36:48] = b"Xing" + struct.pack(">II", 1, 250)
    assert declared_frames(io.BytesIO(data), seen(bytes(data))) == 250 * 1152
    assert declared_frames(io.BytesIO(LAYER_3 * 3), seen(LAYER_3 * 3)) is None


def test_an_ogg_file_without_its_last_page_is_cut():
    data = encoded("OGG")
    assert not is_cut_ogg(io.BytesIO(data))
    assert is_cut_ogg(io.BytesIO(data[:-1]))
    assert is_cut_ogg(io.BytesIO(data[: len(data) // 2]))


STARTS = st.sampled_from([b"", b"RIFF", b"FORM", b"OggS", b"ID3\x04\x00\x00", b"\xff\xfb", b"fLaC", LAYER_3])


@given(STARTS, st.binary(max_size=600))
def test_any_bytes_are_something_or_nothing(start, rest):
    file = io.BytesIO(start + rest)
    container = identify(file)
    assert container.start >= 0
    promised = declared_frames(file, container)
    assert promised is None or promised > 0
    is_cut_ogg(file)


class Counted(io.BytesIO):
    """Counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


NAMES = st.sampled_from([b"fmt ", b"data", b"COMM", b"SSND", b"LIST"])
CHUNK = st.builds(lambda name, size, rest: name + size + rest, NAMES, st.binary(min_size=4, max_size=4), st.binary(max_size=32))
EMPTY = st.builds(lambda name: name + bytes(4), NAMES)


@given(st.binary(max_size=200) | st.lists(CHUNK | EMPTY, max_size=12).map(b"".join))
def test_chunks_of_any_bytes_end(body):
    for head, name in ((b"RIFF\x00\x00\x00\x00WAVE", "wav"), (b"FORM\x00\x00\x00\x00AIFF", "aiff")):
        file = Counted(head + body)
        promised = declared_frames(file, Container(name, "", 0))
        assert promised is None or 0 <= promised < 1 << 32
        # Each chunk is read once and takes at least the eight bytes of its head; beside them the order of bytes is, and the end.
        assert file.reads <= len(body) // 8 + 2
