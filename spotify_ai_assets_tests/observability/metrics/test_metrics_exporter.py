"""The exporter counts each run once, hides no failure, keeps what is slow and shows what promtool accepts."""

import shutil
import subprocess
import threading
import time

import dagster as dg
import pytest
from invented import land, require
from prometheus_client.parser import text_string_to_metric_families

from spotify_ai_assets.observability.metrics.exporter import Counted, Exporter, Kept, Platform
from spotify_ai_assets.observability.metrics.families import FAMILIES
from spotify_ai_assets.observability.metrics.roster import Roster

ROSTER = Roster(jobs=("falling",))


@dg.op
def fall():
    raise dg.Failure("as planned")


@dg.job
def falling():
    fall()


def fail(instance):
    return falling.execute_in_process(instance=instance, raise_on_error=False).run_id


def shown(exporter):
    """The values that a scrape shows, by name and labels."""
    families = text_string_to_metric_families(exporter.show().decode())
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples}


def value(exporter, name, **labels):
    return shown(exporter).get((name, tuple(sorted(labels.items()))))


def failures(exporter):
    return value(exporter, "dagster_completed_runs_total", job_name="falling", location="spotify_ai_assets", status="failure")


@pytest.fixture
def exporter(instance, lake, settings):
    return Exporter(Platform(instance, lake, settings, lambda: ROSTER))


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_run_that_ended_before_the_endpoint_started_is_not_counted_and_each_later_one_is_once(exporter, instance):
    fail(instance)
    assert failures(exporter) == 0
    fail(instance)
    assert failures(exporter) == 1
    assert failures(exporter) == 1
    fail(instance)
    fail(instance)
    assert failures(exporter) == 3


def test_a_counter_does_not_fall_when_runs_are_pruned(exporter, instance):
    failures(exporter)
    run = fail(instance)
    assert failures(exporter) == 1
    instance.delete_run(run)
    assert failures(exporter) == 1
    kept = value(exporter, "dagster_kept_runs", job_name="falling", location="spotify_ai_assets", status="failure")
    assert kept is None


def test_what_is_shown_once_counts_nothing(instance, lake, settings):
    exporter = Exporter(Platform(instance, lake, settings, lambda: ROSTER), is_once=True)
    fail(instance)
    assert failures(exporter) is None
    assert not [name for name, _ in shown(exporter) if name.endswith("_total")]


def test_a_part_that_fails_is_told_and_hides_no_other(exporter, monkeypatch):
    def refuse():
        raise OSError("the disk is on fire")

    monkeypatch.setattr(exporter._parts["lake"], "_read", refuse)
    found = shown(exporter)
    assert found["dagster_exporter_last_scrape_success", (("collector", "lake"),)] == 0
    assert found["dagster_exporter_scrape_errors_total", (("collector", "lake"),)] == 1
    assert found["dagster_exporter_last_scrape_success", (("collector", "runs"),)] == 1
    assert not [name for name, _ in found if name == "spotify_ai_asset_rows"]
    assert list(exporter.errors) == ["lake"]
    assert b"on fire" not in exporter.show()


def test_a_code_location_that_does_not_load_is_told_by_its_kind_only(instance, lake, settings):
    exporter = Exporter(Platform(instance, lake, settings, lambda: Roster(error="ImportError")))
    assert value(exporter, "dagster_code_location_load_error", location="spotify_ai_assets") == 1


def test_every_family_that_is_shown_is_declared_and_its_rows_are_those_of_the_lake(exporter, lake):
    land(lake, range(2))
    found = shown(exporter)
    assert {name for name, _ in found} <= set(FAMILIES)
    assert found["spotify_ai_asset_rows", (("asset_key", "listening/events"),)] == 120
    assert found["spotify_ai_asset_stale_partitions", (("asset_key", "listening/plays"),)] == 2


def test_promtool_finds_nothing_to_say_against_what_is_shown(exporter, lake, instance):
    require(promtool := shutil.which("promtool"), "promtool of Debian's package prometheus is not installed")
    land(lake, range(1))
    fail(instance)
    done = subprocess.run([str(promtool), "check", "metrics"], input=exporter.show(), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_reading_changes_no_file(exporter, lake, settings):
    land(lake, range(1))
    before = {path: path.stat().st_mtime_ns for path in settings.data.rglob("*") if path.is_file()}
    exporter.show()
    assert {path: path.stat().st_mtime_ns for path in settings.data.rglob("*") if path.is_file()} == before


def test_what_is_kept_is_shown_as_it_was_and_read_anew_beside():
    clock, read = Clock(), iter(range(10))
    kept = Kept(lambda: next(read), 60, clock)
    assert kept.get() == 0
    clock.now += 59
    assert kept.get() == 0
    clock.now += 1
    kept.get()  # asks for it to be read
    kept.wait()
    assert (kept.get(), kept.read_at) == (1, 1060)


def test_what_is_not_kept_is_read_each_time():
    read = iter(range(10))
    kept = Kept(lambda: next(read), 0)
    assert [kept.get() for _ in range(3)] == [0, 1, 2]


def test_a_slow_reading_holds_nobody_up_and_goes_on_once():
    clock, gate, calls = Clock(), threading.Event(), []

    def read():
        calls.append(None)
        if len(calls) > 1:
            gate.wait(30)
        return len(calls)

    kept = Kept(read, 10, clock)
    kept.get()
    clock.now += 20
    began = time.monotonic()
    assert [kept.get() for _ in range(5)] == [1] * 5
    assert time.monotonic() - began < 5
    gate.set()
    kept.wait()
    assert (kept.get(), len(calls)) == (2, 2)


def test_what_could_not_be_read_is_nothing_until_it_can_be():
    clock, broken = Clock(), [True]

    def read():
        if broken:
            raise ValueError
        return "value"

    kept = Kept(read, 10, clock)
    assert (kept.get(), kept.failures) == (None, 1)
    broken.clear()
    clock.now += 11
    kept.get()
    kept.wait()
    assert (kept.get(), kept.error, kept.failures) == ("value", None, 1)


def test_old_ids_are_forgotten_and_new_ones_counted():
    counted = Counted(keep=3)
    counted.look({("a",): ["1"]})
    assert counted.look({("a",): ["1", "2", "3", "4"]})["a",] == 3
    assert len(counted._seen["a",]) == 3
    assert counted.look({("a",): ["3", "4"], ("b",): ["1"]}) == {("a",): 3, ("b",): 1}


def test_that_the_code_location_does_not_load_is_forgotten_sooner_than_that_it_does(instance, lake, settings):
    now, read = [1000.0], iter([Roster(error="SyntaxError"), Roster(jobs=("a",)), Roster(error="ImportError")])
    exporter = Exporter(Platform(instance, lake, settings, roster=lambda: next(read)), clock=lambda: now[0])
    found = []
    for seconds in (0, 59, 1, 0, 899, 1, 0):
        now[0] += seconds
        exporter.roster()
        exporter._roster.wait()
        found.append(exporter.roster().error)
    assert found == ["SyntaxError", "SyntaxError", "", "", "", "ImportError", "ImportError"]
