"""The charts benchmark on invented weeks: what is read, what counts as alarm and lead, and that nothing looks ahead."""

import json
import math
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import charts
from benchmarks.measuring import ROOT
from spotify_ai_assets.listening.insight.growth import follow_growth

WEEKS, SIZE = 96, 40


def invent(seed: int = 0) -> pl.DataFrame:
    """Weekly streams of a chart of forty: most songs start high and fade, some climb to the top in a few weeks."""
    rng = np.random.default_rng(seed)
    songs: dict[str, np.ndarray] = {}
    for number in range(700):
        start, climbs = int(rng.integers(-10, WEEKS)), rng.random() < 0.15
        age = np.arange(WEEKS) - start
        shape = np.where(age < 6, 0.25 * age, 1.5 - 0.2 * (age - 6)) if climbs else -0.15 * age
        level = (12.2 if climbs else rng.normal(12.5, 0.8)) + shape + rng.normal(0, 0.05, WEEKS)
        songs[f"{number:022d}"] = np.where(age >= 0, np.exp(level), 0.0)
    rows = []
    for week in range(WEEKS):
        best = sorted(songs, key=lambda song: -songs[song][week])[:SIZE]
        day = date(2020, 1, 3) + timedelta(weeks=week)
        rows += [(day, rank, song, round(songs[song][week])) for rank, song in enumerate(best, 1)]
    return pl.DataFrame(rows, schema=["day", "rank", "song", "streams"], orient="row")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same chart as one file with streams, and as one file a week without; and a file that is no chart."""
    top, rows = tmp_path_factory.mktemp("charts"), invent()
    (top / "one").mkdir()
    (top / "many").mkdir()
    (top / "other").mkdir()
    link = pl.format("https://open.spotify.com/track/{}", "song").alias("URL")
    parts = (pl.col("day").dt.year().alias("Year"), pl.col("day").dt.month().alias("Month"), pl.col("day").dt.day().alias("Day"))
    rows.select(pl.col("rank").alias("Position"), pl.col("streams").alias("Streams"), link, *parts).write_csv(top / "one/chart.csv")
    for (day,), week in rows.group_by("day"):
        named = week.select(pl.col("rank").alias("current_week"), pl.col("song").alias("title"), performer=pl.lit("Somebody"))
        named.write_csv(top / f"many/{day}.csv")
    pl.DataFrame({"timestamp": ["2020-01-03"], "value": [1]}).write_csv(top / "other/series.csv")
    return top


def test_every_weekly_chart_of_a_folder_is_read(folder):
    found = charts.read_charts(folder)
    assert sorted(found) == ["many", "one"]
    one, many = found["one"], found["many"]
    assert one.weeks == many.weeks == WEEKS
    assert np.nansum(one.ranks) == np.nansum(many.ranks) == WEEKS * SIZE * (SIZE + 1) / 2
    assert np.nanmax(one.streams) == invent()["streams"].max()
    assert np.nanmax(many.streams) == pytest.approx(1e9 / 11)
    assert sorted(one.entry) == sorted(many.entry)


def test_a_folder_without_a_chart_is_refused(folder):
    with pytest.raises(FileNotFoundError, match="no weekly chart"):
        charts.read_charts(folder / "other")


def place(*ranks: float) -> charts.Chart:
    """The chart of one track, at these ranks."""
    row = np.array([ranks])
    top = row <= charts.TOP
    entry = np.where(top.any(axis=1), top.argmax(axis=1), row.shape[1])
    return charts.Chart(row, 1.0 / row, entry, (~np.isnan(row)).argmax(axis=1))


def test_lead_is_counted_from_the_earliest_alarm_that_holds():
    chart = place(*[50.0] * 12, *[5.0] * 12)
    scores = np.full((1, 24), -np.inf)
    scores[0, [2, 9, 11]] = 1.0
    outcome = charts.judge(chart, scores, 1.0, 0, 24)
    # Week 2 is too early for week 12 and false; from week 11 on it could alarm again, but the one of week 11 is the first.
    assert (outcome.leads.tolist(), outcome.false_rate) == ([1.0], 1 / 16)
    scores[0, 2] = -np.inf
    assert charts.judge(chart, scores, 1.0, 0, 24).leads.tolist() == [3.0]
    assert charts.judge(chart, scores, 2.0, 0, 24).leads.tolist() == [0.0]


def test_an_alarm_whose_weeks_are_not_over_is_not_judged():
    chart, scores = place(*[50.0] * 24), np.full((1, 24), -np.inf)
    scores[0, 16] = 1.0
    assert charts.judge(chart, scores, 1.0, 0, 24).false_rate == 0
    scores[0, 15] = 1.0
    assert charts.judge(chart, scores, 1.0, 0, 24).false_rate == 1 / 16


def test_a_debut_in_the_top_is_no_entry_to_be_foreseen():
    debut = place(*[math.nan] * 12, *[5.0] * 12)
    assert charts.judge(debut, np.zeros((1, 24)), 1.0, 0, 24).leads.size == 0


def test_scores_do_not_look_ahead(folder):
    chart = charts.read_charts(folder)["one"]
    earlier = charts.Chart(chart.ranks[:, :40], chart.streams[:, :40], chart.entry, chart.first)
    assert np.array_equal(charts.score_trend(chart)[:, :40], charts.score_trend(earlier), equal_nan=True)
    for name, scores in charts.score_movers(earlier).items():
        assert np.array_equal(charts.score_movers(chart)[name][:, :40], scores, equal_nan=True)


def test_the_trend_score_leads_on_climbing_songs_and_the_document_tells(folder):
    command = [sys.executable, "benchmarks/charts.py", "--data", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout.splitlines()[-1])
    assert set(document) >= {"name", "ours", "peer", "ratio", "better", "unit", "rounds", "entries", "rates", "charts"}
    assert (document["name"], document["better"]) == ("charts", "higher")
    assert document["ours"] > document["peer"]
    frozen = document["rates"]["frozen"][str(charts.HEADLINE)]
    assert frozen["trend"] > 2 * frozen["random"]
    assert document["entries"] == sum(chart["entries"] for chart in document["charts"].values()) > 20


def test_the_score_is_that_of_the_trends():
    assert charts.follow_growth is follow_growth
