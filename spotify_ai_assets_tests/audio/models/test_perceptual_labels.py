import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.audio.models.perceptual_labels import read_labels
from spotify_ai_assets.errors import UnreadableFileError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "spotify-audio-features"

FMA = """,echonest,echonest,echonest,echonest,echonest,echonest
,audio_features,audio_features,audio_features,metadata,social_features,temporal_features
,acousticness,tempo,valence,artist_name,artist_hotttnesss,000
track_id,,,,,,
2,0.4166752327,165.922,0.5766609880,AWOL,0.3,-3.1
3,0.3744077685,126.957,,AWOL,0.2,1.5
134,0.0435668989,100.26,0.5638880,"Foo, Bar",,2
"""


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.csv"


def test_a_plain_file_is_read(file):
    labels = read_labels(write(file, "track_id,artist,valence,liveness,popularity\na,One,0.5,.1,40\nb,,1,NA,12\n\n"))
    assert labels.to_dicts() == [
        {"track_id": "a", "artist": "One", "valence": 0.5, "liveness": 0.1},
        {"track_id": "b", "artist": None, "valence": 1.0, "liveness": None},
    ]


@pytest.mark.parametrize("header", ["isrc", "ISRC", "file", "Filename", "path", "id"])
def test_a_track_is_named_by_isrc_file_or_id(file, header):
    labels = read_labels(write(file, f"{header},valence\nx,0.5\n"))
    assert labels.columns[0] in ("isrc", "file", "track_id")
    assert labels.row(0) == ("x", 0.5)


def test_another_column_of_values_from_zero_to_one_is_a_label_and_facts_are_not(file):
    labels = read_labels(write(file, "file,groove,mode,tempo,note\na,0.2,1,0.5,x\nb,1,0,0.7,y\n"))
    assert labels.columns == ["file", "groove"]


def test_the_layout_of_fma_is_read(file):
    labels = read_labels(write(file, FMA))
    assert labels.columns == ["track_id", "artist", "acousticness", "valence"]
    assert labels["track_id"].to_list() == ["2", "3", "134"]
    assert labels["artist"].to_list() == ["AWOL", "AWOL", "Foo, Bar"]
    assert labels["valence"].to_list() == [pytest.approx(0.576660988), None, pytest.approx(0.563888)]


def test_a_byte_order_mark_and_quoted_line_breaks_are_read(file):
    labels = read_labels(write(file, b'\xef\xbb\xbftrack_id,artist,valence\r\na,"One\nTwo",0.25\r\n'))
    assert labels.to_dicts() == [{"track_id": "a", "artist": "One\nTwo", "valence": 0.25}]


def test_equal_repetitions_of_a_track_are_one(file):
    assert read_labels(write(file, "track_id,valence,genre\na,0.5,pop\na,0.5,rock\nb,0.1,pop\n")).height == 2


@pytest.mark.parametrize(
    ("text", "rule", "row"),
    [
        ("", "empty", None),
        ("\n\n", "empty", None),
        (b"track_id,valence\n\xff\xfe,0.5\n", "not_utf8", None),
        ('track_id,valence\n"a,0.5\n', "not_csv", None),
        ("artist,valence\na,0.5\n", "no_identity", 1),
        ("track_id,artist\na,b\n", "no_labels", None),
        ("track_id,popularity\na,50\n", "no_labels", None),
        ("track_id,valence,Valence\na,0.5,0.5\n", "duplicate_column", 1),
        ("track_id,id,valence\na,b,0.5\n", "duplicate_column", 1),
        ("track_id,valence\na,0.5\nb,0.5,9\n", "ragged_row", 3),
        ("track_id,valence\na,0.5\n,0.5\n", "no_track", 3),
        ("track_id,valence\na,0.5\nb,high\n", "bad_number", 3),
        ("track_id,valence\na,inf\n", "bad_number", 2),
        ("track_id,valence\na,0.5\nb,1.01\n", "out_of_range", 3),
        ("track_id,valence\na,0.5\nb,-0.01\n", "out_of_range", 3),
        ("track_id,energy\na,50\n", "out_of_range", 2),
        ("track_id,valence\na,0.5\nb,0.5\na,0.6\n", "contradicting_rows", 4),
        (",echonest\n,audio_features\n,valence,tempo\n", "ragged_row", 3),
        (",echonest\n", "ragged_row", 3),
        ("track_id" + ",c" * 2_000 + "\n", "too_many_columns", 1),
    ],
)
def test_a_broken_file_names_its_rule_and_row(file, text, rule, row):
    with pytest.raises(UnreadableFileError) as told:
        read_labels(write(file, text))
    assert (told.value.rule, told.value.row) == (rule, row)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(alphabet='track_id,valence"\n\r0.51 e', max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused_by_a_rule(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "any.csv"
    try:
        labels = read_labels(write(file, data))
    except UnreadableFileError:
        return
    assert all(labels[name].drop_nulls().is_between(0, 1).all() for name in labels.columns if labels.schema[name] == pl.Float64)


def test_real_files_are_read_or_told_what_they_lack(file):
    if not SHARED.is_dir():
        pytest.skip("the shared data are not here")
    with pytest.raises(UnreadableFileError, match="no column names the track"):
        read_labels(SHARED / "taylor_spotify_data.csv")
    songs = read_labels(write(file, gzip.decompress((SHARED / "spotify_songs.csv.gz").read_bytes())))
    assert songs.columns[:2] == ["track_id", "artist"]
    assert {"valence", "acousticness", "speechiness", "liveness", "instrumentalness"} <= set(songs.columns)
    assert songs["track_id"].is_unique().all()
    assert songs.height == 28_356
