"""Write the files of the audio demo, and tell the truth about each.

The truth has these keys; a file is its path below ``audio/``:

* ``seed``, ``files`` (number), ``clean``, ``interludes`` (tracks that the catalogue gains).
* ``tracks``: ``{file: {...}}`` with

  * ``sha256``; ``kind``: ``music``, ``fault``, ``duplicate`` or ``corrupt``; ``expect``: ``features``, ``partial`` (what is there is
    read and flagged) or ``rejected``;
  * ``container``, ``rate``, ``channels``, ``duration_ms`` (null where it is unknown);
  * ``track_ids``: ids under which the platform may know the track that the file says it is, the best first; ``link``: by what it says
    so, ``isrc``, ``mbid``, ``names``, ``file_name``, ``csv`` or ``none`` (then there are no ids);
  * ``artist``, ``artist_id``: of that track; ``genre``, ``heard_track_id``, ``heard_artist_id``: what one hears, and who plays;
  * ``tempo`` (BPM), ``has_beat``, ``key`` (0 is C), ``mode`` (1 is major), ``time_signature``, ``loudness_lufs``: of the signal as it
    was encoded, null where it has none or a fault changed it;
  * ``faults``: names as the platform reports them, pairs (``exact``, ``near``, ``speed``, ``pitch``) excluded; ``of`` and ``repeats``:
    the file that this one repeats and how, ``same_bytes`` besides those four.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spotify_ai_assets.demo.audio.composition import Song
from spotify_ai_assets.demo.audio.damage import FAULTS, change_speed, transcode
from spotify_ai_assets.demo.audio.encoding import break_file, encode
from spotify_ai_assets.demo.audio.labels import write_labels
from spotify_ai_assets.demo.audio.plan import Item, Work, describe_interludes, list_interludes, plan_files
from spotify_ai_assets.demo.audio.reference import integrated_loudness
from spotify_ai_assets.demo.audio.rendering import LEAD_IN, TAIL, render
from spotify_ai_assets.demo.files import write_interludes
from spotify_ai_assets.demo.music import Music, compose_music
from spotify_ai_assets.demo.names import draw_from

FILES, FEWEST = 300, 60
SPEED = 1.03
_SILENT = frozenset({"silence"})


def write_audio(
    folder: Path,
    *,
    seed: int = 0,
    scale: float = 1.0,
    files: int | None = None,
    music: Music | None = None,
    clean: bool = False,
    report: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Write ``audio/`` with files, links and labels, and ``catalog/interludes.jsonl.gz``.

    The same arguments write the same bytes with the same version of libsndfile.

    Args:
        folder: A landing folder; made where it does not exist. Files of the same names are overwritten.
        seed: What is drawn, 0 or more.
        scale: Of the world; 1 means 300 files, others more or fewer by its 0.3th power, but not below 60.
        files: How many, instead of ``scale``'s.
        music: The world's catalogue, where it is at hand.
        clean: Write only what nothing is wrong with.
        report: Called as ``report("audio", done, total)`` after each file.

    Returns:
        The truth.

    Raises:
        ValueError: There are to be fewer than 40 files.
    """
    count = max(FEWEST, round(FILES * scale**0.3)) if files is None else files
    if count < 40:
        raise ValueError("the audio demo needs at least 40 files")
    music = music or compose_music(seed, scale)
    items = plan_files(seed, count, music, clean)
    root = folder / "audio"
    root.mkdir(parents=True, exist_ok=True)
    told: dict[str, dict[str, Any]] = {}
    for done, item in enumerate(items, 1):
        audio, truth = make_file(seed, item, (root / item.of).read_bytes() if item.of and item.fault == "same_bytes" else None)
        path = root / item.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(audio)
        told[item.name] = truth
        if report:
            report("audio", done, len(items))
    write_labels(root, seed, items)
    interludes = list_interludes(items)
    (folder / "catalog").mkdir(exist_ok=True)
    lengths = [_milliseconds(work.song) for work in interludes]
    write_interludes(folder / "catalog/interludes.jsonl.gz", music, describe_interludes(interludes, lengths))
    return {"seed": seed, "files": len(items), "clean": clean, "interludes": len(interludes), "tracks": told}


def make_file(seed: int, item: Item, same: bytes | None = None) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a file and the truth about it.

    Args:
        seed: The world's.
        item: What it is to be.
        same: The bytes of the file that it repeats, where it repeats those.
    """
    samples, loudness = render(item.heard.song, item.rate, item.channels, transpose=1 if item.fault == "pitch" else 0)
    if item.kind == "fault" or item.fault == "speed":
        samples = _spoil(seed, item, samples).clip(-1, 32_767 / 32_768)
        loudness = integrated_loudness(samples, item.rate)
    audio = same or encode(samples, item.rate, item.container, _tags(item))
    if item.kind == "corrupt":
        assert item.fault, "a corrupt file is so in some way"
        audio = break_file(item.fault, audio)
    return audio, {"sha256": hashlib.sha256(audio).hexdigest(), **_identify(item), **_describe(item, len(samples), loudness)}


def _spoil(seed: int, item: Item, samples: np.ndarray) -> np.ndarray:
    if item.fault == "speed":
        return change_speed(samples, SPEED)
    if item.fault == "transcoded":
        return transcode(samples, item.rate)
    if item.fault in FAULTS:
        return FAULTS[item.fault](samples, item.rate, draw_from(seed, f"damage of {item.name}"))
    return samples


def _tags(item: Item) -> dict[str, str]:
    work = item.told
    match item.link:
        case "isrc":
            return {"isrc": work.isrc or ""}
        case "mbid":
            return {"mbid": work.mbid}
        case "names":
            return {"title": work.title, "artist": work.artist}
    return {}


def _identify(item: Item) -> dict[str, Any]:
    work, broken = item.told, item.kind == "corrupt"
    expect = ("partial" if item.fault == "truncated" else "rejected") if broken else "features"
    return {
        "kind": item.kind,
        "expect": expect,
        "container": item.container,
        "rate": item.rate,
        "channels": item.channels,
        "link": item.link,
        "track_ids": _ids(work, item.link),
        "artist": work.artist,
        "artist_id": work.artist_id,
        "genre": item.heard.genre,
        "heard_track_id": item.heard.track_id,
        "heard_artist_id": item.heard.artist_id,
        "faults": _faults(item),
        "of": item.of,
        "repeats": item.fault if item.kind == "duplicate" else None,
    }


def _ids(work: Work, link: str) -> list[str]:
    if link == "none":
        return []
    # A listen that has a MusicBrainz id only is known by that.
    return [f"mbid:{work.mbid}", work.track_id] if link == "mbid" else [work.track_id]


def _faults(item: Item) -> list[str]:
    if item.kind != "fault" or item.fault is None:
        return []
    return ["bandwidth_cutoff" if item.fault == "transcoded" else item.fault]


def _describe(item: Item, frames: int, loudness: float) -> dict[str, Any]:
    names = ("duration_ms", "tempo", "has_beat", "key", "mode", "time_signature", "loudness_lufs")
    if item.kind == "corrupt":
        return dict.fromkeys(names)
    song = item.heard.song
    heard = item.fault not in _SILENT
    tuned = heard and item.fault != "speed"
    values = (
        round(frames * 1_000 / item.rate),
        round(song.tempo * (SPEED if item.fault == "speed" else 1), 3) if heard else None,
        song.has_beat if heard else None,
        (song.key + (item.fault == "pitch")) % 12 if tuned else None,
        song.mode if tuned else None,
        song.time_signature if heard else None,
        round(loudness, 3) if np.isfinite(loudness) else None,
    )
    return dict(zip(names, values, strict=True))


def _milliseconds(song: Song) -> int:
    return round((LEAD_IN + song.seconds + TAIL) * 1_000)
