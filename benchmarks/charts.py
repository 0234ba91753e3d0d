"""How many weeks before a track enters the top 10 of a published weekly chart its trend score says so, against the biggest mover.

An entry is a track's first week in the top 10 of a file. A track that is there in its first charted week can be foreseen by nobody
who sees the chart only; these are counted as ``debuts`` and left out. Methods see ranks, and streams where they are published, up
to a week, and score each track that was not in the top 10 yet. One alarms a track where its score reaches a threshold, at most
once in eight weeks. An alarm is false where the track does not enter within eight weeks of it; alarms whose eight weeks the file
does not have are not judged. Lead is the number of weeks from the earliest alarm that holds to the entry, 0 where there is none.

* ``trend`` is the score of ``listening/trends``: level and growth of streams followed by the same filter, projected three weeks
  ahead, over the 10th place's. Where only ranks are published, 1 / (rank + 10) stands for streams.
* ``mover`` is the biggest mover: ranks climbed or streams gained in 1, 2 or 4 weeks, whichever leads most on the earlier half of
  the chart's own weeks. What was off the chart had the rank after its last and the streams of its last.
* ``place`` is the rank itself, ``random`` no score at all: controls.

The trend score's constants were chosen on the earlier half of the weeks of the Spotify chart 2016-12 to 2019-08 and the Hot 100 of
2022 to 2025. Thresholds are those that gave each method so many false alarms a week on the earlier half; everything that is told
is from the later half; no constant was changed after it was first scored. ``lead_weeks`` is the mean over entries, ``recall``
the share that was foreseen, ``false_alarms`` what the threshold gave in fact. ``at_equal_rate`` has each method's own threshold
for that rate on the later half
instead, so that false alarms are equal there too. Intervals are 95 % of 2,000 bootstrap samples of the entries.
"""

import argparse
import gzip
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import ROOT, report
from spotify_ai_assets.catalog.ids import named_track_id, spotify_id
from spotify_ai_assets.listening.insight.growth import WEEKS, follow_growth, project

TOP, HOLDS, AHEAD = 10, 8, 3
RATES = (0.1, 0.2, 0.5)
"""False alarms a week."""
HEADLINE = 0.2
SAMPLES = 2_000
TRIALS = {"trend": 316, "mover": 6}
"""Forms and settings tried on earlier halves: of the trend score once, on both charts; of the mover anew on each chart."""
_THRESHOLDS = 400
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAMES = {
    "rank": ("position", "current_week", "rank"),
    "streams": ("streams",),
    "uri": ("url", "uri"),
    "title": ("title", "track_name"),
    "artist": ("performer", "artist_names", "artist"),
    "day": ("chart_week", "date"),
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A weekly chart as matrices of tracks and weeks.

    Attributes:
        ranks: nan off the chart, shape ``(tracks, weeks)``.
        streams: Published streams, or what stands for them; nan off the chart.
        entry: Week of the first place in the top 10; the number of weeks where there is none.
        first: First charted week.
    """

    ranks: np.ndarray
    streams: np.ndarray
    entry: np.ndarray
    first: np.ndarray

    @property
    def weeks(self) -> int:
        """Weeks from the first chart to the last."""
        return self.ranks.shape[1]


def read_charts(data: Path) -> dict[str, Chart]:
    """The weekly charts of a folder: one of each folder below it that has CSV files, gzipped or not.

    Raises:
        FileNotFoundError: There is none.
    """
    found: dict[str, list[pl.DataFrame]] = {}
    for path in sorted(data.rglob("*.csv*")):
        if (rows := _read(path)) is not None:
            found.setdefault(path.parent.name, []).append(rows)
    charts = {name: chart for name, parts in found.items() if (chart := _lay_out(pl.concat(parts))) is not None}
    if not charts:
        raise FileNotFoundError(f"no weekly chart of at least {4 * HOLDS} weeks in {data}")
    return charts


def _read(path: Path) -> pl.DataFrame | None:
    """``day, rank, streams, track`` of a file; None where it is no chart."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", errors="replace") as file:
        header = {name.strip(' "\ufeff\n').lower().replace(" ", "_") for name in file.readline().split(",")}
    have = {name: next((each for each in names if each in header), None) for name, names in _NAMES.items()}
    if have["rank"] is None or (have["uri"] is None and (have["title"] is None or have["artist"] is None)):
        return None
    rows = pl.read_csv(path, infer_schema=False)
    rows = rows.rename({name: name.strip().lower().replace(" ", "_") for name in rows.columns})
    if have["day"]:
        day = pl.col(have["day"]).str.to_date(strict=False)
    elif {"year", "month", "day"} <= set(rows.columns):
        day = pl.date(*(pl.col(name).cast(pl.Int32, strict=False) for name in ("year", "month", "day")))
    elif named := _DAY.search(path.name):
        day = pl.lit(date.fromisoformat(named[0]))
    else:
        return None
    track = spotify_id(have["uri"]) if have["uri"] else pl.lit(None, pl.String)
    rows = rows.select(
        day.alias("day"),
        pl.col(have["rank"]).cast(pl.Int64, strict=False).alias("rank"),
        (pl.col(have["streams"]).cast(pl.Float64, strict=False) if have["streams"] else pl.lit(None, pl.Float64)).alias("streams"),
        track.alias("track"),
        *(pl.col(have[name] or have["rank"]).fill_null("").alias(name) for name in ("title", "artist")),
    ).drop_nulls(["day", "rank"])
    if not have["uri"]:
        ids = [named_track_id(artist, title) for artist, title in rows.select("artist", "title").iter_rows()]
        rows = rows.with_columns(track=pl.Series(ids, dtype=pl.String))
    return rows.select("day", "rank", "streams", "track").drop_nulls("track")


def _lay_out(rows: pl.DataFrame) -> Chart | None:
    """Matrices of a chart; None where it is not weekly, or too short for two halves."""
    rows = rows.unique(["day", "track"], keep="first", maintain_order=True)
    days = rows["day"].unique().sort()
    week = ((rows["day"] - rows["day"].min()).dt.total_days() // 7).to_numpy()
    if len(days) < 4 * HOLDS or days.diff().dt.total_days().median() != 7:
        return None
    tracks = rows.select(pl.col("track").rank("dense") - 1)["track"].to_numpy()
    ranks = np.full((int(tracks.max()) + 1, int(week.max()) + 1), np.nan)
    streams = ranks.copy()
    ranks[tracks, week] = rows["rank"].to_numpy()
    streams[tracks, week] = rows["streams"].to_numpy()
    if np.isnan(streams[~np.isnan(ranks)]).any():
        streams = 1e9 / (ranks + 10)
    top = ranks <= TOP
    entry = np.where(top.any(axis=1), top.argmax(axis=1), ranks.shape[1])
    return Chart(ranks, streams, entry, (~np.isnan(ranks)).argmax(axis=1))


def score_trend(chart: Chart) -> np.ndarray:
    """The trend score of each track in each week; weeks without a chart have none."""
    in_top = np.where(chart.ranks <= TOP, chart.streams, np.inf).min(axis=0)
    mark = np.where(np.isfinite(in_top), in_top, 0.0)
    return project(*follow_growth(chart.streams, mark, WEEKS), AHEAD)


def score_movers(chart: Chart) -> dict[str, np.ndarray]:
    """Every form of the biggest mover."""
    is_open = ~np.isnan(chart.ranks).all(axis=0)
    last = np.where(is_open, np.nanmax(np.where(is_open, chart.ranks, 1.0), axis=0), np.nan)
    least = np.where(is_open, np.nanmin(np.where(is_open, chart.streams, 1.0), axis=0), np.nan)
    ranks = np.where(np.isnan(chart.ranks), last + 1, chart.ranks)
    streams = np.where(np.isnan(chart.streams), least, chart.streams)
    found = {}
    for weeks in (1, 2, 4):
        found[f"climb in {weeks}"] = _before(ranks, weeks) - ranks
        found[f"gain in {weeks}"] = streams - _before(streams, weeks)
    return found


def _before(values: np.ndarray, weeks: int) -> np.ndarray:
    return np.hstack([np.full((len(values), weeks), np.nan), values[:, :-weeks]])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a threshold gave: false alarms a week, and the lead of each entry."""

    threshold: float
    false_rate: float
    leads: np.ndarray


def judge(chart: Chart, scores: np.ndarray, threshold: float, first: int, end: int) -> Outcome:
    """Alarms of the weeks from ``first`` to before ``end``, and the entries in them."""
    entered = np.flatnonzero((chart.entry > first) & (chart.entry < end) & (chart.entry > chart.first))
    leads, false = dict.fromkeys(entered.tolist(), 0), 0
    alarmed = scores[:, first:end] >= threshold
    for track in np.flatnonzero(alarmed.any(axis=1)).tolist():
        quiet_from, entry = 0, int(chart.entry[track])
        for week in (np.flatnonzero(alarmed[track]) + first).tolist():
            if week < quiet_from:
                continue
            quiet_from = week + HOLDS + 1
            if entry <= week + HOLDS and entry < end:
                leads[track] = entry - week
            elif week + HOLDS < end:
                false += 1
    return Outcome(threshold, false / max(end - HOLDS - first, 1), np.array(list(leads.values()), dtype=float))


def sweep(chart: Chart, scores: np.ndarray, first: int, end: int) -> list[Outcome]:
    """Outcomes from no alarm at all to ever lower thresholds, until the most false alarms that are of interest."""
    ranked = np.sort(scores[:, first:end][np.isfinite(scores[:, first:end])])[::-1]
    found = [judge(chart, scores, np.inf, first, end)]
    for place in np.unique(np.geomspace(1, max(len(ranked), 1), _THRESHOLDS).astype(int)) - 1:
        if len(ranked) and ranked[place] < found[-1].threshold:
            found.append(judge(chart, scores, float(ranked[place]), first, end))
        if found[-1].false_rate > 2 * max(RATES):
            break
    return found


def pick(outcomes: list[Outcome], rate: float) -> Outcome:
    """The lowest threshold before the false alarms become more than the rate."""
    kept = outcomes[0]
    for outcome in outcomes:
        if outcome.false_rate > rate:
            break
        kept = outcome
    return kept


def compare(chart: Chart) -> tuple[dict[str, Any], dict[tuple[str, str, float], np.ndarray]]:
    """The table of one chart, and the leads of each method at each rate."""
    half = chart.weeks // 2
    open_tracks = ~np.isnan(chart.ranks) & (np.arange(chart.weeks) < chart.entry[:, None])

    def only_open(scores: np.ndarray) -> np.ndarray:
        return np.where(open_tracks & np.isfinite(scores), scores, -np.inf)

    movers = {name: only_open(scores) for name, scores in score_movers(chart).items()}
    sweeps = {name: sweep(chart, scores, 0, half) for name, scores in movers.items()}
    best = max(sweeps, key=lambda name: sum(pick(sweeps[name], rate).leads.sum() for rate in RATES))
    methods = {
        "trend": only_open(score_trend(chart)),
        "mover": movers[best],
        "place": only_open(-chart.ranks),
        "random": only_open(np.random.default_rng(0).random(chart.ranks.shape)),
    }
    table: dict[str, Any] = {"weeks": chart.weeks, "later_weeks": chart.weeks - half, "mover": best, "rates": {}}
    later = (chart.entry > half) & (chart.entry < chart.weeks)
    table["entries"] = int((later & (chart.entry > chart.first)).sum())
    table["debuts"] = int((later & (chart.entry == chart.first)).sum())
    early = {name: sweep(chart, scores, 0, half) for name, scores in methods.items()}
    late = {name: sweep(chart, scores, half, chart.weeks) for name, scores in methods.items()}
    leads: dict[tuple[str, str, float], np.ndarray] = {}
    for rate in RATES:
        rows = table["rates"][str(rate)] = {}
        for name, scores in methods.items():
            threshold = pick(early[name], rate).threshold
            outcomes = {
                "frozen": judge(chart, scores, threshold, half, chart.weeks),
                "at_equal_rate": pick(late[name], rate),
            }
            rows[name] = {kind: _tell(outcome) for kind, outcome in outcomes.items()}
            leads |= {(name, kind, rate): outcome.leads for kind, outcome in outcomes.items()}
    return table, leads


def _tell(outcome: Outcome) -> dict[str, float]:
    mean, recall = (float(values.mean()) if len(values) else 0.0 for values in (outcome.leads, outcome.leads > 0))
    return {"lead_weeks": round(mean, 2), "recall": round(recall, 2), "false_alarms": round(outcome.false_rate, 2)}


def interval(values: np.ndarray) -> list[float]:
    """95 % bootstrap interval of a mean."""
    if not len(values):
        return [0.0, 0.0]
    drawn = np.random.default_rng(0).integers(0, len(values), (SAMPLES, len(values)))
    return [round(float(each), 2) for each in np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])]


def measure(data: Path) -> dict[str, object]:
    """Mean lead of the trend score and of the biggest mover over the entries of all charts, at each rate of false alarms."""
    tables, pooled = {}, {}
    for name, chart in read_charts(data).items():
        tables[name], leads = compare(chart)
        for key, values in leads.items():
            pooled[key] = np.concatenate([pooled.get(key, np.empty(0)), values])
        _print(name, tables[name])
    rates = {kind: {str(rate): _summarise(pooled, kind, rate) for rate in RATES} for kind in ("frozen", "at_equal_rate")}
    headline = rates["frozen"][str(HEADLINE)]
    ours, peer = headline["trend"], headline["mover"]
    document = report(
        "charts",
        ours,
        peer or 1.0,
        unit=f"weeks of lead at {HEADLINE} false alarms a week",
        rounds=1,
        better="higher",
        entries=sum(table["entries"] for table in tables.values()),
        test_reads="several; no constant was changed after the first",
        trials=TRIALS,
        selected_by="sum over the rates of lead_weeks on the earlier half",
        rates=rates,
        charts=tables,
    )
    return document if peer else {**document, "peer": 0.0, "ratio": None}


def _summarise(pooled: Mapping[tuple[str, str, float], np.ndarray], kind: str, rate: float) -> dict[str, Any]:
    means = {name: round(float(pooled[name, kind, rate].mean()), 3) for name in ("trend", "mover", "place", "random")}
    ours, peer = pooled["trend", kind, rate], pooled["mover", kind, rate]
    return {**means, "trend_interval": interval(ours), "gain_interval": interval(ours - peer)}


def _print(name: str, table: Mapping[str, Any]) -> None:
    print(f"{name}: {table['entries']} entries, {table['debuts']} debuts in {table['later_weeks']} weeks", file=sys.stderr)
    for rate, rows in table["rates"].items():
        for method, kinds in rows.items():
            told = ", ".join(f"{kind} {' / '.join(map(str, values.values()))}" for kind, values in kinds.items())
            print(f"  {rate} a week, {method:7s} lead / recall / false alarms: {told}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="a folder of weekly charts, or a folder of such folders")
    print(json.dumps(measure(parser.parse_args().data)))
