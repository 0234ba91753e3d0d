"""What tracks read and sound like as one row of numbers each: text embedding, audio embedding, and whether there is either.

A track whose recordings are several files sounds like their mean, weighted by how sure the links are. Vectors of different models
are no neighbours, so of audio embeddings only those of the version with the most files count.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of tracks without anybody having played them.

    Attributes:
        vectors: float32, shape (tracks, d): the text's numbers, the audio's, 1 where there is a text, 1 where there is audio; rows
            of zeros where there is neither. Each of the two parts has length 1 or 0.
        encoder: What embedded the texts; empty where there are none.
        extractor: Version of the model that embedded the audio; empty where there is none.
    """

    vectors: np.ndarray
    encoder: str
    extractor: str


def content_of(items: np.ndarray, texts: pl.DataFrame, audio: pl.DataFrame, links: pl.DataFrame) -> Content:
    """Put together what is known of tracks.

    Args:
        items: Track ids, one for each row of the answer.
        texts: Rows of ``catalog/text_embeddings``.
        audio: Rows of ``audio/embeddings``.
        links: Rows of ``audio/track_links``.
    """
    wanted = pl.DataFrame({"item_id": items}, schema={"item_id": pl.String})
    encoder, extractor = _most_frequent(texts, "encoder"), _most_frequent(audio, "model_version")
    read = texts.filter(pl.col("encoder") == encoder).select("item_id", "embedding", weight=pl.lit(1.0))
    heard = audio.filter(pl.col("model_version") == extractor).join(links, on="file_id").sort("file_id")
    heard = heard.select("embedding", item_id="track_id", weight="confidence")
    parts = [_lay_out(wanted, rows) for rows in (read, heard)]
    flags = [part.any(axis=1, keepdims=True).astype(np.float32) for part in parts]
    return Content(np.concatenate([*parts, *flags], axis=1), encoder, extractor)


def _most_frequent(rows: pl.DataFrame, name: str) -> str:
    counted = rows.group_by(name).len().sort("len", name, descending=[True, False])
    return counted[name][0] if counted.height else ""


def _lay_out(wanted: pl.DataFrame, rows: pl.DataFrame) -> np.ndarray:
    """The weighted means of vectors of each item, of length 1; float32, shape (items, d)."""
    size = 0 if rows.is_empty() else len(rows["embedding"][0])
    found = wanted.with_row_index("row").join(rows, on="item_id", maintain_order="left_right")
    sums = np.zeros((wanted.height, size), np.float64)
    if found.height:
        vectors = found["embedding"].list.to_array(size).to_numpy().astype(np.float64)
        np.add.at(sums, found["row"].to_numpy(), vectors * found["weight"].to_numpy()[:, None])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0).astype(np.float32)
