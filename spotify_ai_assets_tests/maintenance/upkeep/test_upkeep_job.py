"""The nightly job: what it does, that a dry run changes no byte, that two cannot overlap, and what it leaves in the audit trail."""

import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from invented import day, land, listens
from pydantic import ValidationError
from typer.testing import CliRunner

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.launching import QUIET
from spotify_ai_assets.listening.contracts import EVENTS, REJECTED
from spotify_ai_assets.maintenance.upkeep import jobs
from spotify_ai_assets.maintenance.upkeep.jobs import PARTS, OrphansConfig, PruningConfig, figures_of, nightly_upkeep, upkeep, upkeep_config
from spotify_ai_assets.resources import open_lake, open_locks
from spotify_ai_assets.resources.artifacts import open_artifacts
from spotify_ai_assets.resources.audit import open_audit
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

Run = Callable[..., tuple[bool, dict[str, dict[str, Any]]]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def lake(data: Path) -> Lake:
    return open_lake(Settings.from_environment(), TABLES)


@pytest.fixture
def run(instance: dg.DagsterInstance, lake: Lake) -> Run:
    """Runs the job in this process; gives whether it succeeded and what its parts told."""

    def execute(*, dry_run: bool) -> tuple[bool, dict[str, dict[str, Any]]]:
        result = upkeep.execute_in_process(
            instance=instance, run_config={**QUIET, **upkeep_config(dry_run=dry_run)}, tags=launch_tags(), raise_on_error=False
        )
        return result.success, figures_of(instance, result.run_id)

    return execute


def neglect(data: Path, lake: Lake) -> None:
    """Leave something to do for every part but the pruning of runs."""
    land(lake, range(1))
    for number in range(9):
        rows = listens(day(1)).filter(pl.int_range(pl.len()) % 9 == number)
        lake.extend(EVENTS.key, [day(1)], lambda _, present, rows=rows: rows)
    now = datetime.now(UTC)
    refused = {"file_sha256": ["0" * 64] * 2, "row": [1, 2], "rule": ["x", "y"], "rejected_at": [now - timedelta(days=99), now]}
    lake.write(REJECTED.key, pl.DataFrame(refused, schema=REJECTED.schema))
    (data / "logs").mkdir()
    begun = (now - timedelta(days=2)).isoformat()
    (data / "logs" / "platform.jsonl").write_text(json.dumps({"at": begun}) + "\n")
    part = data / "reports" / "en" / ".page.tmp"
    part.parent.mkdir(parents=True)
    part.write_text("half")
    for number in range(3):
        open_artifacts(Settings.from_environment()).publish("a/model", {"n": str(number).encode()}, {})


def tree(data: Path) -> dict[str, str]:
    """The digest of every file but lock files."""
    files = [path for path in data.rglob("*") if path.is_file() and path.relative_to(data).parts[0] != "locks"]
    return {path.relative_to(data).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_dry_run_counts_and_changes_no_byte_and_a_real_one_does_what_was_counted(data: Path, lake: Lake, run: Run) -> None:
    neglect(data, lake)
    before = tree(data)
    succeeded, counted = run(dry_run=True)
    assert succeeded
    assert tree(data) == before
    assert sorted(counted) == sorted(PARTS)
    assert (counted["retention"]["rows"], counted["compaction"]["files"], counted["log_rotation"]["aside"]) == (1, 9, 1)
    succeeded, done = run(dry_run=False)
    assert succeeded
    shared = {"retention": ("tables", "rows"), "compaction": ("partitions", "files"), "log_rotation": ("aside", "compressed", "expired")}
    assert all(done[part][name] == counted[part][name] for part, names in shared.items() for name in names)
    assert lake.scan(REJECTED.key).collect()["row"].to_list() == [2]
    assert {name: len(state.paths) for name, state in lake.states(EVENTS.key).items()} == {str(day(0)): 1, str(day(1)): 1}
    assert not (data / "logs" / "platform.jsonl").exists()
    _, again = run(dry_run=False)
    assert (again["retention"]["rows"], again["compaction"]["files"], again["log_rotation"]["aside"]) == (0, 0, 0)


def test_each_part_is_recorded_once_and_a_dry_run_not_at_all(data: Path, lake: Lake, run: Run, instance: dg.DagsterInstance) -> None:
    run(dry_run=True)
    assert not (data / "ledger").exists()
    _, told = run(dry_run=False)
    audit = open_audit(Settings.from_environment())
    found = {record.body["subject"]: record for record in audit.search()}
    assert {subject.removeprefix("upkeep/") for subject in found} == set(PARTS)
    assert {record.kind for record in found.values()} == {"retained", "compacted", "swept", "rotated", "pruned"}
    assert all(record.body["outcome"] == "success" for record in found.values())
    assert all(record.body["run_id"] == instance.get_runs(limit=1)[0].run_id for record in found.values())
    assert found["upkeep/retention"].body["figures"] == told["retention"]
    assert len(list(audit.search())) == len(PARTS)


def test_a_part_that_fails_is_recorded_and_keeps_no_other_from_its_work(
    data: Path, lake: Lake, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TransientError("the disk is busy")

    monkeypatch.setattr(jobs, "find_expired", broken)
    monkeypatch.setattr(jobs.retention, "_retry_policy", None)
    neglect(data, lake)
    succeeded, told = run(dry_run=False)
    assert not succeeded
    assert sorted(told) == sorted(set(PARTS) - {"retention"})
    assert len(lake.states(EVENTS.key)[str(day(1))].paths) == 1
    [failed] = open_audit(Settings.from_environment()).search(outcome="failure")
    assert failed.body["subject"] == "upkeep/retention"


def test_two_runs_cannot_overlap(data: Path, run: Run, lake: Lake) -> None:
    with open_locks(Settings.from_environment()).exclusive("job.upkeep"):
        assert run(dry_run=True) == (False, {})
    assert run(dry_run=True)[0]


def test_nothing_is_done_by_mistake_and_no_bound_can_be_crossed() -> None:
    assert OrphansConfig().dry_run
    for config, values in (
        (OrphansConfig, {"quarantine_days": 31}),
        (OrphansConfig, {"version_days": 0}),
        (OrphansConfig, {"former": 0}),
        (PruningConfig, {"keep_days": 6}),
        (jobs.RotationConfig, {"keep_days": 31}),
        (jobs.CompactionConfig, {"most_files": 0}),
    ):
        with pytest.raises(ValidationError):
            config(**values)


def test_every_night_it_works_in_earnest() -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 3, 1, 2, 20, tzinfo=UTC))
    [request] = nightly_upkeep.evaluate_tick(context).run_requests or []
    assert request.run_config == upkeep_config(dry_run=False)
    assert nightly_upkeep.default_status == dg.DefaultScheduleStatus.RUNNING
    assert nightly_upkeep.execution_timezone == "UTC"


def test_the_command_does_what_the_night_does(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spotify_ai_assets import terminal
    from spotify_ai_assets.cli import app
    from spotify_ai_assets.settings import ROOT

    monkeypatch.setenv("DAGSTER_HOME", str(ROOT))
    assert terminal  # its consoles are made before the runner takes the streams
    os.environ.pop("COLUMNS", None)
    answer = CliRunner().invoke(app, ["upkeep", "--dry-run", "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["dry_run"] is True
    assert sorted(told["parts"]) == sorted(PARTS)
    assert not (data / "ledger").exists()
