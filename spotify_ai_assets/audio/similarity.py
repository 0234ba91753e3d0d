"""Which files sound alike: exact search over the embeddings."""

import numpy as np
import polars as pl

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.resources.lake import Lake

_NAMES = ("artist", "title")


def find_similar(lake: Lake, item: str, count: int) -> pl.DataFrame:
    """The files that sound most like one.

    Args:
        lake: Where the embeddings are.
        item: The beginning of a file's id, or the id of a track that a file is linked to.
        count: How many.

    Returns:
        ``file_id, artist, title, track_id, cosine``, the most alike first; names are those of the tags.

    Raises:
        MissingInputError: No file, or more than one, has that name, or there are no embeddings yet.
    """
    rows = lake.scan("audio/embeddings").select("file_id", "embedding").collect().sort("file_id")
    links = lake.scan("audio/track_links").select("file_id", "track_id").collect()
    chosen = _choose(rows["file_id"], links, item)
    vectors = np.array(rows["embedding"].to_list(), dtype=np.float32)
    cosine = vectors @ vectors[rows["file_id"].index_of(chosen)]
    files = lake.scan("audio/files").select("file_id", *_NAMES).collect()
    found = rows.select("file_id").with_columns(cosine=pl.Series(cosine)).filter(pl.col("file_id") != chosen)
    found = found.join(files, on="file_id", how="left").join(links, on="file_id", how="left")
    return found.sort("cosine", "file_id", descending=[True, False]).head(count).select("file_id", *_NAMES, "track_id", "cosine")


def _choose(file_ids: pl.Series, links: pl.DataFrame, item: str) -> str:
    if file_ids.is_empty():
        raise MissingInputError("there are no embeddings yet")
    linked = links.filter(track_id=item)["file_id"].to_list()
    fitting = [each for each in file_ids if each in linked or each.startswith(item)]
    if not fitting or (len(fitting) > 1 and not linked):
        raise MissingInputError(f"{len(fitting)} files with an embedding are called {item}")
    return fitting[0]
