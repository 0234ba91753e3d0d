"""What is recorded of runs, promotions and configuration, each exactly once, and how chains are witnessed."""

import json
import sqlite3
from dataclasses import replace

import dagster as dg
import pytest
from invented import day, land
from processes import at_once

from spotify_ai_assets.definitions import defs
from spotify_ai_assets.errors import PermanentError, PlatformError
from spotify_ai_assets.launching import QUIET, run_job
from spotify_ai_assets.listening.contracts import EVENTS, PLAYS
from spotify_ai_assets.observability.audit import jobs as audit_jobs
from spotify_ai_assets.observability.audit.jobs import (
    audit_trail,
    catch_up,
    describe_configuration,
    hourly_audit_heads,
)
from spotify_ai_assets.observability.audit.verification import accept_loss, export_heads, verify_chains
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources.artifacts import Pointers, open_artifacts
from spotify_ai_assets.resources.audit import USER, open_audit, who_asks
from spotify_ai_assets.runs import TRACE, launch_tags

DIGEST = "0123456789abcdef"


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    if context.run.tags.get("fail"):
        raise RuntimeError("as asked")


@dg.job
def chore() -> None:
    work()


@dg.asset(key=["outside", "thing"])
def thing() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"digest": DIGEST, "dagster/partition_row_count": 5, "bytes": 50, "seconds": 0.5})


@pytest.fixture
def follow(instance, lake, settings):
    return lambda: catch_up(instance, lake, settings)


@pytest.fixture
def trail(settings):
    return open_audit(settings)


def run(instance, **tags: str) -> str:
    return chore.execute_in_process(instance=instance, run_config=QUIET, tags=tags, raise_on_error=False).run_id


def test_a_run_is_recorded_once_when_it_has_ended(instance, trail, follow):
    run_id = run(instance, **launch_tags())
    assert follow() == 2, "the job, and the configuration that was seen for the first time"
    assert follow() == follow() == 0
    (record,) = trail.search(action="job")
    assert record.body["subject"] == "chore" and record.body["run_id"] == run_id and record.body["outcome"] == "success"
    assert record.body["who"] == who_asks()
    assert record.body["trace_id"] == instance.get_run_by_id(run_id).tags[TRACE]
    assert record.body["figures"]["seconds"] > 0 and trail.chain.verify() == []


@pytest.mark.parametrize(
    ("tags", "who"),
    [
        ({"dagster/schedule_name": "daily"}, {"kind": "schedule", "name": "daily"}),
        ({"dagster/sensor_name": "stale_days", USER: "daemon"}, {"kind": "sensor", "name": "stale_days"}),
        ({USER: "anna"}, {"kind": "user", "name": "anna"}),
        ({USER: "anna", "dagster/parent_run_id": "x"}, {"kind": "ui"}),
        ({}, {"kind": "ui"}),
    ],
)
def test_who_launched_a_run_is_recorded(instance, trail, follow, tags, who):
    run(instance, **tags)
    follow()
    assert trail.newest("job").body["who"] == who


def test_a_failed_run_is_recorded_as_failed(instance, trail, follow):
    run(instance, fail="yes")
    follow()
    record = trail.newest("job")
    assert record.body["outcome"] == "failure" and record.body["figures"]["failed_steps"] == 1


@pytest.mark.parametrize("value", [float("nan"), "\ud800"], ids=["NaN", "half a character"])
def test_a_configuration_that_no_record_can_hold_does_not_stop_the_trail(instance, trail, follow, value):
    odd = instance.add_run(dg.DagsterRun("chore", run_config={"ops": {"work": value}}, status=dg.DagsterRunStatus.SUCCESS))
    later = run(instance)
    follow()
    told = {record.body["run_id"]: record.body for record in trail.search(action="job")}
    assert set(told) == {odd.run_id, later}
    assert len(told[odd.run_id]["inputs"]["config"]) == 16 and told[odd.run_id]["inputs"] != told[later]["inputs"]
    assert follow() == 0


def test_figures_that_no_record_can_hold_do_not_stop_the_trail(instance, trail, follow):
    odd = dg.AssetMaterialization("outside", metadata={"digest": "\udfff", "bytes": float("nan"), "seconds": float("inf")})
    instance.report_runless_asset_event(odd)
    later = run(instance)
    follow()
    assert trail.newest("job").body["run_id"] == later
    assert trail.newest("materialised").body["outputs"] == {"outside": "\\udfff"}
    assert trail.newest("materialised").body["figures"]["bytes"] == 0


def test_a_run_whose_record_cannot_be_told_is_recorded_by_its_end_and_holds_up_nothing(instance, trail, follow, monkeypatch):
    odd, later = run(instance, fail="yes"), run(instance)
    finished = audit_jobs._finished

    def unreadable(instance, record):
        if record.dagster_run.run_id == odd:
            raise RecursionError
        return finished(instance, record)

    monkeypatch.setattr(audit_jobs, "_finished", unreadable)
    follow()
    told = {record.body["run_id"]: record.body for record in trail.search(action="job")}
    assert set(told) == {odd, later}
    assert told[odd]["outcome"] == "failure" and told[odd]["inputs"] == {"config": "unreadable", "error": "RecursionError"}
    assert follow() == 0


def test_a_part_that_fails_leaves_the_others_and_their_place(instance, trail, follow, monkeypatch):
    def fail(*_):
        raise ValueError("a pointer that cannot be read")

    monkeypatch.setattr(audit_jobs, "_follow_pointers", fail)
    run_id = run(instance)
    with pytest.raises(ValueError, match="pointer"):
        follow()
    assert trail.newest("job").body["run_id"] == run_id and trail.newest("configured") is not None
    kept = instance.daemon_cursor_storage.get_cursor_values({"spotify_ai.audit_trail"})
    assert json.loads(kept["spotify_ai.audit_trail"])["run"] == run_id


def test_a_run_that_has_not_ended_is_recorded_later(instance, trail, follow):
    waiting = instance.create_run_for_job(chore, status=dg.DagsterRunStatus.STARTED)
    later = run(instance)
    follow()
    assert [record.body["run_id"] for record in trail.search(action="job")] == [later]
    instance.report_run_failed(waiting, "its process is gone")
    assert follow() == 1
    assert trail.newest("job").body["run_id"] == waiting.run_id and trail.newest("job").body["outcome"] == "failure"


def test_a_pruned_run_does_not_stop_the_trail(instance, trail, follow):
    first = run(instance)
    follow()
    instance.delete_run(first)
    second = run(instance)
    assert follow() == 1 and follow() == 0
    assert [record.body["run_id"] for record in trail.search(action="job")] == [second, first]


def test_runs_beyond_the_time_given_wait_for_the_next_tick(instance, lake, settings, trail):
    runs = [run(instance) for _ in range(3)]
    for _ in range(2):
        catch_up(instance, lake, settings, seconds=-1)
        assert list(trail.search(action="job")) == []
    catch_up(instance, lake, settings)
    assert [record.body["run_id"] for record in trail.search(action="job")] == [*reversed(runs)]


def test_a_lost_cursor_records_nothing_twice(instance, trail, follow):
    for _ in range(3):
        run(instance)
    added = follow()
    instance.daemon_cursor_storage.set_cursor_values({"spotify_ai.audit_trail": ""})
    assert added == 4 and follow() == 0


def test_what_a_run_materialised_is_recorded_with_its_digests(instance, trail, follow):
    dg.materialize([thing], instance=instance, run_config=QUIET, tags=launch_tags())
    follow()
    record = trail.newest("materialised")
    assert record.body["subject"] == "outside/thing" and record.body["outputs"] == {"outside/thing": DIGEST}
    assert record.body["figures"] == {"partitions": 1, "rows": 5, "bytes": 50, "seconds": 0.5, "inputs_unknown": 1}


def test_partitions_of_the_lake_are_recorded_with_what_they_were_made_from(instance, lake, settings, trail, follow, monkeypatch, tmp_path):
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    land(lake, range(2))
    run_job(
        instance,
        "backfill",
        {"lake": lake, "settings": settings},
        launch_tags(**range_tags(day(0), day(1))),
        [dg.AssetKey(PLAYS.key.split("/"))],
    )
    follow()
    (record,) = trail.search(subject=PLAYS.key)
    states = lake.states(PLAYS.key)
    assert record.body["outputs"] == {f"{PLAYS.key}@{name}": state.digest[:16] for name, state in states.items()} and len(states) == 2
    assert record.body["figures"]["rows"] == sum(state.rows for state in states.values()) and record.body["figures"]["inputs_unknown"] == 0
    events = lake.states(EVENTS.key)
    assert record.body["inputs"][f"{EVENTS.key}@{day(0)}"] == events[str(day(0))].digest[:16]
    assert follow() == 0


def test_what_is_reported_outside_of_runs_is_recorded_once(instance, trail, follow):
    for partition in ("a", "b"):
        instance.report_runless_asset_event(dg.AssetMaterialization(["x", "y"], partition=partition, metadata={"digest": DIGEST}))
    instance.report_runless_asset_event(dg.AssetMaterialization(["x", "z"]))
    assert follow() == 4 and follow() == 0
    found = {next(iter(record.body["outputs"])): record.body for record in trail.search(action="materialised")}
    assert set(found) == {"x/y@a", "x/y@b", "x/z"}
    assert found["x/y@a"]["who"] == {"kind": "platform"} and found["x/z"]["who"] == {"kind": "ui"}
    instance.report_runless_asset_event(dg.AssetMaterialization(["x", "z"]))
    assert follow() == 1


def test_a_promotion_is_recorded_once_with_who_launched_its_run(instance, settings, trail, follow):
    artifacts = open_artifacts(settings)
    version = artifacts.publish("audio/genre_model", {"weights": b"1"}, {}).version
    run_id = run(instance, **{"dagster/sensor_name": "drift"})

    def promote(origin):
        return lambda now: (
            Pointers({"champion": version}, now.former, now.history),
            {"event": "promoted", "version": version, "origin": origin},
        )

    artifacts.change("audio/genre_model", promote({"dagster_run_id": run_id}))
    follow()
    artifacts.change("audio/genre_model", promote({"command": "models promote", "user": "anna"}))
    assert follow() == 1 and follow() == 0
    by_hand, by_run = trail.search(action="promoted")
    assert by_run.body["who"] == {"kind": "sensor", "name": "drift"} and by_run.body["run_id"] == run_id
    assert by_hand.body["who"] == {"kind": "user", "name": "anna"} and by_hand.body["outputs"] == {"version": version}
    assert by_hand.body["subject"] == "audio/genre_model" and by_hand.body["outcome"] == "promoted"


def test_a_changed_setting_is_recorded_once_and_its_value_nowhere(instance, lake, settings, trail):
    catch_up(instance, lake, settings)
    changed = replace(settings, ui_url="http://elsewhere.example", pseudonym_seed="another seed")
    assert catch_up(instance, lake, changed) == 1 and catch_up(instance, lake, changed) == 0
    record = trail.newest("configured")
    assert record.body["subject"] == "setting pseudonym_seed, setting ui_url"
    text = json.dumps([each.body for each in trail.chain.records()])
    assert "elsewhere" not in text and "another seed" not in text
    assert catch_up(instance, lake, settings) == 1, "back again is a change too"


def test_the_configuration_knows_contracts_and_switches(instance, lake, settings):
    before = describe_configuration(instance, lake, settings)
    assert before == describe_configuration(instance, lake, settings)
    assert {"package", "dagster.yaml", "setting lake", "setting vault_url"} <= before.keys()
    assert len(set(before.values()) - {""}) > 10, "equal values of two settings have different digests"


def _catch_up(arguments) -> int:
    ref, settings = arguments
    from spotify_ai_assets.resources import open_lake
    from spotify_ai_assets.tables import TABLES

    with dg.DagsterInstance.from_ref(ref) as instance:
        return catch_up(instance, open_lake(settings, TABLES), settings)


def test_a_daemon_and_commands_that_look_at_once_record_everything_once(settings, trail, tmp_path):
    (tmp_path / "dagster_home").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "dagster_home")) as instance:
        runs = [run(instance) for _ in range(4)]
        added = at_once(_catch_up, [(instance.get_ref(), settings)] * 8, processes=4)
    assert sum(added) == 5
    assert sorted(record.body["run_id"] for record in trail.search(action="job")) == sorted(runs)
    assert len(list(trail.search(action="configured"))) == 1 and trail.chain.verify() == []


def test_the_sensor_tells_how_much_it_recorded(instance, lake, settings):
    run(instance)
    context = dg.build_sensor_context(instance=instance, resources={"lake": lake, "settings": settings})
    assert audit_trail.evaluate_tick(context).skip_message == "2 records were appended"
    assert audit_trail.evaluate_tick(context).skip_message == "nothing new happened"


# Heads ----------------------------------------------------------------------------------------------------------------------


def cut_off(settings, since: int) -> None:
    with sqlite3.connect(settings.data / "ledger" / "ledger.db") as connection:
        connection.execute("DROP TRIGGER chain_no_delete")
        connection.execute("DELETE FROM chain_records WHERE chain = 'audit' AND sequence >= ?", (since,))
    connection.close()


def test_the_hourly_job_witnesses_both_chains(instance, lake, settings, trail, monkeypatch, tmp_path):
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    run_job(instance, "export_audit_heads", {"settings": settings}, launch_tags())
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "backups" / "heads").iterdir()) == ["audit", "erasure"]
    record = trail.newest("witnessed")
    assert record.body["figures"]["audit_records"] == 0 and record.body["who"] == who_asks()
    assert verify_chains(settings) == {"audit": [], "erasure": [], "heads": []}


def test_a_chain_that_lost_its_newest_records_is_found_and_not_witnessed_again(settings, trail):
    for number in range(5):
        trail.record("job", subject=f"job {number}", who=who_asks())
    export_heads(settings, who_asks())
    cut_off(settings, since=4)
    assert verify_chains(settings)["audit"] == ["the chain ends at record 3, though record 6 was witnessed"]
    with pytest.raises(PlatformError, match="broken"):
        export_heads(settings, who_asks())
    assert len(list((settings.data / "backups" / "heads").iterdir())) == 2


def test_a_loss_can_be_accepted_and_is_told(settings, trail):
    for number in range(5):
        trail.record("job", subject=f"job {number}", who=who_asks())
    export_heads(settings, who_asks())
    assert accept_loss(settings, who_asks()) == 0, "nothing is lost"
    cut_off(settings, since=4)
    assert accept_loss(settings, who_asks()) == 1
    record = trail.newest("loss accepted")
    assert record.sequence == 4 and record.body["figures"] == {"audit_records": 3, "erasure_records": 0, "heads": 1}
    assert next(iter(record.body["inputs"])).startswith("audit-000000000006")
    assert verify_chains(settings) == {"audit": [], "erasure": [], "heads": []}
    assert [path.name.partition("-")[0] for path in (settings.data / "backups" / "heads" / "lost").iterdir()] == ["audit"]
    export_heads(settings, who_asks())


def test_a_broken_chain_cannot_be_accepted(settings, trail):
    for number in range(5):
        trail.record("job", subject=f"job {number}", who=who_asks())
    with sqlite3.connect(settings.data / "ledger" / "ledger.db") as connection:
        connection.execute("DROP TRIGGER chain_no_delete")
        connection.execute("DELETE FROM chain_records WHERE sequence = 3")
    connection.close()
    with pytest.raises(PermanentError, match="broken"):
        accept_loss(settings, who_asks())


def test_a_second_witnessing_at_the_same_time_is_refused(instance, settings, monkeypatch, tmp_path):
    from spotify_ai_assets.resources import open_locks

    monkeypatch.setenv("SPOTIFY_AI_DATA", str(tmp_path))
    with open_locks(settings).exclusive("job.export_audit_heads"), pytest.raises(PlatformError):
        run_job(instance, "export_audit_heads", {"settings": settings}, launch_tags())


def test_the_schedule_asks_for_the_job_every_hour():
    from datetime import UTC, datetime

    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 10, 25, 1, 7, tzinfo=UTC))
    (request,) = hourly_audit_heads.evaluate_tick(context).run_requests
    assert request.run_key == "2026-10-25T01" and hourly_audit_heads.execution_timezone == "UTC"
    assert defs().resolve_job_def("export_audit_heads")
