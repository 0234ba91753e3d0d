"""The one rule by which a track and an artist are named.

Listening exports carry a Spotify id, a MusicBrainz id, or nothing but names, and none carries an artist id. So a track is
known by its best id, else by its names; an artist always by name, folded for spelling. Artists that share a name are one.
"""

import hashlib
import unicodedata

import polars as pl

_SPOTIFY_ID = (
    r"(?:spotify:(?:track|episode|chapter):|open\.spotify\.com/(?:intl-[a-z]+/)?(?:track|episode|chapter)/|^)([0-9A-Za-z]{22})(?:\?.*)?$"
)


def fold_name(name: str) -> str:
    """A name without differences of case, width, accents' composition and white space."""
    # Folding may leave a text that is not normal, so that the same name could be folded in two ways.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


def artist_id(name: str) -> str:
    """The id of an artist: ``artist:`` and 20 hexadecimal digits of its folded name's BLAKE2b digest."""
    return "artist:" + _digest(fold_name(name))


def named_track_id(artist: str, title: str) -> str:
    """The id of a track known by its names only: ``name:`` and 20 hexadecimal digits."""
    return "name:" + _digest(fold_name(artist) + "\x1f" + fold_name(title))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def spotify_id(column: str) -> pl.Expr:
    """The 22-character id in a Spotify URI, link or bare id; null where there is none."""
    return pl.col(column).str.extract(_SPOTIFY_ID, 1)


def with_ids(
    frame: pl.DataFrame,
    *,
    artist: str = "artist_name",
    title: str = "track_name",
    spotify: str = "spotify_id",
    mbid: str = "recording_mbid",
) -> pl.DataFrame:
    """Add ``track_id`` and ``artist_id`` to rows that name a track.

    Args:
        frame: Rows with an artist's and a track's name, neither null.
        artist: Column of the artist's name.
        title: Column of the track's name.
        spotify: Column of a Spotify URI, link or id, may be null.
        mbid: Column of a MusicBrainz recording id, may be null.

    Returns:
        The rows in their order with two more columns: ``track_id`` is ``spotify:…``, else ``mbid:…``, else ``name:…``.
    """
    artists = frame.select(artist).unique()
    artists = artists.with_columns(pl.Series("artist_id", map(artist_id, artists[artist]), dtype=pl.String))
    tracks = frame.select(artist, title).unique()
    tracks = tracks.with_columns(pl.Series("_named", [named_track_id(*row) for row in tracks.iter_rows()], dtype=pl.String))
    return (
        frame.join(artists, on=artist, how="left", maintain_order="left")
        .join(tracks, on=[artist, title], how="left", maintain_order="left")
        .with_columns(track_id=pl.coalesce("spotify:" + spotify_id(spotify), "mbid:" + pl.col(mbid).str.to_lowercase(), "_named"))
        .drop("_named")
    )
