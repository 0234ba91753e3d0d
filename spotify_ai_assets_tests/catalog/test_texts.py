import polars as pl

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TRACKS
from spotify_ai_assets.catalog.texts import NAMELESS, describe_catalog, digest_texts, normalise


def rows(table, *given: dict) -> pl.LazyFrame:
    return pl.LazyFrame(list(given), schema=table.schema)


def describe(tracks=(), albums=(), artists=()) -> dict[str, str]:
    found = describe_catalog(rows(TRACKS, *tracks), rows(ALBUMS, *albums), rows(ARTISTS, *artists))
    assert found.columns == ["item_id", "subject", "text"] and found["item_id"].is_sorted()
    return dict(found.select("item_id", "text").iter_rows())


def test_a_track_is_described_by_artist_title_album_and_genre():
    track = {"track_id": "t", "name": "Song", "artist_id": "a", "artist_name": "Band", "album_id": "l"}
    found = describe([track], [{"album_id": "l", "name": "LP", "artist_id": "a"}], [{"artist_id": "a", "name": "Band", "genre": "Rock"}])
    assert found == {"a": "Band - Rock", "t": "Band - Song - LP - Rock"}


def test_what_is_not_known_and_what_was_said_already_is_left_out():
    track = {"track_id": "t", "name": "Band", "artist_id": "a", "artist_name": "band", "album_id": "l"}
    assert describe([track], [{"album_id": "l", "name": "LP", "artist_id": "a"}]) == {"t": "band - LP"}
    assert describe([track]) == {"t": "band"}


def test_nothing_at_all_is_still_a_text():
    track = {"track_id": "t", "name": " \t", "artist_id": "a", "artist_name": "\u200b"}
    assert describe([track], [], [{"artist_id": "a", "name": ""}]) == {"a": NAMELESS, "t": NAMELESS}


def test_names_are_normal_forms_on_one_line():
    given = pl.DataFrame({"name": ["\uff22\uff41nd\u0000\n  2", "e\u0301", "x" * 1_000, "", None]})
    assert given.select(normalise(pl.col("name"))).to_series().to_list() == ["Band 2", "é", "x" * 300, None, None]


def test_texts_have_the_digest_of_their_bytes():
    assert digest_texts(["é"]) == ["4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"]
