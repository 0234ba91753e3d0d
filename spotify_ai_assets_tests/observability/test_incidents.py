"""The router's memory against a model: what is open is what failed and was not well since, and beginnings and ends take turns."""

import itertools
import tempfile
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_ai_assets.observability.alerts.incidents import Incidents
from spotify_ai_assets.observability.alerts.notices import DEFAULT_ROUTES, Notice, Route

NOW = datetime(2026, 6, 9, tzinfo=UTC)
_PARTS = st.sets(st.sampled_from(["1", "2", "3", "4"]), min_size=1).map(lambda parts: tuple(sorted(parts)))
_NOTICES = st.builds(
    Notice,
    subject=st.sampled_from(["run/a", "run/b"]),
    title=st.just("t"),
    is_healthy=st.booleans(),
    severity=st.sampled_from(["warning", "error", "critical"]),
    parts=_PARTS,
    occurrence=st.sampled_from(["", "x", "y"]),
)


@settings(max_examples=15)
@given(st.lists(_NOTICES, max_size=14))
def test_what_is_open_is_what_failed_and_was_not_well_since(notices: list[Notice]) -> None:
    failing: dict[str, set[str]] = defaultdict(set)
    seen: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory() as folder:
        incidents = Incidents(Path(folder) / "alerts.db")
        for number, notice in enumerate(notices):
            incidents.note(notice, DEFAULT_ROUTES, ["sentry", "pagerduty"], NOW + timedelta(seconds=number))
            if notice.occurrence and (notice.key, notice.occurrence) in seen:
                continue
            seen.add((notice.key, notice.occurrence))
            if notice.is_healthy:
                failing[notice.subject] -= set(notice.parts)
            else:
                failing[notice.subject] |= set(notice.parts)
            found = incidents.open()
            for subject, parts in failing.items():
                assert {part for each in found if each.subject == subject for part in each.parts} == parts
            assert all(each.parts for each in found)
        assert incidents.figures().open == len(incidents.open())


@settings(max_examples=15)
@given(st.lists(_NOTICES, max_size=14))
def test_for_each_channel_a_trouble_begins_before_it_ends_and_ends_once(notices: list[Notice]) -> None:
    told: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        incidents = Incidents(Path(folder) / "alerts.db")
        for number, notice in enumerate(notices):
            incidents.note(notice, [Route("*", "pagerduty")], ["pagerduty"], NOW + timedelta(seconds=number))
        later = NOW + timedelta(hours=1)
        while due := incidents.take_due(later, 100):
            assert len({delivery.key for delivery in due}) == len(due), "of one trouble one at a time"
            for delivery in due:
                told[delivery.key].append(delivery.action)
                incidents.settle(delivery, later)
        still = [each.key for each in incidents.open()]
    for key, actions in told.items():
        runs = [action for action, _ in itertools.groupby(actions)]
        assert runs[0] == "trigger"
        assert actions.count("resolve") <= actions.count("trigger")
        if key not in still:
            assert actions[-1] == "resolve"


def test_two_troubles_never_share_a_key(tmp_path: Path) -> None:
    incidents = Incidents(tmp_path / "alerts.db")
    for parts, is_healthy in ((("1", "2", "3"), False), (("1", "3"), True), (("1", "3"), False)):
        incidents.note(Notice("run/a", "t", is_healthy=is_healthy, parts=parts), DEFAULT_ROUTES, ["slack"], NOW)
    assert [each.key for each in incidents.open()] == ["run/a/1...3", "run/a/1...3 (2)"]


def test_two_deliveries_have_two_ids(tmp_path: Path) -> None:
    incidents = Incidents(tmp_path / "alerts.db")
    for subject in ("run/a", "run/b"):
        incidents.note(Notice(subject, "t", is_healthy=False), DEFAULT_ROUTES, ["sentry", "slack"], NOW)
    assert len({delivery.event_id for delivery in incidents.take_due(NOW, 10)}) == 4
