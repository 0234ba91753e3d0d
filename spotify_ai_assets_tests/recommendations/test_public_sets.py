"""Public data sets come in as they are written, and a file that breaks its layout is refused whole."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.errors import MissingInputError, UnreadableFileError
from spotify_ai_assets.recommendations.public_sets import hold_out, open_lists, read_hetrec, read_lists, read_sequences, widen

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


@given(st.lists(st.sets(st.integers(0, 40), max_size=6), max_size=8))
def test_lists_are_read_as_they_were_written(tmp_path_factory, histories):
    path = tmp_path_factory.mktemp("lists") / "train.txt"
    path.write_text("".join(" ".join(map(str, [row, *sorted(items)])) + "\n" for row, items in enumerate(histories)))
    matrix = read_lists(path)
    assert [set(matrix.indices[first:end].tolist()) for first, end in zip(matrix.indptr, matrix.indptr[1:], strict=False)] == histories
    assert matrix.has_sorted_indices
    assert set(matrix.data.tolist()) <= {1.0}


def test_a_pair_that_is_there_twice_counts_once(tmp_path):
    (tmp_path / "train.txt").write_text("0 3 1 3\n0 1\n\n2 0\n")
    assert read_lists(tmp_path / "train.txt").toarray().tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_a_gzipped_file_says_the_same(tmp_path):
    for name, write in (("train.txt", Path.write_bytes), ("test.txt.gz", lambda path, text: path.write_bytes(gzip.compress(text)))):
        write(tmp_path / name, b"0 1 2\n1 0\n")
    lists = open_lists(tmp_path)
    assert np.array_equal(lists.train.toarray(), lists.read_test().toarray())
    assert lists.valid is None


def test_all_parts_have_one_shape_and_strangers_of_the_test_widen_it(tmp_path):
    (tmp_path / "train.txt").write_text("0 1\n")
    (tmp_path / "valid.txt").write_text("1 2\n")
    (tmp_path / "test.txt").write_text("2 4\n")
    lists = open_lists(tmp_path)
    assert lists.valid is not None
    assert lists.train.shape == lists.valid.shape == (2, 3)
    assert lists.read_test().shape == (3, 5)
    assert widen(lists.train, (3, 5)).toarray().sum() == 1


def test_the_test_part_is_not_opened_before_it_is_asked_for(tmp_path):
    (tmp_path / "train.txt").write_text("0 1\n")
    (tmp_path / "test.txt").write_text("nothing that could be read\n")
    lists = open_lists(tmp_path)
    with pytest.raises(UnreadableFileError, match="line 1"):
        lists.read_test()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"0 1 x\n", "not_numbers"),
        (b"0 -1\n", "not_numbers"),
        ("0 ²\n".encode(), "not_numbers"),
        (b"0 4294967296\n", "number_too_large"),
        (b"0 \xff\n", "not_text"),
    ],
)
def test_a_broken_line_is_refused_by_its_rule(tmp_path, text, rule):
    (tmp_path / "train.txt").write_bytes(text)
    with pytest.raises(UnreadableFileError) as error:
        read_lists(tmp_path / "train.txt")
    assert error.value.rule == rule


def test_a_cut_gzip_stream_is_refused(tmp_path):
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(b"0 1 2 3\n" * 1000)[:-20])
    with pytest.raises(UnreadableFileError, match="gzip"):
        read_lists(tmp_path / "train.txt.gz")


def test_a_missing_part_is_named(tmp_path):
    (tmp_path / "train.txt").write_text("0 1\n")
    with pytest.raises(MissingInputError, match=r"test\.txt"):
        open_lists(tmp_path)


@given(st.lists(st.sets(st.integers(0, 30), max_size=25), min_size=1, max_size=6), st.floats(0.05, 0.5), st.integers(0, 9))
def test_what_is_held_out_is_a_share_of_each_listener_and_nothing_is_lost(histories, share, seed):
    from scipy.sparse import csr_matrix

    dense = np.zeros((len(histories), 31), np.float32)
    for row, items in enumerate(histories):
        dense[row, list(items)] = 1
    matrix = csr_matrix(dense)
    kept, cut = hold_out(matrix, share, seed)
    assert np.array_equal((kept + cut).toarray(), dense)
    assert kept.multiply(cut).nnz == 0
    for count, taken in zip(np.diff(matrix.indptr), np.diff(cut.indptr), strict=True):
        assert taken == (max(1, round(share * int(count))) if count > 1 else 0)
    again = hold_out(matrix, share, seed)[1]
    assert np.array_equal(again.indices, cut.indices)


def test_sequences_keep_their_order_and_a_listener_comes_once(tmp_path):
    (tmp_path / "LastFM.txt").write_text("1 5 3 9\n2 4\n")
    assert {listener: items.tolist() for listener, items in read_sequences(tmp_path / "LastFM.txt").items()} == {1: [5, 3, 9], 2: [4]}
    (tmp_path / "LastFM.txt").write_text("1 5 3 9\n1 4\n")
    with pytest.raises(UnreadableFileError, match="twice"):
        read_sequences(tmp_path / "LastFM.txt")


def test_plays_of_hetrec_keep_names_with_quotation_marks_and_line_ends_of_windows(tmp_path):
    (tmp_path / "user_artists.dat").write_bytes(b"userID\tartistID\tweight\r\n7\t20\t3\r\n7\t10\t1\r\n9\t20\t2\r\n")
    (tmp_path / "artists.dat").write_text('id\tname\turl\tpictureURL\n10\t"Weird Al\tu\tp\n20\tBjörk\tu\tp\n', encoding="utf-8")
    plays = read_hetrec(tmp_path)
    assert plays.matrix.toarray().tolist() == [[1, 3], [0, 2]]
    assert (plays.listeners.tolist(), plays.artists.tolist()) == ([7, 9], [10, 20])
    assert plays.names == {10: '"Weird Al', 20: "Björk"}
    (tmp_path / "artists.dat").write_text("number\tname\n1\tx\n")
    with pytest.raises(UnreadableFileError):
        read_hetrec(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not there")
def test_the_published_sets_have_the_sizes_that_their_authors_name():
    lists = open_lists(SHARED / "reco-lastfm2k-lgnpp")
    assert lists.valid is not None
    assert (lists.train.nnz, lists.valid.nnz, len(lists.train.indptr) - 1) == (64_315, 9_143, 1_885)
    gowalla = read_lists(SHARED / "reco-gowalla/train.txt.gz")
    assert (gowalla.shape, gowalla.nnz) == ((29_858, 40_981), 810_128)
    sequences = read_sequences(SHARED / "reco-lastfm-s3rec/LastFM.txt")
    assert (len(sequences), sum(map(len, sequences.values())), min(map(len, sequences.values()))) == (1_090, 52_551, 5)
    assert {len(items) for items in read_sequences(SHARED / "reco-lastfm-s3rec/LastFM_sample.txt").values()} == {99}
    plays = read_hetrec(SHARED / "lastfm-hetrec2011")
    assert (plays.matrix.shape, plays.matrix.nnz, len(plays.names)) == ((1_892, 17_632), 92_834, 17_632)
