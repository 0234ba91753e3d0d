"""No published number rests on one to k - 1 listeners, counted anew from the plays themselves."""

import dataclasses
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_frames import FIGURES, SUNDAY, year_rows

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.listening.insight.contracts import CHANGE_POINTS, FORECASTS
from spotify_ai_assets.reports import publication
from spotify_ai_assets.reports.contracts import ANOMALIES, COHORTS, DAILY_LISTENING, SECTIONS, WEEKLY_TRENDS, YEAR_IN_REVIEW
from spotify_ai_assets.reports.disclosure import Shown, protect
from spotify_ai_assets.reports.figures import assemble, list_figures, number
from spotify_ai_assets.reports.publication import DAILY_REPORT, publish_days, write_review
from spotify_ai_assets.reports.support import Group, count_support
from spotify_ai_assets.resources.lake import Lake, Origin, Recipe
from spotify_ai_assets.settings import Settings

DAY = date(2026, 5, 31)
PLAY = st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 2), st.integers(0, 4), st.integers(0, 3), st.booleans())
PLAYS = st.lists(PLAY, min_size=1, max_size=150)
LEAST = st.sampled_from([2, 3, 5, 10])
FEW = settings(max_examples=60)
SERIES = [column for table in (CHANGE_POINTS, FORECASTS) for column in table.columns if column.name == "subject"]
SUBJECTS = sorted({subject for column in SERIES for subject in column.allowed or ()})


def plays_of(drawn: Iterable[tuple[int, int, int, int, int, bool]]) -> pl.DataFrame:
    """Plays of listeners 0 to 30; of the last ten of them all are suspicious."""
    rows = [
        {
            "day": DAY,
            "listener_id": f"{listener:032x}",
            "country": f"C{country}",
            "platform": f"p{platform}",
            "kind": "track",
            "track_id": f"t{track}",
            "artist_id": f"a{track % 2}",
            "started_at": datetime(2026, 5, 31, hour, tzinfo=UTC),
            "playlist_id": None,
            "is_stream": is_stream,
            "is_suspicious": listener > 20,
        }
        for listener, country, platform, track, hour, is_stream in drawn
    ]
    return pl.DataFrame(rows, schema_overrides={"playlist_id": pl.String})


def reader(plays: pl.DataFrame):
    key = ["day", "listener_id", "country", "kind", "track_id", "artist_id"]
    flagged = plays.filter("is_suspicious").select(*key, rule=pl.lit("ring"), case=pl.col("track_id"))
    tables = {"listening/plays": plays.drop("is_suspicious"), "listening/suspicious_streams": flagged.unique()}
    return lambda name, first, last: tables[name].lazy().filter(pl.col("day").is_between(first, last))


def counts(plays: pl.DataFrame, by: list[str], **names: str | pl.Expr) -> pl.DataFrame:
    streams, flagged = pl.col("is_stream"), pl.col("is_suspicious")
    return (
        plays.group_by(by)
        .agg(
            plays=pl.len(),
            streams=streams.sum(),
            suspicious_plays=flagged.sum(),
            suspicious_streams=(flagged & streams).sum(),
            accounts=pl.col("listener_id").filter(flagged).n_unique(),
        )
        .with_columns(
            genuine_plays=pl.col("plays") - pl.col("suspicious_plays"), genuine_streams=pl.col("streams") - pl.col("suspicious_streams")
        )
        .with_columns(**{name: pl.col(column) if isinstance(column, str) else column for name, column in names.items()})
        .sort("plays", *by, descending=True)
    )


def section(table: Table, name: str, frame: pl.DataFrame, *, is_scoped: bool = False) -> pl.DataFrame:
    missing = [pl.lit(0.0).alias(measure) for measure in SECTIONS[table.key][name] if measure not in frame.columns]
    return list_figures(table, name, number(frame.with_columns(*missing, label="item"), "scope" if is_scoped else None))


def shown_items(shown: Shown, name: str, measure: str, scope: str | None = None) -> list[tuple[str, str]]:
    rows = shown.figures.filter(pl.col("section") == name, pl.col("measure") == measure, pl.col("value") > 0)
    rows = rows if scope is None else rows.filter(pl.col("scope") == scope)
    return rows.select("scope", "item").rows()


def listeners(plays: pl.DataFrame) -> int:
    return plays["listener_id"].n_unique()


def requires(count: int, k: int) -> None:
    assert count == 0 or count >= k


@FEW
@given(PLAYS, LEAST)
def test_no_number_of_a_day_rests_on_fewer_than_k_listeners(drawn, k):
    plays = plays_of(drawn)
    tops = [counts(plays, ["track_id"], item="track_id", scope=pl.lit("global"))]
    tops.append(counts(plays, ["country", "track_id"], item="track_id", scope="country"))
    whole = counts(plays.with_columns(item=pl.lit("all")), ["item"]).with_columns(listeners=listeners(plays))
    sections = [
        section(DAILY_LISTENING, "headline", whole),
        section(DAILY_LISTENING, "tops", pl.concat(tops, how="diagonal"), is_scoped=True),
        section(DAILY_LISTENING, "artists", counts(plays, ["artist_id"], item="artist_id")),
        section(DAILY_LISTENING, "countries", counts(plays, ["country"], item="country")),
        section(DAILY_LISTENING, "platforms", counts(plays, ["platform"], item="platform")),
    ]
    figures = assemble(DAILY_LISTENING, DAY, sections)
    shown = protect(DAILY_LISTENING.key, figures, count_support(DAILY_LISTENING.key, figures, reader(plays), DAY), k)
    if shown_items(shown, "headline", "plays"):
        requires(listeners(plays), k)
    for name, column in (("countries", "country"), ("platforms", "platform"), ("artists", "artist_id")):
        items = [item for _, item in shown_items(shown, name, "plays")]
        for item in items:
            requires(listeners(plays.filter(pl.col(column) == item)), k)
        if name != "artists" and shown_items(shown, "headline", "plays"):
            requires(listeners(plays.filter(~pl.col(column).is_in(items))), k)
    for scope, item in shown_items(shown, "tops", "plays"):
        about = plays.filter(pl.col("track_id") == item)
        requires(listeners(about if scope == "global" else about.filter(pl.col("country") == scope)), k)
        if scope == "global":
            told = [where for where, what in shown_items(shown, "tops", "plays") if what == item and where != "global"]
            requires(listeners(about.filter(~pl.col("country").is_in(told))), k)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_whatever_a_change_or_a_forecast_is_about_who_is_behind_it_is_counted(subject):
    column = {"track": "track_id", "artist": "artist_id"}.get(subject, subject)
    plays = plays_of((listener, listener % 2, listener % 3, listener % 4, 0, True) for listener in range(12))
    former = plays.head(5).with_columns(day=pl.lit(DAY - timedelta(days=3)))
    item = plays[column][0]
    scopes = {"changes": (subject, item, str(DAY)), "forecasts": (f"{subject}/{item}", str(DAY + timedelta(days=1)), "")}
    figures = pl.DataFrame([(name, *told) for name, told in scopes.items()], schema=["section", "scope", "item", "detail"], orient="row")
    found = count_support(WEEKLY_TRENDS.key, figures, reader(pl.concat([former, plays])), DAY)
    here, before = (listeners(each.filter(pl.col(column) == item)) for each in (plays, former))
    assert 0 < before < here
    assert found["forecasts", *scopes["forecasts"][:2]].genuine == here
    assert found["changes", subject, item].genuine == before, "of the two weeks that it compares the smaller"


@FEW
@given(PLAYS, LEAST)
def test_no_suspicious_number_rests_on_fewer_than_k_accounts(drawn, k):
    plays = plays_of(drawn)
    flagged = plays.filter("is_suspicious").with_columns(case=pl.format("ring-{}", "track_id"))
    whole = counts(plays.with_columns(item=pl.lit("all")), ["item"]).with_columns(cases=flagged["case"].n_unique())
    hours = plays.with_columns(hour=pl.col("started_at").dt.strftime("%H:00"))
    sections = [
        section(ANOMALIES, "headline", whole),
        section(ANOMALIES, "countries", counts(plays, ["country"], item="country")),
        section(ANOMALIES, "platforms", counts(plays, ["platform"], item="platform")),
        section(ANOMALIES, "hours", counts(hours, ["hour"], item="hour")),
    ]
    if flagged.height:
        sections.append(section(ANOMALIES, "cases", counts(flagged, ["case"], item="case")))
    figures = assemble(ANOMALIES, DAY, sections)
    shown = protect(ANOMALIES.key, figures, count_support(ANOMALIES.key, figures, reader(plays), DAY), k)
    accounts = plays.filter("is_suspicious")
    for measure in ("suspicious_streams", "suspicious_plays", "accounts", "cases"):
        if shown_items(shown, "headline", measure):
            requires(listeners(accounts), k)
    for name, column in (("countries", "country"), ("platforms", "platform"), ("hours", "hour")):
        measure = "plays" if name == "hours" else "streams"
        frame, flags = hours, hours.filter("is_suspicious")
        items = [item for _, item in shown_items(shown, name, measure)]
        parts = [item for _, item in shown_items(shown, name, f"suspicious_{measure}")]
        for item in items:
            requires(listeners(frame.filter(pl.col(column) == item)), k)
        for item in parts:
            requires(listeners(flags.filter(pl.col(column) == item)), k)
        counted = flags if measure == "plays" else flags.filter("is_stream")
        if shown_items(shown, "headline", f"suspicious_{measure}") and counted.filter(~pl.col(column).is_in(parts)).height:
            requires(listeners(flags.filter(~pl.col(column).is_in(parts))), k)
        # The genuine part beside the whole tells the suspicious one too.
        for item in {item for _, item in shown_items(shown, name, f"genuine_{measure}")} & set(items):
            requires(listeners(counted.filter(pl.col(column) == item)) and listeners(flags.filter(pl.col(column) == item)), k)
    for _, item in shown_items(shown, "cases", "accounts"):
        requires(listeners(flagged.filter(pl.col("case") == item)), k)


CELL = st.tuples(st.integers(0, 40), st.floats(0, 1), st.floats(0, 0.3))


@FEW
@given(st.lists(st.lists(CELL, min_size=4, max_size=4), min_size=3, max_size=3), LEAST)
def test_no_cell_of_a_cohort_tells_of_fewer_than_k_listeners(drawn, k):
    weeks, cohorts = range(4), [DAY - timedelta(weeks=ago, days=6) for ago in range(4)]
    cells = [
        {"scope": f"country/C{place}", "item": str(cohort), "weeks_since": since, "size": size, "active": active, "suspicious_active": bad}
        for place, row in enumerate(drawn)
        for cohort, (size, share, odd) in zip(cohorts, row, strict=True)
        for since in weeks
        if cohort + timedelta(weeks=since) <= DAY
        for active in [size if since == 0 else round(size * share)]
        for bad in [0 if since == 0 else round(active * odd)]
    ]
    each = pl.DataFrame(cells)
    whole = (
        each.group_by("item", "weeks_since").agg(pl.col("size", "active", "suspicious_active").sum()).with_columns(scope=pl.lit("global"))
    )
    frame = pl.concat([each, whole.select(each.columns)]).filter(pl.col("size") > 0).sort("scope", "item", "weeks_since")
    frame = frame.with_columns(retention=(pl.col("active") - pl.col("suspicious_active")) / pl.col("size"))
    if frame.is_empty():
        return
    averages = frame.group_by("scope", "weeks_since").agg(pl.col("size").sum(), retention=pl.lit(0.5))
    averages = averages.with_columns(item=pl.col("weeks_since").cast(pl.String)).sort("scope", "weeks_since")
    sections = [
        section(COHORTS, "retention", frame, is_scoped=True),
        section(COHORTS, "average_retention", averages, is_scoped=True),
    ]
    figures = assemble(COHORTS, DAY, sections)
    found = protect(COHORTS.key, figures, {}, k).figures
    told = found.filter(pl.col("section") == "retention").pivot("measure", index=["scope", "item", "position"], values="value")
    told = told.drop_nulls("size") if "size" in told.columns else told.clear()
    for row in told.iter_rows(named=True):
        stayed = row["active"] - row["suspicious_active"]
        for count in (row["size"], stayed, row["size"] - stayed, row["suspicious_active"]):
            requires(round(count), k)
    for scope, item, since, size in told.select("scope", "item", "weeks_since", "size").iter_rows() if told.height else ():
        if scope == "global":
            parts = told.filter(pl.col("scope") != "global", pl.col("item") == item, pl.col("weeks_since") == since)
            requires(round(size - parts["size"].sum()) if parts.height else 0, k)
    average = found.filter(pl.col("section") == "average_retention", pl.col("measure") == "size").drop_nulls("value")
    for scope, item, value in average.select("scope", "item", "value").iter_rows():
        assert value == told.filter(pl.col("scope") == scope, pl.col("weeks_since") == float(item))["size"].sum()


def test_of_a_year_the_whole_goes_where_few_accounts_are_suspicious():
    values = {"played_hours": 9.0, "genuine_hours": 8.0, "streams": 90, "genuine_streams": 80, "plays": 99, "genuine_plays": 88}
    frame = pl.DataFrame({"item": ["all"], **{name: [value] for name, value in values.items()}, "listeners": [50], "days": [7]})
    figures = assemble(YEAR_IN_REVIEW, DAY, [section(YEAR_IN_REVIEW, "total", frame)])
    for accounts, is_told in ((3, False), (10, True)):
        shown = protect(YEAR_IN_REVIEW.key, figures, {("total", "global", "all"): Group(50, 40, accounts)}, 10)
        found = dict(shown.figures.select("measure", "value").iter_rows())
        assert found["genuine_streams"] == 80
        assert (found["streams"] is not None) == is_told


def test_everybodys_review_tells_of_nobody_where_few_listened(tmp_path):
    for listeners, is_told in ((3, False), (300, True)):
        page = tmp_path / f"{listeners}.html"
        write_review(page, year_rows(listeners=listeners), SUNDAY.replace(month=1, day=1), SUNDAY, "en")
        found = page.read_text()
        assert ("Song" in found) == is_told
        write_review(page, year_rows(listeners=listeners), SUNDAY.replace(month=1, day=1), SUNDAY, "en", k=1)
        assert "Song" in page.read_text()


def test_one_tells_of_everybody_and_what_nobody_is_known_to_be_behind_is_not_told():
    figures = FIGURES[DAILY_LISTENING.key]("Song")
    assert protect(DAILY_LISTENING.key, figures, {}, 1).figures.equals(figures)
    hidden = protect(DAILY_LISTENING.key, figures, {}, 2)
    assert not hidden.figures.filter(pl.col("value") != 0).height
    assert hidden.left_out


# What is published ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_and_large(monkeypatch):
    """The day before has one listener, the day itself hundreds."""

    def support(key, rows, read, day):
        group = Group(1, 1, 0) if day < SUNDAY else Group(300, 300, 0)
        return {(part, scope, item): group for part, scope, item in rows.select("section", "scope", "item").unique().iter_rows()}

    monkeypatch.setattr(publication, "count_support", support)


def make(lake: Lake, *days: date) -> None:
    for day in days:
        figures = FIGURES[DAILY_LISTENING.key]("Song").with_columns(day=pl.lit(day))
        lake.write(DAILY_LISTENING.key, figures, day, recipe=Recipe("9", {}), origin=Origin("run", "0" * 32))


@pytest.mark.parametrize("earlier", [1, 5, None], ids=["everything", "under a smaller k", "before k was told"])
def test_what_was_published_under_a_smaller_k_is_published_anew_and_feeds_no_page(
    lake: Lake, settings: Settings, small_and_large: None, earlier: int | None
):
    few, gone = SUNDAY - timedelta(days=1), SUNDAY - timedelta(days=2)
    folder = settings.reports / "daily_listening"
    make(lake, few, SUNDAY)
    with pytest.MonkeyPatch.context() as everything:
        everything.setattr(publication, "protect", lambda _key, rows, _support, _k: Shown(rows, 0))
        publish_days(lake, dataclasses.replace(settings, k_anonymity=earlier or 1), [few], [few], DAILY_REPORT)
    assert "Song" in (folder / "en" / f"{few}.html").read_text()
    if earlier is None:
        path = folder / f"{few}.json"
        path.write_text(path.read_text().replace(' "k_anonymity": 1,\n', ""))
    for suffix in (".json", ".csv"):
        (folder / f"{gone}{suffix}").write_text((folder / f"{few}{suffix}").read_text())

    publish_days(lake, settings, [SUNDAY], [SUNDAY], DAILY_REPORT)

    document = json.loads((folder / f"{few}.json").read_text())
    assert document["k_anonymity"] == 10
    assert not any(row["value"] for row in document["figures"])
    assert "Song" not in (folder / "en" / f"{few}.html").read_text() + (folder / f"{few}.csv").read_text()
    assert not list(folder.rglob(f"{gone}.*")), "it has no figures any more"
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("2*")}
    publish_days(lake, settings, [], [few, SUNDAY], DAILY_REPORT)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("2*")} == stamps, "once"


def test_a_page_takes_nothing_from_a_day_that_was_published_under_a_smaller_k(lake: Lake, settings: Settings, small_and_large: None):
    before = SUNDAY - timedelta(days=1)
    make(lake, before, SUNDAY)
    publish_days(lake, dataclasses.replace(settings, k_anonymity=1), [before], [before], DAILY_REPORT)
    for k, is_told in ((1, True), (10, False)):
        told = publication._Told(lake, DAILY_REPORT, dataclasses.replace(settings, k_anonymity=k), [SUNDAY])
        assert bool(told.of(before).height) == is_told


def test_a_day_of_few_listeners_is_told_nowhere(lake: Lake, settings: Settings, small_and_large: None):
    before = SUNDAY - timedelta(days=1)
    make(lake, before, SUNDAY)
    assert settings.k_anonymity == 10
    publish_days(lake, settings, [before], [before], DAILY_REPORT)
    publish_days(lake, settings, [SUNDAY], [SUNDAY], DAILY_REPORT)
    folder = settings.reports / "daily_listening"
    few, many = (json.loads((folder / f"{day}.json").read_text()) for day in (before, SUNDAY))
    assert not any(row["value"] for row in few["figures"])
    assert {row["section"] for row in few["figures"]} == {"headline"}
    assert any(row["value"] for row in many["figures"] if row["section"] == "tops")
    assert "Song" not in (folder / "en" / f"{before}.html").read_text()
    assert "Song" not in (folder / f"{before}.csv").read_text()
    # Neither the page of the next day nor the list of days tells what it was.
    page = (folder / "en" / f"{SUNDAY}.html").read_text()
    assert "Nothing is told of fewer than 10 listeners" in page
    assert "Song" in page
    everything = dataclasses.replace(settings, data=settings.data / "all", k_anonymity=1)
    publish_days(lake, everything, [before, SUNDAY], [before, SUNDAY], DAILY_REPORT)
    streams = next(row["value"] for row in many["figures"] if row["measure"] == "streams" and row["section"] == "headline")
    told = [
        (each.reports / "daily_listening" / "en" / "index.html").read_text().count(f"{streams:,.0f}") for each in (settings, everything)
    ]
    assert told[1] > told[0] > 0
