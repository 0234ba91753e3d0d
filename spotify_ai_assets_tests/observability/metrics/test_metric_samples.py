"""What is told of each part follows from what is known of it, every family has its place, and labels stay bounded."""

import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from invented import day, land, listens
from invented_figures import CHECKED, DAY_S, MADE, NOW, ROSTER, RUNS, TABLES, TICKERS, all_samples

from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS, REJECTED
from spotify_ai_assets.maintenance.health.contracts import HEALTH
from spotify_ai_assets.observability.metrics import care_samples, instance_samples, lake_samples
from spotify_ai_assets.observability.metrics.care_samples import Waiting
from spotify_ai_assets.observability.metrics.exporter import GRADES
from spotify_ai_assets.observability.metrics.families import FAMILIES, PARTS
from spotify_ai_assets.observability.metrics.roster import Policy, Roster
from spotify_ai_assets.resources.artifacts import Artifacts, Pointers
from spotify_ai_assets.resources.instance_facts import Made
from spotify_ai_assets.resources.locks import FileLocks
from spotify_ai_assets.resources.stream import SpoolStream
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.stores import STORES
from spotify_ai_assets.tables import TABLES as CONTRACTS

READ = {"spotify_ai_intake_rows", "spotify_ai_rejected_rows", "spotify_ai_model_metric"}
READ |= {name for name in FAMILIES if name.startswith(("spotify_ai_artifact", "spotify_ai_store", "spotify_ai_disk", "spotify_ai_health"))}
"""What is read from a lake, artifacts and folders; all else is told of figures."""

SELF = {name for name in FAMILIES if name.startswith(("dagster_exporter", "spotify_ai_exporter"))} | {"spotify_ai_build_info"}


def values(samples):
    return {(sample.family, sample.labels): float(sample.value) for sample in samples}


def test_every_family_that_is_declared_is_told_of_a_platform_that_has_everything():
    told = {sample.family for sample in all_samples(CONTRACTS)}
    assert told == set(FAMILIES) - READ - SELF


def test_every_sample_has_the_labels_of_its_family_and_no_series_is_told_twice():
    samples = all_samples(CONTRACTS)
    assert all(len(sample.labels) == len(FAMILIES[sample.family].labels) for sample in samples)
    assert len(values(samples)) == len(samples)


def test_families_have_one_part_each_and_names_that_say_their_unit():
    names = [family.name for part in PARTS.values() for family in part]
    assert len(set(names)) == len(names)
    for family in FAMILIES.values():
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert "age" not in family.name.split("_") and not family.name.endswith(("_ms", "_count", "_sum"))
        assert family.text.endswith(".")
        assert not {"run_id", "partition", "listener", "user", "digest", "path"} & set(family.labels)


def test_the_oldest_of_the_queued_runs_is_told_by_the_moment_it_was_queued():
    found = values(instance_samples.tell_runs(RUNS, ROSTER, {}))
    queued = ("backfill", "spotify_ai_assets", "queued")
    assert found["dagster_active_runs", queued] == 2
    assert found["dagster_active_run_since_timestamp_seconds", queued] == NOW - 600


def test_a_job_without_runs_is_told_as_zero_and_a_job_that_nobody_declares_has_no_location():
    found = values(instance_samples.tell_runs(RUNS, ROSTER, {}))
    assert found["dagster_active_runs", ("verify", "spotify_ai_assets", "queued")] == 0
    assert found["dagster_completed_runs_total", ("verify", "spotify_ai_assets", "failure")] == 0
    assert found["dagster_last_run_info", ("handmade", "__unknown__", "canceled")] == 1
    assert ("dagster_last_run_duration_seconds", ("handmade", "__unknown__", "canceled")) not in found


def test_a_sensor_of_former_code_is_left_out_unless_nobody_knows_what_is_declared():
    assert "of_former_code" not in str(list(instance_samples.tell_ticks(TICKERS, ROSTER, {})))
    assert "of_former_code" in str(list(instance_samples.tell_ticks(TICKERS, Roster(error="ImportError"), {})))


def test_a_daemon_that_never_beat_has_no_heartbeat_in_1970():
    found = values(all_samples(CONTRACTS))
    assert ("dagster_daemon_last_heartbeat_timestamp_seconds", ("ASSET",)) not in found
    assert found["dagster_daemon_healthy", ("ASSET", "true")] == 0


def test_freshness_is_told_by_the_first_deadline_that_was_missed():
    found = instance_samples.find_deadlines(ROSTER.policies, MADE, NOW)
    # Made at six on the day before, thus in time for its deadline; that of today at eight is missed, and stays it tomorrow.
    eight = NOW - 4 * 3600
    assert found["listening/plays"] == (eight, eight - 8 * 3600)
    tomorrow = instance_samples.find_deadlines(ROSTER.policies, MADE, NOW + DAY_S)
    assert tomorrow["listening/plays"] == (eight, eight - 8 * 3600)
    # A window of a day that began 26 hours ago ended two hours ago.
    assert found["listening/charts"] == (NOW - 2 * 3600, NOW - DAY_S)


def test_what_is_made_in_time_has_the_newest_deadline():
    made = {"listening/plays": Made(NOW - 5 * 3600, "success", {})}
    deadline, required = instance_samples.find_deadlines(ROSTER.policies, made, NOW)["listening/plays"]
    assert deadline == NOW - 4 * 3600
    assert required <= NOW - 5 * 3600


def test_a_window_that_has_not_ended_misses_no_deadline():
    deadline, required = instance_samples.find_deadlines({"a/b": Policy(window_s=60.0)}, {}, NOW)["a/b"]
    assert (deadline, required) == (NOW, NOW - 60)


def test_costs_are_told_of_the_checks_that_measured_them():
    found = values(instance_samples.tell_checks(CHECKED))
    assert found["spotify_ai_asset_cpu_seconds", ("listening/plays",)] == 2.5
    assert found["dagster_asset_check_failed", ("listening/plays", "spread", "WARN")] == 1


def test_tables_are_told_by_rows_files_newest_day_and_status():
    found = values(lake_samples.tell_lake(TABLES, CONTRACTS))
    plays = ("listening/plays",)
    assert (found["spotify_ai_asset_rows", plays], found["spotify_ai_asset_files", plays]) == (7, 3)
    assert (found["spotify_ai_asset_partitions", plays], found["spotify_ai_asset_stale_partitions", plays]) == (2, 2)
    assert found["spotify_ai_asset_newest_day_timestamp_seconds", plays] == NOW - DAY_S - 12 * 3600
    assert found["dagster_asset_stale_status", (*plays, "stale")] == 1
    assert found["dagster_asset_stale_status", ("catalog/tracks", "fresh")] == 1
    assert found["dagster_asset_stale_status", ("listening/charts", "missing")] == 1
    assert found["spotify_ai_table_readable", ("listening/charts",)] == 0
    assert ("spotify_ai_asset_newest_day_timestamp_seconds", ("catalog/tracks",)) not in found


def test_a_day_that_was_imported_and_not_made_is_stale_and_a_torn_table_is_not_readable(lake):
    land(lake, range(2))
    tables = lake_samples.read_tables(lake)
    assert tables.unreadable == ()
    assert tables.stale["listening/plays"] == 2
    assert sum(state.rows for state in tables.states[EVENTS.key].values()) == 120
    log = sorted(Path(lake.storage.uri(EVENTS.key, "_delta_log")).glob("*.json"))[-1]
    log.write_bytes(log.read_bytes()[:-20])
    assert EVENTS.key in lake_samples.read_tables(lake).unreadable


def test_intake_is_counted_from_the_tables_that_tell_it(lake):
    rows = IMPORTS.empty().to_dicts()
    at = datetime(2026, 6, 1, tzinfo=UTC)
    for number, (stored, duplicate, rejected) in enumerate([(5, 1, 0), (2, 0, 3)]):
        total = stored + duplicate + rejected
        names = {"file_sha256": f"{number:064x}", "format": "native_jsonl", "rows": total, "imported_at": at}
        rows.append(dict.fromkeys(IMPORTS.schema) | names | {"stored": stored, "duplicate": duplicate, "rejected": rejected})
    lake.append(IMPORTS.key, pl.DataFrame(rows, schema=IMPORTS.schema), transaction="one")
    rules = ((1, "no_time"), (2, "no_time"), (3, "no_id"))
    broken = [{"file_sha256": f"{1:064x}", "row": row, "rule": rule, "rejected_at": at} for row, rule in rules]
    lake.append(REJECTED.key, pl.DataFrame(broken, schema=REJECTED.schema), transaction="two")
    found = values(lake_samples.read_quality(lake))
    assert [found["spotify_ai_intake_rows", (IMPORTS.key, result)] for result in ("stored", "duplicate", "rejected")] == [7, 1, 3]
    assert found["spotify_ai_rejected_rows", (REJECTED.key, "no_time")] == 2
    assert found["spotify_ai_rejected_rows", (REJECTED.key, "no_id")] == 1


def test_an_artifact_is_told_by_the_version_in_use_and_one_without_alias_by_its_newest(lake, tmp_path):
    artifacts = Artifacts(tmp_path / "artifacts", FileLocks(tmp_path / "locks"))
    first = artifacts.publish("audio/model", {"a": b"1"}, {})
    artifacts.publish("audio/model", {"a": b"2"}, {})
    promoted = Pointers({"champion": first.version}, {}, ()), {"event": "promoted", "version": first.version}
    artifacts.change("audio/model", lambda _now: promoted)
    artifacts.publish("audio/index", {"a": b"3"}, {})
    found = values(lake_samples.read_models(lake, artifacts))
    assert found["spotify_ai_artifact_versions", ("audio/model",)] == 2
    created = found["spotify_ai_artifact_created_timestamp_seconds", ("audio/model", "champion")]
    assert created == datetime.fromisoformat(first.created_at).timestamp()
    assert ("spotify_ai_artifact_created_timestamp_seconds", ("audio/index", "newest")) in found


def test_a_model_with_many_slices_is_told_without_them():
    rows = pl.DataFrame({"metric": ["recall"] * 100, "slice": ["", *map(str, range(99))], "value": [0.5] * 100})
    assert [sample.labels for sample in lake_samples._measured(rows, "a/model")] == [("a/model", "recall", "")]
    few = rows.head(3)
    assert len(list(lake_samples._measured(few, "a/model"))) == 3


def test_what_waits_in_the_spool_is_counted_and_its_oldest_known(settings):
    before = time.time()
    SpoolStream(settings.stream).append("listen", [b"{}", b"{}"])
    SpoolStream(settings.stream).append("listen", [b"{}"])
    waiting = care_samples.read_waiting(settings)
    assert waiting.messages == 3
    assert before - 1 <= (waiting.oldest_at or 0) <= time.time()


def test_nothing_waits_where_no_stream_is(tmp_path):
    settings = Settings.from_environment({"SPOTIFY_AI_DATA": str(tmp_path)})
    assert care_samples.read_waiting(settings) == Waiting(0, None)
    assert not (tmp_path / "stream").exists()


def test_the_head_of_a_chain_is_told_exactly():
    found = values(all_samples(CONTRACTS))
    assert found["spotify_ai_chain_head", ("audit",)] == 2**52 - 1
    assert found["spotify_ai_erasure_open_requests", ()] == 1
    assert found["spotify_ai_drill_rto_seconds", ()] == 9.5
    assert ("spotify_ai_deed_timestamp_seconds", ("pruned", "failure")) in found


def test_stores_are_measured_and_a_folder_that_is_not_there_is_empty(tmp_path):
    (tmp_path / "lake" / "deep").mkdir(parents=True)
    (tmp_path / "lake" / "deep" / "file").write_bytes(b"x" * 100)
    (tmp_path / "lake" / "link").symlink_to("/")
    found = values(care_samples.read_stores(tmp_path, [store.name for store in STORES]))
    assert found["spotify_ai_store_files", ("lake",)] == 2
    assert 100 <= found["spotify_ai_store_bytes", ("lake",)] < 200
    assert found["spotify_ai_store_bytes", ("vault",)] == 0
    assert 0 < found["spotify_ai_disk_free_bytes", ()] <= found["spotify_ai_disk_size_bytes", ()]


def test_grades_are_told_as_numbers(lake):
    at = datetime(2026, 6, 1, tzinfo=UTC)
    rows = [("disk", "failing", "full", 0.01, "free part", at, at), ("lake", "good", "fine", None, None, at, at)]
    lake.write(HEALTH.key, pl.DataFrame(rows, schema=HEALTH.schema, orient="row"))
    found = values(care_samples.read_health(lake, HEALTH.key, GRADES))
    assert (found["spotify_ai_health_grade", ("disk",)], found["spotify_ai_health_grade", ("lake",)]) == (2, 0)
    assert found["spotify_ai_health_checked_timestamp_seconds", ()] == at.timestamp()


def test_no_label_of_a_real_lake_holds_a_listener(lake):
    land(lake, range(1))
    told = str([*lake_samples.tell_lake(lake_samples.read_tables(lake), lake.tables), *lake_samples.read_quality(lake)])
    assert all(listener not in told for listener in listens(day(0))["listener_id"].unique())


@pytest.mark.parametrize("family", sorted(READ))
def test_what_is_read_belongs_to_a_part(family):
    assert any(each.name == family for part in PARTS.values() for each in part)
