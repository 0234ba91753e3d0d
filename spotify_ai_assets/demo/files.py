"""Writers of the formats in which listening services export, and of catalogue files in the Web API's shapes.

Each writer takes listens, a frame of ``tell`` with the columns ``NATIVE``, and writes the same bytes for the same listens: no
clock, no names of the machine. Which listens go into which file belongs to ``delivery``.
"""

import gzip
import hashlib
import io
import json
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import polars as pl

from spotify_ai_assets.demo.listening import REASONS
from spotify_ai_assets.demo.music import Music
from spotify_ai_assets.demo.people import DEVICES, People

CHUNK = 50_000
"""Rows that are texts in memory at a time."""

NATIVE = (
    *("user_id", "started_at", "played_ms", "duration_ms", "track_id", "track_name", "artist_name", "album_name", "kind", "country"),
    *("platform", "reason_start", "reason_end", "skipped", "shuffle", "offline", "incognito", "isrc", "playlist_id"),
)
KNOWN = ("track_id", "track_name", "artist_name", "album_name", "kind", "duration_ms", "isrc")
SPOTIFY_PLATFORMS = {
    "android": "Android OS 14 API 34 (Google, Pixel 7)",
    "ios": "iOS 17.5.1 (iPhone14,5)",
    "windows": "Windows 10 (10.0.19045; x64)",
    "macos": "OS X 14.5.0 [arm 2]",
    "web": "web_player windows 10;chrome 125.0.0.0;desktop",
    "speaker": "Partner sonos_ppc Sonos;One",
    "car": "Partner android_auto Car",
    "tv": "Partner android_tv TV",
}
ZIP_DATE = (2026, 6, 29, 0, 0, 0)


def tell(plays: pl.DataFrame, music: Music, people: People) -> pl.DataFrame:
    """Plays in words: names instead of numbers, the columns ``NATIVE`` with ``started_at`` as a time in UTC."""
    listener = plays["listener"].to_numpy()
    return plays.select(
        pl.Series(people.ids, dtype=pl.String).gather(listener).alias("user_id"),
        pl.from_epoch("started", "ms").dt.replace_time_zone("UTC").alias("started_at"),
        played_ms="played",
        **{name: music.items[name].gather(plays["item"]) for name in KNOWN},
        country=pl.Series(people.countries).gather(people.country[listener]),
        platform=pl.Series(DEVICES).gather(plays["device"]),
        reason_start=pl.Series(REASONS).gather(plays["reason_start"]),
        reason_end=pl.Series(REASONS).gather(plays["reason_end"]),
        skipped=plays["reason_end"] == REASONS.index("fwdbtn"),
        shuffle="shuffle",
        offline="offline",
        incognito="incognito",
        playlist_id=pl.Series(music.playlists).gather(plays["playlist"]),
    ).select(NATIVE)


@contextmanager
def open_gzip(path: Path) -> Iterator[BinaryIO]:
    """A gzip file to write, without a name or a time in its header."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as out:
        yield cast(BinaryIO, out)


def native_lines(listens: pl.DataFrame) -> list[bytes]:
    """One JSON object per listen, without the line's end."""
    text = listens.with_columns(pl.col("started_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).write_ndjson()
    return text.encode().split(b"\n")[:-1]


def write_native(path: Path, plays: pl.DataFrame, music: Music, people: People, spoiled: Sequence[tuple[int, bytes]] = ()) -> None:
    """JSON lines, gzipped; ``spoiled`` lines are put in so that each ends up at its 1-based row."""
    with open_gzip(path) as out:
        for number, chunk in enumerate(plays.iter_slices(CHUNK)):
            lines = native_lines(tell(chunk, music, people))
            for row, line in spoiled if number == 0 else ():
                lines.insert(row - 1, line)
            out.write(b"\n".join(lines) + b"\n")


def cut_file(path: Path, part: float) -> int:
    """Keep the first part of a gzip file, as after a broken transfer.

    Returns:
        How many whole lines can still be read.
    """
    kept = path.read_bytes()[: int(path.stat().st_size * part)]
    path.write_bytes(kept)
    stream = zlib.decompressobj(31)
    return sum(stream.decompress(kept[start : start + 65_536]).count(b"\n") for start in range(0, len(kept), 65_536))


def _dump(records: Any) -> bytes:
    return json.dumps(records, ensure_ascii=False, indent=1).encode()


def _ends(listens: pl.DataFrame, pattern: str) -> pl.Series:
    return (listens["started_at"] + pl.Series(listens["played_ms"], dtype=pl.Duration("ms"))).dt.strftime(pattern)


def write_json(path: Path, records: Any) -> None:
    """One JSON document."""
    path.write_bytes(_dump(records))


def write_zip(path: Path, members: dict[str, Any]) -> None:
    """A zip of JSON documents, all of one fixed date."""
    with zipfile.ZipFile(path, "w") as out:
        for name, records in members.items():
            info = zipfile.ZipInfo(name, ZIP_DATE)
            info.external_attr = 0o644 << 16
            out.writestr(info, _dump(records), zipfile.ZIP_DEFLATED)


def extended_history(listens: pl.DataFrame, ip_address: str) -> list[dict[str, Any]]:
    """Records of Spotify's extended streaming history as exported since 2023."""
    books = dict.fromkeys(("audiobook_title", "audiobook_uri", "audiobook_chapter_uri", "audiobook_chapter_title"))
    return [
        {
            "ts": end,
            "platform": SPOTIFY_PLATFORMS[row["platform"]],
            "ms_played": row["played_ms"],
            "conn_country": row["country"],
            "ip_addr": ip_address,
            **_spotify_names(row),
            **books,
            **_spotify_state(row),
            "offline_timestamp": int(row["started_at"].timestamp()) if row["offline"] else None,
            "incognito_mode": row["incognito"],
        }
        for row, end in zip(listens.iter_rows(named=True), _ends(listens, "%Y-%m-%dT%H:%M:%SZ"), strict=True)
    ]


def endsong_history(listens: pl.DataFrame, ip_address: str, user_agent: str, device: str = "Google, Pixel 7") -> list[dict[str, Any]]:
    """Records of the older ``endsong`` files, which name the account and its software."""
    return [
        {
            "ts": end,
            "username": row["user_id"],
            "platform": f"Android OS 14 API 34 ({device})" if row["platform"] == "android" else SPOTIFY_PLATFORMS[row["platform"]],
            "ms_played": row["played_ms"],
            "conn_country": row["country"],
            "ip_addr_decrypted": ip_address,
            "user_agent_decrypted": user_agent,
            **_spotify_names(row),
            **_spotify_state(row),
            "offline_timestamp": int(row["started_at"].timestamp() * 1000) if row["offline"] else 0,
            "incognito_mode": row["incognito"],
        }
        for row, end in zip(listens.iter_rows(named=True), _ends(listens, "%Y-%m-%dT%H:%M:%SZ"), strict=True)
    ]


def _spotify_names(row: dict[str, Any]) -> dict[str, Any]:
    track = row["kind"] == "track"
    return {
        "master_metadata_track_name": row["track_name"] if track else None,
        "master_metadata_album_artist_name": row["artist_name"] if track else None,
        "master_metadata_album_album_name": row["album_name"] if track else None,
        "spotify_track_uri": row["track_id"] if track else None,
        "episode_name": None if track else row["track_name"],
        "episode_show_name": None if track else row["artist_name"],
        "spotify_episode_uri": None if track else row["track_id"],
    }


def _spotify_state(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("reason_start", "reason_end", "shuffle", "skipped", "offline")}


def account_history(listens: pl.DataFrame, kind: str) -> list[dict[str, Any]]:
    """Records of Spotify's account data: the minute of the end, names and time played; music or podcasts."""
    chosen = listens.filter(pl.col("kind") == kind)
    names = ("artistName", "trackName") if kind == "track" else ("podcastName", "episodeName")
    columns = chosen.select("artist_name", "track_name", "played_ms").iter_rows()
    return [
        {"endTime": end, names[0]: artist, names[1]: title, "msPlayed": played}
        for end, (artist, title, played) in zip(_ends(chosen, "%Y-%m-%d %H:%M"), columns, strict=True)
    ]


def write_listenbrainz(path: Path, listens: pl.DataFrame) -> None:
    """A ListenBrainz listens dump: one member per month in a tar, compressed with zstandard."""
    import zstandard

    numbers = {name: number for number, name in enumerate(sorted(listens["user_id"].unique().to_list()), 4001)}
    root = path.name.removesuffix(".tar.zst")
    months = listens.with_columns(month=pl.col("started_at").dt.strftime("%Y/%-m")).partition_by("month", as_dict=True, maintain_order=True)
    with (
        path.open("wb") as raw,
        zstandard.ZstdCompressor(level=10).stream_writer(raw) as packed,
        tarfile.open(mode="w|", fileobj=packed) as out,
    ):
        for (month,), rows in months.items():
            lines = [json.dumps(_listenbrainz(row, numbers), ensure_ascii=False) for row in rows.iter_rows(named=True)]
            body = ("\n".join(lines) + "\n").encode()
            info = tarfile.TarInfo(f"{root}/listens/{month}.listens")
            info.size = len(body)
            out.addfile(info, io.BytesIO(body))


def _listenbrainz(row: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    named = "\x1f".join((row["artist_name"], row["track_name"], row["album_name"]))
    return {
        "user_id": numbers[row["user_id"]],
        "user_name": row["user_id"],
        "timestamp": int(row["started_at"].timestamp()),
        "track_metadata": {
            "artist_name": row["artist_name"],
            "track_name": row["track_name"],
            "release_name": row["album_name"],
            "additional_info": {
                "isrc": row["isrc"],
                "duration_ms": row["duration_ms"],
                "spotify_id": "https://open.spotify.com/track/" + row["track_id"].rpartition(":")[2],
                "music_service": "spotify.com",
                "submission_client": "navidrome",
            },
            "mbid_mapping": None,
        },
        "recording_msid": str(uuid.UUID(bytes=hashlib.blake2b(named.encode(), digest_size=16).digest(), version=4)),
    }


def write_lastfm(path: Path, listens: pl.DataFrame) -> None:
    """Tab-separated as the Last.fm-1K set: user, time, artist's MBID, artist, track's MBID, track; newest first per user."""
    rows = listens.sort("user_id", "started_at", descending=[False, True])
    columns = rows.select("user_id", pl.col("started_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"), "artist_name", "track_name").iter_rows()
    lines = ["\t".join((user, time, "", artist, "", title)) for user, time, artist, title in columns]
    path.write_bytes(("\n".join(lines) + "\n").encode())


def maloja_export(listens: pl.DataFrame) -> dict[str, Any]:
    """A Maloja export."""
    return {
        "maloja": {"export_time": 1_782_700_000},
        "scrobbles": [
            {
                "time": int(row["started_at"].timestamp()),
                "track": {
                    "artists": [row["artist_name"]],
                    "title": row["track_name"],
                    "album": {"artists": [row["artist_name"]], "albumtitle": row["album_name"]},
                    "length": row["duration_ms"] // 1000,
                },
                "duration": None,
                "origin": "client:demo",
            }
            for row in listens.iter_rows(named=True)
        ],
    }


def write_audioscrobbler(path: Path, listens: pl.DataFrame) -> None:
    """An Audioscrobbler log in UTC, as portable players keep."""
    lines = ["#AUDIOSCROBBLER/1.1", "#TZ/UTC", "#CLIENT/Rockbox demo $Revision$"]
    for row in listens.iter_rows(named=True):
        seconds, time = row["duration_ms"] // 1000, int(row["started_at"].timestamp())
        lines.append("\t".join((row["artist_name"], row["album_name"], row["track_name"], "", str(seconds), "L", str(time), "")))
    path.write_bytes(("\n".join(lines) + "\n").encode())


def write_catalogue(folder: Path, music: Music) -> None:
    """Artists, albums and tracks as the Web API's objects, one per line."""
    artists = [_api_artist(row) for row in music.artists.iter_rows(named=True)]
    albums = [_api_album(row, artists) for row in music.albums.iter_rows(named=True)]
    fame = np.argsort(np.argsort(music.popularity, kind="stable"), kind="stable") * 100 // music.tracks
    tracks = (
        _api_track(row, albums[row["album"]], popularity)
        for row, popularity in zip(music.items.iter_rows(named=True), fame.tolist(), strict=False)
    )
    for name, objects in (("artists", artists), ("albums", albums), ("tracks", tracks)):
        with open_gzip(folder / f"{name}.jsonl.gz") as out:
            out.writelines(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in objects)


def write_interludes(path: Path, music: Music, tracks: pl.DataFrame) -> None:
    """More tracks of the catalogue's artists in the shape of ``tracks.jsonl.gz``, each on the first album of its artist.

    Args:
        path: Where to write.
        music: The catalogue.
        tracks: ``track_id, track_name, duration_ms, isrc`` and ``artist``, a row of the catalogue's artists.
    """
    artists = [_api_artist(row) for row in music.artists.iter_rows(named=True)]
    albums: dict[int, dict[str, Any]] = {}
    for row in music.albums.iter_rows(named=True):
        albums.setdefault(row["artist"], row)
    with open_gzip(path) as out:
        for number, row in enumerate(tracks.iter_rows(named=True), 1):
            track = _api_track({**row, "number": number, "is_explicit": False}, _api_album(albums[row["artist"]], artists), 0)
            out.write(json.dumps(track, ensure_ascii=False).encode() + b"\n")


def _api_links(kind: str, code: str) -> dict[str, Any]:
    return {
        "external_urls": {"spotify": f"https://open.spotify.com/{kind}/{code}"},
        "href": f"https://api.spotify.com/v1/{kind}s/{code}",
        "id": code,
        "type": kind,
        "uri": f"spotify:{kind}:{code}",
    }


def _api_artist(row: dict[str, Any]) -> dict[str, Any]:
    more = {"name": row["name"], "genres": [row["genre"]], "images": [], "followers": {"href": None, "total": 0}}
    return {**_api_links("artist", row["artist_id"]), **more}


def _simplify(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in ("genres", "images", "followers", "label", "external_ids", "copyrights")}


def _api_album(row: dict[str, Any], artists: list[dict[str, Any]]) -> dict[str, Any]:
    artist = artists[row["artist"]]
    return {
        **_api_links("album", row["album_id"]),
        "name": row["name"],
        "album_type": "album" if row["total_tracks"] > 3 else "single",
        "total_tracks": row["total_tracks"],
        "release_date": row["released_on"].isoformat(),
        "release_date_precision": "day",
        "artists": [_simplify(artist)],
        "genres": [],
        "images": [],
        "label": f"{artist['name']} Records",
        "copyrights": [],
        "external_ids": {},
    }


def _api_track(row: dict[str, Any], album: dict[str, Any], popularity: int) -> dict[str, Any]:
    return {
        **_api_links("track", row["track_id"].rpartition(":")[2]),
        "name": row["track_name"],
        "artists": album["artists"],
        "album": _simplify(album),
        "disc_number": 1,
        "track_number": row["number"],
        "duration_ms": row["duration_ms"],
        "explicit": row["is_explicit"],
        "external_ids": {"isrc": row["isrc"]},
        "is_local": False,
        "popularity": popularity,
    }
