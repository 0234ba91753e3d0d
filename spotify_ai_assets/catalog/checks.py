"""The checks of the catalogue: does everything that is named exist, and what is listened to?"""

import dagster as dg
import polars as pl

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TEXT_EMBEDDINGS, TRACKS
from spotify_ai_assets.loading import check
from spotify_ai_assets.resources.lake import Lake


@check(TRACKS, required_resource_keys={"lake"})
def tracks_have_artists(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every track's artist is in `catalog/artists`."""
    return _has_artists(context.resources.lake, TRACKS.key)


@check(ALBUMS, required_resource_keys={"lake"})
def albums_have_artists(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every album's artist is in `catalog/artists`."""
    return _has_artists(context.resources.lake, ALBUMS.key)


def _has_artists(lake: Lake, key: str) -> dg.AssetCheckResult:
    rows = lake.scan(key)
    orphans = rows.join(lake.scan(ARTISTS.key), on="artist_id", how="anti").select(pl.len()).collect().item()
    return dg.AssetCheckResult(passed=orphans == 0, severity=dg.AssetCheckSeverity.WARN, metadata={"without_artist": orphans})


@check(ARTISTS, required_resource_keys={"lake"})
def artists_have_names(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No artist's name is blank."""
    blank = context.resources.lake.scan(ARTISTS.key).filter(pl.col("name").str.strip_chars() == "").select(pl.len()).collect().item()
    return dg.AssetCheckResult(passed=blank == 0, metadata={"blank": blank})


@check(TEXT_EMBEDDINGS, required_resource_keys={"lake"})
def texts_are_embedded(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every track and artist has a vector of unit length, all of them from one encoder."""
    lake: Lake = context.resources.lake
    rows = lake.scan(TEXT_EMBEDDINGS.key)
    items = pl.concat([lake.scan(TRACKS.key).select(item_id="track_id"), lake.scan(ARTISTS.key).select(item_id="artist_id")])
    length = pl.col("embedding").list.eval(pl.element().pow(2)).list.sum().sqrt()
    found = {
        "without_embedding": items.join(rows, on="item_id", how="anti").select(pl.len()).collect().item(),
        "not_of_unit_length": rows.filter((length - 1).abs() > 1e-3).select(pl.len()).collect().item(),
        "encoders": rows.select(pl.col("encoder").n_unique()).collect().item(),
    }
    is_right = not found["without_embedding"] and not found["not_of_unit_length"] and found["encoders"] <= 1
    return dg.AssetCheckResult(passed=is_right, severity=dg.AssetCheckSeverity.WARN, metadata=found)
