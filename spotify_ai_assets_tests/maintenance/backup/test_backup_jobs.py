"""The jobs of backups and drills: what they leave in the audit trail, in the lake and in the place of backups."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from backup_worlds import World, rows_of
from invented import day
from pydantic import ValidationError
from typer.testing import CliRunner

from spotify_ai_assets.backfill import run_backfill, select_tables
from spotify_ai_assets.cli import app
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.launching import QUIET
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.maintenance.backup import drilling, jobs
from spotify_ai_assets.maintenance.backup.checks import newest_drill
from spotify_ai_assets.maintenance.backup.contracts import DRILLS
from spotify_ai_assets.maintenance.backup.jobs import backup, backup_config, drill, nightly_backup, weekly_drill
from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.maintenance.backup.saving import list_snapshots
from spotify_ai_assets.maintenance.erasure import scanning
from spotify_ai_assets.maintenance.erasure.forms import Needles
from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.resources.audit import open_audit
from spotify_ai_assets.runs import launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A platform whose settings are those of the environment."""
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(world.settings.data))
    return World(Settings.from_environment())


def run(job: dg.JobDefinition, instance: dg.DagsterInstance, config: Mapping[str, Any] | None = None) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(instance=instance, run_config={**QUIET, **(config or {})}, tags=launch_tags(), raise_on_error=False)


def checked(world: World) -> dg.AssetCheckResult:
    context = dg.build_asset_check_context(resources={"lake": world.lake})
    result = newest_drill(context)
    assert isinstance(result, dg.AssetCheckResult)
    return result


def test_a_run_backs_up_and_tells_the_audit_trail(here: World, instance: dg.DagsterInstance) -> None:
    assert run(backup, instance, backup_config(dry_run=False, engine="embedded")).success
    (snapshot,) = list_snapshots(here.settings)
    record = open_audit(here.settings).newest("backed_up")
    assert record and record.body["subject"] == snapshot.id and record.body["outcome"] == "success"
    figures = record.body["figures"]
    assert figures["rows"] == 120 and figures["snapshots"] == 1 and figures["bytes"] > 0 and figures["seconds"] > 0
    assert figures["engine"] == "embedded" and len(record.body["trace_id"]) == 32
    expired = open_audit(here.settings).newest("backups_expired")
    assert expired and expired.body["figures"]["removed"] == 0 and expired.body["figures"]["snapshots"] == 1, "it comes after the backup"


def test_a_dry_run_removes_and_records_nothing_of_old_backups(here: World, instance: dg.DagsterInstance) -> None:
    old = here.back_up(datetime.now(UTC) - timedelta(days=50))
    assert run(backup, instance, backup_config(dry_run=True, engine="embedded")).success
    assert old.snapshot in list_snapshots(here.settings) and open_audit(here.settings).newest("backups_expired") is None
    assert run(backup, instance, backup_config(dry_run=False, engine="embedded")).success
    assert old.snapshot not in list_snapshots(here.settings) and len(list_snapshots(here.settings)) == 1


def test_a_failed_backup_is_recorded_as_such_and_not_tried_in_vain(here: World, instance: dg.DagsterInstance) -> None:
    here.back_up()
    (here.settings.data / "keys" / "backup.key").write_bytes(bytes(32))
    result = run(backup, instance, backup_config(dry_run=False))
    assert not result.success and [event.step_key for event in result.get_step_failure_events()] == ["save", "expire"]
    failed = [record.body for record in open_audit(here.settings).search(action="backed_up")]
    assert [body["outcome"] for body in failed] == ["failure"]


def test_old_backups_go_although_no_new_one_could_be_made(
    here: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (here.back_up(datetime.now(UTC) - timedelta(days=age)) for age in (40, 1))

    def fail(*_: object, **__: object) -> None:
        raise BackupError("a database is damaged")

    monkeypatch.setattr("spotify_ai_assets.maintenance.backup.saving.make_backup", fail)
    result = run(backup, instance, backup_config(dry_run=False))
    assert not result.success and [event.step_key for event in result.get_step_failure_events()] == ["save"]
    assert list_snapshots(here.settings) == [new.snapshot] and old.snapshot.engine == "embedded"
    expired = open_audit(here.settings).newest("backups_expired")
    assert expired and expired.body["figures"]["removed"] == 1


def test_two_backups_do_not_overlap(here: World, instance: dg.DagsterInstance) -> None:
    with open_locks(here.settings).exclusive("job.backup"):
        assert not run(backup, instance, backup_config(dry_run=True)).success
    assert list_snapshots(here.settings) == []


def test_the_schedules_are_destructive_only_where_they_say_so() -> None:
    at = datetime(2026, 3, 8, 5, tzinfo=UTC)
    for schedule, job in ((nightly_backup, backup), (weekly_drill, drill)):
        request = next(iter(schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=at)).run_requests or ()))
        assert dg.validate_run_config(job, request.run_config)
        assert request.run_key == "2026-03-08"
    assert backup_config(dry_run=False)["ops"]["expire"]["config"] == {"dry_run": False}
    for wrong in ("../../etc", "", "latest\n", "x" * 41):
        with pytest.raises(ValidationError):
            jobs.DrillConfig(snapshot=wrong)


@pytest.fixture
def grown(here: World, instance: dg.DagsterInstance) -> World:
    """A platform with tables that were made from others."""
    tables = select_tables(["listening/plays", "listening/country_days"])
    assert not run_backfill(defs(), instance, here.lake, tables, day(0), day(1)).refused
    return here


def test_a_drill_proves_a_backup_and_is_a_row_a_record_and_a_materialisation(grown: World, instance: dg.DagsterInstance) -> None:
    assert checked(grown).passed  # nothing to judge yet
    grown.back_up(datetime.now(UTC) - timedelta(hours=1))
    before = {path: path.read_bytes() for path in (grown.settings.data / "lake").rglob("*.parquet")}
    assert run(drill, instance).success
    (row,) = grown.lake.scan(DRILLS.key).collect().to_dicts()
    assert row["is_passed"] and row["failure"] is None and row["rows"] > 240 and row["tables"] == 3
    assert row["remade"] in (f"listening/country_days@{day(1)}", f"listening/plays@{day(1)}")
    assert row["canary_before"] > 0 == row["canary_after"]
    assert 0 < row["rto_s"] < row["seconds"] and 3590 < row["rpo_s"] < 3700
    record = open_audit(grown.settings).newest("drilled")
    assert record and record.body["figures"]["rto_s"] == row["rto_s"] and record.body["outcome"] == "success"
    assert open_audit(grown.settings).newest("restored") is None
    assert instance.get_latest_materialization_event(dg.AssetKey(["maintenance", "drills"]))
    assert checked(grown).passed and not (grown.settings.data / "scratch" / "drill").exists()
    # The running platform lost nobody: the canary was erased in the copy alone.
    assert grown.vault.count() == 6 and all(path.read_bytes() == content for path, content in before.items())


def test_a_drill_of_a_damaged_backup_fails_and_says_why(here: World, instance: dg.DagsterInstance) -> None:
    here.back_up()
    piece = next(path for path in (here.settings.data / "backups" / "repository" / "pieces").rglob("*") if path.is_file())
    piece.write_bytes(piece.read_bytes()[:-1])
    assert not run(drill, instance).success
    (row,) = here.lake.scan(DRILLS.key).collect().to_dicts()
    assert not row["is_passed"] and "damaged" in row["failure"] and row["remade"] is None
    record = open_audit(here.settings).newest("drilled")
    assert record and record.body["outcome"] == "failure"
    result = checked(here)
    assert not result.passed and "damaged" in str(result.metadata["failure"].value)
    assert not (here.settings.data / "scratch" / "drill").exists()


def test_a_partition_that_comes_out_otherwise_fails_a_drill(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    grown.back_up()

    def remake(settings: Settings, lake, key: str, partition: str) -> None:
        lake.write(key, lake.tables[key].empty(), lake.tables[key].partition(partition))

    found = drilling.drill(grown.settings, remake, {"listening/country_days"})
    assert not found.is_passed and found.failure and "came out otherwise" in found.failure


def test_a_scanner_that_finds_nobody_proves_nothing(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here.back_up()
    silent = scanning.scan({}, Needles.of(user_id="nobody-at-all"))
    monkeypatch.setattr(scanning, "scan", lambda *_, **__: silent)
    found = drilling.drill(here.settings, lambda *_: None, ())
    assert not found.is_passed and found.failure and "prove nothing" in found.failure


def test_an_old_drill_is_no_proof_any_more(here: World) -> None:
    row = {name: 1 for name, dtype in DRILLS.schema.items() if dtype.is_numeric()}
    row |= {
        "began_at": datetime.now(UTC) - timedelta(days=9),
        "snapshot": "s",
        "engine": "restic",
        "is_passed": True,
        "failure": None,
        "remade": None,
    }
    here.lake.append(DRILLS.key, pl.DataFrame([row], schema=DRILLS.schema), transaction="old")
    assert not checked(here).passed
    young = {**row, "began_at": datetime.now(UTC)}
    here.lake.append(DRILLS.key, pl.DataFrame([young], schema=DRILLS.schema), transaction="young")
    assert checked(here).passed


def test_only_tables_that_a_copy_can_make_are_made_again_in_a_drill() -> None:
    found = jobs.remakable()
    assert "listening/plays" in found and EVENTS.key not in found
    assert all(TABLES[key].is_daily and TABLES[key].reads for key in found)


def test_commands_list_check_and_restore_in_words(here: World, tmp_path: Path) -> None:
    runner = CliRunner()
    assert "There is no backup yet." in runner.invoke(app, ["backup", "--list"]).output
    failed = runner.invoke(app, ["restore", "latest", "--to", str(tmp_path / "back")])
    assert failed.exit_code == 1 and "there is no such backup" in failed.output
    made = here.back_up()
    assert made.snapshot.id in runner.invoke(app, ["backup", "--list", "--json"]).output
    assert '"whole": true' in runner.invoke(app, ["backup", "--check", "--json"]).output
    here.lake.write(EVENTS.key, rows_of(2), day(2))
    done = runner.invoke(app, ["restore", made.snapshot.id[:15], "--to", str(tmp_path / "back"), "--json"])
    assert done.exit_code == 0 and '"rows": 120' in done.output and (tmp_path / "back" / "vault").is_dir()
    again = runner.invoke(app, ["restore", "latest", "--to", str(tmp_path / "back")])
    assert again.exit_code == 1 and "empty folder" in again.output
    for path in (here.settings.data / "backups" / "repository" / "pieces").rglob("*"):
        if path.is_file():
            path.unlink()
    broken = runner.invoke(app, ["backup", "--check"])
    assert broken.exit_code == 1 and "missing" in broken.output
