import polars as pl
import pytest

from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TRACKS
from spotify_ai_assets.catalog.ids import artist_id
from spotify_ai_assets.catalog.landing import merge_catalog
from spotify_ai_assets.errors import ContractError
from spotify_ai_assets.listening.formats import CATALOG
from spotify_ai_assets.resources.lake import Origin

URI = "spotify:track:" + "0" * 21


def rows(*given: dict) -> pl.DataFrame:
    return pl.DataFrame([{"row": number, **row} for number, row in enumerate(given, 1)], schema=CATALOG)


def track(number: int, **fields: object) -> dict:
    return {"type": "track", "spotify_id": f"{URI}{number}", "name": f"Song {number}", "artist_name": "Band", **fields}


def merge(lake, *given: dict) -> dict[str, int]:
    return merge_catalog(rows(*given), lake, Origin())


def table(lake, contract) -> list[dict]:
    return lake.scan(contract.key).collect().sort(contract.primary_key).to_dicts()


def test_tracks_albums_and_artists_go_to_their_tables(lake):
    album = {"type": "album", "spotify_id": "spotify:album:1", "name": "LP", "artist_name": "Band", "total_tracks": 9}
    artist = {"type": "artist", "spotify_id": "spotify:artist:1", "name": "Band", "artist_name": "Band", "genre": "rock"}
    assert merge(lake, track(1), album, artist, track(2)) == {ARTISTS.key: 1, ALBUMS.key: 1, TRACKS.key: 2}
    (stored,) = table(lake, ALBUMS)
    assert stored == {"album_id": "spotify:album:1", "name": "LP", "artist_id": artist_id("Band"), "released_on": None, "total_tracks": 9}
    assert [one["track_id"] for one in table(lake, TRACKS)] == [f"spotify:{'0' * 21}{number}" for number in (1, 2)]
    assert [one["genre"] for one in table(lake, ARTISTS)] == ["rock"]


def test_the_same_rows_again_change_nothing(lake):
    assert merge(lake, track(1), track(2)) == {TRACKS.key: 2}
    before = lake.state(TRACKS.key, None)
    assert merge(lake, track(2), track(1)) == {}
    assert lake.state(TRACKS.key, None) == before


def test_a_newer_row_wins_field_by_field_and_erases_nothing(lake):
    merge(lake, track(1, duration_ms=1000, is_explicit=True, isrc="DEA120000001"))
    assert merge(lake, track(1, duration_ms=2000), track(1, name="Song 1 (live)")) == {TRACKS.key: 1}
    (stored,) = table(lake, TRACKS)
    assert (stored["name"], stored["duration_ms"], stored["is_explicit"], stored["isrc"]) == ("Song 1 (live)", 2000, True, "DEA120000001")


def test_artists_of_one_name_are_one(lake):
    made = [
        {"type": "artist", "spotify_id": f"spotify:artist:{number}", "name": name} for number, name in enumerate(("Band", "BAND", "Bánd"))
    ]
    assert merge(lake, *made) == {ARTISTS.key: 2}
    assert {one["source_id"] for one in table(lake, ARTISTS)} == {"spotify:artist:1", "spotify:artist:2"}


def test_rows_that_break_the_contract_stop_everything_and_are_not_told(lake):
    artist = {"type": "artist", "spotify_id": "spotify:artist:1", "name": "Band"}
    with pytest.raises(ContractError, match="duration_ms") as refused:
        merge(lake, artist, track(1, name="a person's name", duration_ms=-77))
    assert "person" not in str(refused.value) and "77" not in str(refused.value)
    assert lake.states(ARTISTS.key) == {} == lake.states(TRACKS.key)
