import io
import json
import os
import zipfile

import numpy as np
import pytest
from audio_files import DATA, id3, mpeg_frames, noise, write_sound, write_wav
from hypothesis import example, given
from hypothesis import strategies as st

from spotify_ai_assets.audio.intake.formats import detect_audio, open_regular, recognise


def kind(data: bytes) -> str | None:
    return recognise(io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.wav", {}, "wav"),
        ("a.flac", {}, "flac"),
        ("a.ogg", {}, "ogg"),
        ("a.opus", {"format": "OGG", "subtype": "OPUS", "rate": 24_000}, "ogg"),
        ("a.mp3", {}, "mp3"),
        ("a.aiff", {}, "aiff"),
        ("a.json", {"format": "MP3"}, "mp3"),
        ("no extension", {"format": "FLAC"}, "flac"),
    ],
)
def test_content_tells_the_format_and_the_extension_nothing(tmp_path, name, options, expected):
    assert detect_audio(write_sound(tmp_path / name, noise(), **options)) == expected


def test_an_mp3_without_tags_is_known_by_frames_that_follow_one_another():
    assert kind(mpeg_frames(4)) == "mp3"
    assert kind(bytes(300) + mpeg_frames(4)) == "mp3"
    assert kind(mpeg_frames(2)) == "mp3"  # all there is of it
    assert kind(mpeg_frames(2) + b"TAG" + bytes(125)) == "mp3"


@pytest.mark.parametrize(
    "data",
    [
        mpeg_frames(1),
        mpeg_frames(3) + b"but then it goes on with something else" * 99,
        bytes(5000) + mpeg_frames(20),
        b"PK\x03\x04" + mpeg_frames(50),
        b"\x1f\x8b" + mpeg_frames(50),
        mpeg_frames(8)[1:400] + b"x" * 9999,
    ],
)
def test_frames_that_are_too_few_too_late_or_in_an_archive_are_no_audio(data):
    assert kind(data) is None


def test_a_stream_cut_in_the_middle_of_a_frame_is_still_known():
    assert kind(mpeg_frames(9)[200:]) == "mp3"


def test_a_tag_alone_is_an_mp3_and_in_front_of_flac_it_is_flac():
    assert kind(id3((b"TIT2", b"\x00a title"))) == "mp3"
    assert kind(id3((b"TIT2", b"\x00a title")) + b"fLaC" + bytes(40)) == "flac"
    assert kind(b"ID3 is what this text is about, it is no tag") is None


def test_what_people_import_besides_audio_is_no_audio():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.json", json.dumps(list(range(9999))))
    listens = json.dumps([{"ts": "2026-01-01T00:00:00Z", "master_metadata_track_name": "ÿû\u0090"}]).encode()
    texts = [b"", b"\xff", b"file,track_id\na.mp3,b\n", listens, "ÿûÿû".encode("latin-1") * 5000, '{"a": "ÿþ"}'.encode("utf-16")]
    assert [kind(data) for data in [*texts, archive.getvalue(), b"RIFF\x00\x00\x00\x00WEBP", b"FORM\x00\x00\x00\x00ILBM"]] == [None] * 9


@given(st.binary(max_size=3000))
@example(b"\xff\xfb\x90\x00" * 700)
@example(b"\xff" * 3000)
def test_bytes_of_any_kind_get_an_answer_and_text_is_never_audio(data):
    kind(data)
    assert kind(b"{" + data.decode("latin-1").encode()) is None


@given(st.integers(0, 2**32 - 1))
def test_random_bytes_are_not_taken_for_a_stream(seed):
    assert kind(b"\x00" + np.random.default_rng(seed).integers(0, 256, 40_000, np.uint8).tobytes()) is None


def test_links_pipes_and_folders_are_not_looked_into(tmp_path):
    write_wav(tmp_path / "a.wav", noise())
    (tmp_path / "link").symlink_to(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "pipe")
    assert [detect_audio(tmp_path / name) for name in ("link", "pipe", "absent", "nul\x00", "")] == [None] * 5
    with pytest.raises(OSError, match="no regular file"):
        open_regular(tmp_path / "pipe")


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
def test_no_file_of_the_shared_listening_formats_is_taken_for_audio_and_all_music_is():
    folders = [DATA / name for name in ("listen-formats", "spotify-api-fixtures", "charts-spotify-weekly-global", "nab")]
    assert [path for folder in folders for path in folder.rglob("*") if path.is_file() and detect_audio(path)] == []
    music = sorted((DATA / "audio-music").glob("*.ogg"))
    assert music and {detect_audio(path) for path in music} == {"ogg"}
