"""Databases in a real PostgreSQL are backed up by pg_dump, and restored into empty ones only."""

import uuid
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import NullPool, create_engine, inspect, make_url, text

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.backup import restoring
from spotify_ai_assets.maintenance.backup.databases import dump_postgres, empty_postgres, load_postgres
from spotify_ai_assets.maintenance.backup.drilling import drill
from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.restoring import restore, settings_in
from spotify_ai_assets.maintenance.backup.saving import make_backup
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.audit import open_audit, open_ledger, who_asks
from spotify_ai_assets.resources.identities import Vault
from spotify_ai_assets.resources.suppression import REQUESTED, Suppression
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

DAY = date(2026, 3, 2)


def new_database(postgres: str) -> str:
    """The address of a database of its own on the server."""
    name = f"backup_{uuid.uuid4().hex}"
    with create_engine(postgres, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return make_url(postgres).set(database=name).render_as_string(hide_password=False)


def databases(postgres: str) -> list[str]:
    """The databases of the server."""
    with create_engine(postgres, poolclass=NullPool).connect() as connection:
        return list(connection.execute(text("SELECT datname FROM pg_database")).scalars())


def test_a_dump_is_loaded_into_an_empty_database_only(postgres: str, tmp_path: Path) -> None:
    source, target = new_database(postgres), new_database(postgres)
    pairs = Vault(source).swap(["one", "two"])
    dump_postgres(source, tmp_path / "vault.dump")
    assert (tmp_path / "vault.dump").stat().st_mode & 0o077 == 0
    load_postgres(target, tmp_path / "vault.dump")
    assert Vault(target).swap(["one", "two"]) == pairs
    with pytest.raises(BackupError, match="empty database"):
        load_postgres(target, tmp_path / "vault.dump")


def test_what_was_loaded_can_be_dropped_again(postgres: str, tmp_path: Path) -> None:
    source, target = new_database(postgres), new_database(postgres)
    pairs = Vault(source).swap(["one", "two"])
    with create_engine(source, poolclass=NullPool).begin() as connection:
        for statement in (
            'CREATE SCHEMA "an odd one"',
            'CREATE TABLE "an odd one"."a ""table""" (n serial PRIMARY KEY)',
            "CREATE VIEW seen AS SELECT pseudonym FROM identities",
            "CREATE SEQUENCE counted",
        ):
            connection.execute(text(statement))
    dump_postgres(source, tmp_path / "vault.dump")
    load_postgres(target, tmp_path / "vault.dump")
    empty_postgres(target)
    found = inspect(create_engine(target, poolclass=NullPool))
    for schema in ("public", "an odd one"):
        assert not found.get_table_names(schema) and not found.get_view_names(schema) and not found.get_sequence_names(schema)
    empty_postgres(target)
    assert Vault(source).swap(["one", "two"]) == pairs


def test_a_platform_on_postgres_comes_back_without_whom_its_ledger_names(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    settings = replace(
        Settings.from_environment({"SPOTIFY_AI_DATA": str(folder)}),
        vault_url=new_database(postgres),
        ledger_url=new_database(postgres),
    )
    lake, vault = open_lake(settings, TABLES), Vault(settings.vault_url)
    pairs = vault.swap(["listener-one", "listener-two"])
    row = {name: None for name in EVENTS.schema} | {
        "day": DAY,
        "started_at": None,
        "kind": "track",
        "played_ms": 60_000,
        "is_minute_grain": False,
        "source": "native_jsonl",
        "track_id": "spotify:" + "0" * 22,
    }
    rows = pl.DataFrame([{**row, "listener_id": pseudonym} for pseudonym in pairs.values()], schema=EVENTS.schema)
    lake.write(EVENTS.key, rows.with_columns(started_at=pl.col("day").cast(EVENTS.schema["started_at"])), DAY)
    open_audit(settings).record("configured", subject="settings", who=who_asks())
    made = make_backup(settings, lake, engine="embedded")
    assert made.snapshot.facts["rows"] == 2
    hashed = Suppression(settings)
    told = {"request": "r1", "user": hashed.hash("user", "listener-one"), "pseudonyms": [hashed.hash("pseudonym", pairs["listener-one"])]}
    open_ledger(settings).append(REQUESTED, told)
    with pytest.raises(BackupError, match="--database vault="):
        restore(settings, "latest", tmp_path / "back")
    with pytest.raises(BackupError, match="no dump of mlflow"):
        restore(settings, "latest", tmp_path / "back", databases={"vault": new_database(postgres), "mlflow": new_database(postgres)})
    target = new_database(postgres)
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_replay", lambda restored: 1 / (Vault(restored.vault_url).count() - 2))
        with pytest.raises(ZeroDivisionError):
            restore(settings, "latest", tmp_path / "back", databases={"vault": target})
    assert inspect(create_engine(target, poolclass=NullPool)).get_table_names() == [], "nobody is left in it who was not erased there"
    found = restore(settings, "latest", tmp_path / "back", databases={"vault": target})
    back = replace(settings_in(tmp_path / "back", settings), vault_url=target)
    assert found.erased == 1 and Vault(target).find("listener-one") is None
    assert Vault(target).find("listener-two") == pairs["listener-two"]
    assert open_lake(back, TABLES).scan(EVENTS.key).collect()["listener_id"].to_list() == [pairs["listener-two"]]
    assert open_ledger(back).head() == open_ledger(settings).head()
    assert [record.kind for record in open_audit(back).chain.records()] == ["configured", "restored"]
    assert not list((tmp_path / "back").rglob("*.dump")) and vault.count() == 2
    drilled = drill(settings, lambda *_: None, ())
    assert drilled.is_passed and drilled.erased == 1 and drilled.canary_before > 0 == drilled.canary_after, drilled.failure
    assert "spotify_ai_drill" not in " ".join(databases(postgres)) and vault.count() == 2
