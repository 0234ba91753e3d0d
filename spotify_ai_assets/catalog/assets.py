"""The assets of the catalogue, filled from landing files by the import job."""

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TRACKS
from spotify_ai_assets.loading import landed_table


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
