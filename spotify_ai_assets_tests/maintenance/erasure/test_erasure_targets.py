"""Nothing that can hold a person is forgotten by those who forget."""

import re
from pathlib import Path

import pytest
from taste_world import GROUP, TasteWorld

import spotify_ai_assets
from spotify_ai_assets.maintenance.erasure.rewriting import is_theirs
from spotify_ai_assets.maintenance.erasure.targets import (
    ARTIFACT_KINDS,
    LISTENER,
    OUTSIDE,
    about_listeners,
    pseudonym_columns,
    touched_by_listeners,
    unregistered,
)
from spotify_ai_assets.resources.artifacts import open_artifacts
from spotify_ai_assets.stores import STORES
from spotify_ai_assets.tables import TABLES

NOT_BY_LISTENER = {"audio/files", "audio/given_links", "audio/labels", "audio/perceptual_labels"}
"""Their personal columns are names of files, which the byte scan looks through."""


def test_every_table_with_a_personal_column_is_reached_by_its_listener():
    personal = {key for key, table in TABLES.items() if any(column.personal != "none" for column in table.columns)}
    assert personal - NOT_BY_LISTENER == {table.key for table in about_listeners(TABLES)}
    assert {name for table in TABLES.values() for name in pseudonym_columns(table)} == {LISTENER}


def test_whoever_reads_a_table_about_listeners_is_touched_itself():
    touched = {table.key for table in touched_by_listeners(TABLES)}
    for key, table in TABLES.items():
        is_behind = any(reads.key in touched for reads in table.reads)
        assert (key in touched) == (is_behind or bool(pseudonym_columns(table))), key
    assert "listening/charts" in touched and "reports/daily_listening" in touched and "catalog/tracks" not in touched


def test_rows_with_a_missing_listener_are_nobodys():
    table = TABLES["listening/events"]
    frame = table.empty().clear(2).select("listener_id")
    assert frame.select(is_theirs(table, ["x"])).to_series().to_list() == [False, False]


@GROUP
def test_every_kind_of_artifact_that_a_world_has_is_registered(taste_world: TasteWorld):
    names = open_artifacts(taste_world.settings).names()
    assert len(names) >= 6 and unregistered(names, [path.name for path in taste_world.settings.data.iterdir()]) == []


def test_every_kind_of_artifact_that_the_code_names_is_registered():
    written = {
        name
        for path in Path(spotify_ai_assets.__file__).parent.rglob("*.py")
        for name in re.findall(r'(?:MODEL|RECIPE|RELEASE|ENCODER|CLASSIFIER)\w* *= *"([a-z_]+/[a-z_]+)"', path.read_text())
    }
    models = {key for key, table in TABLES.items() if table.is_model} - {"recommendations/evaluation"}
    assert (
        models | (written & {each for each in written if each.partition("/")[0] in ("audio", "recommendations")}) <= ARTIFACT_KINDS.keys()
    )


def test_what_nobody_registered_is_told_without_its_name():
    (kind, folder) = unregistered(["audio/encoder", "new/thing"], ["lake", "anna's things"])
    assert kind == "the kind of artifact new/thing is not registered" and "anna" not in folder


def test_stores_that_are_not_read_are_stores():
    assert set(OUTSIDE) <= {store.name for store in STORES}


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_store_with_people_in_it_is_not_just_kept(store):
    assert store.forgetting != "kept" or store.personal == "none" or store.name in OUTSIDE
