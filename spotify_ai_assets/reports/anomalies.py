"""The figures of a day's page of anomalies: what is suspicious and on what evidence, and which volumes are unusual.

Suspicious streams are told by case and track: how many accounts, never which. Each total stands with them, without them, and as
the difference. Layout and wording do not belong here (``pages/``).
"""

from datetime import date

import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL
from spotify_ai_assets.listening.insight.contracts import SEVERITIES
from spotify_ai_assets.reports.contracts import ANOMALIES
from spotify_ai_assets.reports.figures import Frame, assemble, head_figures, list_figures, number

INCIDENTS = 60
CASES = 30
CASE_TRACKS = 5
GLOBAL_CHANGES = 20
COUNTRY_CHANGES = 5
_COUNTS = ("plays", "streams")


def summarise_anomalies(
    *,
    country_days: Frame,
    suspicious_country_days: Frame,
    suspicious_streams: Frame,
    country_hours: Frame,
    anomalies: Frame,
    charts: Frame,
    genuine_charts: Frame,
    day: date,
) -> pl.DataFrame:
    """Compute every number of a day's page of anomalies.

    Args:
        country_days: ``listening/country_days``; rows of other days are ignored, as in every argument.
        suspicious_country_days: ``listening/suspicious_country_days``.
        suspicious_streams: ``listening/suspicious_streams``; accounts are counted, none is told.
        country_hours: ``listening/country_hours``.
        anomalies: ``listening/anomalies``.
        charts: ``listening/charts``, of which the daily ones count.
        genuine_charts: ``listening/genuine_charts``, likewise.
        day: The UTC day.

    Returns:
        Rows of ``reports/anomalies``, in the order of its key. An incident is an anomaly that no narrower one explains.
    """
    today = pl.col(DAY) == day
    counts = _with_and_without(country_days.lazy().filter(today), suspicious_country_days.lazy().filter(today)).collect()
    flagged = suspicious_streams.lazy().filter(today).collect()
    unusual = anomalies.lazy().filter(today).collect()
    daily = today & (pl.col("period") == "daily")
    totals = {name: int(counts[name].sum()) for name in counts.columns if name not in ("country", "platform")}
    headline = head_figures(
        ANOMALIES,
        "headline",
        **{name: totals[name] for name in ("suspicious_streams", "streams", "genuine_streams", "suspicious_plays", "plays")},
        suspicious_share=totals["suspicious_streams"] / totals["streams"] if totals["streams"] else None,
        cases=flagged.select("rule", "case").n_unique(),
        accounts=flagged["listener_id"].n_unique(),
        incidents=int(unusual["is_cause"].sum()),
    )
    sections = (
        headline,
        _ranked(counts, "country", "countries"),
        _ranked(counts, "platform", "platforms"),
        _hours(country_hours.lazy().filter(today).collect()),
        _incidents(unusual),
        *_cases(flagged),
        _chart_changes(charts.lazy().filter(daily).collect(), genuine_charts.lazy().filter(daily).collect()),
    )
    return assemble(ANOMALIES, day, sections)


def _with_and_without(country_days: pl.LazyFrame, suspicious: pl.LazyFrame) -> pl.LazyFrame:
    by = ("country", "platform")
    whole = country_days.group_by(by).agg(pl.col(_COUNTS).sum())
    part = suspicious.group_by(by).agg(pl.col(_COUNTS).sum().name.prefix("suspicious_"))
    return (
        whole.join(part, on=by, how="left")
        .with_columns(pl.col(f"suspicious_{name}").fill_null(0) for name in _COUNTS)
        .with_columns((pl.col(name) - pl.col(f"suspicious_{name}")).alias(f"genuine_{name}") for name in _COUNTS)
    )


def _ranked(counts: pl.DataFrame, column: str, section: str) -> pl.DataFrame:
    streams = pl.col("streams")
    groups = (
        counts.group_by(column)
        .agg(pl.col("streams", "suspicious_streams", "genuine_streams").sum())
        .with_columns(pl.col(column).alias("item"), pl.col(column).alias("label"))
        .with_columns(pl.when(streams > 0).then(pl.col("suspicious_streams") / streams).alias("suspicious_share"))
        .sort("suspicious_streams", "streams", column, descending=[True, True, False])
    )
    return list_figures(ANOMALIES, section, number(groups))


def _hours(country_hours: pl.DataFrame) -> pl.DataFrame:
    hour = pl.col("started_at").dt.hour().cast(pl.Int64)
    counted = country_hours.group_by(hour.alias("hour")).agg(pl.col("plays", "suspicious_plays").sum())
    hours = (
        pl.DataFrame({"hour": range(24)}, schema={"hour": pl.Int64})
        .join(counted, on="hour", how="left")
        .sort("hour")
        .with_columns(
            pl.col("plays", "suspicious_plays").fill_null(0), label=pl.format("{}:00", pl.col("hour").cast(pl.String).str.zfill(2))
        )
        .with_columns(item="label", genuine_plays=pl.col("plays") - pl.col("suspicious_plays"))
    )
    return list_figures(ANOMALIES, "hours", number(hours))


def _incidents(anomalies: pl.DataFrame) -> pl.DataFrame:
    severity = pl.col("severity").replace_strict({name: place for place, name in enumerate(SEVERITIES, 1)}, return_dtype=pl.Int64)
    named = anomalies.with_columns(
        severity=severity,
        direction=pl.when(pl.col("direction") == "up").then(1).otherwise(-1),
        hour=pl.when(pl.col("resolution") == "hour").then(pl.col("started_at").dt.hour()),
        item=pl.concat_str("resolution", pl.col("started_at").dt.to_string("iso:strict"), "country", "platform", separator="/"),
        label="country",
        detail="platform",
    )
    order = {"is_cause": True, "severity": True, "score": True, "started_at": False, "item": False}
    return list_figures(ANOMALIES, "incidents", number(named.sort(*order, descending=list(order.values())).head(INCIDENTS)))


def _cases(flagged: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The evidence of each case, and its tracks: aggregates over accounts."""
    flagged = flagged.with_columns(item=pl.format("{}-{}", "rule", "case"))
    account = flagged.sort("listener_id", "track_id", "country").group_by("item", "listener_id", maintain_order=True)
    accounts = (
        account.agg(pl.col("sittings").max(), pl.col("account_share").sum())
        .group_by("item")
        .agg(pl.col("sittings").sum(), pl.col("account_share").mean())
    )
    cases = (
        flagged.sort("score", "listener_id", "track_id", descending=[True, False, False])
        .group_by("item", maintain_order=True)
        .agg(
            pl.col("rule").first(),
            pl.col("listener_id").n_unique().alias("accounts"),
            pl.col("track_id").n_unique().alias("tracks"),
            pl.col("plays", "streams").sum(),
            (pl.col("played_ms").sum() / 3_600_000).alias("played_hours"),
            (pl.col("median_played_ms").median() / 1000).alias("median_played_seconds"),
            pl.col("score").max(),
        )
        .join(accounts.sort("item"), on="item", how="left")
        .sort("streams", "score", "item", descending=[True, True, False])
        .head(CASES)
        .with_columns(label="rule")
    )
    tracks = (
        flagged.join(cases.select("item"), on="item", how="semi")
        .sort("track_name", "artist_name")
        .group_by("item", "track_id")
        .agg(
            pl.col("track_name", "artist_name").first(),
            pl.col("plays", "streams").sum(),
            pl.col("listener_id").n_unique().alias("accounts"),
        )
        .rename({"item": "scope", "track_id": "item", "track_name": "label", "artist_name": "detail"})
        .sort("streams", "plays", "item", descending=[True, True, False])
    )
    shown = number(tracks, "scope").filter(pl.col("position") <= CASE_TRACKS)
    return list_figures(ANOMALIES, "cases", number(cases)), list_figures(ANOMALIES, "case_tracks", shown)


def _chart_changes(charts: pl.DataFrame, genuine: pl.DataFrame) -> pl.DataFrame:
    """Tracks that suspicious streams put on another rank of a daily chart, those that lose most ranks first."""
    without = genuine.select("country", "track_id", pl.col("rank").alias("genuine_rank"), pl.col("streams").alias("genuine_streams"))
    # A track that leaves the chart comes to stand after its last.
    after_last = pl.col("country").replace_strict(
        dict(genuine.group_by("country").agg(pl.col("rank").max() + 1).iter_rows()), default=1, return_dtype=pl.Int64
    )
    lost = (pl.col("genuine_rank").fill_null(after_last) - pl.col("rank")).alias("lost")
    length = pl.when(pl.col("scope") == GLOBAL).then(GLOBAL_CHANGES).otherwise(COUNTRY_CHANGES)
    changed = (
        charts.join(without, on=("country", "track_id"), how="left")
        .with_columns(lost, suspicious_streams=pl.col("streams") - pl.col("genuine_streams"))
        .filter(pl.col("genuine_rank").is_null() | ((pl.col("suspicious_streams") > 0) & (pl.col("lost") != 0)))
        .sort("country", "lost", "rank", descending=[False, True, False])
        .rename({"country": "scope", "track_id": "item", "track_name": "label", "artist_name": "detail"})
    )
    return list_figures(ANOMALIES, "charts", number(changed, "scope").filter(pl.col("position") <= length))
