"""What is hidden in a demo world, and the record of it.

``truth.json`` has these keys, in this order; a track is its Spotify URI, a country its ISO code, a day ``YYYY-MM-DD``, a file
its path below the world's folder, a row the 1-based number of a record in its file:

* ``seed``, ``scale``, ``days``, ``first_day``, ``last_day``, ``clean``: what the world was made with.
* ``listens``: ``rows`` (records delivered) = ``plays`` (different ones) + ``duplicates`` + ``malformed``; ``per_day``
  ``[{day, plays, late}]``, where ``late`` of the plays arrive later; ``per_format`` rows by the format's
  name at intake; ``files`` ``[{file, format, rows}]``.
* ``people``: ``accounts``, ``per_country``, ``per_format`` counts; ``clusters`` {genre: listeners of that taste}; ``exporters``
  {format: [user ids]}.
* ``catalogue``: ``artists``, ``albums``, ``tracks``, ``episodes`` counts; ``playlists`` {genre: URI} from which sessions play;
  ``hostile_artists`` names.
* ``breakouts`` ``[{track_id, country, start_day, peak_day, growth, first_share, peak_share}]``: the share of the track in what
  is played in a country (or ``global``) multiplies by ``growth`` each day until its peak, then sinks by a tenth a day.
* ``volume_anomalies`` ``[{day, hour, country, platform, kind, factor}]``: how many plays there are where (``null`` is
  everywhere, a UTC hour or all day), as a factor of what there would have been.
* ``artificial_streaming``: ``looping`` ``[{listener, track, days, plays_per_day}]`` of 31-second plays, ``farms`` ``[{listeners,
  tracks, days, plays_per_day}]`` playing one list in step, ``night_bursts`` ``[{listener, artist, tracks, days, hour,
  plays_per_night}]`` from a UTC hour on.
* ``duplicates`` ``[{file, of, kind, rows}]``: ``exact_rows``, ``delivered_twice``, ``account_data`` or ``truncated``.
* ``late_files`` ``[{file, day, rows}]``: plays of an earlier day, delivered after everything else.
* ``malformed`` ``[{file, row, rule}]``: ``row`` is null where a rule is broken by the file.
* ``not_data``: files that hold no listens and no catalogue.
* ``canary``: every value by which one account can be known, none of which occurs elsewhere; null in a clean world.

User ids are here and in the landing files, nowhere else. How files are written belongs to ``files``.
"""

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from spotify_ai_assets.demo.listening import DONE, FORWARD, MINUTE_MS, PLAY, Hit, start_of
from spotify_ai_assets.demo.music import COUNTRIES, Music
from spotify_ai_assets.demo.names import draw_from, invent_ids
from spotify_ai_assets.demo.people import CANARY, COUNTRY_SHARES, DEVICES, NATIVE, UTC_HOURS, People

LOOP_MS = 31_000
CANARY_COUNTRY = "IS"


@dataclass(frozen=True, slots=True)
class Breakout:
    """A track from the tail that rises."""

    item: int
    country: int | None
    start_day: dt.date
    peak_day: dt.date
    growth: float
    first_share: float

    def share(self, day: dt.date) -> float:
        """Its share in what is played on a day."""
        if day < self.start_day:
            return 0.0
        rising = (min(day, self.peak_day) - self.start_day).days
        return self.first_share * self.growth**rising * 0.9 ** max((day - self.peak_day).days, 0)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A day, hour, country or platform with too few or too many plays; None is all of them."""

    day: dt.date
    hour: int | None
    country: int | None
    device: int | None
    kind: str
    factor: float

    def covers(self, plays: pl.DataFrame, people: People) -> np.ndarray:
        """Which plays are where the anomaly is."""
        hour = (plays["started"].to_numpy() - start_of(self.day)) // (60 * MINUTE_MS)
        inside = (hour >= 0) & (hour < 24)
        country, device = people.country[plays["listener"].to_numpy()], plays["device"].to_numpy()
        for value, wanted in ((hour, self.hour), (country, self.country), (device, self.device)):
            inside &= True if wanted is None else value == wanted
        return inside


@dataclass(frozen=True, slots=True)
class Scheme:
    """Accounts that play a list of tracks over and over.

    Attributes:
        kind: ``looping``, ``farm``, ``night_burst`` or ``canary``.
        accounts: Rows of the people.
        items: Rows of the catalogue, in the order of play.
        days: The days on which they do.
        plays: How many plays each account makes on such a day.
        begin_ms: Millisecond of the UTC day of the first play.
        step_ms: From one play's start to the next.
        played_ms: How long each play lasts at least, and how much longer at most.
        device: Index into ``DEVICES``.
    """

    kind: str
    accounts: tuple[int, ...]
    items: tuple[int, ...]
    days: tuple[dt.date, ...]
    plays: int
    begin_ms: int
    step_ms: int
    played_ms: tuple[int, int]
    device: int

    def plays_on(self, seed: int, day: dt.date, music: Music) -> pl.DataFrame:
        """The scheme's plays of a day."""
        if day not in self.days:
            return pl.DataFrame(schema=PLAY)
        rng = draw_from(seed, f"{self.kind} {self.accounts[0]}", day.toordinal())
        account, position = np.repeat(self.accounts, self.plays), np.tile(np.arange(self.plays), len(self.accounts))
        item = np.array(self.items)[position % len(self.items)]
        played = np.minimum(self.played_ms[0] + rng.integers(0, self.played_ms[1] + 1, len(account)), music.duration[item])
        begun = start_of(day) + self.begin_ms + position * self.step_ms + rng.integers(0, 1_000, len(account)) + 1_000 * (account % 7)
        return pl.DataFrame(
            {
                "listener": account,
                "item": item,
                "started": -((begun + played) // -1_000) * 1_000 - played,
                "played": played,
                "device": np.full(len(account), self.device),
                "reason_start": np.full(len(account), DONE),
                "reason_end": np.where(played < music.duration[item], FORWARD, DONE),
                "shuffle": np.zeros(len(account), dtype=bool),
                "offline": np.zeros(len(account), dtype=bool),
                "incognito": np.zeros(len(account), dtype=bool),
                "playlist": [None] * len(account),
            },
            schema=PLAY,
        )


@dataclass(frozen=True, slots=True)
class Faults:
    """Days of the native files with which something goes wrong on the way; None where nothing does."""

    late: tuple[dt.date, ...] = ()
    repeated: tuple[dt.date, ...] = ()
    delivered_twice: dt.date | None = None
    truncated: dt.date | None = None
    malformed: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Canary:
    """Values that belong to one account and can be searched for; no other value of a world contains one of them."""

    user_id: str
    display_name: str
    email: str
    ip_address: str
    user_agent: str
    device: str
    file_name: str
    track_name: str
    country: str = CANARY_COUNTRY


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is hidden in one world."""

    seed: int
    breakouts: tuple[Breakout, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    schemes: tuple[Scheme, ...] = ()
    faults: Faults = Faults()
    canary: Canary | None = None

    def hits(self, day: dt.date) -> list[Hit]:
        """The breakouts' shares on a day."""
        return [Hit(one.item, one.country, share) for one in self.breakouts if (share := one.share(day))]

    def spikes(self, day: dt.date) -> list[Anomaly]:
        """The anomalies of a day that add plays."""
        return [one for one in self.anomalies if one.day == day and one.kind == "spike"]

    def artificial_plays(self, day: dt.date, music: Music) -> pl.DataFrame:
        """The plays of a day that no listener chose, and the canary's."""
        return pl.concat([pl.DataFrame(schema=PLAY), *(scheme.plays_on(self.seed, day, music) for scheme in self.schemes)])

    def black_out(self, day: dt.date, plays: pl.DataFrame, people: People) -> pl.DataFrame:
        """Remove the plays that the day's outages swallow."""
        for one in self.anomalies:
            if one.day == day and one.kind == "outage":
                lost = draw_from(self.seed, "outage", day.toordinal()).random(plays.height) >= one.factor
                plays = plays.filter(pl.Series(~(lost & one.covers(plays, people))))
        return plays


def hide(seed: int, scale: float, first: dt.date, days: int, music: Music, people: People) -> tuple[Plan, People]:
    """Decide what is hidden, where and how strongly, and admit the accounts that it needs.

    Short worlds hide what fits: breakouts need 14 days, volume anomalies 7, late files 10.
    """
    calendar = [first + dt.timedelta(days=offset) for offset in range(days)]
    canary = _hatch_canary(seed)
    rng = draw_from(seed, "hidden")
    tail = np.argsort(music.popularity, kind="stable")[: music.tracks // 2]
    risers = rng.choice(tail, 4, replace=False).tolist()
    schemes, ids, countries = _scheme(draw_from(seed, "schemes"), scale, calendar, np.setdiff1d(tail, risers), music, people.listeners)
    schemes.append(_let_sing(draw_from(seed, "canary"), calendar, people.listeners + len(ids), music))
    plan = Plan(
        seed=seed,
        breakouts=tuple(_break_out(rng, item, calendar) for item in risers[: rng.integers(2, 5)]) if days >= 14 else (),
        anomalies=_disturb(draw_from(seed, "anomalies"), calendar) if days >= 7 else (),
        schemes=tuple(schemes),
        faults=_spoil(draw_from(seed, "faults"), calendar),
        canary=canary,
    )
    routes = [NATIVE] * len(ids) + [CANARY]
    return plan, people.admit([*ids, canary.user_id], [*countries, canary.country], routes)


def _break_out(rng: np.random.Generator, item: int, calendar: list[dt.date]) -> Breakout:
    country = None if rng.random() < 0.5 else int(rng.choice(4, p=COUNTRY_SHARES[:4] / COUNTRY_SHARES[:4].sum()))
    start = int(len(calendar) * rng.uniform(0.35, 0.7))
    rise = int(rng.integers(6, min(15, len(calendar) - start)) if len(calendar) - start > 7 else len(calendar) - start - 1)
    first_share, peak_share = (
        (rng.uniform(0.001, 0.003), rng.uniform(0.02, 0.06)) if country is None else (rng.uniform(0.004, 0.008), rng.uniform(0.05, 0.10))
    )
    growth = round(float((peak_share / first_share) ** (1 / max(rise, 1))), 3)
    return Breakout(int(item), country, calendar[start], calendar[start + rise], growth, round(float(first_share), 5))


def _disturb(rng: np.random.Generator, calendar: list[dt.date]) -> tuple[Anomaly, ...]:
    """Three to six anomalies on different days of the last two thirds, the first two a country's outage and spike."""
    later = calendar[len(calendar) // 3 :]
    count = min(int(rng.integers(3, 7)), len(later))
    days = [later[offset] for offset in sorted(rng.choice(len(later), count, replace=False))]
    forms = [
        ("outage", "country"),
        ("spike", "country"),
        ("outage", "hour"),
        ("outage", "platform"),
        ("spike", "all"),
        ("spike", "platform"),
    ]
    forms = forms[:2] + [forms[2:][int(place)] for place in rng.permutation(4)]
    order = rng.permutation(count)
    found = []
    for day, place in zip(days, order, strict=True):
        kind, scope = forms[place]
        factor = rng.uniform(0.0, 0.35) if kind == "outage" else rng.uniform(1.8, 3.5)
        found.append(
            Anomaly(
                day=day,
                hour=int(rng.integers(8, 23)) if scope == "hour" else None,
                country=int(rng.integers(0, 6)) if scope == "country" else None,
                device=int(rng.integers(0, 3)) if scope == "platform" else None,
                kind=kind,
                factor=round(float(factor), 3),
            )
        )
    return tuple(found)


def _scheme(
    rng: np.random.Generator, scale: float, calendar: list[dt.date], tail: np.ndarray, music: Music, first_account: int
) -> tuple[list[Scheme], list[str], list[str]]:
    """Looping accounts, one or two farms and a night burst; small worlds get smaller ones."""
    size = min(1.0, scale) ** 0.5
    found: list[Scheme] = []
    countries: list[str] = []

    def add(kind: str, members: int, items: np.ndarray, length: int, **habits: Any) -> None:
        start = int(rng.integers(0, max(1, len(calendar) - length)))
        accounts = tuple(range(first_account + len(countries), first_account + len(countries) + members))
        habits["plays"] = max(12, round(habits["plays"] * size))
        found.append(Scheme(kind, accounts, tuple(items.tolist()), tuple(calendar[start : start + length]), **habits))
        countries.extend([COUNTRIES[int(rng.integers(0, len(COUNTRIES)))]] * members)

    for _ in range(int(rng.integers(2, 4))):
        track, step = rng.choice(tail, 1), int(rng.integers(32_500, 35_000))
        begin = int(rng.integers(0, 10 * 3_600_000))
        add(
            "looping",
            1,
            track,
            int(rng.integers(3, 9)),
            plays=int(rng.integers(120, 250)),
            begin_ms=begin,
            step_ms=step,
            played_ms=(LOOP_MS, 0),
            device=4,
        )
    for _ in range(int(rng.integers(1, 3))):
        tracks, step = rng.choice(tail, int(rng.integers(5, 12)), replace=False), int(rng.integers(200_000, 400_000))
        length, plays = int(rng.integers(5, 15)), int(rng.integers(18, 40))
        add("farm", int(rng.integers(6, 13)), tracks, length, plays=plays, begin_ms=0, step_ms=step, played_ms=(35_000, 12_000), device=0)
    album = int(rng.choice(np.flatnonzero(music.album_size >= 6)))
    tracks = np.unique(music.play_on(np.full(30, album), np.arange(30)))
    length, plays = int(rng.integers(3, 8)), int(rng.integers(90, 200))
    begin = int((2 - UTC_HOURS[COUNTRIES.index("DE")]) * 3_600_000)
    add(
        "night_burst",
        1,
        tracks,
        length,
        plays=plays,
        begin_ms=begin,
        step_ms=int(rng.integers(34_500, 40_000)),
        played_ms=(30_500, 2_000),
        device=2,
    )
    countries[-1] = "DE"
    return found, invent_ids(rng, len(countries), 28, 36), countries


def _spoil(rng: np.random.Generator, calendar: list[dt.date]) -> Faults:
    shuffled = [calendar[int(offset)] for offset in rng.permutation(len(calendar))]
    repeated, other, twice, cut, bad, late = (shuffled[place % len(shuffled)] for place in range(6))
    # The tenth day always: a story that a demo can tell.
    return Faults(
        late=tuple(sorted({calendar[9], late})) if len(calendar) >= 10 else (),
        repeated=tuple(sorted({repeated, other})),
        delivered_twice=twice,
        truncated=cut,
        malformed=bad,
    )


def _hatch_canary(seed: int) -> Canary:
    code = draw_from(seed, "canary name").bytes(5).hex()
    return Canary(
        user_id=f"canaryuser{code}",
        display_name=f"Canary Display {code}",
        email=f"canary.mail.{code}@example.invalid",
        ip_address=f"203.0.113.{int(code[:2], 16)}",
        user_agent=f"CanaryAgent/{code}",
        device=f"CanaryPhone-{code}",
        file_name=f"endsong_0_canaryfile{code}.json",
        track_name=f"Canary Song {code}",
    )


def _let_sing(rng: np.random.Generator, calendar: list[dt.date], account: int, music: Music) -> Scheme:
    days = tuple(calendar[int(place)] for place in sorted(rng.choice(len(calendar), min(5, len(calendar)), replace=False)))
    items = tuple(rng.choice(music.tracks, 6, replace=False).tolist())
    return Scheme("canary", (account,), items, days, 6, 17 * 3_600_000, 16 * MINUTE_MS, (40_000, 800_000), 0)


def describe(plan: Plan, music: Music, people: People) -> dict[str, Any]:
    """The part of the truth that was decided before anything was written."""
    uri = music.items["track_id"]

    def tell(scheme: Scheme) -> dict[str, Any]:
        names, days = [people.ids[account] for account in scheme.accounts], [day.isoformat() for day in scheme.days]
        tracks, plays = [uri[item] for item in scheme.items], scheme.plays
        if scheme.kind == "looping":
            return {"listener": names[0], "track": tracks[0], "days": days, "plays_per_day": plays}
        if scheme.kind == "farm":
            return {"listeners": names, "tracks": tracks, "days": days, "plays_per_day": plays}
        artist = music.items["artist_name"][scheme.items[0]]
        return {
            "listener": names[0],
            "artist": artist,
            "tracks": tracks,
            "days": days,
            "hour": scheme.begin_ms // 3_600_000,
            "plays_per_night": plays,
        }

    return {
        "breakouts": [
            {
                "track_id": uri[one.item],
                "country": "global" if one.country is None else COUNTRIES[one.country],
                "start_day": one.start_day.isoformat(),
                "peak_day": one.peak_day.isoformat(),
                "growth": one.growth,
                "first_share": one.first_share,
                "peak_share": round(one.share(one.peak_day), 4),
            }
            for one in plan.breakouts
        ],
        "volume_anomalies": [
            {
                "day": one.day.isoformat(),
                "hour": one.hour,
                "country": None if one.country is None else COUNTRIES[one.country],
                "platform": None if one.device is None else DEVICES[one.device],
                "kind": one.kind,
                "factor": one.factor,
            }
            for one in plan.anomalies
        ],
        "artificial_streaming": {
            key: [tell(scheme) for scheme in plan.schemes if scheme.kind == kind]
            for key, kind in (("looping", "looping"), ("farms", "farm"), ("night_bursts", "night_burst"))
        },
        "canary": None if plan.canary is None else asdict(plan.canary),
    }
