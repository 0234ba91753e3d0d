"""The asset of text embeddings as Dagster makes it."""

import dataclasses

import dagster as dg
import polars as pl
import pytest

from spotify_ai_assets.catalog.assets import text_embeddings
from spotify_ai_assets.catalog.checks import texts_are_embedded
from spotify_ai_assets.catalog.contracts import ALBUMS, ARTISTS, TEXT_EMBEDDINGS, TRACKS
from spotify_ai_assets.catalog.embedding import TextStudio
from spotify_ai_assets.catalog.ids import artist_id

BAND = {"artist_id": artist_id("Band"), "name": "Band", "genre": "rock"}


@pytest.fixture
def make(lake, settings, instance):
    """Makes the asset from tracks of these titles and tells its metadata."""
    spelled = dataclasses.replace(settings, text_model="ngrams")

    def made(*titles: str) -> dict[str, object]:
        tracks = [
            {"track_id": f"t{place}", "name": title, "artist_id": BAND["artist_id"], "artist_name": "Band"}
            for place, title in enumerate(titles)
        ]
        for table, rows in ((TRACKS, tracks), (ALBUMS, []), (ARTISTS, [BAND])):
            lake.write(table.key, pl.DataFrame(rows, schema=table.schema))
        resources = {"lake": lake, "settings": spelled, "texts": TextStudio(spelled)}
        result = dg.materialize([text_embeddings, texts_are_embedded], instance=instance, resources=resources)
        assert result.success
        assert {each.check_name: each.passed for each in result.get_asset_check_evaluations()} == {
            "contract": True,
            "texts_are_embedded": True,
        }
        (told,) = result.asset_materializations_for_node("catalog__text_embeddings")
        return {name: value.value for name, value in told.metadata.items()}

    return made


def test_tracks_and_artists_are_embedded_and_only_changed_ones_again(make, lake):
    told = make("First", "Second")
    assert (told["texts_embedded"], told["texts_kept"], told["encoder"]) == (3, 0, "character-ngrams:1")
    assert "data:image/png" in told["plot"]
    told = make("First", "Second, live", "Third")
    assert (told["texts_embedded"], told["texts_kept"]) == (2, 2)
    assert lake.scan(TEXT_EMBEDDINGS.key).collect()["item_id"].to_list() == [BAND["artist_id"], "t0", "t1", "t2"]


def test_the_check_finds_what_has_no_vector_and_what_is_no_unit_vector(make, lake):
    make("First")
    lake.write(TRACKS.key, pl.DataFrame([{"track_id": "new", "name": "New", "artist_id": "a", "artist_name": "b"}], schema=TRACKS.schema))
    rows = lake.scan(TEXT_EMBEDDINGS.key).collect()
    longer = pl.when(pl.col("subject") == "artist").then(pl.col("embedding").list.eval(pl.element() * 2)).otherwise("embedding")
    lake.write(TEXT_EMBEDDINGS.key, rows.with_columns(longer, encoder=pl.col("subject")))
    found = texts_are_embedded(dg.build_asset_check_context(resources={"lake": lake}))
    assert not found.passed
    assert {name: each.value for name, each in found.metadata.items()} == {"without_embedding": 1, "not_of_unit_length": 1, "encoders": 2}
