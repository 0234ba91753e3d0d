"""Every file of the collection of import formats, with exact counts."""

from pathlib import Path

import pytest
from format_reading import read_all

FOLDER = Path(__file__).resolve().parents[3] / "../shared/data/listen-formats"
SUBMISSION, EXPORT, SPARK = "listenbrainz_submission", "listenbrainz_export", "listenbrainz_spark"
EXPECTED = {
    "additional_info.json": (SUBMISSION, 1, {}),
    "empty_artist_name.json": (SUBMISSION, 0, {"missing_artist": 1}),
    "empty_track_name.json": (SUBMISSION, 0, {"missing_track": 1}),
    "invalid_artist_mbid.json": (SUBMISSION, 1, {}),
    "invalid_duration.json": (SUBMISSION, 1, {}),
    "invalid_listen_missing_track_metadata.json": (SUBMISSION, 0, {"missing_metadata": 1}),
    "invalid_listen_nan_in_json.json": (SUBMISSION, 0, {"bad_time": 1}),
    "invalid_listen_null_listened_at.json": (SUBMISSION, 0, {"missing_time": 1}),
    "invalid_mbid_listens.json": (SUBMISSION, 2, {}),
    "librefm.csv": ("librefm_csv", 3, {}),
    "librefm_no_album_column.csv": ("librefm_csv", 2, {}),
    "librefm_no_header.csv": (None, 0, {}),
    "librefm_via_maloja.csv": ("librefm_csv", 3, {}),
    "librefm_with_comments.csv": ("librefm_csv", 3, {}),
    "listen_having_unicode_null.json": (SUBMISSION, 1, {}),
    "listenbrainz_all_invalid.jsonl": (EXPORT, 0, {"missing_artist": 1, "missing_track": 2}),
    "listenbrainz_listens.jsonl": (EXPORT, 2, {}),
    "listenbrainz_mixed_validity.jsonl": (EXPORT, 3, {"missing_artist": 1, "missing_track": 1}),
    "maloja.json": ("maloja", 2, {}),
    "maloja_malformed.json": ("maloja", 0, {"missing_track": 1, "missing_artist": 2}),
    "multi_duration.json": (SUBMISSION, 1, {}),
    "panoscrobbler.jsonl": ("pano_scrobbler", 2, {}),
    "playing_now_ts.json": (SUBMISSION, 0, {"playing_now": 1}),
    "playing_now_with_duration.json": (SUBMISSION, 0, {"playing_now": 1}),
    "rockbox.scrobbler.log": ("audioscrobbler", 4, {}),
    "same_batch_duplicates.json": (SUBMISSION, 3, {}),
    "same_timestamp_diff_track_valid_single.json": (SUBMISSION, 1, {}),
    "same_timestamp_diff_track_valid_single_2.json": (SUBMISSION, 1, {}),
    "single_more_than_one_listen.json": (SUBMISSION, 2, {}),
    "spinitron_sample.csv": ("spinitron", 3, {"bad_time": 1, "missing_track": 1}),
    "spotify_skipped_tracks.json": ("spotify_extended", 15, {}),
    "spotify_streaming_2023.json": ("spotify_extended", 5, {}),
    "spotify_streaming_endsong_0.json": ("spotify_extended", 5, {}),
    "timestamp_before_lfm_founding.json": (SUBMISSION, 0, {"time_before_2002": 1}),
    "timestamp_in_ns.json": (SUBMISSION, 1, {}),
    "too_large_listen.json": (SUBMISSION, 1, {}),
    "too_long_tag.json": (SUBMISSION, 0, {"playing_now": 1}),
    "too_many_tags.json": (SUBMISSION, 0, {"playing_now": 1}),
    "user_export_test.json": (SUBMISSION, 3, {}),
    **{f"full-dump-1/{number}.parquet": (SPARK, rows, {}) for number, rows in enumerate((4, 3, 10, 18, 14, 10, 9))},
    "incremental-dump-2/0.parquet": (SPARK, 9, {}),
    "incremental-dump-3/0.parquet": (SPARK, 8, {}),
    "incremental-dump-5/rec_listens.parquet": (SPARK, 30, {}),
    "mapped_listens.parquet": (SPARK, 24, {}),
}
NO_LISTENS = {"README.md", "SCHEMAS.md", "COPYING", "START_TIMESTAMP", "END_TIMESTAMP", "SCHEMA_SEQUENCE"}
SIDE_TABLES = {"artist_country_code.parquet", "recording_artist.parquet", "recording_genre.parquet", "release_metadata_cache.parquet"}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared collection of import formats is not here")


@pytest.mark.parametrize("name", EXPECTED)
def test_each_file_is_known_and_all_its_records_are_accounted_for(name):
    folder = "listenbrainz-spark-testdata" if name.endswith(".parquet") else "listenbrainz-testdata"
    (result,) = read_all(FOLDER / folder / name)
    assert (result.format, len(result.rows), dict(result.rules)) == EXPECTED[name]
    assert result.error is None


def test_no_file_is_forgotten_and_the_others_are_no_listens():
    names = {path.relative_to(FOLDER).as_posix().partition("data/")[2] or path.name: path for path in FOLDER.rglob("*") if path.is_file()}
    others = {path.name for name, path in names.items() if name not in EXPECTED}
    assert len(names) - len(EXPECTED) == sum(path.name in NO_LISTENS | SIDE_TABLES for path in names.values())
    assert others == NO_LISTENS | SIDE_TABLES
    for name, path in names.items():
        if name not in EXPECTED:
            (result,) = read_all(path)
            assert (result.format, result.reason) == (None, "side_table" if path.name in SIDE_TABLES else "not_a_listening_file")
