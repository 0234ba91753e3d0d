"""Which track of the catalogue a file is: by a table that somebody made, by the ids in its tags, or by names and duration.

A link carries its confidence, and what contradicts itself is no link: names that fit a track of another length are another version
of it. The ways in order of trust:

=====================  ==========  =============================================================================================
method                 confidence  when
=====================  ==========  =============================================================================================
``csv``                1.0         the table names the file, by name or by digest, and a track that the catalogue has
``isrc``               0.98        the code in the tag is that of one track; of several, the one whose length fits best: 0.98 / n
``mbid``               0.97        the file has a recording id: tracks that no other service knows are called by it
``names_and_duration``  0.9        artist and title are the track's, and the lengths differ by 3 s at most; of several: 0.9 / n
``names``              0.6         the same where the catalogue knows no length; of several: 0.6 / n
``file_name``          0.5         as ``names_and_duration``, with names from a file called "Artist - Title"; of several: 0.5 / n
=====================  ==========  =============================================================================================
"""

import polars as pl

from spotify_ai_assets.audio.intake.tags import clean
from spotify_ai_assets.catalog.ids import fold_name, spotify_id

SCHEMA = {"file_id": pl.String, "track_id": pl.String, "method": pl.String, "confidence": pl.Float64}
GIVEN = {"file": pl.String, "track_id": pl.String}
"""A table of links; ``file`` is a name or a digest."""

FILES = ("file_id", "file_name", "title", "artist", "isrc", "recording_mbid", "duration_ms")
"""The columns of files that are looked at."""

METHODS = ("csv", "isrc", "mbid", "names_and_duration", "names", "file_name")
SAME_LENGTH_MS = 3_000
_CONFIDENCE = {"csv": 1.0, "isrc": 0.98, "mbid": 0.97, "names_and_duration": 0.9, "names": 0.6, "file_name": 0.5}


def link_tracks(files: pl.DataFrame, tracks: pl.DataFrame, given: pl.DataFrame | None = None) -> pl.DataFrame:
    """The best link of each file that has one.

    Args:
        files: With the columns of ``FILES``; all but ``file_id`` may be null.
        tracks: ``catalog/tracks``.
        given: A table of links, as ``GIVEN``.

    Returns:
        By ``SCHEMA``, at most one row a file, in order of ``file_id``. Among links of equal confidence the nearest length decides,
        then the track's id.
    """
    files = files.select(FILES).unique("file_id", keep="first", maintain_order=True)
    tracks = _fold(tracks.select("track_id", "name", "artist_name", "isrc", track_ms="duration_ms"), "artist_name", "name")
    named = _fold(files, "artist", "title")
    by_file_name = _fold(_read_names(files), "artist", "title")
    candidates = pl.concat(
        [
            _by_table(files, tracks, given),
            _weigh(files.join(tracks.with_columns(isrc=_code("isrc")), left_on=_code("isrc"), right_on="isrc"), "isrc"),
            _weigh(_by_recording(files, tracks), "mbid"),
            _weigh(_close(_by_names(named, tracks)), "names_and_duration"),
            _weigh(_by_names(named, tracks).filter(pl.col("track_ms").is_null() | pl.col("duration_ms").is_null()), "names"),
            _weigh(_close(_by_names(by_file_name, tracks)), "file_name"),
        ]
    )
    best = candidates.sort("file_id", "confidence", "distance", "track_id", descending=[False, True, False, False], nulls_last=True).unique(
        "file_id", keep="first", maintain_order=True
    )
    return best.select(*SCHEMA)


def _by_table(files: pl.DataFrame, tracks: pl.DataFrame, given: pl.DataFrame | None) -> pl.DataFrame:
    """Links that somebody gave; a track may be named by whatever Spotify calls it."""
    rows = pl.DataFrame(schema=GIVEN) if given is None else given.select(*GIVEN)
    # Of two tracks for one file the later line holds.
    rows = rows.with_columns(track_id=pl.coalesce("spotify:" + spotify_id("track_id"), "track_id")).unique("file", keep="last")
    rows = rows.join(tracks, on="track_id")
    by_name = files.join(rows, left_on="file_name", right_on="file")
    by_digest = files.join(rows, left_on="file_id", right_on=pl.col("file").str.to_lowercase())
    # A digest says more than a name.
    return pl.concat([_weigh(by_digest, "csv"), _weigh(by_name, "csv")]).unique("file_id", keep="first", maintain_order=True)


def _by_recording(files: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    """A recording id is the name of its track, whether the catalogue knows it or only listens do."""
    named = files.drop_nulls("recording_mbid").with_columns(track_id="mbid:" + pl.col("recording_mbid").str.to_lowercase())
    return named.join(tracks.select("track_id", "track_ms"), on="track_id", how="left")


def _by_names(files: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    return files.filter(pl.col("folded").is_not_null()).join(tracks, on="folded")


def _close(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.filter((pl.col("duration_ms") - pl.col("track_ms")).abs() <= SAME_LENGTH_MS)


def _weigh(pairs: pl.DataFrame, method: str) -> pl.DataFrame:
    """Pairs of file and track as candidates; several tracks for one file share the confidence."""
    return pairs.select(
        "file_id",
        "track_id",
        method=pl.lit(method),
        confidence=_CONFIDENCE[method] / pl.len().over("file_id"),
        distance=(pl.col("duration_ms") - pl.col("track_ms")).abs(),
    )


def _fold(frame: pl.DataFrame, artist: str, title: str) -> pl.DataFrame:
    """Add the names that count as the same, cut and cleaned as those of tags are; null where one is missing."""
    folded = [
        f"{fold_name(clean(first))}\x1f{fold_name(clean(second))}" if first and second else None
        for first, second in frame.select(artist, title).iter_rows()
    ]
    return frame.with_columns(pl.Series("folded", folded, dtype=pl.String))


def _read_names(files: pl.DataFrame) -> pl.DataFrame:
    """Files without names in their tags, with those that "Artist - Title.ext" holds, perhaps behind a track number."""
    bare = files.filter(pl.col("title").is_null() | pl.col("artist").is_null())
    pattern = r"^(?:\d{1,3}[ ._-]+)?(?P<artist>.+?)[ _]+-[ _]+(?P<title>.+?)(?:\.[0-9A-Za-z]{1,5})?$"
    parts = bare["file_name"].str.extract_groups(pattern).struct
    return bare.with_columns(*(parts.field(name).str.replace_all("_", " ").alias(name) for name in ("artist", "title")))


def _code(column: str) -> pl.Expr:
    """An ISRC as ISO 3901 writes it for machines."""
    return pl.col(column).str.to_uppercase().str.replace_all(r"[\s-]", "")
