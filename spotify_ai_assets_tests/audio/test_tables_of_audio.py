"""Tables that come with audio: told apart by their headers, read by their contracts, refused with rule and row."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.audio.contracts import GIVEN_LINKS, LABELS, PERCEPTUAL_LABELS
from spotify_ai_assets.audio.intake import tables
from spotify_ai_assets.audio.intake.landing import split_audio
from spotify_ai_assets.audio.intake.tables import detect_table, read_table
from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.validation import require

DIGEST = "0123456789abcdef" * 4


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("header", "table"),
    [
        ("file,track_id", GIVEN_LINKS),
        ("\ufeffSHA256, Track_ID ,note", GIVEN_LINKS),
        ("path,track_id", GIVEN_LINKS),
        ("file,label", LABELS),
        ("filename,genre,artist", LABELS),
        ("fold,class,file_name", LABELS),
        ("file,valence", PERCEPTUAL_LABELS),
        ("track_id,artist,acousticness,liveness", PERCEPTUAL_LABELS),
        ("file,track_id,valence", PERCEPTUAL_LABELS),
        (",echonest,echonest\n,audio_features,audio_features\n,valence,energy", PERCEPTUAL_LABELS),
        ("valence", None),
        ("file,size", None),
        ("track_name,artist_name,ms_played", None),
        ('{"track_name": "at echonest.com"}', None),
        ("", None),
        ("file,\x00label", None),
        ("a,b", None),
        ("file", None),
        (b"\x00\xff", None),
    ],
)
def test_a_table_is_known_by_its_header(tmp_path, header, table):
    assert detect_table(write(tmp_path, header)) is table


def test_what_is_no_regular_file_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(write(tmp_path, "file,label\na.wav,rock\n"))
    for name in ("pipe.csv", "link.csv", "absent.csv", "nul\x00.csv", "."):
        assert detect_table(tmp_path / name) is None


def test_tables_of_audio_go_with_audio_and_all_else_elsewhere(tmp_path):
    table = write(tmp_path, "file,label\na.wav,rock\n", "labels.txt")
    other = write(tmp_path, "track_name,artist_name\nx,y\n", "plays.csv")
    sound = write(tmp_path, b"fLaC" + bytes(60), "z.csv")
    assert split_audio([tmp_path]) == ([table, sound], [other])


def test_links_name_files_as_they_are_kept(tmp_path):
    rows = f"File,Track_Id\nmusic/a.wav,spotify:x\n{DIGEST.upper()},y\nb\x1b.wav,z\nno track yet,\na.wav,later\n"
    found = read_table(write(tmp_path, rows), GIVEN_LINKS)
    require(GIVEN_LINKS, found)
    assert dict(found.rows()) == {"a.wav": "later", DIGEST: "y", "b\\x1b.wav": "z"}


def test_labels_have_artist_and_fold_where_they_are_known(tmp_path):
    rows = f"path,mood,artist_name,fold\nx/a.wav, calm ,Ann,1\n{DIGEST.upper()},wild,,\nü.wav,calm,Bob,2\na.wav,wild,Ann,1\n"
    found = read_table(write(tmp_path, "\ufeff" + rows), LABELS)
    require(LABELS, found)
    assert set(found.rows()) == {(DIGEST, "wild", None, None), ("ü.wav", "calm", "Bob", "2"), ("a.wav", "wild", "Ann", "1")}


def test_a_table_without_rows_is_a_table(tmp_path):
    assert read_table(write(tmp_path, "file,label\n"), LABELS).is_empty()
    assert read_table(write(tmp_path, "file,track_id\n"), GIVEN_LINKS).is_empty()


def test_perceptual_labels_become_a_row_for_each_value(tmp_path):
    found = read_table(write(tmp_path, "file,artist,valence,energy\nx/a.wav,Ann,0.25,\nb.wav,,0.5,1\n"), PERCEPTUAL_LABELS)
    require(PERCEPTUAL_LABELS, found)
    assert set(found.rows()) == {("a.wav", "Ann", "valence", 0.25), ("b.wav", None, "valence", 0.5), ("b.wav", None, "energy", 1.0)}


@pytest.mark.parametrize(
    ("content", "table", "rule", "row"),
    [
        ("file,label\na.wav,rock\nb.wav\n", LABELS, "ragged_row", 2),
        ("file,label\na.wav,rock,more\n", LABELS, "ragged_row", 1),
        ("file,label\na.wav,rock\n,rock\n", LABELS, "missing_label", 2),
        ("file,label\na.wav,\n", LABELS, "missing_label", 1),
        ('file,label\na.wav,"rock\n', LABELS, "not_csv", 1),
        (b"file,label\n" + b"a.wav,rock\n" * 9_000 + b"\xff.wav,rock\n", LABELS, "not_utf8", None),
        ("file,track_id\na.wav,x\nb.wav\n", GIVEN_LINKS, "ragged_row", 2),
        ("file,valence\na.wav,high\n", PERCEPTUAL_LABELS, "bad_number", 2),
        ("file,valence\na.wav,0.5\nb.wav,1.5\n", PERCEPTUAL_LABELS, "out_of_range", 3),
    ],
)
def test_a_damaged_table_names_its_rule_and_row(tmp_path, content, table, rule, row):
    path = write(tmp_path, content)
    assert detect_table(path) is table
    with pytest.raises(UnreadableFileError) as raised:
        read_table(path, table)
    assert raised.value.rule == rule
    assert raised.value.row == row or (row is None and raised.value.row is not None)
    assert "wav" not in str(raised.value)


_CELLS = st.text(st.sampled_from('a,"\n\r\x00\x1f é/.9'), max_size=12)


@given(st.one_of(st.binary(max_size=80), st.lists(_CELLS, max_size=5).map(lambda lines: "\n".join(["file,label", *lines]).encode())))
def test_whatever_the_bytes_a_table_is_read_or_refused_by_rule(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    table = detect_table(path)
    for each in (LABELS, GIVEN_LINKS) if content.startswith(b"file,label") else (table,):
        if each is None or (each is GIVEN_LINKS and table is not GIVEN_LINKS):
            continue
        try:
            require(each, read_table(path, each))
        except UnreadableFileError as error:
            assert error.rule


def test_files_without_a_track_are_left_out_of_the_links(tmp_path):
    path = write(tmp_path, "note,sha256,track_id\n=1+1,abc,x\n,def,\n")
    assert read_table(path, GIVEN_LINKS).select("file", "track_id").rows() == [("abc", "x")]


def test_a_table_larger_than_any_of_its_kind_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path, "file,label\na.wav,rock\n")
    monkeypatch.setattr(tables, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(UnreadableFileError) as error:
        read_table(path, LABELS)
    assert error.value.rule == "too_large"
