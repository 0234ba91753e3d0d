"""Texts of a catalogue embedded by the platform's encoder, beside plain sentence-transformers with the same weights.

``ours`` and ``peer`` are texts a CPU second, one thread, the model loaded before; the sides take turns, and each gets the same texts:
the lines ``artist - title - album - genre`` of an invented catalogue, or with ``--data`` the names in a folder's ``artists.dat``. The peer
is ``SentenceTransformer.encode`` as it comes, float32 in batches of 32 sorted by length. ``cosine_least`` is the smallest cosine of
the two vectors of one text, ``neighbours_kept`` the share of a text's ten nearest texts that are the same by both.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measuring import main, report
from spotify_ai_assets.catalog.encoding import CharacterGrams, SentenceEncoder, find_encoder
from spotify_ai_assets.catalog.texts import join_parts
from spotify_ai_assets.demo.music import GENRES, compose_music
from spotify_ai_assets.recommendations.public_sets import read_hetrec

_NEIGHBOURS = 10


def invent_texts(count: int, seed: int = 0) -> list[str]:
    """Lines of an invented catalogue, no two the same, in random order."""
    music = compose_music(seed, 1.0)
    tracks = music.items.head(music.tracks).with_columns(genre=pl.Series([GENRES[each] for each in music.genre]))
    texts = tracks.select(text=join_parts("artist_name", "track_name", "album_name", "genre"))["text"].unique().sort()
    return texts.sample(min(count, len(texts)), seed=seed, shuffle=True).to_list()


def read_names(data: Path, count: int, seed: int = 0) -> list[str]:
    """Names of a folder of HetRec's Last.fm set, no two the same, in random order."""
    names = pl.Series(read_hetrec(data).names.values(), dtype=pl.String).unique().sort()
    return names.sample(min(count, len(names)), seed=seed, shuffle=True).to_list()


def measure(data: Path | None = None, texts: int = 2000, rounds: int = 3) -> dict[str, object]:
    """Time both sides and hold their vectors against each other."""
    import torch
    from sentence_transformers import SentenceTransformer

    lines = invent_texts(texts) if data is None else read_names(data, texts)
    torch.set_num_threads(1)
    encoder = find_encoder()
    if not isinstance(encoder, SentenceEncoder):
        raise SystemExit("the extra minilm is not installed: there is nothing to compare")
    plain = SentenceTransformer(str(encoder.folder), device="cpu")
    sides: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: encoder.encode(lines),
        "peer": lambda: np.asarray(plain.encode(lines, show_progress_bar=False)),
        "spelling": lambda: CharacterGrams().encode(lines),
    }
    for embed in (encoder.encode, plain.encode):
        embed(lines[:64])  # what is compiled or allocated once
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    vectors: dict[str, np.ndarray] = {}
    for _round in range(rounds):
        for name, embed in sides.items():
            started = time.process_time()
            vectors[name] = embed()
            speeds[name].append(len(lines) / (time.process_time() - started))
            print(f"{name}: {speeds[name][-1]:.0f} texts a CPU second", file=sys.stderr, flush=True)
    cosines = (vectors["ours"] * vectors["peer"]).sum(axis=1)
    tokens = plain.tokenizer(lines)["input_ids"]
    document = report(
        "text_embeddings",
        statistics.median(speeds["ours"]),
        statistics.median(speeds["peer"]),
        unit="texts a CPU second",
        rounds=rounds,
        better="higher",
        texts=len(lines),
        tokens_mean=statistics.mean(map(len, tokens)),
        precision=encoder.precision,
        encoder=encoder.name,
        neighbours_kept=_overlap(vectors["ours"], vectors["peer"]),
        ratios=[round(ours / peer, 2) for ours, peer in zip(speeds["ours"], speeds["peer"], strict=True)],
        spelling=statistics.median(speeds["spelling"]),
    )
    return document | {"cosine_mean": round(float(cosines.mean()), 6), "cosine_least": round(float(cosines.min()), 6)}


def _overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of each text's nearest texts by one side that the other has too."""
    nearest = []
    for vectors in (ours, theirs):
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -1)
        nearest.append(np.argsort(-cosines, axis=1, kind="stable")[:, :_NEIGHBOURS])
    shared = [len(np.intersect1d(one, other)) for one, other in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / _NEIGHBOURS


if __name__ == "__main__":
    main(measure, __doc__, data=None, texts=2000, rounds=3)
