import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from tinytag import TinyTag

from spotify_ai_assets.demo.audio.encoding import SUFFIXES, break_file, encode

RATE = 22_050
TAGS = {"title": "夜の散歩 <b>", "artist": "Zoë & Söhne", "isrc": "DEDEM2600001", "mbid": "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9"}


def wave(channels: int = 1) -> np.ndarray:
    return (0.3 * np.random.default_rng(0).standard_normal((RATE, channels))).clip(-0.9, 0.9).astype(np.float32)


@pytest.mark.parametrize("container", SUFFIXES)
def test_tags_are_read_by_a_tag_reader_and_leave_the_sound_alone(container: str, tmp_path: Path) -> None:
    bare, tagged = (encode(wave(2), RATE, container, tags) for tags in ({}, TAGS))
    path = tmp_path / f"song.{container}"
    path.write_bytes(tagged)
    found = TinyTag.get(path)
    assert (found.title, found.artist, found.other["isrc"]) == (TAGS["title"], TAGS["artist"], [TAGS["isrc"]])
    if container in ("flac", "ogg"):
        assert found.other["musicbrainz_trackid"] == [TAGS["mbid"]]
    else:
        assert b"UFID" in tagged
        assert b"http://musicbrainz.org\0" + TAGS["mbid"].encode() in tagged
    one, other = (sf.read(io.BytesIO(audio))[0] for audio in (bare, tagged))
    assert np.array_equal(one, other)
    assert sf.info(io.BytesIO(tagged)).format == container.upper()


@pytest.mark.parametrize("container", SUFFIXES)
def test_the_same_signal_gives_the_same_bytes(container: str) -> None:
    assert encode(wave(), RATE, container, TAGS) == encode(wave(), RATE, container, TAGS)


@settings(max_examples=15, deadline=None)
@given(title=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40), longer=st.integers(0, 70_000))
def test_comments_of_any_length_keep_an_ogg_file_whole(title: str, longer: int) -> None:
    audio = encode(wave()[:4_000], RATE, "ogg", {"artist": "x" * longer, "title": title})
    bare = encode(wave()[:4_000], RATE, "ogg", {})
    # libsndfile refuses pages with a wrong checksum or number.
    with sf.SoundFile(io.BytesIO(audio)) as file:
        assert file.title == title
        assert np.array_equal(file.read(), sf.read(io.BytesIO(bare))[0])


def test_broken_files_are_broken() -> None:
    good = encode(wave(), RATE, "mp3", {})
    assert len(break_file("truncated", good)) == len(good) * 4 // 10
    for kind in ("text", "empty", "bomb", "noise"):
        with pytest.raises(sf.LibsndfileError):
            sf.read(io.BytesIO(break_file(kind, good)))
    assert len(sf.read(io.BytesIO(break_file("header_only", good)))[0]) == 0
    assert len(break_file("bomb", good)) < 200
