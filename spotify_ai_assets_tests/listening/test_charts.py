import gzip
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from play_frames import FIRST, all_days, random_plays, unhurried

from spotify_ai_assets.catalog.ids import fold_name, named_track_id, spotify_id
from spotify_ai_assets.listening.charts import add_movement, rank_charts
from spotify_ai_assets.listening.contracts import CHARTS, TRACK_DAYS
from spotify_ai_assets.listening.days import count_tracks

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
HOT_100 = SHARED / "charts-billboard-hot100/hot-100-2022-2025.csv.gz"
WEEKLY_GLOBAL = SHARED / "charts-spotify-weekly-global/spotify_charts.csv.gz"
WEEK = timedelta(days=7)
SUNDAY = FIRST + timedelta(days=6)
HISTORY = ["day", "period", "country", "rank", "track_id", "peak_rank", "periods_on_chart"]


def track_day(**values: object) -> dict[str, object]:
    return {
        "day": FIRST,
        "country": "SE",
        "kind": "track",
        "track_id": "t1",
        "artist_id": "a1",
        "track_name": "Song",
        "artist_name": "Singer",
        "plays": 1,
        "streams": 1,
        "skips": 0,
        "completions": 0,
        "played_ms": 0,
        "listeners": 1,
    } | values


def track_days_of(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([track_day(**row) for row in rows], schema=TRACK_DAYS.schema)


def chart_days(track_days: pl.DataFrame, days: list[date], size: int = 200) -> pl.DataFrame:
    """The charts of all days, each with those before as its history."""
    charts = CHARTS.empty()
    for day in days:
        charts = charts.vstack(rank_charts(track_days.lazy(), charts.lazy(), day, size))
    return charts


def brute_charts(plays: pl.DataFrame, size: int) -> list[tuple]:
    """Charts and their movement, play by play and chart by chart."""
    seen: dict[tuple, list[tuple[date, int]]] = defaultdict(list)
    charts = []
    for day in all_days():
        for period, span in [("daily", 1)] + ([("weekly", 7)] if day.isoweekday() == 7 else []):
            counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
            for row in plays.iter_rows(named=True):
                if row["kind"] == "track" and 0 <= (day - row["day"]).days < span:
                    for country in {row["country"], "global"} - {"ZZ"}:
                        counts[country, row["track_id"]][0] -= row["is_stream"]
                        counts[country, row["track_id"]][1] -= 1
            for country in sorted({country for country, _ in counts}):
                best = sorted((*number, track) for (where, track), number in counts.items() if where == country and number[0])
                for rank, (streams, played, track) in enumerate(best[:size], 1):
                    past = seen[period, country, track]
                    previous = next((old for when, old in past if (day - when).days == span), None)
                    past.append((day, rank))
                    movement = None if previous is None else previous - rank
                    peak = min(old for _, old in past)
                    charts.append(
                        (day, period, country, rank, track, -streams, -played, previous, movement, len(past) == 1, peak, len(past))
                    )
    return charts


@unhurried
@given(random_plays())
def test_charts_equal_a_count_play_by_play(plays):
    charts = chart_days(pl.concat([count_tracks(plays, day) for day in all_days()]), all_days(), size=2)
    compared = charts.drop("artist_id", "track_name", "artist_name").sort("day", "period", "country", "rank")
    assert compared.rows() == brute_charts(plays, size=2)


def test_ties_are_ranked_by_plays_and_then_by_id():
    tracks = track_days_of({"track_id": "b"}, {"track_id": "a"}, {"track_id": "c", "plays": 2}, {"track_id": "d", "streams": 2})
    assert rank_charts(tracks, CHARTS.empty(), FIRST).filter(country="SE")["track_id"].to_list() == ["d", "c", "a", "b"]


def test_a_track_with_several_artists_is_charted_once_under_the_most_streamed():
    tracks = track_days_of(
        {"artist_id": "a1", "artist_name": "One", "streams": 2, "plays": 2},
        {"artist_id": "a2", "artist_name": "Two", "streams": 3, "plays": 3},
        {"artist_id": "a0", "artist_name": "Nought", "streams": 3, "plays": 3},
    )
    chart = rank_charts(tracks, CHARTS.empty(), FIRST)
    assert chart.select("country", "rank", "artist_id", "artist_name", "streams", "plays").rows() == [
        ("SE", 1, "a0", "Nought", 8, 8),
        ("global", 1, "a0", "Nought", 8, 8),
    ]


def test_a_play_in_an_unknown_country_counts_in_the_global_chart_only():
    chart = rank_charts(track_days_of({"country": "ZZ"}), CHARTS.empty(), FIRST)
    assert chart["country"].to_list() == ["global"]


def test_neither_an_episode_nor_a_track_without_a_stream_is_charted():
    tracks = track_days_of({"kind": "episode"}, {"track_id": "t2", "streams": 0})
    assert rank_charts(tracks, CHARTS.empty(), FIRST).equals(CHARTS.empty())


def test_a_weekly_chart_covers_monday_to_sunday_and_comes_on_sunday_only():
    tracks = track_days_of(*({"day": FIRST + timedelta(days=offset), "streams": 10**offset} for offset in range(8)))
    charts = chart_days(tracks, [FIRST + timedelta(days=offset) for offset in range(8)])
    assert charts.filter(period="weekly", country="SE").select("day", "streams").rows() == [(SUNDAY, 1_111_111)]


def test_charts_follow_the_contract_and_come_in_the_order_of_their_key():
    tracks = track_days_of({"day": SUNDAY}, {"day": SUNDAY, "country": "DE"}, {"day": SUNDAY, "track_id": "t2"})
    charts = rank_charts(tracks, CHARTS.empty(), SUNDAY)
    assert charts.schema == pl.Schema(CHARTS.schema)
    assert charts.is_sorted(list(CHARTS.primary_key)) and charts.height == 10


def test_a_day_made_again_does_not_see_its_own_charts():
    charts = chart_days(track_days_of({}), [FIRST])
    assert rank_charts(track_days_of({}), charts, FIRST).equals(charts)


def rebuild(published: pl.DataFrame, seeds: pl.DataFrame) -> pl.DataFrame:
    """Movement of published weekly ranks, chart by chart, from the seeds and the charts rebuilt before."""
    history, rebuilt = seeds.select(HISTORY), []
    for week in published.partition_by("day", maintain_order=True):
        rebuilt.append(add_movement(week, history))
        history = history.vstack(rebuilt[-1].select(HISTORY))
    return pl.concat(rebuilt)


@pytest.fixture(scope="module")
def hot_100() -> pl.DataFrame:
    if not HOT_100.exists():
        pytest.skip("the shared data set charts-billboard-hot100 is not here")
    rows = pl.read_csv(HOT_100, null_values="-", try_parse_dates=True)
    ids = [named_track_id(performer, title) for performer, title in rows.select("performer", "title").iter_rows()]
    return rows.select(
        pl.col("chart_week").alias("day"),
        pl.lit("weekly").alias("period"),
        pl.lit("US").alias("country"),
        pl.col("current_week").alias("rank"),
        pl.Series("track_id", ids),
        "title",
        "performer",
        "last_week",
        "peak_pos",
        "wks_on_chart",
    ).sort("day", "rank")


def link(charts: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Give the tracks of each pair ``old, track_id`` one id."""
    known: dict[str, str] = {}

    def root(track: str) -> str:
        while track in known:
            track = known[track]
        return track

    for old, new in pairs.select("old", "track_id").iter_rows():
        if root(old) != root(new):
            known[root(new)] = root(old)
    return charts.with_columns(track_id=pl.Series([root(track) for track in charts["track_id"]]))


def respelled_in_a_week(charts: pl.DataFrame) -> pl.DataFrame:
    """Rows whose published last week is the rank of a track that vanished, and whose own track was not there."""
    later = charts.select("track_id", pl.col("day") + WEEK, here=pl.lit(True))
    sooner = charts.select("track_id", pl.col("day") - WEEK, here=pl.lit(True))
    vanished = charts.join(sooner, on=["day", "track_id"], how="anti")
    appeared = charts.join(later, on=["day", "track_id"], how="anti").filter(pl.col("last_week").is_not_null())
    before = vanished.select(pl.col("day") + WEEK, last_week="rank", old="track_id", old_weeks="wks_on_chart", old_peak="peak_pos")
    return appeared.join(before, on=["day", "last_week"])


def respelled_on_return(charts: pl.DataFrame) -> pl.DataFrame:
    """First rows with a past, whose bare title a track had whose published past they continue exactly."""
    bare = [fold_name("".join(c for c in title.split(" (")[0] if c.isalnum() or c == " ")) for title in charts["title"]]
    titled = charts.with_columns(bare=pl.Series(bare))
    first = titled.unique("track_id", keep="first", maintain_order=True)
    returned = first.filter((pl.col("wks_on_chart") > 1) & pl.col("last_week").is_null())
    before = titled.select("bare", before="day", old="track_id", old_weeks="wks_on_chart", old_peak="peak_pos")
    return returned.join(before, on="bare").filter(
        (pl.col("before") < pl.col("day"))
        & (pl.col("wks_on_chart") == pl.col("old_weeks") + 1)
        & (pl.col("peak_pos") == pl.min_horizontal("old_peak", "rank"))
    )


def test_the_hot_100_is_rebuilt_on_every_row(hot_100):
    """Last week, peak and weeks of all 20,900 rows, with nothing taken from them but what lies before the file or spells anew.

    * 17 of the 47 changed spellings differ in case only and fold to one id; 30 are linked through the published last week.
    * 9 tracks that come back after a pause under another spelling are linked by bare title and an exactly continued past.
    * The past of 158 songs charted before the file begins, 91 on its first chart and 67 that return, is seeded
      from their first row: last week, peak and weeks less one.
    """
    assert (hot_100.height, hot_100["day"].n_unique()) == (20_900, 209)
    in_a_week = respelled_in_a_week(hot_100)
    assert in_a_week.height == 30
    assert (in_a_week["wks_on_chart"] == in_a_week["old_weeks"] + 1).all()
    charts = link(hot_100, in_a_week)
    on_return = respelled_on_return(charts)
    assert on_return.height == 9
    charts = link(charts, on_return)
    assert charts.select("day", "track_id").is_duplicated().sum() == 0

    first = charts.unique("track_id", keep="first", maintain_order=True)
    older = first.filter(pl.col("wks_on_chart") > 1)
    begins = charts["day"].min()
    assert (older.filter(pl.col("day") == begins).height, older.filter(pl.col("day") > begins).height) == (91, 67)
    assert older.filter((pl.col("day") > begins) & pl.col("last_week").is_not_null()).is_empty()
    seeds = older.with_columns(
        day=pl.when(pl.col("last_week").is_null()).then(pl.col("day") - 2 * WEEK).otherwise(pl.col("day") - WEEK),
        rank=pl.coalesce("last_week", "peak_pos"),
        peak_rank="peak_pos",
        periods_on_chart=pl.col("wks_on_chart") - 1,
    )
    rebuilt = rebuild(charts, seeds)
    assert rebuilt.height == 20_900
    assert rebuilt["previous_rank"].equals(rebuilt["last_week"], check_names=False)
    assert rebuilt["peak_rank"].equals(rebuilt["peak_pos"], check_names=False)
    assert rebuilt["periods_on_chart"].equals(rebuilt["wks_on_chart"], check_names=False)
    assert rebuilt["is_new"].equals(rebuilt["wks_on_chart"] == 1, check_names=False)
    assert rebuilt["movement"].equals(rebuilt["last_week"] - rebuilt["rank"], check_names=False)


@pytest.fixture(scope="module")
def weekly_global() -> pl.DataFrame:
    if not WEEKLY_GLOBAL.exists():
        pytest.skip("the shared data set charts-spotify-weekly-global is not here")
    with gzip.open(WEEKLY_GLOBAL) as file:
        rows = pl.read_csv(file.read())
    return rows.select(
        pl.date("Year", "Month", "Day").alias("day"),
        pl.lit("weekly").alias("period"),
        pl.lit("global").alias("country"),
        pl.col("Position").alias("rank"),
        ("spotify:" + spotify_id("URL")).alias("track_id"),
        pl.col("Streams").alias("streams"),
        pl.col("Track Name").alias("track_name"),
    )


def test_the_weekly_global_chart_is_rebuilt_on_every_row(weekly_global):
    """The file publishes no movement: ranks are rebuilt from its streams, movement is compared with a plain count.

    Two weeks are 102 rows with nothing but a date, left out: what follows them has no chart before. Five rows have no names;
    they are known by their ids like all others.
    """
    empty = weekly_global.filter(pl.col("track_id").is_null())
    assert (empty.height, sorted(empty["day"].unique())) == (102, [date(2017, 6, 2), date(2017, 6, 9)])
    assert empty.select("rank", "streams", "track_name").null_count().row(0) == (102, 102, 102)
    charts = weekly_global.drop_nulls("track_id").sort("day", "streams", descending=[False, True])
    assert (charts.height, charts["track_name"].null_count(), charts["day"].n_unique()) == (27_600, 5, 138)
    assert charts["rank"].to_list() == list(range(1, 201)) * 138

    rebuilt = rebuild(charts, CHARTS.empty())
    ranks: dict[str, dict[date, int]] = defaultdict(dict)
    expected = []
    for day, rank, track in charts.select("day", "rank", "track_id").iter_rows():
        past = ranks[track]
        previous = past.get(day - WEEK)
        past[day] = rank
        expected.append((previous, None if previous is None else previous - rank, len(past) == 1, min(past.values()), len(past)))
    assert rebuilt.select("previous_rank", "movement", "is_new", "peak_rank", "periods_on_chart").rows() == expected
    assert rebuilt.filter(day=date(2017, 6, 16))["previous_rank"].null_count() == 200
    assert rebuilt.filter(pl.col("track_name").is_null())["is_new"].to_list() == [True] * 5


def test_the_weekly_global_ranks_follow_from_its_streams(weekly_global):
    """Published streams of a week, put in as counts of its Sunday, come out of ``rank_charts`` in the published order."""
    week = weekly_global.filter(day=date(2018, 12, 28)).sample(fraction=1, shuffle=True, seed=1)
    counts = week.select(
        pl.lit(SUNDAY).alias("day"),
        pl.lit("ZZ").alias("country"),
        pl.lit("track").alias("kind"),
        "track_id",
        pl.lit("artist").alias("artist_id"),
        "track_name",
        pl.lit("artist").alias("artist_name"),
        "streams",
        plays="streams",
    )
    charts = rank_charts(counts, CHARTS.empty(), SUNDAY).filter(period="weekly")
    assert charts.select("rank", "track_id", "streams").equals(week.sort("rank").select("rank", "track_id", "streams"))
    assert charts.height == 200
