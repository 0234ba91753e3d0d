import csv
import gzip
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from spotify_ai_assets.catalog.ids import artist_id
from spotify_ai_assets.demo.audio import write_audio
from spotify_ai_assets.demo.audio.damage import FAULTS
from spotify_ai_assets.demo.audio.labels import PERCEPTUAL
from spotify_ai_assets.demo.audio.plan import plan_files
from spotify_ai_assets.demo.audio.reference import integrated_loudness
from spotify_ai_assets.demo.audio.writing import make_file
from spotify_ai_assets.demo.music import GENRES, compose_music
from spotify_ai_assets.demo.names import HOSTILE_TITLES

SEED, SCALE, FILES = 5, 0.3, 72


@dataclass(frozen=True)
class Written:
    folder: Path
    truth: dict[str, Any]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: told for name, told in self.truth["tracks"].items() if told["kind"] == kind}

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / "audio" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("audio")
    return Written(folder, write_audio(folder, seed=SEED, scale=SCALE, files=FILES))


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_same_arguments_write_the_same_bytes_in_every_format_and_a_clean_world_only_good_ones(tmp_path: Path) -> None:
    one, other = (
        write_audio(tmp_path / name, seed=2, files=44, clean=True, music=music)
        for name, music in (("one", None), ("other", compose_music(2, 1.0)))
    )
    assert one == other
    assert digests(tmp_path / "one") == digests(tmp_path / "other")
    assert {told["kind"] for told in one["tracks"].values()} == {"music"}
    assert {told["expect"] for told in one["tracks"].values()} == {"features"}
    assert all(told["faults"] == [] and told["of"] is None for told in one["tracks"].values())


def test_a_file_is_the_same_bytes_again_and_a_clean_world_plans_only_good_ones(written: Written) -> None:
    music = compose_music(SEED, SCALE)
    for item in plan_files(SEED, FILES, music, clean=False)[:40:10]:
        audio, told = make_file(SEED, item)
        assert audio == (written.folder / "audio" / item.name).read_bytes()
        assert told == written.truth["tracks"][item.name]
    assert {item.kind for item in plan_files(2, 44, music, clean=True)} == {"music"}


def test_truth_is_of_the_files_that_are_there(written: Written) -> None:
    found = {name: digest for name, digest in digests(written.folder / "audio").items() if not name.endswith(".csv")}
    assert found == {name: told["sha256"] for name, told in written.truth["tracks"].items()}
    assert written.truth["files"] == len(found) == FILES
    assert json.loads(json.dumps(written.truth)) == written.truth
    assert {Path(name).name for name in written.truth["tracks"]}.__len__() == len(found), "links go by a file's own name"


def test_every_kind_fault_format_and_way_to_a_track_is_there(written: Written) -> None:
    tracks = written.truth["tracks"].values()
    assert {told["container"] for told in tracks} == {"wav", "flac", "ogg", "mp3", "aiff"}
    assert {told["channels"] for told in tracks} == {1, 2}
    assert {told["rate"] for told in tracks} == {22_050, 44_100}
    assert {told["link"] for told in tracks} == {"isrc", "mbid", "names", "file_name", "csv", "none"}
    assert {fault for told in tracks for fault in told["faults"]} == {*FAULTS, "unlike_artist"}
    assert {told["repeats"] for told in written.of("duplicate").values()} == {"same_bytes", "exact", "near", "speed", "pitch"}
    assert Counter(told["expect"] for told in written.of("corrupt").values()) == {"partial": 2, "rejected": 5}
    assert {told["genre"] for told in written.of("music").values()} == set(GENRES)


def test_good_files_decode_to_what_the_truth_says(written: Written) -> None:
    for name, told in list(written.of("music").items())[::3]:
        samples, rate = sf.read(written.folder / "audio" / name, always_2d=True)
        assert (rate, samples.shape[1]) == (told["rate"], told["channels"])
        assert len(samples) * 1_000 / rate == pytest.approx(told["duration_ms"], abs=60)
        assert integrated_loudness(samples, rate) == pytest.approx(told["loudness_lufs"], abs=0.2)


def test_a_repeated_file_is_told_with_its_first_and_copies_are_one_file(written: Written) -> None:
    tracks = written.truth["tracks"]
    for told in written.of("duplicate").values():
        first = tracks[told["of"]]
        assert first["kind"] == "music"
        assert first["heard_track_id"] == told["heard_track_id"]
        assert (first["sha256"] == told["sha256"]) == (told["repeats"] == "same_bytes")
        if told["repeats"] == "pitch":
            assert (told["key"], told["tempo"]) == ((first["key"] + 1) % 12, first["tempo"])
        if told["repeats"] == "speed":
            assert told["key"] is None
            assert told["tempo"] == pytest.approx(1.03 * first["tempo"], abs=0.01)
            assert told["duration_ms"] == pytest.approx(first["duration_ms"] / 1.03, abs=2)
    [exact] = (name for name, told in written.of("duplicate").items() if told["repeats"] == "exact")
    one, other = (sf.read(written.folder / "audio" / name, dtype="int16")[0] for name in (exact, tracks[exact]["of"]))
    assert np.array_equal(one, other)


def test_an_odd_one_out_sounds_like_another_genre_than_its_artists(written: Written) -> None:
    music = compose_music(SEED, SCALE)
    genre_of = {artist_id(name): genre for name, genre in music.artists.select("name", "genre").iter_rows()}
    odd = [told for told in written.of("fault").values() if "unlike_artist" in told["faults"]]
    assert odd
    for told in odd:
        assert told["heard_artist_id"] != told["artist_id"]
        assert genre_of[told["artist_id"]] != told["genre"]
    for told in written.of("music").values():
        assert told["heard_artist_id"] == told["artist_id"]
        assert genre_of[told["artist_id"]] == told["genre"]


def test_the_catalogue_gains_the_interludes_with_their_length_and_hostile_titles(written: Written) -> None:
    lines = gzip.decompress((written.folder / "catalog/interludes.jsonl.gz").read_bytes()).splitlines()
    known = {track["uri"]: track for track in map(json.loads, lines)}
    assert len(known) == written.truth["interludes"]
    assert {track["name"] for track in known.values()} & set(HOSTILE_TITLES)
    named = [told for told in written.of("music").values() if told["link"] in ("names", "file_name")]
    assert named
    for told in named:
        track = known[told["track_ids"][0]]
        assert track["artists"][0]["name"] == told["artist"]
        assert track["duration_ms"] == pytest.approx(told["duration_ms"], abs=60)
    music = compose_music(SEED, SCALE)
    assert not set(known) & set(music.items["track_id"])


def test_the_table_of_links_names_the_files_that_have_no_tags(written: Written) -> None:
    rows = {row["file"]: row["track_id"] for row in written.table("track_links.csv")}
    told = {name: told["track_ids"][0] for name, told in written.truth["tracks"].items() if told["link"] == "csv"}
    assert rows == told


def test_labels_are_of_good_files_in_folds_without_a_common_artist(written: Written) -> None:
    rows, music = written.table("labels.csv"), written.of("music")
    assert len(music) * 0.7 < len(rows) < len(music)
    assert all(row["label"] == music[row["file"]]["genre"] and row["artist"] == music[row["file"]]["artist"] for row in rows)
    folds: dict[str, set[str]] = {}
    for row in rows:
        folds.setdefault(row["artist"], set()).add(row["fold"])
    assert {len(one) for one in folds.values()} == {1}
    perceptual = written.table("perceptual_labels.csv")
    assert all(0 <= float(row[name]) <= 1 for row in perceptual for name in PERCEPTUAL)
    means = {genre: np.mean([float(row["acousticness"]) for row in perceptual if music[row["file"]]["genre"] == genre]) for genre in GENRES}
    assert means["classical"] > 0.7 > 0.3 > means["metal"]


def test_a_full_demo_has_three_hundred_files_of_four_artists_a_genre() -> None:
    music = compose_music(0, 1.0)
    items = plan_files(0, 300, music, clean=False)
    assert len(items) == len({item.name for item in items}) == 300
    plain = [item for item in items if item.kind == "music"]
    per_artist = Counter(item.told.artist for item in plain)
    assert len({(item.told.genre, item.told.artist) for item in plain}) >= 4 * len(GENRES)
    assert np.median(list(per_artist.values())) >= 5
    # What a fault was planted in, no clean file plays.
    heard = {item.heard.track_id for item in plain if not item.name.endswith((".txt",))}
    assert not heard & {item.heard.track_id for item in items if item.kind == "fault"} or len(heard) < 150


def test_too_few_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 40"):
        write_audio(tmp_path, files=20)
