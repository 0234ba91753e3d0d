"""Items in the order of the model, and what may not be recommended where and to whom."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import serving_world as world

from spotify_ai_assets.catalog.contracts import ALBUMS, TRACKS
from spotify_ai_assets.recommendations.contracts import BLOCKS
from spotify_ai_assets.recommendations.manifests import ITEM_COLUMNS, pack_items
from spotify_ai_assets.recommendations.serving.filters import Blocks, add_block, allow, drop_block
from spotify_ai_assets.recommendations.serving.items import UNDATED, Items, tabulate_items

NOW = datetime(2026, 7, 1, tzinfo=UTC)
ITEMS = world.items()


def rows(table, **columns) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    return pl.DataFrame({name: columns.get(name, [None] * count) for name in table.schema}, schema=table.schema)


def test_the_items_of_the_model_come_first_and_then_the_rest_of_the_catalogue() -> None:
    tracks = rows(
        TRACKS,
        track_id=["name:z", "name:b", "name:a"],
        name=["Z", "B", "A"],
        artist_id=["artist:1", "artist:2", "artist:2"],
        artist_name=["One", "Two", "Two"],
        album_id=["one", None, "gone"],
        is_explicit=[True, None, False],
    )
    albums = rows(ALBUMS, album_id=["one"], name=["O"], artist_id=["artist:1"], released_on=[date(2020, 1, 2)])
    played = pl.DataFrame({"track_id": ["name:c"], "name": ["C"], "artist_id": ["artist:3"], "artist_name": ["Three"]})
    made = tabulate_items(np.array(["name:c", "name:z", "name:?"], object), tracks, albums, played)

    assert made.schema == ITEM_COLUMNS and pack_items(made)
    assert made["track_id"].to_list() == ["name:c", "name:z", "name:?", "name:a", "name:b"]
    assert made["is_known_to_model"].to_list() == [True] * 3 + [False] * 2
    assert made["name"].to_list() == ["C", "Z", "name:?", "A", "B"] and made["artist_name"][2] == "name:?"
    assert made["is_explicit"].to_list() == [False, True, False, False, False]
    items = Items.from_frame(made)
    assert (len(items), items.known, items.numbers["name:a"]) == (5, 3, 3)
    assert items.released.tolist() == [UNDATED, (date(2020, 1, 2) - date(1970, 1, 1)).days, UNDATED, UNDATED, UNDATED]
    assert items.artist_of(1) == ("artist:1", "One") and items.artists[3] == items.artists[4]


def test_a_block_holds_where_and_for_whom_it_was_made() -> None:
    frame = BLOCKS.empty()
    for item, country, listener in (
        ("name:000", "", ""),
        ("name:001", "DE", ""),
        ("name:002", "", "ab" * 16),
        ("name:003", "FR", "ab" * 16),
    ):
        frame = add_block(frame, item, country, listener, NOW)
    blocks = Blocks.from_frame(frame)

    assert blocks.ids_for("", "") == {"name:000"}
    assert blocks.ids_for("", "DE") == {"name:000", "name:001"}
    assert blocks.ids_for("ab" * 16, "DE") == {"name:000", "name:001", "name:002"}
    assert blocks.ids_for("ab" * 16, "FR") == {"name:000", "name:002", "name:003"}
    assert blocks.ids_for("cd" * 16, "FR") == {"name:000"}


def test_a_block_is_added_once_and_taken_back() -> None:
    once = add_block(BLOCKS.empty(), "name:000", "DE", "", NOW)
    again = add_block(once, "name:000", "DE", "", datetime(2027, 1, 1, tzinfo=UTC))
    assert again.equals(once)
    assert drop_block(once, "name:000", "", "").equals(once) and drop_block(once, "name:000", "DE", "").is_empty()


def test_tracks_artists_and_explicit_lyrics_are_left_out() -> None:
    barred = frozenset({world.track(0, 0, 1), world.artist_id(1, 1), "name:unknown", "artist:unknown"})
    allowed = allow(ITEMS, barred)
    gone = set(ITEMS.tracks[~allowed].tolist())
    assert gone == {world.track(0, 0, 1), world.cold(1, 1), *(world.track(1, 1, number) for number in range(world.TRACKS))}
    clean = allow(ITEMS, frozenset(), allow_explicit=False)
    assert {each[-1] for each in ITEMS.tracks[~clean]} == {"3"} and (~clean).sum() == ITEMS.is_explicit.sum() > 0
    assert allow(ITEMS, frozenset()).all()


def test_what_was_removed_is_never_allowed() -> None:
    table = world.tabulate().with_columns(is_removed=pl.col("row") == 5, name=pl.when(pl.col("row") != 5).then("name"))
    assert np.flatnonzero(~allow(Items.from_frame(table), frozenset())).tolist() == [5]
