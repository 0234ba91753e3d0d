import unicodedata
from pathlib import Path

from audio_files import id3, mpeg_frames
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.audio.intake.tags import LONGEST, clean, escape_name, read_tags

MBID = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"


def tags(folder: Path, *frames: tuple[bytes, bytes]) -> dict[str, str]:
    path = folder / "file"
    path.write_bytes(id3(*frames) + mpeg_frames(4))
    return read_tags(path)


def test_title_artist_album_and_both_ids_are_read_from_id3(tmp_path):
    unique = b"http://musicbrainz.org\x00" + MBID.upper().encode()
    found = tags(
        tmp_path,
        (b"TIT2", b"\x00Song"),
        (b"TPE1", b"\x00Band"),
        (b"TALB", b"\x00Album"),
        (b"TSRC", b"\x00us-rc1-76-07839"),
        (b"UFID", unique),
    )
    assert found == {"title": "Song", "artist": "Band", "album": "Album", "isrc": "USRC17607839", "recording_mbid": MBID}


def test_vorbis_comments_name_the_recording(tmp_path):
    import struct

    comments = ["title=Song\nwith lines", f"MUSICBRAINZ_TRACKID={MBID}", "ISRC=GBAYE0601498", "artist="]
    block = struct.pack("<I", 0) + struct.pack("<I", len(comments))
    block += b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in comments)
    stream = b"\x00\x00\x00\x22" + bytes.fromhex("1000100000000000000000ac40f000000000") + bytes(16)
    path = tmp_path / "a"
    path.write_bytes(b"fLaC" + stream + b"\x84" + len(block).to_bytes(3, "big") + block)
    assert read_tags(path) == {"title": "Song with lines", "isrc": "GBAYE0601498", "recording_mbid": MBID}


def test_ids_that_are_none_are_no_ids(tmp_path):
    assert tags(tmp_path, (b"TSRC", b"\x00' or 1=1"), (b"UFID", b"http://musicbrainz.org\x00" + b"z" * 36)) == {}


def test_hostile_text_becomes_one_short_line(tmp_path):
    found = tags(tmp_path, (b"TIT2", b"\x01" + "a\x1b[31m\u202eb\x00\nc".encode("utf-16")), (b"TPE1", b"\x00" + b"x" * 100_000))
    assert "\x1b" not in found["title"] and "\u202e" not in found["title"] and "\n" not in found["title"]
    assert len(found["artist"]) == LONGEST


def test_what_is_no_audio_has_no_tags(tmp_path):
    (tmp_path / "a").write_bytes(b"just text")
    assert read_tags(tmp_path / "a") == {}


@given(st.text())
def test_cleaned_text_is_printable_short_and_stays_as_it_is(text):
    cleaned = clean(text)
    assert cleaned.isprintable() and len(cleaned) <= LONGEST and clean(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)


@given(st.text(alphabet=st.characters(blacklist_characters="/\x00", blacklist_categories=()), min_size=1))
def test_an_escaped_name_is_printable_and_can_be_stored(name):
    shown = escape_name(Path(name))
    assert shown.isprintable() and len(shown) <= 255
    shown.encode()
