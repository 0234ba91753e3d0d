import unicodedata

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.catalog.ids import artist_id, fold_name, named_track_id, spotify_id, with_ids

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ID = "4uLU6hMCjMI75M1A2tKUQC"
MBID = "0A1B2C3D-0000-4000-8000-00000000000F"


@given(NAMES)
def test_folding_a_folded_name_changes_nothing(name):
    assert fold_name(fold_name(name)) == fold_name(name)


@given(NAMES)
def test_case_composition_and_outer_space_do_not_tell_names_apart(name):
    for other in (unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name), f" {name}\u00a0"):
        assert artist_id(other) == artist_id(name)
    assert artist_id(name.casefold()) == artist_id(name)


def test_names_that_differ_in_letters_have_different_ids():
    names = ["Beyoncé", "Beyonce", "AC/DC", "ACDC", "Sigur Rós", "שלום", "🎵", "<b>bold</b>", "a, b", "a; b"]
    assert len({artist_id(name) for name in names}) == len(names)
    assert artist_id("ＡＢＢＡ") == artist_id("Abba") and artist_id("Straße") == artist_id("STRASSE")


def test_a_title_cannot_reach_into_the_artist():
    assert named_track_id("a", "b c") != named_track_id("a b", "c")
    assert named_track_id("Abba", "SOS") == named_track_id("ABBA", "sos") != named_track_id("SOS", "Abba")


def test_a_spotify_id_is_found_in_a_uri_a_link_or_bare():
    given_as = {
        ID: ID,
        f"spotify:track:{ID}": ID,
        f"spotify:episode:{ID}": ID,
        f"https://open.spotify.com/track/{ID}": ID,
        f"https://open.spotify.com/intl-de/track/{ID}?si=abc": ID,
        f"spotify:user:{ID}": None,
        f"{ID}x": None,
        "": None,
        None: None,
    }
    found = pl.DataFrame({"uri": list(given_as)}, schema={"uri": pl.String}).select(spotify_id("uri")).to_series()
    assert found.to_list() == list(given_as.values())


def test_the_best_id_names_a_track_and_rows_keep_their_order():
    rows = pl.DataFrame(
        {
            "artist_name": ["B", "A", "a", "A"],
            "track_name": ["t", "t", "T", "t"],
            "spotify_id": [f"spotify:track:{ID}", None, None, None],
            "recording_mbid": [MBID, MBID, None, None],
        }
    )
    named = with_ids(rows)
    assert named["track_id"].to_list() == [
        f"spotify:{ID}",
        f"mbid:{MBID.lower()}",
        named_track_id("A", "t"),
        named_track_id("A", "t"),
    ]
    assert named["artist_id"].to_list() == [artist_id("B")] + [artist_id("A")] * 3
    assert named.select(rows.columns).equals(rows)


def test_no_rows_have_no_ids_but_the_columns():
    rows = pl.DataFrame(schema=dict.fromkeys(("artist_name", "track_name", "spotify_id", "recording_mbid"), pl.String))
    assert with_ids(rows).columns[-2:] == ["artist_id", "track_id"]
