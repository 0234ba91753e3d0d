"""Catalogue rows from landing files become the tables of the catalogue.

Of two rows with one key the newer one counts, field by field: what only the older one knows stays, since many sources give
objects that are cut short.
"""

from datetime import date

import polars as pl

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TRACKS
from spotify_ai_assets.catalog.ids import artist_id, with_ids
from spotify_ai_assets.contracts import Table
from spotify_ai_assets.resources.lake import Lake, Origin
from spotify_ai_assets.validation import require


def merge_catalog(frame: pl.DataFrame, lake: Lake, origin: Origin) -> dict[str, int]:
    """Merge catalogue rows into the lake.

    Args:
        frame: Rows as ``formats`` reads them, of types ``track``, ``album`` and ``artist``.
        lake: Where the catalogue lies.
        origin: Which run does it.

    Returns:
        For each table that changed, how many of its rows did; all other rows of ``frame`` were known already.

    Raises:
        ContractError: Rows break their table's contract; nothing is merged.
    """
    makers = {ARTISTS: _artists, ALBUMS: _albums, TRACKS: _tracks}
    made = [(table, rows) for table, make in makers.items() if not (rows := make(frame)).is_empty()]
    for table, rows in made:
        require(table, rows)
    changed = {table.key: _merge(table, rows, lake, origin) for table, rows in made}
    return {key: count for key, count in changed.items() if count}


def _merge(table: Table, incoming: pl.DataFrame, lake: Lake, origin: Origin) -> int:
    changed = 0

    def change(_: date | None, present: pl.DataFrame) -> pl.DataFrame:
        nonlocal changed
        latest = pl.concat([present, incoming]).group_by(table.primary_key, maintain_order=True)
        merged = latest.agg(pl.all().drop_nulls().last()).select(*table.schema)
        changed = merged.join(present, on=merged.columns, how="anti", nulls_equal=True).height
        return merged

    lake.update(table.key, [None], change, origin=origin)
    return changed


def _artists(frame: pl.DataFrame) -> pl.DataFrame:
    rows = frame.filter(pl.col("type") == "artist")
    return rows.select(
        pl.Series("artist_id", map(artist_id, rows["name"]), dtype=pl.String), "name", "genre", source_id="spotify_id"
    ).select(*ARTISTS.schema)


def _albums(frame: pl.DataFrame) -> pl.DataFrame:
    rows = frame.filter(pl.col("type") == "album")
    ids = pl.Series("artist_id", map(artist_id, rows["artist_name"]), dtype=pl.String)
    return rows.with_columns(ids, album_id="spotify_id").select(*ALBUMS.schema)


def _tracks(frame: pl.DataFrame) -> pl.DataFrame:
    rows = frame.filter(pl.col("type") == "track").with_columns(recording_mbid=pl.lit(None, dtype=pl.String))
    return with_ids(rows, title="name").rename({"album_spotify_id": "album_id"}).select(*TRACKS.schema)
