"""The tables of the catalogue."""

import polars as pl

from spotify_ai_assets.contracts import Column, Reads, Table, by_key

_OWNER = "team:catalog"

ARTISTS = Table(
    key="catalog/artists",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("artist_id",),
    columns=(
        Column("artist_id", pl.String, "The artist's id, from its folded name.", pattern=r"artist:[0-9a-f]{20}"),
        Column("name", pl.String, "The artist's name."),
        Column("genre", pl.String, "Main genre, where the source tells.", nullable=True),
        Column("source_id", pl.String, "The id at the source, a Spotify URI or a MusicBrainz id.", nullable=True),
    ),
)

ALBUMS = Table(
    key="catalog/albums",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("album_id",),
    columns=(
        Column("album_id", pl.String, "The album's id at its source."),
        Column("name", pl.String, "The album's title."),
        Column("artist_id", pl.String, "Its first artist."),
        Column("released_on", pl.Date, "Release date; the first day of the year or month where the source knows no more.", nullable=True),
        Column("total_tracks", pl.Int64, "Number of tracks.", nullable=True, minimum=0),
    ),
)

TRACKS = Table(
    key="catalog/tracks",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("track_id",),
    columns=(
        Column("track_id", pl.String, "The track's id, as in every listen of it."),
        Column("name", pl.String, "The track's title."),
        Column("artist_id", pl.String, "Its first artist."),
        Column("artist_name", pl.String, "The name of its first artist."),
        Column("album_id", pl.String, "The album's id at its source.", nullable=True),
        Column("duration_ms", pl.Int64, "Length in milliseconds.", nullable=True, minimum=0),
        Column("is_explicit", pl.Boolean, "Whether its lyrics are marked explicit.", nullable=True),
        Column("isrc", pl.String, "International Standard Recording Code.", nullable=True),
    ),
)

TEXT_EMBEDDINGS = Table(
    key="catalog/text_embeddings",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("item_id",),
    reads=(Reads("catalog/tracks", awaited=True), Reads("catalog/albums", drives=False), Reads("catalog/artists", drives=False)),
    columns=(
        Column("item_id", pl.String, "The track or artist."),
        Column("subject", pl.String, "Which of them it is.", allowed=("track", "artist")),
        Column("text_sha256", pl.String, "SHA-256 of the text that was embedded.", pattern=r"[0-9a-f]{64}"),
        Column("encoder", pl.String, "What embedded it: name and digest of its weights."),
        Column("embedding", pl.List(pl.Float32), "What the text means, a vector of unit length, rounded to half precision."),
    ),
)

TABLES = by_key(ARTISTS, ALBUMS, TRACKS, TEXT_EMBEDDINGS)
