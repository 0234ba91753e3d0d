"""Hours and days with far too few or far too many genuine plays, and which series explains the others.

Looked at are all plays, those of each country and those of each kind of device. ``volumes`` turns each count into how far off it is
(a standard normal number, were nothing ever wrong), for plays and for listeners; ``detection`` says whether that is unusual for
the series itself. An hour or day is unusual where

* its plays are outside the band of ``BAND`` deviations, and if there are too many of them, so are the listeners (one heavy sitting is
  many plays, a surge is many people), and
* its plays are ``MATERIAL`` less or more than expected: what is certain but small is no incident, and
* its plays, or its plays and its listeners together, are so far off that all hours, or all days, of all series together would show
  the like by chance once in ``1 / FALSE_ALARMS`` days (Bonferroni; evenly for days, and for hours half for the world, a quarter
  each for countries and kinds of device in proportion to their volume), and
* the detector alarms, or it is ``RARER`` times rarer still: a short or eventful past makes the detector slow. Past values outside
  the band count as on its edge, so that one incident hides no other.

Causes are found one after the other (matching pursuit): what chance explains least is a cause; what it lacks or has too much
is taken from or given to the expectation of every series that shares plays with it, by their usual parts; what is then still far
off has a cause of its own. So an outage of one country is no incident of the world, nor of each of its hours. Plays of an unknown
country or device are of some known one: with them something is wrong of its own only where nothing known is.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from spotify_ai_assets.contracts import DAY
from spotify_ai_assets.listening.contracts import GLOBAL, UNKNOWN_COUNTRY
from spotify_ai_assets.listening.insight.contracts import ALL, ANOMALIES, UNKNOWN, VOLUME_DAYS
from spotify_ai_assets.listening.insight.detection import ALARM, Detector
from spotify_ai_assets.listening.insight.parts import Frame, genuine
from spotify_ai_assets.listening.insight.volumes import Expected, band, deviate, expect_days, expect_hours

LEAST_DAYS = 14
"""Days before a day that it takes to judge it."""
LEAST_PLAYS = 5.0
"""Expected plays below which an hour or day is not judged."""
BAND = 3.0
FALSE_ALARMS = 0.0003
"""Of hours, and of days, to be expected by chance in a day."""
RARER = 3.0
"""How many times rarer than that it must be where the detector does not alarm."""
MATERIAL = 0.4
"""Part of the expected plays that an unusual hour or day lacks or has too much at least."""
MEDIUM, HIGH = 1.5, 2.0
"""How far off severities begin, as multiples of what it takes to be unusual."""
_MEASURES = ("plays", "listeners")
_PLACES = ("day", "hour", "country", "platform")
_WHOLE_DAY = 24
"""Stands for the day where hours are numbered."""


def find_anomalies(country_hours: Frame, day: date) -> pl.DataFrame:
    """Find the unusual hours of a day, and whether the day itself is unusual.

    Args:
        country_hours: Rows of ``listening/country_hours`` of the ``VOLUME_DAYS`` days up to ``day``.
        day: The UTC day.

    Returns:
        Rows of ``listening/anomalies``; none where fewer than ``LEAST_DAYS`` days before have plays or lie between those that do.
    """
    counted = _count(country_hours, day)
    first = counted[DAY].min()
    if not isinstance(first, date) or (day - first).days < LEAST_DAYS:
        return ANOMALIES.empty()
    volumes = _Volumes.of(counted, first, day)
    rows = _judge(volumes)
    midnight = datetime.combine(day, time(), UTC)
    for row in rows:
        hour = row.pop("hour")
        row |= {DAY: day, "resolution": "day" if hour == _WHOLE_DAY else "hour"}
        row["started_at"] = midnight + timedelta(hours=hour % _WHOLE_DAY)
    return pl.DataFrame(rows, schema=ANOMALIES.schema).sort(ANOMALIES.primary_key)


def _count(country_hours: Frame, day: date) -> pl.DataFrame:
    return (
        country_hours.lazy()
        .filter(pl.col(DAY).is_between(day - timedelta(days=VOLUME_DAYS - 1), day))
        .group_by(DAY, pl.col("started_at").dt.hour().cast(pl.Int64).alias("hour"), "country", "platform")
        .agg(genuine(name).sum() for name in _MEASURES)
        .filter(pl.col("plays") > 0)
        .sort(_PLACES)
        .collect()
    )


@dataclass(frozen=True)
class _Volumes:
    """Counts of all series.

    Attributes:
        names: Country and platform of each series; the first is of all plays.
        cells: Measures by days by hours by countries by platforms, the newest day last.
        counts: Measures by series by days by 25: the hours and the day.
        weekdays: Of the days.
        watched: Detectors that saw the days before, by series and whether it is days or their hours.
    """

    names: list[tuple[str, str]]
    cells: np.ndarray
    counts: np.ndarray
    weekdays: np.ndarray
    watched: dict[tuple[int, bool], Detector] = field(default_factory=dict)

    @classmethod
    def of(cls, counted: pl.DataFrame, first: date, day: date) -> "_Volumes":
        countries, platforms = (sorted(counted[name].unique()) for name in ("country", "platform"))
        days = (day - first).days + 1
        cells = np.zeros((len(_MEASURES), days, 24, len(countries), len(platforms)))
        places = (
            (counted[DAY] - first).dt.total_days().to_numpy(),
            counted["hour"].to_numpy(),
            np.searchsorted(countries, counted["country"].to_numpy().astype(str)),
            np.searchsorted(platforms, counted["platform"].to_numpy().astype(str)),
        )
        for number, name in enumerate(_MEASURES):
            cells[number][places] = counted[name].to_numpy()
        hours = np.concatenate(
            [
                cells.sum(axis=(3, 4))[:, None],
                np.moveaxis(cells.sum(axis=4), 3, 1),
                np.moveaxis(cells.sum(axis=3), 3, 1),
            ],
            axis=1,
        )
        counts = np.concatenate([hours, hours.sum(axis=3, keepdims=True)], axis=3)
        names = [(GLOBAL, ALL), *((country, ALL) for country in countries), *((GLOBAL, platform) for platform in platforms)]
        return cls(names, cells, counts, (np.arange(days) + first.weekday()) % 7)

    @cached_property
    def expected(self) -> Expected:
        """In the shape of the counts."""
        found = []
        for counts in self.counts:
            days = expect_days(counts[:, :, _WHOLE_DAY], self.weekdays)
            hours = expect_hours(counts[:, :, :_WHOLE_DAY], days, counts[:, :, _WHOLE_DAY], self.weekdays)
            found.append([np.concatenate([hour, day[:, :, None]], axis=2) for hour, day in zip(hours, days, strict=True)])
        return Expected(*(np.stack(parts) for parts in zip(*found, strict=True)))

    @cached_property
    def off(self) -> np.ndarray:
        """How far off each count is, in the shape of the counts."""
        return deviate(self.counts, self.expected)

    @cached_property
    def together(self) -> np.ndarray:
        """The correlation of how far off plays and listeners were, of hours and of days, 25."""
        tells = self.expected.mean[0, :, :-1] >= LEAST_PLAYS
        found = []
        for hours in (slice(_WHOLE_DAY), slice(_WHOLE_DAY, None)):
            plays, listeners = np.clip(self.off[:, :, :-1, hours], -BAND, BAND)[:, tells[:, :, hours]]
            norm = np.sqrt(np.sum(plays**2) * np.sum(listeners**2))
            found.append(np.clip(np.sum(plays * listeners) / norm, 0.0, 0.95) if norm else 0.0)
        return np.append(np.full(_WHOLE_DAY, found[0]), found[1])

    @cached_property
    def asked(self) -> np.ndarray:
        """How improbable an hour or day must be to be unusual, in nats, series by 25."""
        volume = np.maximum(self.counts[0, :, :-1, _WHOLE_DAY].sum(axis=1), 1.0)
        # Of an hour small series tell little: they get little of what may be wrong.
        share = volume / volume[0] / 4
        share[0] = 0.5
        share = np.repeat(share[:, None] / _WHOLE_DAY, _WHOLE_DAY + 1, axis=1)
        share[:, _WHOLE_DAY] = 1 / len(share)
        return -np.log(FALSE_ALARMS * share)

    def within(self, series: int, hour: int) -> tuple[slice | int, slice | int, slice | int]:
        """Which cells of a day a series has at an hour or in all."""
        countries = self.cells.shape[3]
        country = series - 1 if 1 <= series <= countries else slice(None)
        platform = series - 1 - countries if series > countries else slice(None)
        return (slice(None) if hour == _WHOLE_DAY else hour, country, platform)

    def gather(self, cells: np.ndarray) -> np.ndarray:
        """Sum cells, measures by hours by countries by platforms, into measures by series by 25."""
        hours = np.concatenate(
            [cells.sum(axis=(2, 3))[:, None], np.moveaxis(cells.sum(axis=3), 2, 1), np.moveaxis(cells.sum(axis=2), 2, 1)], axis=1
        )
        return np.concatenate([hours, hours.sum(axis=2, keepdims=True)], axis=2)

    def score(self, series: int, hour: int, off: np.ndarray) -> float:
        """The detector's score of an hour or day of the newest day.

        Args:
            series: Which series.
            hour: Which hour, or the day.
            off: How far off each hour of the newest day is, and the day.
        """
        if (series, hour == _WHOLE_DAY) not in self.watched:
            rows = slice(_WHOLE_DAY, None) if hour == _WHOLE_DAY else slice(_WHOLE_DAY)
            self.watched[series, hour == _WHOLE_DAY] = Detector()
            self.watched[series, hour == _WHOLE_DAY].update(np.clip(self.off[0, series, :-1, rows], -BAND, BAND).ravel())
        detector = deepcopy(self.watched[series, hour == _WHOLE_DAY])
        if hour != _WHOLE_DAY:
            detector.update(np.clip(off[:hour], -BAND, BAND))
        return float(detector.update([off[hour]])[0])


class _Verdict:
    """Which hours and days of the newest day are far off, where counts are expected as given."""

    def __init__(self, volumes: _Volumes, expected: Expected) -> None:
        from scipy.special import log_ndtr

        self.expected = expected
        self.plays, listeners = deviate(volumes.counts[:, :, -1], expected)
        alone = -log_ndtr(-np.abs(self.plays)) - np.log(2)
        # Where both are off to the same side, both are evidence: a chi-squared variable of two degrees.
        product = self.plays * listeners
        squares = np.square(self.plays) + np.square(listeners) - 2 * volumes.together * product
        nats = np.maximum(alone, np.where(product > 0, squares / (1 - np.square(volumes.together)) / 2, 0.0))
        self.margin = nats - volumes.asked
        self.multiple = np.sqrt(np.maximum(nats, 0) / volumes.asked)
        is_judged = volumes.expected.mean[0, :, -1] >= LEAST_PLAYS
        is_material = np.abs(volumes.counts[0, :, -1] - expected.mean[0]) >= MATERIAL * expected.mean[0]
        is_outside = (self.plays <= -BAND) | ((self.plays >= BAND) & (listeners >= BAND))
        self.is_far = is_judged & is_material & is_outside & (self.margin >= 0)

    def is_unusual(self, series: int, hour: int, score: float) -> bool:
        """Whether what is far off is an anomaly at this score of the detector."""
        return bool(score >= ALARM or self.margin[series, hour] >= np.log(RARER))

    def row(self, volumes: _Volumes, series: int, hour: int, score: float, is_cause: bool) -> dict[str, Any]:
        """A row of ``listening/anomalies`` less the times."""
        country, platform = volumes.names[series]
        expected = Expected(*(part[0, series, hour : hour + 1] for part in self.expected))
        (lower,), (upper,) = band(expected, BAND)
        multiple = self.multiple[series, hour]
        return {
            "hour": hour,
            "country": country,
            "platform": platform,
            "plays": int(volumes.counts[0, series, -1, hour]),
            "expected": round(float(expected.mean[0]), 3),
            "lower": round(float(lower), 3),
            "upper": round(float(upper), 3),
            "score": round(score, 6),
            "severity": "high" if multiple >= HIGH else "medium" if multiple >= MEDIUM else "low",
            "direction": "up" if self.plays[series, hour] > 0 else "down",
            "is_cause": is_cause,
        }


def _judge(volumes: _Volumes) -> list[dict[str, Any]]:
    usual = Expected(*(part[:, :, -1] for part in volumes.expected))
    first = _Verdict(volumes, usual)
    rows = _find_causes(volumes, usual, first)
    unknown = [row for row in rows.values() if row["country"] == UNKNOWN_COUNTRY or row["platform"] == UNKNOWN]
    for row in unknown:
        row["is_cause"] = len(unknown) == len(rows)
    for series, hour in np.argwhere(first.is_far).tolist():
        if (series, hour) not in rows and first.is_unusual(series, hour, score := volumes.score(series, hour, first.plays[series])):
            rows[series, hour] = first.row(volumes, series, hour, score, is_cause=False)
    return list(rows.values())


def _find_causes(volumes: _Volumes, usual: Expected, verdict: _Verdict) -> dict[tuple[int, int], dict[str, Any]]:
    """The causes by series and hour; each is told as it stood once the causes before it were known."""
    cells = volumes.cells[:, :-1].mean(axis=1)
    whole = volumes.gather(cells)
    factors = np.ones_like(cells)
    found: dict[tuple[int, int], dict[str, Any]] = {}
    passed: set[tuple[int, int]] = set()
    while True:
        places = [place for place in map(tuple, np.argwhere(verdict.is_far).tolist()) if place not in found and place not in passed]
        if not places:
            return found
        # The first series of equals, so that the order is always the same.
        series, hour = min(places, key=lambda place: (-verdict.margin[place], place))
        score = volumes.score(series, hour, verdict.plays[series])
        if not verdict.is_unusual(series, hour, score):
            passed.add((series, hour))
            continue
        found[series, hour] = verdict.row(volumes, series, hour, score, is_cause=True)
        inside = volumes.within(series, hour)
        for number in range(len(_MEASURES)):
            expected = verdict.expected.mean[number, series, hour]
            factors[number][inside] *= volumes.counts[number, series, -1, hour] / max(expected, 1e-9)
        ratio = np.divide(volumes.gather(cells * factors), whole, out=np.ones_like(whole), where=whole > 0)
        verdict = _Verdict(volumes, Expected(usual.mean * ratio, usual.variance * np.maximum(ratio, np.square(ratio))))


def broken_anomalies(anomalies: Frame) -> pl.DataFrame:
    """The rows that are inside their band or off to the other side, and the days on which nothing is a cause."""
    rows = anomalies.lazy().with_columns(has_cause=pl.col("is_cause").any().over(DAY))
    is_up = pl.col("direction") == "up"
    is_off = pl.when(is_up).then(pl.col("plays") > pl.col("upper") - 0.01).otherwise(pl.col("plays") < pl.col("lower") + 0.01)
    return rows.filter(~is_off | ~pl.col("has_cause")).drop("has_cause").collect()


def describe_causes(causes: pl.DataFrame) -> list[dict[str, Any]]:
    """What is wrong where, as plain values: a row of ``listening/anomalies`` each, less the band and the score."""
    names = ("resolution", "country", "platform", "direction", "severity", "plays", "expected")
    return causes.select(pl.col("started_at").dt.to_string("iso:strict"), *names).to_dicts()
