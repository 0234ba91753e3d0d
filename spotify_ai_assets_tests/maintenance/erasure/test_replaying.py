"""A restored platform that still knows the erased: the ledger finds them again, and they go before anybody opens it."""

import dataclasses
import shutil
from datetime import UTC, datetime

import polars as pl
from erasure_worlds import GROUP, ONLY, PERSON, World, open_world, plant, pseudonym_of, user_of

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.erasure.cases import Person, note_request
from spotify_ai_assets.maintenance.erasure.evidence import look, roots_of
from spotify_ai_assets.maintenance.erasure.replaying import find_erased, replay
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.suppression import Suppression

pytestmark = GROUP
NOW = datetime(2026, 3, 20, tzinfo=UTC)


def test_a_restored_backup_forgets_whom_the_ledger_knows(world: World, never: World, tmp_path, monkeypatch):
    plant(world, ONLY)
    shutil.copytree(world.settings.data, tmp_path / "backup", ignore=shutil.ignore_patterns("late.jsonl"))
    with world.tools() as tools:  # after the backup somebody asks
        tools.desk.accept(user_of(ONLY))
    restored = open_world(tmp_path / "backup")
    person = {"0": Person(user_of(ONLY), (pseudonym_of(ONLY),))}
    assert {hit.store for hit in look(restored.settings, person, roots_of(restored.settings)).hits} >= {
        "lake",
        "vault",
        "live",
        "stream",
        "logs",
    }

    done = replay(restored.settings, Suppression(world.settings))
    assert (done.listeners, done.left) == (1, ())
    assert done.rows["listening/events"] == 6, "days that were theirs alone are dropped whole from what was made"
    found = look(restored.settings, person, roots_of(restored.settings))
    assert found.hits == () and not any(path.is_file() for path in (restored.settings.data / "landing").rglob("*"))
    assert restored.vault.find(user_of(ONLY)) is None and restored.vault.find(user_of(PERSON)) == pseudonym_of(PERSON)
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(restored.settings.data))
    restored.make()
    assert restored.digests() == never.digests() | {"listening/kept_files": restored.digests()["listening/kept_files"]}
    assert restored.pages() == never.pages()
    again = replay(restored.settings, Suppression(world.settings))
    assert (again.listeners, again.rows, again.files) == (0, {}, 0)


def test_a_pseudonym_that_the_vault_forgot_is_still_found_in_the_tables(world: World):
    suppression = Suppression(world.settings)
    note_request(
        open_ledger(world.settings), suppression.hash("user", "x"), [suppression.hash("pseudonym", pseudonym_of(ONLY))], "file", NOW
    )
    world.vault.forget(pseudonym_of(ONLY))
    assert [person.pseudonyms for person in find_erased(world.settings, world.lake, suppression).values()] == [(pseudonym_of(ONLY),)]
    plant(world, ONLY)
    done = replay(world.settings, suppression)
    # Of what had landed, two listens were of others; whoever wrote the third is named by no pseudonym that is known.
    assert done.rows["listening/events"] == 6 and {what.partition(":")[0] for what in done.left} <= {"quarantine"}
    assert not any(path.is_file() for path in (world.settings.data / "landing").rglob("*"))
    assert world.lake.scan(EVENTS.key).filter(pl.col("listener_id") == pseudonym_of(ONLY)).collect().is_empty()


def test_where_nobody_was_erased_a_replay_changes_nothing(world: World):
    before = world.digests()
    done = replay(world.settings, Suppression(world.settings))
    assert dataclasses.replace(done, seconds=0.0) == type(done)(0) and world.digests() == before
