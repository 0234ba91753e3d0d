"""Make a world: its music, its people, its days, and the truth beside it."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from spotify_ai_assets.demo.delivery import FORMATS, Delivery
from spotify_ai_assets.demo.listening import DAY_MS, LAST_DAY, PLAY, draw_sessions, expect_sessions, keep_scrobbles, play_sessions, start_of
from spotify_ai_assets.demo.music import GENRES, Music, compose_music
from spotify_ai_assets.demo.names import HOSTILE_ARTISTS, draw_from
from spotify_ai_assets.demo.people import EXPORTERS, People, gather_people
from spotify_ai_assets.demo.planted import Plan, describe, hide


def write_world(
    folder: Path,
    *,
    seed: int = 0,
    scale: float = 1.0,
    days: int = 60,
    clean: bool = False,
    report: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write a demo world: ``landing/`` (delivered first), ``late/`` (delivered afterwards) and ``truth.json``.

    Memory is that of one day, whatever the number of days. The same arguments write the same bytes on any machine; a day's base
    listening depends on the seed, the scale and its date only.

    Args:
        folder: Where to write; made where it does not exist. Files of the same names are overwritten, others left alone.
        seed: What is drawn, 0 or more. Amplitude, mix and timing of what is hidden vary by it.
        scale: 5,000 listens a day times this.
        days: Number of days, the last of them ``LAST_DAY``, a Sunday.
        clean: Hide nothing: the same listeners and music, no accounts, events or faults.
        report: Called as ``report(step, done, total)`` after each day (``days``) and each closing step (``files``).

    Returns:
        The path of ``truth.json``; its keys are described in ``planted``.

    Raises:
        ValueError: ``seed`` is negative, ``scale`` is not a positive number or ``days`` is less than 1.
    """
    if seed < 0 or not 0 < scale < float("inf") or days < 1:
        raise ValueError("a world needs a seed of 0 or more, a scale above 0 and at least one day")
    tell = report or (lambda step, done, total: None)
    first = LAST_DAY - dt.timedelta(days=days - 1)
    music = compose_music(seed, scale)
    people = gather_people(seed, scale, music)
    plan = Plan(seed)
    if not clean:
        plan, people = hide(seed, scale, first, days, music, people)

    delivery = Delivery(folder, music, people, plan)
    for done, (day, plays) in enumerate(live_days(seed, scale, first, days, music, people, plan), 1):
        delivery.deliver(day, plays)
        tell("days", done, days)
    delivery.close()
    tell("files", 1, 2)

    made = {"seed": seed, "scale": scale, "days": days, "first_day": first.isoformat(), "last_day": LAST_DAY.isoformat(), "clean": clean}
    counted, decided = delivery.count(), describe(plan, music, people)
    listens, canary = counted.pop("listens"), decided.pop("canary")
    truth = {**made, "listens": listens, **_introduce(music, people), **decided, **counted, "canary": canary}
    path = folder / "truth.json"
    path.write_text(json.dumps(truth, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")
    tell("files", 2, 2)
    return path


def live_days(
    seed: int, scale: float, first: dt.date, days: int, music: Music, people: People, plan: Plan
) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """Every play of each UTC day, in order of time, with what the plan adds and takes away.

    Yields:
        A day and its plays with the columns ``listening.PLAY``; ``(listener, started, item)`` is unique in a world.
    """

    def play_on(day: dt.date, purpose: str, times: float) -> pl.DataFrame:
        rng = draw_from(seed, purpose, day.toordinal())
        sessions = draw_sessions(rng, expect_sessions(seed, scale, day, people) * times, day, people)
        return play_sessions(rng, sessions, day, music, people, plan.hits(day))

    def surges(day: dt.date) -> Iterator[pl.DataFrame]:
        # More of the same: what such a day would have brought anyway, night sessions of the day before included.
        for spike in plan.spikes(day):
            for begin in (day - dt.timedelta(days=1), day):
                more = play_on(begin, f"spike of {day}", spike.factor - 1)
                yield more.filter(pl.Series(spike.covers(more, people)))

    going_on = pl.DataFrame(schema=PLAY)
    # The day before is lived as well: its last sessions go on into the first day.
    for day in (first + dt.timedelta(days=offset) for offset in range(-1, days)):
        begun = pl.concat([going_on, play_on(day, "sessions", 1.0), plan.artificial_plays(day, music)])
        midnight = start_of(day) + DAY_MS
        going_on = begun.filter(pl.col("started") >= midnight)
        if day >= first:
            plays = pl.concat([begun.filter(pl.col("started") < midnight), *surges(day)]).sort("started", "listener", "item")
            plays = plays.unique(["listener", "started", "item"], keep="first", maintain_order=True)
            yield day, plan.black_out(day, keep_scrobbles(plays, music, people), people)


def _introduce(music: Music, people: People) -> dict[str, Any]:
    """Who and what there is: counts per country, format, taste and kind."""
    routes = Counter(FORMATS[route] for route in people.route.tolist())
    exporters: dict[str, list[str]] = {}
    for name, route in zip(people.ids, EXPORTERS, strict=False):
        exporters.setdefault(FORMATS[route], []).append(name)
    return {
        "people": {
            "accounts": len(people.ids),
            "per_country": dict(sorted(Counter(people.countries[place] for place in people.country.tolist()).items())),
            "per_format": dict(sorted(routes.items())),
            "clusters": {genre: int((people.cluster == number).sum()) for number, genre in enumerate(GENRES)},
            "exporters": exporters,
        },
        "catalogue": {
            "artists": music.artists.height,
            "albums": music.albums.height,
            "tracks": music.tracks,
            "episodes": music.items.height - music.tracks,
            "playlists": dict(zip(GENRES, music.playlists, strict=True)),
            "hostile_artists": list(HOSTILE_ARTISTS),
        },
    }
