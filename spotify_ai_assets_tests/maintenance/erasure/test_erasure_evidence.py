"""What is read is all that the settings name, wherever it lies."""

import sqlite3
from contextlib import closing
from types import SimpleNamespace

from spotify_ai_assets.maintenance.erasure.cases import Person
from spotify_ai_assets.maintenance.erasure.evidence import databases_of, look, roots_of
from spotify_ai_assets.maintenance.erasure.purging import clear_stores
from spotify_ai_assets.settings import Settings

WHO = "5c41d07be5a2836f40b7d9e1c35a68ff"


def settings_of(data, **other: str) -> Settings:
    return Settings.from_environment({"SPOTIFY_AI_DATA": str(data), **{f"SPOTIFY_AI_{name}": str(value) for name, value in other.items()}})


def database(path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table told (what text)")
        connection.execute("insert into told values (?)", (text,))
        connection.commit()
    return f"sqlite:///{path}"


def test_databases_elsewhere_are_read_and_what_is_outside_is_not(tmp_path):
    data = tmp_path / "data"
    for name in ("lake", "demo", "backups"):
        (data / name).mkdir(parents=True)
    (tmp_path / "safe").mkdir()
    urls = {f"{name.upper()}_URL": database(tmp_path / name / "it.db", f"of {WHO}") for name in ("vault", "ledger", "tracking")}
    settings = settings_of(data, **urls, BACKUPS=tmp_path / "safe")
    assert roots_of(settings) == {
        "lake": data / "lake",
        "vault elsewhere": tmp_path / "vault",
        "ledger elsewhere": tmp_path / "ledger",
        "mlflow elsewhere": tmp_path / "tracking",
    }
    found = look(settings, {"0": Person(WHO)}, roots_of(settings))
    assert {hit.store for hit in found.hits} == {"vault elsewhere", "ledger elsewhere", "mlflow elsewhere"}


def test_of_a_database_above_the_data_folder_its_own_files_are_read(tmp_path):
    data = tmp_path / "data"
    (data / "backups").mkdir(parents=True)
    settings = settings_of(data, VAULT_URL=database(tmp_path / "vault.db", "x"))
    (tmp_path / "vault.db-wal").touch()
    assert roots_of(settings) == {"vault elsewhere": tmp_path / "vault.db", "vault elsewhere-wal": tmp_path / "vault.db-wal"}


def test_servers_are_read_with_that_of_the_instance_and_without_backups(tmp_path):
    url = "postgresql+psycopg2://u:p@host/"
    settings = settings_of(
        tmp_path, VAULT_URL=f"{url}vault", LEDGER_URL=f"{url}ledger", BACKUPS="s3://bucket/safe", LAKE="s3://bucket/lake"
    )
    servers = {"vault server": f"{url}vault", "ledger server": f"{url}ledger", "lake server": "s3://bucket/lake"}
    assert databases_of(settings) == servers
    instance = SimpleNamespace(run_storage=SimpleNamespace(postgres_url=f"{url}dagster"))
    assert databases_of(settings, instance) == servers | {"dagster server": f"{url}dagster"}


def test_tracked_trainings_elsewhere_lose_the_person_and_what_lies_beside_them_is_left(tmp_path):
    settings = settings_of(tmp_path / "data", TRACKING_URL=database(tmp_path / "there" / "mlflow.db", f"of {WHO}"))
    settings.data.mkdir()
    other = tmp_path / "there" / "somebody's.txt"
    other.write_text(WHO)
    assert clear_stores(settings, {"0": Person(WHO)}, [WHO])["texts"] == 1
    with closing(sqlite3.connect(tmp_path / "there" / "mlflow.db")) as connection:
        assert connection.execute("select what from told").fetchall() == [("of [erased]",)]
    assert WHO.encode() not in (tmp_path / "there" / "mlflow.db").read_bytes() and other.read_text() == WHO
