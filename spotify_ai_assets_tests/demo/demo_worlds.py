"""Worlds for the tests of the demo."""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from spotify_ai_assets.demo import LAST_DAY, write_world
from spotify_ai_assets.demo.music import Music
from spotify_ai_assets.demo.people import People
from spotify_ai_assets.demo.planted import Plan
from spotify_ai_assets.demo.world import live_days

SEED, SCALE, DAYS = 5, 0.3, 30
FIRST = LAST_DAY - dt.timedelta(days=DAYS - 1)


@dataclass(frozen=True)
class World:
    folder: Path
    truth: dict[str, Any]


@dataclass(frozen=True)
class Cast:
    """The same world before it is written."""

    music: Music
    people: People
    plan: Plan

    def live(self, plan: Plan | None = None, scale: float = SCALE, first: dt.date = FIRST, days: int = DAYS) -> dict[dt.date, pl.DataFrame]:
        return dict(live_days(SEED, scale, first, days, self.music, self.people, plan or self.plan))


def make_world(folder: Path, **arguments: Any) -> World:
    return World(folder, json.loads(write_world(folder, **arguments).read_text(encoding="utf-8")))
