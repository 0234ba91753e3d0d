"""Anomalies of a catalogue: faults of files, duplicates among them, and tracks unlike their artist."""

import json

import numpy as np
import polars as pl
import pytest
from audio_world import digest, sound, write

from spotify_ai_assets.audio import anomalies
from spotify_ai_assets.audio.analysis import from_npz
from spotify_ai_assets.audio.contracts import ANOMALIES, EVIDENCE, FINGERPRINTS
from spotify_ai_assets.audio.faults.judgement import FAULTS
from spotify_ai_assets.audio.measurements import tabulate_evidence, tabulate_fingerprints
from spotify_ai_assets.tables import TABLES
from spotify_ai_assets.validation import require

pytestmark = pytest.mark.xdist_group("audio_world")


class Studio:
    """Draws a point, and remembers what was asked for."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, str]] = []

    def draw(self, file_id: str, fault: str) -> bytes:
        self.drawn.append((file_id, fault))
        return b"\x89PNG"

    def tell(self, *told) -> None:
        pass


def catalogue(**tables: pl.DataFrame):
    """Reads tables; those that are not given are empty."""
    given = {name.replace("__", "/"): rows for name, rows in tables.items()}
    return lambda key: given.get(key, TABLES[key].empty()).lazy()


def find(read) -> tuple[pl.DataFrame, Studio]:
    studio = Studio()
    found = anomalies.find_anomalies(read, studio)
    require(ANOMALIES, found)
    assert found["score"].is_between(0, 1).all()
    return found, studio


def files(*rows: dict) -> pl.DataFrame:
    usual = {"container": "wav", "codec": "pcm_16", "is_excerpt": False, "audio_digest": ""}
    return pl.DataFrame([{**usual, **row} for row in rows])


def test_an_empty_catalogue_has_no_anomalies():
    found, studio = find(catalogue())
    assert found.is_empty() and studio.drawn == []


@pytest.fixture(scope="module")
def faulty(measuring, tmp_path_factory):
    """A read over three planted faults and a clean file, and the ids by what was planted."""
    clean = sound("song", 4, 2.0)
    planted = {
        "clean": clean,
        "silence": np.zeros_like(clean),
        "dc_offset": clean + 0.2,
        "inverted": np.stack([clean, -clean], axis=1),
    }
    folder = tmp_path_factory.mktemp("faulty")
    ids, analyses = {}, []
    for name, samples in planted.items():
        path = write(folder / f"{name}.wav", samples)
        ids[name] = digest(path)
        analyses.append((ids[name], from_npz(measuring.ask("analyse", path).payload)))
    rows = files(*({"file_id": file_id, "audio_digest": analysis.facts["audio_digest"]} for file_id, analysis in analyses))
    tables = {"audio__files": rows, "audio__evidence": tabulate_evidence("00", analyses)}
    return catalogue(**tables, audio__fingerprints=tabulate_fingerprints("00", analyses)), ids


def test_planted_faults_are_found_with_their_evidence(faulty):
    read, ids = faulty
    found, studio = find(read)
    faults = {name: set(found.filter(file_id=file_id, other_file_id="")["fault"]) for name, file_id in ids.items()}
    assert faults["clean"] == set()
    assert faults["silence"] == {"silence"} and "dc_offset" in faults["dc_offset"] and "inverted_phase" in faults["inverted"]
    assert all(json.loads(text) for text in found["evidence"])
    drawable = found.filter(pl.col("fault").is_in(FAULTS))
    assert set(studio.drawn) == set(drawable.select("file_id", "fault").iter_rows())
    assert drawable["picture"].null_count() == 0


def test_only_the_clearest_are_drawn(faulty, monkeypatch):
    read, _ = faulty
    monkeypatch.setattr(anomalies, "MOST_PICTURES", 1)
    found, studio = find(read)
    drawable = found.filter(pl.col("fault").is_in(FAULTS))
    assert drawable.height > 1 and len(studio.drawn) == 1
    assert found.filter(pl.col("picture").is_not_null())["score"].to_list() == [drawable["score"].max()]


def test_what_cannot_be_drawn_takes_the_place_of_no_picture(faulty, monkeypatch):
    read, _ = faulty
    copies = ("e" * 64, "f" * 64)
    prints = pl.DataFrame([{"shard": "00", "file_id": each, "extractor": "0" * 16, "hashes": [], "frames": []} for each in copies])
    more = {
        "audio/files": files(*({"file_id": each, "audio_digest": "copied"} for each in copies)),
        "audio/fingerprints": prints.cast(FINGERPRINTS.schema),
    }
    drawable = find(read)[0].filter(pl.col("fault").is_in(FAULTS))
    monkeypatch.setattr(anomalies, "MOST_PICTURES", drawable.height)
    found, studio = find(lambda key: pl.concat([read(key), more[key].lazy()]) if key in more else read(key))
    assert found.filter(fault="exact_duplicate")["score"].to_list() == [1.0] and drawable["score"].min() < 1.0
    assert sorted(studio.drawn) == sorted(drawable.select("file_id", "fault").iter_rows())
    assert found.filter(pl.col("picture").is_not_null()).height == drawable.height


def test_a_file_that_is_gone_has_no_faults(faulty):
    read, _ = faulty
    evidence = read("audio/evidence").collect()
    found, _ = find(catalogue(audio__evidence=evidence))
    assert found.is_empty() and evidence.height and evidence.schema == EVIDENCE.schema


def test_the_same_samples_in_two_files_are_an_exact_duplicate_of_the_earlier_id():
    one, two, other = ("a" * 64, "b" * 64, "c" * 64)
    rows = files(*({"file_id": each, "audio_digest": "same" if each != other else "other"} for each in (two, one, other)))
    prints = pl.DataFrame([{"shard": "00", "file_id": each, "extractor": "0" * 16, "hashes": [], "frames": []} for each in (one, two)])
    found, _ = find(catalogue(audio__files=rows, audio__fingerprints=prints.cast(FINGERPRINTS.schema)))
    assert found.select("file_id", "fault", "other_file_id", "score", "severity").rows() == [(two, "exact_duplicate", one, 1.0, "severe")]


def test_a_track_unlike_its_artist_is_told_once_tracks_are_linked():
    rng = np.random.default_rng(1)
    centres = np.eye(8)
    vectors, links = {}, []
    for artist in range(3):
        for number in range(8):
            file_id = f"{artist * 8 + number:064x}"
            centre = centres[1] if (artist, number) == (0, 7) else centres[artist]
            vector = centre + rng.normal(0, 0.03, 8)
            vectors[file_id] = vector / np.linalg.norm(vector)
            links.append({"file_id": file_id, "track_id": f"track {artist} {number}", "method": "csv", "confidence": 1.0})
    tracks = [{"track_id": row["track_id"], "name": "x", "artist_id": row["track_id"].split()[1], "artist_name": "x"} for row in links]
    embeddings = pl.DataFrame({"file_id": list(vectors), "embedding": [vector.tolist() for vector in vectors.values()]})
    read = catalogue(
        audio__embeddings=embeddings,
        audio__track_links=pl.DataFrame(links),
        catalog__tracks=pl.DataFrame(tracks, schema=TABLES["catalog/tracks"].schema),
    )
    found, _ = find(read)
    assert found.select("file_id", "fault", "other_file_id").rows() == [(f"{7:064x}", anomalies.OTHER_ARTIST, "")]
    evidence = json.loads(found["evidence"][0])
    assert evidence["distance"] > evidence["usual_distance"] and evidence["distance"] > evidence["distance_to_others"]
    assert find(catalogue(audio__embeddings=embeddings))[0].is_empty()
