"""What a track or an artist is called, as one line of text: ``artist - title - album - genre``.

Nothing but what the catalogue says of it. What is not known is left out, and so is what the line says already, such as an album
that is called like its title.
"""

import hashlib
from collections.abc import Sequence

import polars as pl

SEPARATOR = " - "
NAMELESS = "unknown"
MOST_CHARACTERS = 300
"""Longer names are cut: a title of this length is a mistake of its source."""


def describe_catalog(tracks: pl.LazyFrame, albums: pl.LazyFrame, artists: pl.LazyFrame) -> pl.DataFrame:
    """Describe all tracks and artists.

    Args:
        tracks: Rows of ``catalog/tracks``.
        albums: Rows of ``catalog/albums``.
        artists: Rows of ``catalog/artists``.

    Returns:
        ``item_id, subject, text``, sorted by ``item_id``; no text is empty.
    """
    of_tracks = (
        tracks.join(albums.select("album_id", album="name"), on="album_id", how="left")
        .join(artists.select("artist_id", "genre"), on="artist_id", how="left")
        .select("track_id", subject=pl.lit("track"), text=join_parts("artist_name", "name", "album", "genre"))
    )
    of_artists = artists.select("artist_id", subject=pl.lit("artist"), text=join_parts("name", "genre"))
    return (
        pl.concat([frame.rename({frame.collect_schema().names()[0]: "item_id"}) for frame in (of_tracks, of_artists)])
        .sort("item_id")
        .collect()
    )


def join_parts(*names: str) -> pl.Expr:
    """One line of the columns of these names, each normalised, each said once."""
    parts = [normalise(pl.col(name)) for name in names]
    folded = [part.str.to_lowercase() for part in parts]
    said = [
        part if not place else pl.when(folded[place].is_in(pl.concat_list(folded[:place])).not_()).then(part)
        for place, part in enumerate(parts)
    ]
    line = pl.concat_str(said, separator=SEPARATOR, ignore_nulls=True)
    return pl.when(line != "").then(line).otherwise(pl.lit(NAMELESS))


def normalise(text: pl.Expr) -> pl.Expr:
    """A text in compatibility form (NFKC), of printable characters with single spaces, cut to length; null where nothing is left."""
    plain = text.str.normalize("NFKC").str.replace_all(r"[\p{C}\p{Z}\s]+", " ").str.strip_chars().str.slice(0, MOST_CHARACTERS)
    return pl.when(plain != "").then(plain)


def digest_texts(texts: Sequence[str]) -> list[str]:
    """SHA-256 of each text's UTF-8 bytes."""
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
