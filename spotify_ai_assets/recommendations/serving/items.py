"""What can be recommended: the tracks of a release in the order of their numbers, and what is told and asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from spotify_ai_assets.recommendations.manifests import ITEM_COLUMNS

UNDATED = np.iinfo(np.int32).min
_EPOCH = date(1970, 1, 1)


def tabulate_items(known: np.ndarray, tracks: pl.DataFrame, albums: pl.DataFrame, played: pl.DataFrame | None = None) -> pl.DataFrame:
    """The table of a release's items: those of the model in its order, then the rest of the catalogue, which it has never seen.

    Args:
        known: Track of each column of the model.
        tracks: Rows of ``catalog/tracks``.
        albums: Rows of ``catalog/albums``, which tell when a track came out.
        played: ``track_id, name, artist_id, artist_name`` of what was played, for tracks that the catalogue lacks.

    Returns:
        ``ITEM_COLUMNS``. A track of which nobody knows the name or the artist has its id in their place.
    """
    names = ["track_id", "name", "artist_id", "artist_name"]
    told = tracks.join(albums.select("album_id", "released_on"), on="album_id", how="left").select(*names, "is_explicit", "released_on")
    if played is not None:
        told = pl.concat([told, played.select(names)], how="diagonal").unique("track_id", keep="first", maintain_order=True)
    first = pl.DataFrame({"track_id": known}, schema={"track_id": pl.String}).with_columns(is_known_to_model=True)
    later = told.select("track_id").join(first, on="track_id", how="anti").unique().sort("track_id").with_columns(is_known_to_model=False)
    rows = pl.concat([first, later]).join(told, on="track_id", how="left", maintain_order="left").with_row_index("row")
    unnamed = (pl.col(name).fill_null(pl.col("track_id")) for name in names[1:])
    rows = rows.with_columns(*unnamed, pl.col("is_explicit").fill_null(False), is_removed=pl.lit(False))
    return rows.select(ITEM_COLUMNS.names()).cast(ITEM_COLUMNS)


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """The items of a release; a row's number is the item's number, and the first ones are the columns of the model.

    Attributes:
        tracks: Track ids, object, shape (items,).
        names: Titles, likewise.
        artist_ids: Artists by their numbers, sorted.
        artist_names: Their names.
        artists: Number of each item's artist, int32, shape (items,).
        is_explicit: Whether its lyrics are marked so, bool, shape (items,).
        is_removed: Whether only a mark is left of it, which keeps its number, bool, shape (items,).
        released: Days from 1970 to its release, int32, shape (items,); ``UNDATED`` where nobody knows.
        known: How many of them the model knows.
        numbers: Number of each track.
    """

    tracks: np.ndarray
    names: np.ndarray
    artist_ids: np.ndarray
    artist_names: np.ndarray
    artists: np.ndarray
    is_explicit: np.ndarray
    is_removed: np.ndarray
    released: np.ndarray
    known: int
    numbers: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.tracks)

    def __contains__(self, track_id: object) -> bool:
        return track_id in self.numbers

    def __getitem__(self, track_id: str) -> int:
        return self.numbers[track_id]

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> "Items":
        """Take items from a release's table, ``ITEM_COLUMNS``."""
        frame = frame.with_columns(pl.col("name", "artist_id", "artist_name").fill_null(""), pl.col("is_explicit").fill_null(False))
        artists = frame.select("artist_id", "artist_name").unique("artist_id", keep="first", maintain_order=True).sort("artist_id")
        numbers = artists.select("artist_id").with_row_index("artist")
        tracks = frame["track_id"].to_numpy()
        return cls(
            tracks,
            frame["name"].to_numpy(),
            artists["artist_id"].to_numpy(),
            artists["artist_name"].to_numpy(),
            frame.join(numbers, on="artist_id", how="left", maintain_order="left")["artist"].to_numpy().astype(np.int32),
            frame["is_explicit"].to_numpy(),
            frame["is_removed"].to_numpy(),
            frame["released_on"].to_physical().fill_null(UNDATED).to_numpy().astype(np.int32),
            int(frame["is_known_to_model"].sum()),
            dict(zip(tracks.tolist(), range(frame.height), strict=True)),
        )

    def artist_of(self, item: int) -> tuple[str, str]:
        """Id and name of an item's artist."""
        artist = self.artists[item]
        return str(self.artist_ids[artist]), str(self.artist_names[artist])

    def artist_number(self, artist_id: str) -> int | None:
        """The number of an artist; ``None`` where no item is theirs."""
        place = int(np.searchsorted(self.artist_ids, artist_id)) if len(self.artist_ids) else 0
        return place if place < len(self.artist_ids) and self.artist_ids[place] == artist_id else None

    def rows_of(self, item_ids: "set[str] | frozenset[str]") -> np.ndarray:
        """Numbers of the items that ids of tracks or artists name, sorted; unknown ids name none."""
        tracks = [self.numbers[each] for each in item_ids if each in self.numbers]
        artists = [number for each in item_ids if (number := self.artist_number(each)) is not None]
        by_artist = np.flatnonzero(np.isin(self.artists, artists)) if artists else np.zeros(0, np.int64)
        return np.union1d(np.array(tracks, np.int64), by_artist)


def days_of(day: date) -> int:
    """Days from 1970 to a date."""
    return (day - _EPOCH).days
