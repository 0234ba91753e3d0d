"""Which file holds which recording, in what format, by what it tells its track, and what is wrong with it.

Clean files are of the most popular tracks of a few artists of every genre, so that an artist has several, and of interludes: tracks
of those artists as short as the files, which only the catalogue file of this room knows. Music of the catalogue is longer than a
file that is rendered in an instant, as a preview is shorter than its track; interludes are whole, so that names and duration fit.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from spotify_ai_assets.catalog.ids import artist_id
from spotify_ai_assets.demo.audio.composition import Song, compose_song
from spotify_ai_assets.demo.audio.damage import FAULTS, IN_STEREO
from spotify_ai_assets.demo.music import GENRES, Music
from spotify_ai_assets.demo.names import HOSTILE_TITLES, draw_from, invent_ids, invent_titles

ARTISTS = 4
"""So many of each genre have files."""

INTERLUDES = 0.2
_LINKS = (("isrc", 0.42), ("csv", 0.72), ("mbid", 0.9), ("none", 1.0))
# Few without compression: a demo should not fill a disk.
_FORMATS = {
    False: ("ogg",) * 18 + ("mp3",) * 6 + ("flac",) * 5 + ("wav", "aiff"),
    True: ("flac",) * 14 + ("wav", "aiff"),
}
_FINE = {"flac": 0.05, "ogg": 0.2, "mp3": 0.05, "wav": 0.0, "aiff": 0.0}
"""Shares of files at 44.1 kHz, the others are at half of it."""

_CORRUPT = ("truncated", "text", "empty", "bomb", "header_only", "noise", "truncated")
_LOSSLESS = ("flac", "wav", "aiff")


@dataclass(frozen=True, slots=True)
class Work:
    """A track that is played.

    Attributes:
        track_id: As the platform names it.
        title, artist, genre: As in the catalogue.
        artist_index: Row of the catalogue's artists.
        isrc: Null for an interlude.
        song: How it goes.
    """

    track_id: str
    title: str
    artist: str
    genre: str
    artist_index: int
    isrc: str | None
    song: Song

    @property
    def artist_id(self) -> str:
        """The artist as the platform names it."""
        return artist_id(self.artist)

    @property
    def mbid(self) -> str:
        """An invented MusicBrainz id of the recording."""
        return str(uuid.UUID(bytes=hashlib.blake2b(self.track_id.encode(), digest_size=16).digest(), version=4))


@dataclass(frozen=True, slots=True)
class Item:
    """One file.

    Attributes:
        name: Path below the folder, with slashes.
        container: A key of ``encoding.SUFFIXES``; the name's suffix is another where the file lies about it.
        rate, channels: Of the signal.
        link: ``isrc``, ``mbid``, ``names``, ``file_name``, ``csv`` or ``none``.
        heard: What is played.
        told: Of which track the file says that it is.
        kind: ``music``, ``fault``, ``duplicate`` or ``corrupt``.
        fault: What is wrong, or how it repeats another file.
        of: The name of the file that it repeats.
    """

    name: str
    container: str
    rate: int
    channels: int
    link: str
    heard: Work
    told: Work
    kind: str = "music"
    fault: str | None = None
    of: str | None = None


def plan_files(seed: int, files: int, music: Music, clean: bool) -> list[Item]:
    """Decide about all files.

    Args:
        seed: The world's.
        files: How many, at least 40. A clean world has only the clean ones of them.
        music: The catalogue.
        clean: Whether nothing is spoiled.
    """
    rng = draw_from(seed, "audio files")
    each = max(1, round(files * 0.01))
    spoiled = each * (len(FAULTS) + 1) + each * 5 + each + each + len(_CORRUPT) + 2
    wanted = max(len(GENRES) * 2, files - spoiled)
    interludes = list(_invent_interludes(seed, round(wanted * INTERLUDES), music))
    works, further = _choose_tracks(seed, wanted - len(interludes), spoiled, music)
    shelf = _Shelf(rng)
    plain = [shelf.put(work, _draw(rng, _LINKS)) for work in works] + [shelf.put_whole(work) for work in interludes]
    if clean:
        return plain
    return [*plain, *_spoil(shelf, each, plain, further)]


def list_interludes(items: list[Item]) -> list[Work]:
    """The interludes among the files, each once."""
    return list({item.told.track_id: item.told for item in items if item.told.isrc is None}.values())


def _choose_tracks(seed: int, count: int, more: int, music: Music) -> tuple[list[Work], list[Work]]:
    """Popular tracks of popular artists in turn, genre by genre; ``count`` of them and ``more`` that come next."""
    artist = _artist_of(music)
    fame = np.bincount(artist, music.popularity, music.artists.height)
    rows: list[np.ndarray] = []
    for genre in range(len(GENRES)):
        mine = np.unique(artist[music.genre == genre])
        for one in mine[np.argsort(-fame[mine], kind="stable")][:ARTISTS]:
            tracks = np.flatnonzero(artist == one)
            rows.append(tracks[np.argsort(-music.popularity[tracks], kind="stable")])
    longest = max(len(tracks) for tracks in rows)
    order = [int(tracks[place]) for place in range(longest) for tracks in rows if place < len(tracks)]
    works = [_work(seed, music, row, artist) for row in order[: count + more]]
    # A catalogue may be too small: then what is spoiled is of tracks that have a good file as well.
    return works[:count], works[count:] or works


def _artist_of(music: Music) -> np.ndarray:
    return music.albums["artist"].gather(music.items["album"].head(music.tracks)).to_numpy()


def _work(seed: int, music: Music, row: int, artist: np.ndarray) -> Work:
    one, place = music.items.row(row, named=True), int(artist[row])
    genre, code = GENRES[music.genre[row]], music.artists["artist_id"][place]
    song = compose_song(seed, one["track_id"], code, genre)
    return Work(one["track_id"], one["track_name"], one["artist_name"], genre, place, one["isrc"], song)


def _invent_interludes(seed: int, count: int, music: Music) -> Iterator[Work]:
    """Short tracks; every other one has a name that breaks software, as long as there are any; four a longer track's of its artist."""
    rng = draw_from(seed, "interludes")
    titles, codes = invent_titles(rng, count), invent_ids(rng, count)
    titles[: 2 * len(HOSTILE_TITLES) : 2] = HOSTILE_TITLES[: -(-count // 2)]
    chosen, _ = _choose_tracks(seed, count, 0, music)
    for number, like in zip(range(count), chosen, strict=False):
        namesake = number in (3, 7, 11, 15)
        track = "spotify:track:" + codes[number]
        song = compose_song(seed, track, music.artists["artist_id"][like.artist_index], like.genre)
        yield replace(like, track_id=track, title=like.title if namesake else titles[number], isrc=None, song=song)


def _draw(rng: np.random.Generator, shares: tuple[tuple[str, float], ...]) -> str:
    chance = rng.random()
    return next(name for name, upto in shares if chance < upto)


_PLAIN = re.compile(r"[\w &'()]+ - [\w &'()]+")


class _Shelf:
    """Names and formats for files, no name twice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.count = 0
        self.told: set[str] = set()

    def put(self, work: Work, link: str, *, stereo: bool = False, lossless: bool = False) -> Item:
        rng = self.rng
        kinds = _FORMATS[lossless]
        container = str(rng.choice(kinds))
        channels = 2 if stereo or rng.random() < 0.2 else 1
        rate = 44_100 if rng.random() < _FINE[container] else 22_050
        return Item(self.name(work, container), container, rate, channels, link, work, work)

    def put_whole(self, work: Work) -> Item:
        """An interlude: its tags tell its names, or every third time that a file's name can, that alone does."""
        item = self.put(work, "names")
        name = f"{work.artist} - {work.title}"
        if not _PLAIN.fullmatch(name) or name in self.told or len(name) > 80:
            return item
        self.told.add(name)
        if len(self.told) % 3 != 1:
            return item
        return replace(item, name=f"{_safe(work.artist)}/{name}.{item.container}", link="file_name")

    def name(self, work: Work, suffix: str) -> str:
        """Below a folder of the artist; a name as people give it, a slash apart and cut to what file systems take."""
        self.count += 1
        title = work.title if work.isrc is None else f"{self.count:03d} {work.title}"
        return f"{_safe(work.artist)}/{_safe(title)} {self.count:03d}.{suffix}"


def _safe(text: str) -> str:
    short = text.replace("/", "_").encode()[:180].decode(errors="ignore").strip()
    return "_" + short if short.startswith(".") else short


def _spoil(shelf: _Shelf, each: int, plain: list[Item], further: list[Work]) -> Iterator[Item]:
    rng = shelf.rng
    turn = iter(further * 9)
    for fault in (*FAULTS, "transcoded"):
        for _ in range(each):
            # What ambient music and soft pieces have at their ends and edges would hide some faults: let them be audible.
            work = next(work for work in turn if work.genre not in ("ambient", "classical"))
            item = shelf.put(work, "csv", stereo=fault in IN_STEREO, lossless=fault in _NOT_LOSSY)
            rate = 44_100 if fault == "transcoded" else item.rate
            container = "flac" if fault == "transcoded" else item.container
            name = item.name.rpartition(".")[0] + "." + container
            yield replace(item, name=name, container=container, rate=rate, kind="fault", fault=fault)
    yield from _repeat(shelf, each, [item for item in plain if item.heard.genre != "ambient"])
    for number in range(2 * each):
        # A tune under the name of an artist of another genre.
        work = next(turn)
        other = next(one for one in further[5 * number + 3 :] + further if one.genre != work.genre)
        item = shelf.put(other, str(rng.choice(("isrc", "csv"))))
        yield replace(item, heard=work, kind="fault", fault="unlike_artist")
    for number, kind in enumerate(_CORRUPT):
        container = ("mp3", "mp3", "wav", "wav", "wav", "ogg", "flac")[number]
        item = shelf.put(next(turn), "none")
        name = item.name.rpartition(".")[0] + "." + container
        yield replace(item, name=name, container=container, rate=22_050, channels=1, kind="corrupt", fault=kind)
    for suffix, container in (("mp3", "flac"), ("txt", "ogg")):
        item = shelf.put(next(turn), "none")
        name = item.name.rpartition("/")[0] + f"/two\nlines {shelf.count}." + suffix
        yield replace(item, name=name, container=container)


_NOT_LOSSY = frozenset({"bandwidth_cutoff", "clipping", "dropout", "clicks", "truncated_end"})
"""Faults that a lossy encoder would blur: they are planted in files without loss."""


def _repeat(shelf: _Shelf, each: int, plain: list[Item]) -> Iterator[Item]:
    """Files that are another file again: its bytes, its samples, its sound, or changed in speed or pitch."""
    lossless = [item for item in plain if item.container in _LOSSLESS]
    for number, kind in enumerate(("same_bytes", "exact", "near", "speed", "pitch")):
        for turn in range(each):
            first = lossless[(number * each + turn) * 5 % len(lossless)]
            other = "wav" if first.container == "flac" else "flac"
            container = {"same_bytes": first.container, "near": "mp3", "exact": other}.get(kind, "flac")
            link = first.link if kind == "same_bytes" else "csv"
            yield replace(
                first, name=shelf.name(first.told, container), container=container, link=link, kind="duplicate", fault=kind, of=first.name
            )


def describe_interludes(works: list[Work], milliseconds: list[int]) -> pl.DataFrame:
    """Interludes with the columns of ``Music.items`` that a catalogue file tells."""
    return pl.DataFrame(
        {
            "track_id": [work.track_id for work in works],
            "track_name": [work.title for work in works],
            "artist_name": [work.artist for work in works],
            "duration_ms": milliseconds,
            "isrc": [None] * len(works),
            "artist": [work.artist_index for work in works],
        },
        schema_overrides={"isrc": pl.String},
    )
