"""A listener is forgotten by tables, models, indices, shelves and trackings; what is left is what a platform that never saw them makes."""

from datetime import timedelta

import dagster as dg
import polars as pl
import pytest
import taste_world
from erasure_worlds import own_tables, pages_of
from taste_world import GROUP, TasteWorld

from spotify_ai_assets.backfill import run_backfill
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.erasure.machine import Tools, erase
from spotify_ai_assets.maintenance.erasure.targets import LEARNT
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.artifacts import open_artifacts
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.tables import TABLES

PERSON = taste_world.listener_id(7)

pytestmark = [GROUP, pytest.mark.slow]


def versions(world: TasteWorld) -> dict[str, list[str]]:
    artifacts = open_artifacts(world.settings)
    return {name: sorted(each.version for each in artifacts.versions(name)) for name in LEARNT}


def make(world: TasteWorld) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert not run_backfill(defs(), instance, world.lake, own_tables(), None, None).refused


def test_afterwards_all_is_as_if_the_listener_had_never_been(own_taste_world: TasteWorld, tmp_path):
    world, before = own_taste_world, versions(own_taste_world)
    vault = Vault(world.settings.vault_url, lambda _: PERSON)
    vault.swap(["user-of-number-7"])
    with dg.DagsterInstance.ephemeral() as instance:
        tools = Tools(world.settings, world.lake, vault, instance)
        tools.desk.accept("user-of-number-7")
        (case,) = erase(tools)
    assert case.state == "receipted" and case.figures("rebuilt")["is_trained"] and case.figures("purged")["trainings"] >= 2
    assert all(not set(before[name]) & set(after) and len(after) == 1 for name, after in versions(world).items())
    assert not (world.settings.data / "scratch" / "erasure").exists()

    with taste_world._environment(tmp_path / "never"):
        settings = taste_world.settings_in(tmp_path / "never")
        never = TasteWorld(settings, open_lake(settings, TABLES))
        for key, rows in taste_world.catalogue().items():
            never.lake.write(key, rows)
        for number in range(taste_world.DAYS):
            day = taste_world.FIRST + timedelta(days=number)
            never.lake.write(EVENTS.key, taste_world.play_day(day).filter(pl.col("listener_id") != PERSON), day)
        make(never)
        never.train()
    for key in TABLES:
        mine, theirs = ({name: state.digest for name, state in each.lake.states(key).items()} for each in (world, never))
        assert mine == theirs, key
    assert versions(world) == versions(never)
    assert pages_of(world.settings.reports) == pages_of(never.settings.reports)
