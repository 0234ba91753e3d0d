import os

import polars as pl
import pytest
from audio_files import DATA, noise, write_wav

from spotify_ai_assets.audio.intake.inspection import inspect_files, tabulate

pytestmark = pytest.mark.xdist_group("audio_sandbox")


@pytest.mark.skipif(not (DATA / "audio-odd").is_dir(), reason="the shared data set audio-odd is not here")
def test_all_odd_and_corrupt_files_behave_as_their_kind_says(pool):
    table = tabulate(inspect_files([DATA / "audio-odd"], pool))
    assert table["kind"].value_counts(sort=True).rows() == [("odd", 50), ("corrupt", 14), ("valid", 11)] and table.height == 75
    assert table.filter(~pl.col("is_as_expected")).rows() == []
    assert table.filter(kind="valid")["outcome"].unique().to_list() == ["decoded"]
    assert table["peak_mb"].min() > 0 and table["peak_mb"].max() < 1000
    assert table["wall_s"].max() < 10 and table["cpu_s"].max() < 10


@pytest.mark.skipif(not (DATA / "audio-music").is_dir(), reason="the shared data set audio-music is not here")
def test_all_real_music_is_measured(pool):
    table = tabulate(inspect_files(sorted((DATA / "audio-music").glob("*.ogg")), pool))
    assert table.height == 10 and table["outcome"].unique().to_list() == ["decoded"]


def test_a_table_is_printable_and_tells_what_is_not_as_expected(pool, tmp_path):
    write_wav(tmp_path / "\x1b[31mgood.wav", noise())
    (tmp_path / "broken.flac").write_bytes(b"fLaC" + bytes(50))
    (tmp_path / "link.wav").symlink_to(tmp_path / "broken.flac")
    os.mkfifo(tmp_path / "pipe.wav")
    rows = {row.path: row for row in inspect_files([tmp_path], pool)}
    assert {path: (row.outcome, row.rule) for path, row in rows.items()} == {
        "\\x1b[31mgood.wav": ("decoded", ""),
        "broken.flac": ("refused", "no_audio"),
        "link.wav": ("refused", "not_a_file"),
    }
    (tmp_path / "manifest.csv").write_text("path,kind\nbroken.flac,valid\n")
    assert [(row.path, row.is_as_expected) for row in inspect_files([tmp_path], pool)] == [("broken.flac", False)]
    assert [row.seconds for row in inspect_files([tmp_path / "\x1b[31mgood.wav"], pool)] == [0.5]
