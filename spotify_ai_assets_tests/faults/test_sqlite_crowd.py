"""The embedded databases under pressure: eight runs at once, and other processes that hold a database's lock."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from processes import at_once

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.launching import QUIET
from spotify_ai_assets.resources import chain as chain_module
from spotify_ai_assets.resources import identities
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.identities import Vault

pytestmark = [pytest.mark.slow, pytest.mark.fault]

EMBEDDED = {"storage": {"custom": {"module": "spotify_ai_assets.resources.embedded", "class": "EmbeddedStorage", "config": {}}}}
MADE, STEPS = 4, 2


@dg.op
def make(context: dg.OpExecutionContext) -> None:
    for number in range(MADE):
        context.log.info(f"line {number}")
        context.log_event(dg.AssetMaterialization(f"thing_{context.op_handle.name}", partition=str(number)))


@dg.job
def busy() -> None:
    for number in range(STEPS):
        make.alias(f"make_{number}")()


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The embedded instance, its files below the test's folder."""
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path / "data"))
    (tmp_path / "home").mkdir()
    with dg.instance_for_test(EMBEDDED, temp_dir=str(tmp_path / "home")) as instance:
        yield instance


def execute(ref: Any) -> tuple[str, bool]:
    with dg.DagsterInstance.from_ref(ref) as instance:
        done = busy.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
        return done.run_id, done.success


def kinds(instance: dg.DagsterInstance, run_id: str) -> Counter[str]:
    return Counter(entry.dagster_event_type.value if entry.dagster_event_type else "line" for entry in instance.all_logs(run_id))


def test_eight_runs_at_once_all_succeed_and_lose_no_event(embedded):
    alone = kinds(embedded, execute(embedded.get_ref())[0])
    assert alone["ASSET_MATERIALIZATION"] == MADE * STEPS and alone[dg.DagsterEventType.RUN_SUCCESS.value] == 1
    done = at_once(execute, [embedded.get_ref()] * 8)
    assert all(success for _, success in done) and len({run_id for run_id, _ in done}) == 8
    assert embedded.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])) == 9
    for run_id, _ in done:
        assert kinds(embedded, run_id) == alone
    told = embedded.event_log_storage.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION))
    assert len(told) == 9 * MADE * STEPS and len({record.storage_id for record in told}) == len(told)


@contextmanager
def held(path: Path, seconds: float, mode: str = "IMMEDIATE") -> Iterator[None]:
    """Another connection that holds a database's write lock for some seconds."""
    has_begun = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
            connection.execute(f"BEGIN {mode}")
            has_begun.set()
            time.sleep(seconds)
            connection.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    assert has_begun.wait(10)
    yield
    holder.join()


@pytest.mark.parametrize("name", ["runs.db", "index.db"])
def test_a_run_waits_for_a_locked_database_of_the_instance(embedded, tmp_path, name):
    execute(embedded.get_ref())
    (path,) = (tmp_path / "data" / "dagster").rglob(name)
    with held(path, 2.0):
        began = time.monotonic()
        run_id, success = execute(embedded.get_ref())
        assert success and time.monotonic() - began > 1.0, "it has waited"
    assert kinds(embedded, run_id)["ASSET_MATERIALIZATION"] == MADE * STEPS


@pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE"])
def test_an_append_waits_for_a_locked_ledger(tmp_path, mode):
    chain = Chain(f"sqlite:///{tmp_path}/ledger.db", "audit")
    chain.append("deed", {"n": 1})
    with held(tmp_path / "ledger.db", 1.0, mode):
        assert chain.append("deed", {"n": 2}).sequence == 2
    assert chain.verify() == []


def test_a_ledger_that_stays_locked_is_told_in_words_and_nothing_is_appended(tmp_path, monkeypatch):
    monkeypatch.setattr(chain_module, "_WAIT_S", 0.1)
    chain = Chain(f"sqlite:///{tmp_path}/ledger.db", "audit")
    chain.append("deed", {"n": 1})
    with held(tmp_path / "ledger.db", 1.5):
        with pytest.raises(TransientError, match="another process held it for too long"):
            chain.append("deed", {"n": 2})
        assert chain.head().sequence == 1, "who reads is not held up"
    assert chain.append("deed", {"n": 3}).sequence == 2 and chain.verify() == []


def test_a_vault_that_stays_locked_is_told_in_words_and_issues_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(identities, "_WAIT_S", 0.1)
    vault = Vault(f"sqlite:///{tmp_path}/vault.db")
    anna = vault.swap(["anna"])
    with held(tmp_path / "vault.db", 1.5):
        with pytest.raises(TransientError, match="does not answer") as told:
            vault.swap(["ben"])
        assert "ben" not in str(told.value) and vault.swap(["anna"]) == anna
    assert vault.count() == 1
