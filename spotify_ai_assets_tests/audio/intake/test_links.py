import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.audio.intake.links import GIVEN, METHODS, SCHEMA, link_tracks
from spotify_ai_assets.catalog.contracts import TRACKS
from spotify_ai_assets.catalog.ids import artist_id, named_track_id

MBID = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
SPOTIFY = "spotify:4uLU6hMCjMI75M1A2tKUQC"
FILE = {
    "file_id": "0" * 64,
    "file_name": "a.mp3",
    "title": None,
    "artist": None,
    "isrc": None,
    "recording_mbid": None,
    "duration_ms": 200_000,
}
FILES = {name: pl.Int64 if name == "duration_ms" else pl.String for name in FILE}


def track(track_id, name="Song", artist="Band", duration=200_000, isrc=None):
    values = (track_id, name, artist_id(artist), artist, None, duration, None, isrc)
    return dict(zip(TRACKS.schema, values, strict=True))


def links(files, tracks, given=None):
    rows = [FILE | {"file_id": f"{number:064x}"} | each for number, each in enumerate(files)]
    table = None if given is None else pl.DataFrame(given, schema=GIVEN, orient="row")
    found = link_tracks(pl.DataFrame(rows, schema=FILES), pl.DataFrame(tracks, schema=TRACKS.schema), table)
    assert found.schema == SCHEMA
    return [(int(file, 16), *rest) for file, *rest in found.iter_rows()]


def test_an_isrc_links_however_it_is_written():
    assert links([{"isrc": "US-RC1-76-07839"}], [track(SPOTIFY, isrc="usrc17607839")]) == [(0, SPOTIFY, "isrc", 0.98)]


def test_a_recording_id_links_to_the_track_of_that_id():
    assert links([{"recording_mbid": MBID.upper()}], [track(f"mbid:{MBID}")]) == [(0, f"mbid:{MBID}", "mbid", 0.97)]


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(203_000, "names_and_duration"), (197_000, "names_and_duration"), (203_001, None), (196_999, None), (None, "names")],
)
def test_names_link_where_the_lengths_agree_within_three_seconds(duration, expected):
    name = named_track_id("Band", "Song")
    found = links([{"title": " SONG", "artist": "band"}], [track(name, duration=duration)])
    assert [each[2] for each in found] == ([expected] if expected else [])


def test_a_table_overrules_tags_by_name_and_by_digest():
    tracks = [track(SPOTIFY), track("name:" + "1" * 20, "Other")]
    files = [{"title": "Other", "artist": "Band"}, {"title": "Other", "artist": "Band", "file_name": "b.mp3"}]
    uri = "spotify:track:" + SPOTIFY.removeprefix("spotify:")
    assert links(files, tracks, [("a.mp3", uri), (f"{1:064x}", SPOTIFY)]) == [(0, SPOTIFY, "csv", 1.0), (1, SPOTIFY, "csv", 1.0)]


def test_a_table_that_names_no_track_of_the_catalogue_links_nothing():
    assert links([{}], [track(SPOTIFY)], [("a.mp3", "name:" + "f" * 20)]) == []


def test_several_tracks_share_the_confidence_and_the_nearest_length_then_the_id_decides():
    tracks = [track("name:" + digit * 20, duration=length) for digit, length in (("2", 201_000), ("1", 201_000), ("3", 202_500))]
    file = {"title": "Song", "artist": "Band"}
    assert links([file], tracks) == links([file], tracks[::-1]) == [(0, "name:" + "1" * 20, "names_and_duration", 0.3)]


def test_names_in_the_name_of_a_file_link_with_less_confidence():
    files = [{"file_name": name} for name in ("01 - Band - Song.flac", "Band_-_Song.ogg", "Band - Song", "Song.mp3", None)]
    assert [each[::3] for each in links(files, [track(SPOTIFY)])] == [(0, 0.5), (1, 0.5), (2, 0.5)]


def test_a_file_without_anything_and_empty_tables_have_no_links():
    assert links([{}], [track(SPOTIFY)]) == links([], [track(SPOTIFY)]) == links([{"title": "Song", "artist": "Band"}], []) == []


words = st.sampled_from(["Song", "song ", "Other", "Bänd", "band", None])
durations = st.sampled_from([None, 1000, 200_000, 202_000])
codes = st.sampled_from([None, "USRC17607839", "US-RC1-76-07839", "bad"])
file_rows = st.builds(
    lambda title, artist, isrc, duration: {"title": title, "artist": artist, "isrc": isrc, "duration_ms": duration},
    words,
    words,
    codes,
    durations,
)
track_rows = st.builds(
    lambda number, name, artist, duration, isrc: track(f"name:{number:020x}", name or "x", artist or "y", duration, isrc),
    st.integers(0, 5), words, words, durations, codes,
)  # fmt: skip


@settings(max_examples=30)
@given(st.lists(file_rows, max_size=5), st.lists(track_rows, max_size=6, unique_by=lambda row: row["track_id"]), st.randoms())
def test_each_file_has_one_link_at_most_whatever_the_order_of_rows(files, tracks, random):
    found = links(files, tracks)
    assert len({each[0] for each in found}) == len(found)
    assert all(0 < each[3] <= 1 and each[2] in METHODS for each in found)
    random.shuffle(tracks)
    assert links(files, tracks) == found
