"""The benchmarks at sizes that take seconds: their documents, and that they measure the platform's own functions."""

import inspect
import json
import sys
from datetime import date

import pytest

from benchmarks import backfill, bare, listening, load, measuring, scale
from benchmarks.listens import WEDNESDAY, draw_day
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.listening import assets as listening_assets
from spotify_ai_assets.listening import contracts
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.reports import assets as report_assets
from spotify_ai_assets.reports import publication
from spotify_ai_assets.reports.contracts import DAILY_LISTENING
from spotify_ai_assets.validation import violations

KEYS = {"name", "ours", "peer", "ratio", "better", "unit", "rounds"}


def _check(document: dict, name: str, *more: str) -> None:
    assert set(document) >= {*KEYS, *more}
    assert (document["name"], document["better"], document["rounds"]) == (name, "lower", 1)
    assert document["ours"] > 0 and document["peer"] > 0
    assert document["ratio"] == pytest.approx(document["ours"] / document["peer"], rel=0.02, abs=0.002)
    assert json.loads(json.dumps(document)) == document


@pytest.mark.slow
def test_listening_compares_the_daily_job_with_bare_polars() -> None:
    _check(listening.measure(listens=3_000, rounds=1), "listening", "ours_megabytes", "cpu_ratio", "audited_ratio", "day")


@pytest.mark.slow
def test_backfill_compares_the_command_with_a_bare_loop() -> None:
    document = backfill.measure(days=2, scale=0.02, rounds=1)
    _check(document, "backfill", "extra_seconds")
    assert document["asset_days"] == 2 * len(bare.MAKERS)


@pytest.mark.slow
def test_scale_makes_more_listens_a_day_and_more_days() -> None:
    document = scale.measure(listens=200, days=1, rounds=1)
    _check(document, "scale", "marginal_ratio", "days_ratio", "days_memory_ratio")
    sizes = document["sizes"]
    assert isinstance(sizes, list)
    assert {(size["listens_a_day"], size["days"]) for size in sizes} == {(200, 1), (800, 1), (3200, 1), (200, 4), (200, 16)}


def test_loading_the_code_location_takes_little_memory() -> None:
    document = load.measure(rounds=1)
    _check(document, "load", "ours_megabytes", "peer_megabytes")
    assert float(str(document["ours_megabytes"])) < 120


def test_the_peers_functions_are_those_of_the_assets() -> None:
    for name in (
        "clean_plays",
        "settle_sessions",
        "count_listener_tracks",
        "count_tracks",
        "count_artists",
        "count_countries",
        "rank_charts",
    ):
        assert getattr(bare, name) is getattr(listening_assets, name)
    assert bare.summarise_day is report_assets.summarise_day
    assert backfill.publish_days is publication.publish_days


def test_the_peer_makes_the_tables_that_count_plays_after_what_they_read() -> None:
    made = {key: table for key, table in contracts.TABLES.items() if table.reads} | {DAILY_LISTENING.key: DAILY_LISTENING}
    assert set(bare.MAKERS) == set(made)
    order = [EVENTS.key, *bare.MAKERS]
    assert all(order.index(reads.key) <= order.index(key) for key, table in made.items() for reads in table.reads)


def test_ours_are_the_platforms_own_entry_points() -> None:
    job = defs().resolve_job_def("daily_listening")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == set(listening.MADE)
    assert 'resolve_job_def("daily_listening")' in inspect.getsource(listening.run_job)
    assert "run_backfill" in inspect.getsource(scale.make_days)
    assert backfill.CLI == "from spotify_ai_assets.cli import main; main()"
    assert load.OURS == "from spotify_ai_assets.definitions import defs; defs().get_repository_def()"


def test_the_audits_left_out_block_nothing() -> None:
    specs = [spec for checks in defs().asset_checks or [] for spec in checks.check_specs]  # type: ignore[union-attr]
    left_out = [spec for spec in specs if spec.name in listening.AUDITS]
    assert len(left_out) == len(listening.AUDITS)
    assert not any(spec.blocking for spec in left_out)


def test_drawn_listens_keep_the_contract_and_are_repeatable() -> None:
    drawn = draw_day(WEDNESDAY, 2_000, tracks=300)
    assert drawn.equals(draw_day(WEDNESDAY, 2_000, tracks=300))
    assert not drawn.equals(draw_day(WEDNESDAY, 2_000, tracks=300, seed=1))
    assert dict(drawn.schema) == EVENTS.schema
    assert violations(EVENTS, drawn) == []
    assert drawn.select(EVENTS.primary_key).is_unique().all()
    assert drawn["day"].unique().to_list() == [WEDNESDAY] == drawn["started_at"].dt.date().unique().to_list()


def test_the_same_people_listen_on_another_day() -> None:
    first, second = draw_day(WEDNESDAY, 5_000, listeners=20, tracks=50), draw_day(date(2024, 3, 14), 5_000, listeners=20, tracks=50)
    assert set(first["listener_id"]) == set(second["listener_id"])
    assert not first.drop("day").equals(second.drop("day"))


def test_sides_are_interleaved() -> None:
    order: list[str] = []

    def side(name: str) -> measuring.Run:
        order.append(name)
        return measuring.Run(float(len(order)), 0.0, {})

    ours, peer = measuring.interleave(3, lambda: side("a"), lambda: side("b"))
    assert order == ["a", "b"] * 3
    assert (measuring.median(ours), measuring.median(peer)) == (3.0, 4.0)


def test_a_failed_process_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        measuring.run(["-c", "raise SystemExit('no such thing')"])


def test_the_last_line_is_one_json_document(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--rounds", "2"])
    measuring.main(lambda rounds: measuring.report("x", 1.0, 2.0, unit="s", rounds=rounds), None, rounds=5)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rounds"] == 2
