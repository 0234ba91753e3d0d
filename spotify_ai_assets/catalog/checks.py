"""The checks of the catalogue: does everything that is named exist, and what is listened to?"""

import dagster as dg
import polars as pl

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TRACKS
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
