from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.observability.audit.entries import (
    LISTED_INPUTS,
    UNREADABLE,
    Finished,
    Made,
    deed_of_configuration,
    deed_of_pointer,
    deeds_of_run,
    digest,
    digest_of_anything,
    pointer_once,
    summarise_inputs,
)
from spotify_ai_assets.resources.chain_records import ChainError, canonical

WHO = {"kind": "schedule", "name": "daily"}


def finished(*made: Made, outcome: str = "success") -> Finished:
    return Finished("run-1", "backfill", outcome, WHO, "t" * 32, {"ops": {}}, 1.5, 0, made)


def test_a_run_is_told_as_one_job_and_one_record_per_table():
    made = [Made("a/plays", f"2026-01-{day:02}", f"{day:016x}", 10, 100, 0.25) for day in (1, 2)] + [
        Made("a/charts", "", "f" * 16, 3, 30, 0.5)
    ]
    deeds = deeds_of_run(finished(*made), lambda each: {f"a/events@{each.partition}": "d" * 64})
    assert [(deed.action, deed.subject, deed.once) for deed in deeds] == [
        ("materialised", "a/plays", "run:run-1:a/plays:0"),
        ("materialised", "a/charts", "run:run-1:a/charts:0"),
        ("job", "backfill", "run:run-1"),
    ]
    assert deeds[0].outputs == {"a/plays@2026-01-01": f"{1:016x}", "a/plays@2026-01-02": f"{2:016x}"}
    assert deeds[0].inputs == {"a/events@2026-01-01": "d" * 16, "a/events@2026-01-02": "d" * 16}
    assert deeds[0].figures == {"partitions": 2, "rows": 20, "bytes": 200, "seconds": 0.5, "inputs_unknown": 0}
    assert deeds[1].outputs == {"a/charts": "f" * 16}
    assert deeds[2].figures == {"materialised": 3, "failed_steps": 0, "seconds": 1.5}
    assert {deed.run_id for deed in deeds} == {"run-1"} and {deed.trace_id for deed in deeds} == {"t" * 32}
    assert all(deed.who == WHO for deed in deeds)


def test_a_long_range_is_told_in_several_records_with_every_partition_in_one():
    made = [Made("a/plays", f"p{number:04}", f"{number:016x}") for number in range(250)]
    deeds = deeds_of_run(finished(*made), lambda _: None)
    assert [len(deed.outputs) for deed in deeds] == [100, 100, 50, 0]
    assert {name for deed in deeds for name in deed.outputs} == {each.name for each in made}
    assert [deed.figures.get("inputs_unknown") for deed in deeds] == [100, 100, 50, None]


def test_a_failed_run_is_told_as_failed():
    (deed,) = deeds_of_run(finished(outcome="failure"), lambda _: None)
    assert (deed.action, deed.outcome) == ("job", "failure")


def test_the_configuration_of_a_run_is_told_by_digest_alone():
    run = Finished("run-1", "export", "success", WHO, "", {"ops": {"x": {"config": {"folder": "somewhere"}}}}, None, 0, ())
    (deed,) = deeds_of_run(run, lambda _: None)
    assert "somewhere" not in str(deed) and len(deed.inputs["config"]) == 16 and "seconds" not in deed.figures


def test_many_partitions_of_an_input_are_told_by_one_digest_that_any_change_changes():
    inputs = {f"a/events@2026-01-{day:02}": f"{day:064x}" for day in range(1, LISTED_INPUTS + 2)} | {"a/genres": "c" * 64}
    told = summarise_inputs(inputs)
    assert set(told) == {"a/events@2026-01-01..2026-01-09", "a/genres"}
    for name in inputs:
        assert summarise_inputs({**inputs, name: "0" * 64}) != told
        assert summarise_inputs({each: value for each, value in inputs.items() if each != name}) != told


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.from_regex(r"[a-c]/[a-c]{1,2}@[0-9]{1,3}", fullmatch=True), st.from_regex(r"[0-9a-f]{64}", fullmatch=True), max_size=40
    )
)
def test_what_is_told_of_inputs_stays_small_and_names_every_table(inputs):
    told = summarise_inputs(inputs)
    tables = {name.partition("@")[0] for name in inputs}
    assert {name.partition("@")[0] for name in told} == tables and len(told) <= LISTED_INPUTS * len(tables)
    assert all(len(value) == 16 for value in told.values())


def test_a_promotion_is_told_with_what_served_before_and_its_gate_by_digest():
    event = {
        "at": "2026-01-01",
        "event": "promoted",
        "version": "b" * 16,
        "before": "a" * 16,
        "gate": {"passed": True},
        "origin": {"dagster_run_id": "r"},
    }
    deed = deed_of_pointer("audio/genre", event, WHO)
    assert (deed.action, deed.subject, deed.outcome, deed.run_id) == ("promoted", "audio/genre", "promoted", "r")
    assert deed.inputs["before"] == "a" * 16 and len(deed.inputs["gate"]) == 16 and deed.outputs == {"version": "b" * 16}
    assert pointer_once("audio/genre", event) == deed.once != pointer_once("audio/mood", event)
    assert pointer_once("audio/genre", {**event, "at": "2026-01-02"}) != deed.once


def test_a_changed_setting_is_told_and_an_unchanged_configuration_is_not():
    before = {"setting lake": "1", "setting data": "2"}
    assert deed_of_configuration(before, before, WHO, 7) is None
    deed = deed_of_configuration({"setting lake": "9", "setting new": "3", "setting data": "2"}, before, WHO, 7)
    assert deed and deed.subject == "setting lake, setting new" and deed.inputs == {"setting lake": "1"}
    assert deed.figures == {"changed": 2}
    first = deed_of_configuration(before, None, WHO, 0)
    assert first and first.subject == "first seen" and first.outputs == before and first.inputs == {}


@given(st.recursive(st.none() | st.floats() | st.text(st.characters()), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_everything_has_a_digest_and_what_records_can_hold_that_of_its_canonical_text(value):
    found = digest_of_anything(value)
    assert len(found) == 16
    try:
        assert found == digest(canonical(value))
    except ChainError:
        assert found != UNREADABLE


def test_what_has_no_json_at_all_is_told_as_unreadable():
    circle: list[object] = []
    circle.append(circle)
    assert digest_of_anything(circle) == UNREADABLE
    assert digest_of_anything({"\ud800": float("nan")}) != digest_of_anything({"\ud801": float("nan")})
