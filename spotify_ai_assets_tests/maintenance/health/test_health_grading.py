"""Grades follow from figures at the limits that are promised, and a sentence says why."""

from datetime import date

import pytest

from spotify_ai_assets.maintenance.health import grading
from spotify_ai_assets.maintenance.health.contracts import COMPONENTS, GRADES
from spotify_ai_assets.maintenance.health.grading import DAY_S, HOUR_S, Finding, Limits, overall, word_for

TODAY = date(2026, 6, 28)


def test_a_limit_belongs_to_the_worse_grade():
    limits = Limits(10.0, 20.0)
    assert [limits.grade(value) for value in (9.99, 10, 19.99, 20, 1e9)] == ["good", "warning", "warning", "failing", "failing"]


@pytest.mark.parametrize(
    ("finding", "grade"),
    [
        (grading.grade_lake([], 3), "good"),
        (grading.grade_lake(["a/b"], 3), "failing"),
        (grading.grade_staleness({"a/b": 0}), "good"),
        (grading.grade_staleness({"a/b": 1}), "warning"),
        (grading.grade_freshness({}, 0), "unknown"),
        (grading.grade_freshness({}, 2), "good"),
        (grading.grade_freshness({"a/b": 60.0}, 2), "warning"),
        (grading.grade_freshness({"a/b": 60.0, "a/c": DAY_S}, 2), "failing"),
        (grading.grade_checks([], [], 0), "unknown"),
        (grading.grade_checks([], [], 5), "good"),
        (grading.grade_checks([], ["a/b:c"], 5), "warning"),
        (grading.grade_checks(["a/b:c"], ["a/b:d"], 5), "failing"),
        (grading.grade_queue(None), "good"),
        (grading.grade_queue(899.0), "good"),
        (grading.grade_queue(900.0), "warning"),
        (grading.grade_queue(HOUR_S), "failing"),
        (grading.grade_daemons({}), "unknown"),
        (grading.grade_daemons({"SENSOR": None}), "unknown"),
        (grading.grade_daemons({"SENSOR": 20.0, "ASSET": None}), "warning"),
        (grading.grade_daemons({"SENSOR": 20.0, "ASSET": 87.0}), "good"),
        (grading.grade_daemons({"SENSOR": 20.0, "ASSET": 301.0}), "warning"),
        (grading.grade_daemons({"SENSOR": 601.0, "ASSET": 20.0}), "failing"),
        (grading.grade_location("ImportError", 5.0), "failing"),
        (grading.grade_location(None, None), "unknown"),
        (grading.grade_location("", None), "good"),
        (grading.grade_location("", 700.0), "warning"),
        (grading.grade_location(None, 1801.0), "failing"),
        (grading.grade_disk(11, 100), "good"),
        (grading.grade_disk(9, 100), "warning"),
        (grading.grade_disk(4, 100), "failing"),
        (grading.grade_disk(0, 0), "failing"),
        (grading.grade_databases({"vault": "", "ledger": ""}), "good"),
        (grading.grade_databases({"vault": "", "ledger": "damaged"}), "failing"),
        (grading.grade_stream(0, None), "good"),
        (grading.grade_stream(5, 10.0), "good"),
        (grading.grade_stream(5, 301.0), "warning"),
        (grading.grade_stream(5, 1801.0), "failing"),
        (grading.grade_models({}, []), "unknown"),
        (grading.grade_models({"a/model": 90 * DAY_S}, []), "good"),
        (grading.grade_models({"a/model": 22 * DAY_S}, ["a/model"]), "warning"),
        (grading.grade_models({"a/model": 61 * DAY_S, "a/new": 1.0}, ["a/model"]), "failing"),
        (grading.grade_backups(None), "warning"),
        (grading.grade_backups(29 * HOUR_S), "good"),
        (grading.grade_backups(30 * HOUR_S), "warning"),
        (grading.grade_backups(3 * DAY_S), "failing"),
        (grading.grade_drills(None), "warning"),
        (grading.grade_drills(7 * DAY_S), "good"),
        (grading.grade_drills(15 * DAY_S), "failing"),
        (grading.grade_erasures(0, None), "good"),
        (grading.grade_erasures(1, 6 * DAY_S), "good"),
        (grading.grade_erasures(1, 8 * DAY_S), "warning"),
        (grading.grade_erasures(9, 22 * DAY_S), "failing"),
        (grading.grade_audit([], 0), "unknown"),
        (grading.grade_audit([], 9), "good"),
        (grading.grade_audit(["record 3 was changed"], 0), "failing"),
        (grading.grade_alerts(0, None, 0), "good"),
        (grading.grade_alerts(2, 60.0, 0), "good"),
        (grading.grade_alerts(2, 901.0, 0), "warning"),
        (grading.grade_alerts(2, HOUR_S, 0), "failing"),
        (grading.grade_alerts(0, None, 1), "warning"),
        (grading.grade_secrets([], [], {}, TODAY), "good"),
        (grading.grade_secrets(["a.key"], [], {}, TODAY), "failing"),
        (grading.grade_secrets([], ["A"], {}, TODAY), "failing"),
        (grading.grade_secrets([], [], {"A": date(2026, 7, 13)}, TODAY), "good"),
        (grading.grade_secrets([], [], {"A": date(2026, 7, 12)}, TODAY), "warning"),
        (grading.grade_secrets([], [], {"A": TODAY}, TODAY), "failing"),
    ],
)
def test_a_part_is_graded_by_its_figures(finding, grade):
    assert finding.grade == grade
    assert finding.component in COMPONENTS and len(finding.reason) > 5
    assert "{" not in finding.reason


def test_one_is_told_as_one():
    assert grading.grade_erasures(1, 8 * DAY_S).reason == "1 request is open, since 8.0 days"
    assert grading.grade_erasures(2, 8 * DAY_S).reason == "2 requests are open, the oldest since 8.0 days"


def test_the_worst_part_decides_and_what_is_unknown_does_not():
    def graded(*grades):
        return overall(Finding("disk", grade, "") for grade in grades)

    assert graded("good", "unknown") == "good"
    assert graded("good", "warning", "unknown") == "warning"
    assert graded("warning", "failing", "good") == "failing"


def test_a_sentence_lists_a_few_names_and_counts_the_rest():
    told = grading.grade_lake([f"a/t{number}" for number in range(9)], 20).reason
    assert "a/t4" in told and "a/t5" not in told and "and 4 more" in told


def test_a_model_that_is_up_to_date_is_good_however_old():
    finding = grading.grade_models({"a/model": 400 * DAY_S, "a/other": 30 * DAY_S}, ["a/other"])
    assert finding.grade == "warning" and "a/other" in finding.reason


def test_every_grade_has_a_word():
    assert {word_for(grade) for grade in GRADES} == {"good", "not as it should be", "failing", "unknown"}
