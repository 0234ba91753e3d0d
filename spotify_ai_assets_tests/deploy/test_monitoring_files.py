"""Dashboards and alert rules name metrics and labels that are exported, promtool accepts the rules, and each rule has its tests."""

import json
import re
import shutil
import subprocess
from functools import cache

import pytest
import yaml
from invented import require

from spotify_ai_assets.observability.metrics.families import FAMILIES
from spotify_ai_assets.settings import ROOT

PROMETHEUS, GRAFANA = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana"
DASHBOARDS = sorted(GRAFANA.glob("*.json"))
TESTS = ("alerts_test.yaml", "alerts_slow_test.yaml")
GIVEN = {"instance", "job", "alertname", "alertstate", "severity"}
"""Labels that Prometheus or a rule gives."""
OTHERS = {"up", "ALERTS"}
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?")
PANELS = {"row", "stat", "table", "timeseries", "bargauge"}


@cache
def rules():
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule["alert"] for rule in rules() if "alert" in rule]
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def used(expression):
    """The metrics that an expression selects, each with the labels that it matches."""
    found = []
    for name, matchers in SELECTOR.findall(expression):
        if name.startswith(("dagster_", "spotify_ai")):
            found.append((name, set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", matchers))))
    return found


def grouped(expression):
    """The labels that an expression groups or joins by."""
    clauses = re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", expression)
    return {label.strip() for clause in clauses for label in clause.split(",") if label.strip()}


def assert_exported(expression):
    names = used(expression)
    assert names or set(re.findall(r"\b\w+\b", expression)) & OTHERS, expression
    known = set()
    for name, labels in names:
        assert name in FAMILIES or name in RECORDED, name
        if name in FAMILIES:
            assert labels <= set(FAMILIES[name].labels) | GIVEN, (name, labels)
            known |= set(FAMILIES[name].labels)
    if not {name for name, _ in names} & RECORDED:
        assert grouped(expression) <= known | GIVEN, expression


def promtool(*arguments):
    require(found := shutil.which("promtool"), "promtool of Debian's package prometheus is not installed")
    done = subprocess.run([str(found), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_and_labels_that_are_exported(rule):
    assert_exported(rule["expr"])


@pytest.mark.parametrize("rule", [rule for rule in rules() if "alert" in rule], ids=lambda rule: rule["alert"])
def test_an_alert_says_who_must_look_why_and_where(rule):
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "why", "look"} == set(rule["annotations"])
    assert all(len(text) > 8 for text in rule["annotations"].values())
    templated = set(re.findall(r"\$labels\.([a-z_]+)", rule["annotations"]["summary"]))
    assert templated <= {label for name, _ in used(rule["expr"]) for label in getattr(FAMILIES.get(name), "labels", ("asset_key",))}


def test_alerts_have_names_of_their_own():
    assert len(set(ALERTS)) == len(ALERTS) > 20


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_test_in_which_it_fires_and_one_in_which_it_stays_silent(alert):
    cases = [case for file in TESTS for case in yaml.safe_load((PROMETHEUS / file).read_text())["tests"]]
    expected = [test["exp_samples"] for case in cases for test in case["promql_expr_test"] if f'alertname="{alert}"' in test["expr"]]
    assert sorted(map(bool, expected)) == [False, True]


def test_promtool_accepts_the_configuration_and_the_rules():
    promtool("check", "config", "prometheus.yaml")
    promtool("check", "rules", "alerts.yaml")


@pytest.mark.parametrize("file", TESTS)
def test_the_rules_pass_their_unit_tests(file):
    assert "SUCCESS" in promtool("test", "rules", file)


def test_prometheus_scrapes_where_the_endpoint_listens():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())
    (scrape,) = config["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]
    assert f'up{{job="{scrape["job_name"]}"}}' in (PROMETHEUS / "alerts.yaml").read_text()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_for_metrics_and_labels_that_are_exported(path):
    panels = [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(expressions) >= len(panels) > 5
    for expression in expressions:
        assert_exported(expression)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_laid_out_as_grafana_expects(path):
    board = json.loads(path.read_text())
    assert board["title"] and board["schemaVersion"] >= 36 and board["uid"].startswith("spotify-ai-")
    assert "id" not in board  # Grafana gives it at the import
    panels, taken = board["panels"], set()
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in PANELS and panel["title"]
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)


def test_dashboards_have_identities_of_their_own_and_show_most_of_what_is_exported():
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) == 3
    shown = {
        name for board in boards for panel in board["panels"] for target in panel.get("targets", []) for name, _ in used(target["expr"])
    }
    ruled = {name for rule in rules() for name, _ in used(rule["expr"])}
    unseen = set(FAMILIES) - shown - ruled
    assert len(unseen) <= len(FAMILIES) / 3, sorted(unseen)


def test_what_is_used_is_found_in_an_expression():
    assert used('sum by (a) (dagster_active_runs{status="queued", location=~"x.*"}) > 0') == [
        ("dagster_active_runs", {"status", "location"})
    ]
    assert grouped("a * on (x, y) group_left (z) b") == {"x", "y", "z"}
    with pytest.raises(AssertionError):
        assert_exported("dagster_no_such_thing")
    with pytest.raises(AssertionError):
        assert_exported('dagster_active_runs{color="red"}')
