"""Real files of other projects, imported whole."""

import gzip
import shutil
from pathlib import Path

import pytest
from exports import counts, open_intake
from invented import require

from spotify_ai_assets.listening.contracts import CHART_ENTRIES, EVENTS
from spotify_ai_assets.listening.landing import list_files

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def take_all(lake, folder, *paths):
    intake = open_intake(lake, folder)
    return {path.name: report for path in paths for report in intake.take(path)}


@pytest.fixture
def shared():
    require(DATA.is_dir(), "the shared data are not here")
    return DATA.resolve()


@pytest.mark.slow
def test_no_file_of_any_project_crashes_an_import_and_all_rows_add_up(lake, tmp_path, shared):
    paths = list_files(shared / "listen-formats")
    assert len(paths) > 60
    intake = open_intake(lake, tmp_path)
    reports = [report for path in paths for report in intake.take(path)]
    assert all(counts(report) for report in reports) and all(report.format or report.reason for report in reports)
    assert {report.format for report in reports} >= {"spotify_extended", "maloja", "audioscrobbler"}
    stored = sum(report.stored for report in reports)
    assert stored == lake.scan(EVENTS.key).collect().height > 100
    again = [report for path in paths for report in open_intake(lake, tmp_path).take(path)]
    assert sum(report.stored for report in again) == 0
    assert [report.rejected for report in again] == [report.rejected for report in reports]


def test_both_generations_of_the_extended_history_are_read(lake, tmp_path, shared):
    folder = shared / "listen-formats" / "listenbrainz-testdata"
    found = take_all(lake, tmp_path, folder / "spotify_streaming_2023.json", folder / "spotify_streaming_endsong_0.json")
    assert {report.format for report in found.values()} == {"spotify_extended"}
    assert all(report.stored for report in found.values())


def test_a_real_chart_download_of_another_shape_is_told_apart_from_one_that_can_be_read(lake, tmp_path, shared):
    packed = shared / "charts-spotify-weekly-global" / "spotify_charts.csv.gz"
    path = tmp_path / "regional-global-weekly-2026-03-05.csv.gz"
    shutil.copy(packed, path)
    header = gzip.decompress(packed.read_bytes()).split(b"\n", 1)[0]
    (report,) = open_intake(lake, tmp_path).take(path)
    assert counts(report) and (report.format, lake.scan(CHART_ENTRIES.key).collect().height) == (None, 0), header
