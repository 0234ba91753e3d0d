"""A restored platform is the one that was backed up, less whom the ledger names; nothing opens before that."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from backup_worlds import AT, MODEL, World, pseudonym_of, publish, rows_of, settings_of
from invented import day

from spotify_ai_assets.errors import LockTimeoutError, TransientError
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.backup import restoring, saving, sources
from spotify_ai_assets.maintenance.backup.ledgers import copy_ledger
from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.restoring import compare, restore
from spotify_ai_assets.maintenance.backup.saving import forget_old, list_snapshots, open_repository
from spotify_ai_assets.maintenance.erasure import replaying
from spotify_ai_assets.maintenance.erasure.machine import BACKUP_S
from spotify_ai_assets.resources import open_lake, open_locks
from spotify_ai_assets.resources.audit import open_audit, open_ledger
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.resources.suppression import REQUESTED
from spotify_ai_assets.tables import TABLES


def restored_world(world: World, target: Path, wanted: str = "latest", **options) -> World:
    restore(world.settings, wanted, target, **options)
    return World(settings_of(target))


def test_a_restored_platform_has_everything_in_its_place(world: World, tmp_path: Path) -> None:
    made = world.back_up()
    assert made.snapshot.facts["rows"] == 120 and made.saved.vanished == 0
    found = restore(world.settings, "latest", tmp_path / "back", is_deep=True)
    assert (found.tables, found.partitions, found.rows, found.erased, found.notes) == (1, 2, 120, 0, ())
    back = World(settings_of(tmp_path / "back"))
    assert back.lake.scan(EVENTS.key).collect().equals(world.lake.scan(EVENTS.key).collect())
    assert back.vault.find("listener-3") == pseudonym_of("listener-3") and back.vault.count() == 6
    assert back.artifacts.read(MODEL, back.artifacts.pointers(MODEL).aliases["serving"], "weights") == b"first"
    assert (tmp_path / "back" / "reports" / "index.html").read_text() == "<p>a page</p>"
    assert (tmp_path / "back" / "landing" / "later.json").exists()
    with closing(sqlite3.connect(tmp_path / "back" / "mlflow" / "mlflow.db")) as database:
        (place,) = database.execute("SELECT artifact_location FROM experiments").fetchone()
    assert place == f"file://{tmp_path}/back/mlflow/artifacts/1"
    # What is made again, or has no place in a backup, is not in it; the key of backups comes along from where it is kept.
    assert {path.name for path in (tmp_path / "back").iterdir()} >= {"lake", "vault", "artifacts", "keys", "ledger", "mlflow"}
    assert not (tmp_path / "back" / "logs").exists() and not list(tmp_path.glob(".*restoring"))
    assert open_key(back.settings, "backup") == open_key(world.settings, "backup")
    assert [record.kind for record in open_audit(back.settings).chain.records()] == ["configured", "restored"]
    told = open_audit(world.settings).newest("restored")
    assert told and told.body["figures"]["rows"] == 120


def test_the_settings_of_a_backup_hold_no_secret(world: World, tmp_path: Path) -> None:
    address = f"sqlite:///{world.settings.data}/mlflow/mlflow.db?word=hunter2"
    hidden = replace(world.settings, tracking_url=address, pseudonym_seed="hunter2")
    saving.make_backup(hidden, world.lake, engine="embedded", clock=lambda: AT)
    restore(world.settings, "latest", tmp_path / "back")
    (told,) = (tmp_path / "back" / "backups" / "restored").rglob("settings.json")
    assert "hunter2" not in told.read_text() and json.loads(told.read_text())["language"] == "en"


def test_each_retained_backup_gives_the_platform_of_its_time(world: World, tmp_path: Path) -> None:
    first = world.back_up(AT)
    world.lake.write(EVENTS.key, rows_of(1, 7), day(1))
    second_model = publish(world.artifacts, b"second")
    second = world.back_up(AT + timedelta(days=1))
    world.lake.write(EVENTS.key, rows_of(2), day(2))
    world.back_up(AT + timedelta(days=2))
    rows = {}
    for wanted in (first.snapshot.id, str(AT + timedelta(days=1, hours=1)), "latest"):
        back = restored_world(world, tmp_path / f"back{len(rows)}", wanted)
        rows[wanted] = back.lake.scan(EVENTS.key).collect().height
        serving = back.artifacts.pointers(MODEL).aliases["serving"]
        assert (serving == second_model) == (wanted != first.snapshot.id)
        assert back.artifacts.read(MODEL, serving, "weights") in (b"first", b"second")
    assert list(rows.values()) == [120, 67, 127] and second.saved.added_bytes < 200_000


def test_what_came_after_the_pointers_is_cut_off(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A commit and a flip happen between the pointers and the data.
    def late(lake, plain=saving.read_tables):
        found = plain(lake)
        world.lake.write(EVENTS.key, rows_of(1, 7), day(1))
        world.lake.write(EVENTS.key, rows_of(5, 7), day(5))
        publish(world.artifacts, b"late")
        return found

    monkeypatch.setattr(saving, "read_tables", late)
    world.back_up()
    back = restored_world(world, tmp_path / "back")
    assert sorted(back.lake.states(EVENTS.key)) == [str(day(0)), str(day(1))]
    assert back.lake.scan(EVENTS.key).collect().height == 120
    assert back.artifacts.read(MODEL, back.artifacts.pointers(MODEL).aliases["serving"], "weights") == b"first"
    back.lake.write(EVENTS.key, rows_of(3), day(3))
    assert back.lake.scan(EVENTS.key).collect().height == 180


def test_writers_go_on_while_a_backup_is_made_and_vacuum_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def meanwhile(lake, plain=saving.read_tables):
        def try_both() -> None:
            impatient = open_lake(world.settings, TABLES)
            impatient.locks = FileLocks(world.settings.data / "locks", 0.2)
            impatient.write(EVENTS.key, rows_of(4), day(4))
            seen["written"] = True
            for blocked in (lambda: impatient.forget_history(EVENTS.key), lambda: hold("erasure"), lambda: hold("backups")):
                with pytest.raises(LockTimeoutError):
                    blocked()
            seen["waited"] = True

        thread = threading.Thread(target=try_both)
        thread.start()
        thread.join()
        return plain(lake)

    def hold(name: str) -> None:
        with open_locks(world.settings, 0.2).exclusive(name):
            pass

    monkeypatch.setattr(saving, "read_tables", meanwhile)
    world.back_up()
    assert seen == {"written": True, "waited": True}
    world.lake.forget_history(EVENTS.key)


def test_whom_the_ledger_names_is_not_in_what_is_restored(world: World, tmp_path: Path) -> None:
    world.back_up()
    world.request_erasure("listener-2")
    found = restore(world.settings, "latest", tmp_path / "back")
    back = World(settings_of(tmp_path / "back"))
    assert found.erased == 1 and back.vault.find("listener-2") is None and back.vault.count() == 5
    rows = back.lake.scan(EVENTS.key).collect()
    assert rows.height == 100 and rows.filter(pl.col("listener_id") == pseudonym_of("listener-2")).is_empty()
    gone = (b"listener-2", pseudonym_of("listener-2").encode())
    assert not [path for path in (tmp_path / "back").rglob("*") if path.is_file() and any(each in path.read_bytes() for each in gone)]
    assert open_ledger(back.settings).newest(REQUESTED) == open_ledger(world.settings).newest(REQUESTED)


@pytest.mark.parametrize("lost", ["nothing", "running", "copy"])
def test_the_longest_ledger_is_taken_wherever_it_is(world: World, tmp_path: Path, lost: str) -> None:
    world.request_erasure("listener-1")
    world.back_up()
    world.request_erasure("listener-2")
    copy_ledger(world.settings)
    if lost == "running":  # the machine is another one: keys and the place of backups were kept
        shutil.rmtree(world.settings.data / "ledger")
    if lost == "copy":
        (world.settings.data / "backups" / "ledger" / "erasure.jsonl").unlink()
    back = restored_world(world, tmp_path / "back")
    assert open_ledger(back.settings).head().sequence == 2 and back.vault.count() == 4


def test_ledgers_that_tell_different_stories_keep_a_restore_from_ending(world: World, tmp_path: Path) -> None:
    world.request_erasure("listener-1")
    world.back_up()
    shutil.rmtree(world.settings.data / "ledger")
    (world.settings.data / "backups" / "ledger" / "erasure.jsonl").unlink()
    world.request_erasure("listener-2")
    with pytest.raises(BackupError, match="different stories"):
        restore(world.settings, "latest", tmp_path / "back")
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".back*"))


def test_a_running_ledger_that_is_damaged_is_told_of_and_not_heeded(world: World, tmp_path: Path) -> None:
    world.request_erasure("listener-1")
    world.back_up()
    with closing(sqlite3.connect(world.settings.data / "ledger" / "ledger.db")) as database, database:
        database.execute("DROP TRIGGER chain_no_update")
        database.execute("UPDATE chain_records SET body = '{}' WHERE chain = 'erasure'")
    found = restore(world.settings, "latest", tmp_path / "back", is_told=False)
    assert found.notes == ("the running ledger is damaged and was not heeded",) and found.erased == 1


def test_without_the_key_of_the_ledger_nothing_is_restored(world: World, tmp_path: Path) -> None:
    world.request_erasure("listener-1")
    world.back_up()
    (world.settings.data / "keys" / "ledger.key").write_bytes(bytes(32))
    with pytest.raises(BackupError, match="SPOTIFY_AI_LEDGER_KEY"):
        restore(world.settings, "latest", tmp_path / "back")
    (world.settings.data / "keys" / "backup.key").write_bytes(bytes(32))
    with pytest.raises(BackupError, match="SPOTIFY_AI_BACKUP_KEY"):
        restore(world.settings, "latest", tmp_path / "back")


def test_somebody_who_cannot_be_erased_keeps_the_platform_from_opening(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.back_up()
    monkeypatch.setattr(replaying, "replay", lambda *_, **__: replaying.Replayed(1, left=("reports: a page",)))
    with pytest.raises(BackupError, match="could not be erased again: reports"):
        restore(world.settings, "latest", tmp_path / "back")
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".back*"))


def test_only_an_empty_folder_is_restored_into(world: World, tmp_path: Path) -> None:
    world.back_up()
    (tmp_path / "empty").mkdir()
    assert restored_world(world, tmp_path / "empty").vault.count() == 6
    for target in (tmp_path / "empty", world.settings.data, tmp_path / "data" / "reports" / "index.html"):
        with pytest.raises(BackupError, match="empty folder"):
            restore(world.settings, "latest", target)
    with pytest.raises(BackupError, match="no such backup"):
        restore(world.settings, "2020-01-01", tmp_path / "other")


def test_what_a_killed_restore_left_is_removed_by_the_next_one(world: World, tmp_path: Path) -> None:
    world.back_up()
    left = tmp_path / ".back.restoring" / "vault"
    left.mkdir(parents=True)
    (left / "identities.db").write_text("half of a vault")
    assert restored_world(world, tmp_path / "back").vault.count() == 6
    assert not left.parent.exists()


@pytest.mark.parametrize("step", ["_assemble", "compare", "_replay", "_record"])
def test_a_restore_that_dies_at_any_step_leaves_nothing_that_could_be_opened(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world.back_up()

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restoring, step, die)
        with pytest.raises(KeyboardInterrupt):
            restore(world.settings, "latest", tmp_path / "back")
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".back*"))
    assert restored_world(world, tmp_path / "back").vault.count() == 6


def test_a_full_disk_is_told_in_words_and_leaves_nothing(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.back_up()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", full)
    with pytest.raises(TransientError, match="No space left"):
        restore(world.settings, "latest", tmp_path / "back")
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".back*"))


def test_a_lake_that_is_not_what_the_manifest_says_is_found(world: World, tmp_path: Path) -> None:
    made = world.back_up()
    manifest = open_repository(world.settings).manifest(made.snapshot.id)
    back = restored_world(world, tmp_path / "back")
    assert compare(back.lake, manifest, is_deep=True) == []
    path = next((tmp_path / "back" / "lake" / "listening" / "events" / f"day={day(1)}").glob("*.parquet"))
    changed = pl.read_parquet(path, hive_partitioning=False).with_columns(played_ms=pl.col("played_ms") + 1)
    changed.write_parquet(path, metadata=pl.read_parquet_metadata(path))
    assert compare(back.lake, manifest) == [] and compare(back.lake, manifest, is_deep=True) == [f"{EVENTS.key}@{day(1)}"]
    back.lake.write(EVENTS.key, rows_of(0, 5), day(0))
    assert compare(back.lake, manifest) == [EVENTS.key]


def test_old_backups_go_only_when_it_is_no_dry_run(world: World, tmp_path: Path) -> None:
    old, new = world.back_up(AT), world.back_up(AT + timedelta(days=40))
    now = AT + timedelta(days=40, hours=1)
    before = {path: path.read_bytes() for path in (world.settings.data / "backups").rglob("*") if path.is_file()}
    assert [each.id for each in forget_old(world.settings, now=now)] == [old.snapshot.id]
    assert before == {path: path.read_bytes() for path in (world.settings.data / "backups").rglob("*") if path.is_file()}
    assert [each.id for each in forget_old(world.settings, now=now, dry_run=False)] == [old.snapshot.id]
    assert [each.id for each in list_snapshots(world.settings)] == [new.snapshot.id]
    assert restored_world(world, tmp_path / "back").vault.count() == 6


def test_the_last_backup_does_not_outlive_the_promise_to_whoever_was_erased_since(world: World) -> None:
    now = datetime.now(UTC)
    made = world.back_up(now - timedelta(days=31))
    assert forget_old(world.settings, now=now, dry_run=False) == []
    world.request_erasure("listener-1")
    assert [each.id for each in forget_old(world.settings, now=now, dry_run=False)] == [made.snapshot.id]
    assert list_snapshots(world.settings) == []
    pieces = world.settings.data / "backups" / "repository" / "pieces"
    assert not any(path.is_file() for path in pieces.rglob("*"))
    assert world.back_up(now).snapshot in list_snapshots(world.settings)


def test_a_backup_waits_for_an_erasure_as_long_as_that_may_take(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    def note(settings, timeout_s=None):
        waits.append(timeout_s)
        return open_locks(settings, timeout_s)

    monkeypatch.setattr(saving, "open_locks", note)
    world.back_up()
    assert waits and min(waits) >= BACKUP_S


@pytest.fixture
def dumped(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A platform whose MLflow and Dagster are in a PostgreSQL that is none; its backup is made."""

    def dump(_url: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"PGDMP")

    monkeypatch.setattr(sources, "dump_postgres", dump)
    named = World(replace(world.settings, tracking_url="postgresql+psycopg2://nowhere/mlflow"))
    named.back_up(dagster_url="postgresql+psycopg2://nowhere/dagster")
    return world


NAMED = {"mlflow": "postgresql+psycopg2://there/mlflow", "dagster": "postgresql+psycopg2://there/dagster"}


def test_what_a_failed_restore_loaded_into_databases_is_dropped_again(
    dumped: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, emptied = [], []
    monkeypatch.setattr(restoring, "load_postgres", lambda url, _dump: loaded.append(url))
    monkeypatch.setattr(restoring, "empty_postgres", emptied.append)
    restore(dumped.settings, "latest", tmp_path / "fine", databases=NAMED)
    assert sorted(loaded) == sorted(NAMED.values()) and emptied == []

    def die(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    # The last step, after the folder has its name already.
    monkeypatch.setattr(restoring, "sync_path", die)
    with pytest.raises(TransientError, match="No space left"):
        restore(dumped.settings, "latest", tmp_path / "back", databases=NAMED)
    assert sorted(emptied) == sorted(NAMED.values())
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".back*"))

    def refuse(_url: str) -> None:
        raise TransientError("a database could not be emptied")

    monkeypatch.setattr(restoring, "empty_postgres", refuse)
    with pytest.raises(BackupError, match="mlflow, dagster by hand"):
        restore(dumped.settings, "latest", tmp_path / "back", databases=NAMED)


def test_a_database_that_is_not_empty_is_not_emptied(dumped: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emptied = []

    def load(url: str, _dump: Path) -> None:
        raise BackupError("a dump is loaded into an empty database only; this one has tables")

    monkeypatch.setattr(restoring, "load_postgres", load)
    monkeypatch.setattr(restoring, "empty_postgres", emptied.append)
    with pytest.raises(BackupError, match="has tables"):
        restore(dumped.settings, "latest", tmp_path / "back", databases=NAMED)
    assert emptied == []


def test_a_history_in_which_nobody_can_be_looked_for_is_not_loaded_once_somebody_was_erased(
    dumped: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    monkeypatch.setattr(restoring, "load_postgres", lambda url, _dump: loaded.append(url))
    dumped.request_erasure("listener-1")
    found = restore(dumped.settings, "latest", tmp_path / "back", databases={"dagster": NAMED["dagster"]})
    assert found.erased == 1 and loaded == [] and any("dagster was in PostgreSQL and was not loaded" in note for note in found.notes)
    assert not list((tmp_path / "back").rglob("*.dump")) and not list(tmp_path.glob(".back*"))


def test_the_replay_looks_into_the_database_that_mlflow_was_restored_to(
    dumped: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    monkeypatch.setattr(restoring, "load_postgres", lambda _url, _dump: None)
    monkeypatch.setattr(restoring, "_replay", lambda restored: looked.append(restored.tracking_url) or replaying.Replayed(0))
    restore(dumped.settings, "latest", tmp_path / "back", databases=NAMED)
    assert looked == [NAMED["mlflow"]]


def test_databases_that_settings_name_elsewhere_come_to_where_they_would_be(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name, store in (("identities.db", "vault"), ("ledger.db", "ledger")):
        shutil.move(world.settings.data / store / name, tmp_path / "elsewhere" / name)
        shutil.rmtree(world.settings.data / store)
    named = replace(
        world.settings,
        vault_url=f"sqlite:///{tmp_path}/elsewhere/identities.db",
        ledger_url=f"sqlite:///{tmp_path}/elsewhere/ledger.db",
    )
    World(named).back_up()
    back = restored_world(World(named), tmp_path / "back")
    assert back.vault.count() == 6 and open_audit(back.settings).newest("configured")


def test_every_store_is_either_in_a_backup_or_said_not_to_be(world: World) -> None:
    for store in sources.STORES:
        (world.settings.data / store.name).mkdir(exist_ok=True)
        (world.settings.data / store.name / "marker").write_text(store.name)
    made = world.back_up()
    manifest = open_repository(world.settings).manifest(made.snapshot.id)
    assert set(manifest.roots) - {"staged"} == {store.name for store in sources.STORES if store.backup != "no"}
    assert not {"keys", "backups", "scratch", "logs", "kept", "demo", "requests", "locks"} & set(manifest.roots)


_MAKE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from spotify_ai_assets.maintenance.backup.saving import make_backup
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES
import cryptography.hazmat.primitives.ciphers.aead, deltalake, sqlalchemy, zstandard
settings = Settings.from_environment({"SPOTIFY_AI_DATA": sys.argv[1]})
lake = open_lake(settings, TABLES)
print("ready", flush=True)
sys.stdin.readline()
make_backup(settings, lake, engine="embedded")
print("done", flush=True)
"""


@pytest.mark.slow
def test_a_backup_killed_at_any_time_leaves_whole_ones_only(world: World, tmp_path: Path) -> None:
    world.back_up()
    (world.settings.data / "reports" / "large").write_bytes(os.urandom(40_000_000))
    seen = []
    for delay_s in (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0):
        command = [sys.executable, "-c", _MAKE, str(world.settings.data)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout and process.stdout.readline() == "ready\n"
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
        seen.append(len(list_snapshots(world.settings)))
        assert open_repository(world.settings).check(saving.quiet) == []
    assert seen[0] == 1
    world.back_up(AT + timedelta(days=1))
    scratch = world.settings.data / "scratch" / "backup"
    assert not scratch.exists()  # what the killed ones copied of the vault went with the next
    assert restored_world(world, tmp_path / "back", str(AT)).vault.count() == 6
    assert restored_world(world, tmp_path / "new", str(AT + timedelta(days=1))).vault.count() == 6
