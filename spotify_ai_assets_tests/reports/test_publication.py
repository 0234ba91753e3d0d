"""What lies in the folder of reports after a run, and that writing it costs little."""

import dataclasses
import json
import os
import stat
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from report_frames import FIGURES, SUNDAY, year_rows

from spotify_ai_assets.reports import files
from spotify_ai_assets.reports.contracts import TABLES
from spotify_ai_assets.reports.files import write_file
from spotify_ai_assets.reports.publication import ANOMALY_REPORT, COHORT_REPORT, REPORTS, WEEKLY_REPORT, publish_days, write_review
from spotify_ai_assets.resources.lake import Lake, Origin, Recipe
from spotify_ai_assets.settings import LANGUAGES, Settings

each_report = pytest.mark.parametrize("key", list(REPORTS))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """These figures have no plays behind them: everything is told. What else may be is for ``test_disclosure.py``."""
    return dataclasses.replace(settings, k_anonymity=1)


def _make(lake: Lake, key: str, *days: date, name: str = "Song") -> None:
    for day in days:
        figures = FIGURES[key](name).with_columns(day=pl.lit(day))
        lake.write(key, figures, day, recipe=Recipe("9", {}), origin=Origin(f"run-of-{day}", "0" * 32))


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@each_report
def test_a_day_has_its_pages_and_files(key: str, lake: Lake, settings: Settings) -> None:
    name = key.partition("/")[2]
    _make(lake, key, SUNDAY)

    publish_days(lake, settings, [SUNDAY], [SUNDAY], REPORTS[key])

    pages = {f"{name}/{language}/{page}.html" for language in LANGUAGES for page in (SUNDAY, "index")}
    homes = {f"{language}/index.html" for language in LANGUAGES}
    assert _names(settings.reports) == pages | homes | {f"{name}/{SUNDAY}.json", f"{name}/{SUNDAY}.csv", f"{name}/schema.json"}
    document = json.loads((settings.reports / name / f"{SUNDAY}.json").read_text())
    assert document["sources"][-1] | {"digest": ""} == {
        "asset": key,
        "partition": "2026-05-31",
        "run_id": "run-of-2026-05-31",
        "run_url": "http://127.0.0.1:3000/runs/run-of-2026-05-31",
        "code_version": "9",
        "digest": "",
    }
    assert f"../{name}/de/index.html" in (settings.reports / "de" / "index.html").read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in settings.reports.rglob("*.*") if path.is_file()} == {0o644}


@each_report
def test_each_link_of_the_folder_leads_somewhere(key: str, lake: Lake, settings: Settings) -> None:
    import re

    earlier = SUNDAY - timedelta(days=1 if TABLES[key].grain == "day" else 7 if TABLES[key].grain == "week" else 31)
    _make(lake, key, earlier, SUNDAY)

    publish_days(lake, settings, [earlier, SUNDAY], [earlier, SUNDAY], REPORTS[key])

    broken = [
        (path, link)
        for path in settings.reports.rglob("*.html")
        for link in re.findall(r'href="([^"#:]+)"', path.read_text())
        if not (path.parent / link).exists()
    ]
    assert broken == []


def test_days_that_a_table_does_not_have_are_left_alone(lake: Lake, settings: Settings) -> None:
    _make(lake, "reports/weekly_trends", SUNDAY)
    week = [SUNDAY - timedelta(days=ago) for ago in range(7)]

    publish_days(lake, settings, [SUNDAY], week, WEEKLY_REPORT)

    assert {path.name for path in (settings.reports / "weekly_trends").glob("*.csv")} == {"2026-05-31.csv"}


def test_a_page_is_written_again_only_when_its_day_was_made_or_it_is_missing(lake: Lake, settings: Settings) -> None:
    days = [SUNDAY - timedelta(days=1), SUNDAY]
    folder = settings.reports / "anomalies"
    _make(lake, "reports/anomalies", *days)
    publish_days(lake, settings, days, days, ANOMALY_REPORT)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("2*")}

    publish_days(lake, settings, [], days, ANOMALY_REPORT)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("2*")} == before

    (folder / f"{days[0]}.csv").unlink()
    publish_days(lake, settings, [], days, ANOMALY_REPORT)
    changed = {path.stem for path, stamp in before.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {str(days[0])}


def test_nothing_to_write_reads_nothing_and_draws_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from spotify_ai_assets.definitions import defs;"
        "from spotify_ai_assets.reports.publication import DAILY_REPORT, publish_days;"
        "publish_days(None, __import__('spotify_ai_assets.settings').settings.Settings.from_environment(), [], [], DAILY_REPORT);"
        "print(*{'pygal', 'jinja2', 'babel'} & set(sys.modules))"
    )
    environment = {**os.environ, "SPOTIFY_AI_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    assert "pygal" not in done.stdout.split()


def test_a_chart_leaves_no_hook_in_the_import_system(lake: Lake, settings: Settings) -> None:
    _make(lake, "reports/cohorts", SUNDAY)

    publish_days(lake, settings, [SUNDAY], [SUNDAY], COHORT_REPORT)

    assert "pygal" in sys.modules
    assert not [finder for finder in sys.meta_path if type(finder).__module__ == "pygal"]


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.html"
    write_file(path, "old")
    write_file(path, "new é\r\n")

    assert path.read_bytes() == "new é\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert _names(tmp_path) == {"a/b.html"}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_file(path, "old")

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_file(path, "new")

    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("page.html", "old")]


def test_a_listeners_own_year_is_a_file_for_its_owner_only(tmp_path: Path) -> None:
    own, everybodys = tmp_path / "own.html", tmp_path / "all.html"
    first = SUNDAY.replace(month=1, day=1)

    write_review(own, year_rows(listener_id="f" * 32, listeners=1), first, SUNDAY, "de")
    write_review(everybodys, year_rows(), first, SUNDAY, "de")

    assert [stat.S_IMODE(path.stat().st_mode) for path in (own, everybodys)] == [0o600, 0o644]
    assert "f" * 32 not in own.read_text()
    assert ("Hörer:innen" in own.read_text(), "Hörer:innen" in everybodys.read_text()) == (False, True)


def test_reports_are_the_tables_of_the_domain() -> None:
    assert set(REPORTS) == set(TABLES)
    assert {key: report.days_before for key, report in REPORTS.items()} == {
        "reports/daily_listening": 27,
        "reports/weekly_trends": 49,
        "reports/anomalies": 27,
        "reports/cohorts": 49,
        "reports/year_in_review": 366,
    }
