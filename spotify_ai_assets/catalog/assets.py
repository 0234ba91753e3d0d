"""The assets of the catalogue: what the import job fills from landing files, and what the names in it mean."""

import polars as pl

from spotify_ai_assets.catalog import pictures
from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TEXT_EMBEDDINGS, TRACKS
from spotify_ai_assets.catalog.embedding import TextStudio, embed_catalog
from spotify_ai_assets.loading import landed_table, made_table
from spotify_ai_assets.making import Inputs


@landed_table(ARTISTS)
def artists() -> None:
    """Artists as their sources describe them, one row each.

    Filled by `import_landing` from catalogue files; a newer file replaces what an older one said of the same artist.
    """


@landed_table(ALBUMS)
def albums() -> None:
    """Albums with release date and size, one row each.

    Filled by `import_landing` from catalogue files; a newer file replaces what an older one said of the same album.
    """


@landed_table(TRACKS)
def tracks() -> None:
    """Tracks with title, artist, album, length and ISRC, one row each.

    `track_id` is the id that listens of the same track carry. Filled by `import_landing` from catalogue files; a newer file
    replaces what an older one said of the same track.
    """


@made_table(TEXT_EMBEDDINGS, tools="texts", picture=pictures.texts_by_neighbour, kinds=("torch",))
def text_embeddings(read: Inputs, studio: TextStudio) -> pl.DataFrame:
    """What the names of tracks and artists mean, as vectors of unit length: artist, title, album and genre in one line.

    Made by the model that `SPOTIFY_AI_TEXT_MODEL` names, else by the package of the extra `minilm`, else from character n-grams, which
    know spelling only; the column `encoder` says which. Only texts that are new or changed are embedded.
    """
    return embed_catalog(read, studio)
