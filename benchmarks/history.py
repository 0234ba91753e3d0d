"""Ten years of one listener: from the zip as it arrives to the review of a year, against bare polars on the same files.

Ours: ``spotify-ai import`` and ``spotify-ai review --year``, two fresh processes on a fresh data folder: every listen is checked,
pseudonymised and committed, and the year's plays, suspicious streams and daily tables are made and validated before they are
reviewed. Peer: one fresh process that parses the JSON files of the zip and ranks the tracks of the year, nothing kept. Both must
name the same tracks. ``all_seconds`` is the review of all ten years on top, the first time.
"""

import io
import json
import random
import tempfile
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.backfill import CLI
from benchmarks.measuring import ROOT, call, main, report, run

LISTENER = "me"


def measure(years: int = 10, listens: int = 27, rounds: int = 3) -> dict[str, object]:
    """Medians of both sides.

    Args:
        years: Length of the history.
        listens: Listens a day, on average.
        rounds: How often each side runs.
    """
    found: dict[str, list[float]] = {name: [] for name in ("import", "review", "all", "peer")}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "my_spotify_data.zip")
            write_history(archive, years, listens)
            last = 2015 + years
            environment = {"SPOTIFY_AI_DATA": Path(folder, "data"), "DAGSTER_HOME": ROOT}
            imported = run(["-c", CLI, "import", archive, "--json"], **environment)
            reviewed = run(["-c", CLI, "review", "--listener", LISTENER, "--year", last, "--json"], **environment)
            everything = run(
                ["-c", CLI, "review", "--listener", LISTENER, "--from", "2016-01-01", "--to", f"{last}-12-31", "--json"], **environment
            )
            bare = call(rank_year, str(archive), last)
            ours = [row["label"] for row in reviewed.told["rows"] if row["section"] == "tracks"]
            if ours[:3] != bare.told["tracks"]:
                raise RuntimeError("the sides name other tracks")
            for name, done in (("import", imported), ("review", reviewed), ("all", everything), ("peer", bare)):
                found[name].append(done.seconds)
    middle = {name: median(values) for name, values in found.items()}
    return report(
        "history",
        middle["import"] + middle["review"],
        middle["peer"],
        unit="s",
        rounds=rounds,
        years=years,
        import_seconds=middle["import"],
        review_seconds=middle["review"],
        all_seconds=middle["all"],
    )


def write_history(archive: Path, years: int, listens: int) -> None:
    """Write an extended streaming history as Spotify hands it out: a zip of JSON files of 16,000 records."""
    chance = random.Random(1)
    records: list[dict[str, object]] = []
    day = date(2016, 1, 1)
    while day.year < 2016 + years:
        at = datetime(day.year, day.month, day.day, 7, tzinfo=UTC) + timedelta(minutes=chance.randrange(240))
        for _ in range(chance.randrange(max(1, listens // 5), 2 * listens - listens // 5)):
            track = int(chance.paretovariate(0.6)) % 6_000
            played = chance.choice((200_000, 180_000, 95_000, 12_000, 240_000))
            at += timedelta(milliseconds=played)
            records.append(_record(at, track, played))
        day += timedelta(days=1)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        for number in range(0, len(records), 16_000):
            name = f"Spotify Extended Streaming History/Streaming_History_Audio_{number // 16_000}.json"
            files.writestr(name, json.dumps(records[number : number + 16_000]))


def _record(at: datetime, track: int, played: int) -> dict[str, object]:
    return {
        "ts": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "username": LISTENER,
        "platform": "Android OS 14 API 34",
        "ms_played": played,
        "conn_country": "DE",
        "master_metadata_track_name": f"Song {track}",
        "master_metadata_album_artist_name": f"Artist {track % 600}",
        "master_metadata_album_album_name": f"Album {track % 900}",
        "spotify_track_uri": f"spotify:track:{track:022d}",
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": False,
        "offline": False,
        "incognito_mode": False,
    }


def rank_year(archive: str, year: int) -> dict[str, Any]:
    """The top three tracks of a year by streams, straight from the files."""
    import polars as pl

    with zipfile.ZipFile(archive) as files:
        frames = [pl.read_json(io.BytesIO(files.read(name))) for name in files.namelist()]
    streams = pl.concat(frames).filter(pl.col("ms_played") >= 30_000, pl.col("ts").str.starts_with(f"{year}-"))
    ranked = streams.group_by("master_metadata_track_name").len("streams").sort("streams", descending=True)
    return {"tracks": ranked["master_metadata_track_name"].head(3).to_list()}


if __name__ == "__main__":
    main(measure, __doc__, years=10, listens=27, rounds=3)
