"""An erasure from the request to the receipt: found everywhere before, nowhere after, and as if the person had never been there."""

import dataclasses
import sqlite3
from contextlib import closing
from datetime import timedelta

import polars as pl
import pytest
import taste_world
from cryptography.fernet import Fernet
from erasure_worlds import DAYS, GROUP, ONLY, PERSON, World, plant, pseudonym_of, user_of

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS, KEPT_FILES, REJECTED
from spotify_ai_assets.listening.landing import KEY_VARIABLE
from spotify_ai_assets.maintenance.erasure.cases import STATES, Person, SealedPeople, read_cases
from spotify_ai_assets.maintenance.erasure.evidence import look, roots_of
from spotify_ai_assets.maintenance.erasure.machine import erase, preview
from spotify_ai_assets.maintenance.erasure.receipts import read_receipt, verify_receipt
from spotify_ai_assets.maintenance.erasure.targets import about_listeners
from spotify_ai_assets.recommendations.realtime.live import open_live
from spotify_ai_assets.resources.audit import open_audit
from spotify_ai_assets.resources.stream import open_stream
from spotify_ai_assets.resources.suppression import Suppression

pytestmark = GROUP


class DiedError(Exception):
    """A process that is gone."""


def found_in(world: World, number: int) -> set[str]:
    """The stores in which something of a listener is."""
    person = Person(user_of(number), (pseudonym_of(number),))
    result = look(world.settings, {"0": person}, roots_of(world.settings))
    return {hit.store for hit in result.hits}


def test_who_is_everywhere_is_nowhere_afterwards_and_nobody_else_is_touched(world: World, monkeypatch):
    stores, key = plant(world, PERSON), Fernet.generate_key()
    monkeypatch.setenv(KEY_VARIABLE, key.decode())
    world = dataclasses.replace(world, settings=dataclasses.replace(world.settings, keep_landing_days=7))
    (world.settings.data / "kept" / f"{'d' * 64}.fernet").write_bytes(Fernet(key).encrypt(b"somebody else's"))
    assert set(stores) - {"kept"} == found_in(world, PERSON), "else the scan is blind, or the world is"
    others = world.lake.scan(EVENTS.key).filter(pl.col("listener_id") != pseudonym_of(PERSON)).collect().height
    with world.tools() as tools:
        request = tools.desk.accept(user_of(PERSON))
        (case,) = erase(tools)
        assert (case.request, case.state, case.left, case.rounds) == (request, "receipted", (), 1)
        assert [record.kind for record in case.records] == list(STATES)
        assert verify_receipt(world.settings, tools.ledger, request) == []
        told = "".join(str(record) for record in tools.ledger.records())
    told += "".join(path.read_text() for path in (world.settings.data / "erasure" / "receipts").glob(f"{request}*"))
    assert user_of(PERSON) not in told and pseudonym_of(PERSON) not in told and len(told) > 5000
    assert found_in(world, PERSON) == set()
    theirs = pl.col("listener_id") == pseudonym_of(PERSON)
    left = {table.key: world.lake.scan(table.key).filter(theirs).collect().height for table in about_listeners(world.lake.tables)}
    assert set(left.values()) == {0} and len(left) >= 10
    data = world.settings.data
    assert {path.name for path in (data / "quarantine").iterdir()} == {"b" * 64}
    assert {path.stem for path in (data / "kept").iterdir()} == {"d" * 64}
    assert not any(path.is_file() for path in (data / "landing").rglob("*"))
    assert world.lake.scan(KEPT_FILES.key).collect()["listener_id"].to_list() == [pseudonym_of(1)]
    assert "of nobody" in (data / "logs" / "platform.jsonl").read_text() and open_stream(world.settings).waiting() == 5
    with closing(sqlite3.connect(data / "dagster" / "runs.db")) as database:
        assert [row[0] for row in database.execute("select what from told")] == ["x" * 4000, '{"who": "[erased]"}']
    live = open_live(world.settings)
    assert (live.plays(pseudonym_of(PERSON)), len(live.plays(pseudonym_of(1)))) == ([], 1)
    live.close()
    # Two of the landed listens were somebody else's; the third was refused without a word of what it said.
    assert world.lake.scan(EVENTS.key).collect().height == others + 2
    assert world.lake.scan(IMPORTS.key).collect().select("stored", "rejected").row(0) == (2, 1)
    assert world.lake.scan(REJECTED.key).collect()["rule"].to_list() == ["erased_listener"]


def test_afterwards_everything_is_as_on_a_platform_that_never_saw_the_person(world: World, never: World):
    assert world.digests() != never.digests() and world.pages() != never.pages()
    with world.tools() as tools:
        tools.desk.accept(user_of(ONLY))
        (case,) = erase(tools)
    assert case.state == "receipted" and case.figures("rebuilt")["report_files_removed"] > 0
    assert world.digests() == never.digests()
    assert world.pages() == never.pages()


@pytest.mark.slow
def test_who_dies_at_any_transition_goes_on_there(world: World):
    plant(world, ONLY)
    told: list[tuple[str, str]] = []

    def die_once(when: str, step: str) -> None:
        if (when, step) not in told:
            told.append((when, step))
            raise DiedError

    with world.tools(hook=die_once) as tools:
        request = tools.desk.accept(user_of(ONLY))
        for _ in range(2 * len(STATES)):
            try:
                erase(tools)
            except DiedError:
                assert tools.ledger.verify() == []
        (case,) = read_cases(tools.ledger)
        assert case.state == "receipted" and case.rounds == 1
        assert told == [(when, step) for step in STATES[1:] for when in ("before", "after")]
        assert [record.kind for record in case.records] == list(STATES), "each step is noted once"
        assert verify_receipt(world.settings, tools.ledger, request) == []
    assert found_in(world, ONLY) == set()
    assert [record.body["subject"] for record in open_audit(world.settings).search(action="erased")] == [request]


def test_what_cannot_be_reached_keeps_the_request_open_until_it_can(world: World):
    (world.settings.data / "landing").mkdir()
    unfinished = world.settings.data / "landing" / "export.json.part"
    unfinished.write_text(f'{{"user": "{user_of(ONLY)}"')
    (world.settings.data / "surprise").mkdir()
    with world.tools() as tools:
        request = tools.desk.accept(user_of(ONLY))
        (case,) = erase(tools)
        assert case.state == "requested" and case.rounds == 2 and case.is_open
        assert [what.partition(":")[0] for what in case.left] == ["1 folders below the data folder are not registered", "landing"]
        assert SealedPeople(world.settings).requests() == [request] and user_of(ONLY) not in str(case.left)
        with pytest.raises(Exception, match="no receipt"):
            read_receipt(world.settings, request)
        unfinished.unlink()
        (world.settings.data / "surprise").rmdir()
        (case,) = erase(tools)
        assert (case.state, case.rounds) == ("receipted", 3) and SealedPeople(world.settings).requests() == []
        assert erase(tools) == []


@pytest.mark.slow
def test_a_batch_is_made_again_once_and_each_has_a_receipt(world: World):
    with world.tools() as tools:
        requests = {tools.desk.accept(user_of(number)) for number in (PERSON, 11, 12)}
        assert tools.desk.accept(user_of(PERSON)) in requests, "an open request of the same person is that request"
        cases = erase(tools)
        assert {case.request for case in cases} == requests and {case.state for case in cases} == {"receipted"}
        assert {record.body.get("cases", 3) for case in cases for record in case.records} == {3}
        assert all(verify_receipt(world.settings, tools.ledger, request) == [] for request in requests)
    assert found_in(world, 11) == found_in(world, 12) == set()


def test_somebody_of_whom_nothing_is_known_gets_a_receipt_too(world: World):
    before = world.digests()
    with world.tools() as tools:
        request = tools.desk.accept("nobody knows me")
        (case,) = erase(tools)
        assert case.state == "receipted" and read_receipt(world.settings, request)["pseudonyms"] == []
    assert world.digests() == before
    assert Suppression(world.settings).is_suppressed(["nobody knows me", user_of(1)]) == {"nobody knows me"}


@pytest.mark.slow
def test_who_came_in_while_the_request_was_taken_up_is_found_and_goes_too(world: World):
    late = dataclasses.replace(world, vault=type(world.vault)(world.settings.vault_url, lambda _: "f" * 31 + "e"))
    with late.tools() as tools:
        tools.desk.accept("somebody new")

        def import_meanwhile(when: str, step: str) -> None:
            if (when, step) == ("after", "keys_destroyed") and tools.vault.find("somebody new") is None and not calls:
                calls.append(step)
                (pseudonym,) = tools.vault.swap(["somebody new"]).values()
                day = taste_world.FIRST + timedelta(days=DAYS)
                mine = world.lake.scan(EVENTS.key, first=day, last=day).head(1).collect().with_columns(listener_id=pl.lit(pseudonym))
                world.lake.update(EVENTS.key, [day], lambda _, rows: pl.concat([rows, mine]))

        calls: list[str] = []
        (case,) = erase(dataclasses.replace(tools, hook=import_meanwhile))
        assert calls and (case.state, case.rounds) == ("receipted", 2)
        assert len(case.pseudonyms) == 1, "the ledger knows the late pseudonym by its hash"
    assert world.lake.scan(EVENTS.key).filter(pl.col("listener_id") == "f" * 31 + "e").collect().is_empty()


def test_a_restore_that_lost_the_sealed_needles_finds_them_in_the_vault_or_says_so(world: World):
    with world.tools() as tools:
        known, unknown = tools.desk.accept(user_of(ONLY)), tools.desk.accept("nobody knows me")
        for request in (known, unknown):
            SealedPeople(world.settings).drop(request)
        states = {case.request: case.state for case in erase(tools)}
        assert states == {known: "receipted", unknown: "requested"}
        assert tools.desk.accept("nobody knows me") == unknown
        assert [case.state for case in erase(tools)] == ["receipted"]


def test_a_dry_run_tells_where_somebody_is_and_changes_no_byte(world: World):
    plant(world, PERSON)
    before = {path: path.read_bytes() for path in world.settings.data.rglob("*") if path.is_file()}
    with world.tools() as tools:
        told = preview(tools, user_of(PERSON))
    assert told["is_known"] and set(told["stores"]) == {
        "dagster",
        "lake",
        "landing",
        "live",
        "logs",
        "mlflow",
        "quarantine",
        "scratch",
        "stream",
        "vault",
    }
    assert told["tables"]["listening/events"] == {"partitions": 3, "rows": 18} and "listening/plays" in told["made_again"]
    after = {path: path.read_bytes() for path in world.settings.data.rglob("*") if path.is_file()}
    assert {path for path in after if before.get(path) != after[path]} <= {path for path in after if path.suffix in (".lock", ".gate")}


def test_a_short_id_counts_only_where_ids_may_be(world: World):
    (world.settings.data / "logs").mkdir(exist_ok=True)
    (world.settings.data / "logs" / "platform.jsonl").write_text('{"message": "the local time"}\n')
    short = dataclasses.replace(world, vault=type(world.vault)(world.settings.vault_url, lambda _: "5" * 31 + "a"))
    short.vault.swap(["local"])
    assert found_in(world, PERSON) and look(world.settings, {"0": Person("local")}, roots_of(world.settings)).by_store["logs"].hits == 0
    with short.tools() as tools:
        tools.desk.accept("local")
        (case,) = erase(tools)
    assert case.state == "receipted"
    assert "local time" in (world.settings.data / "logs" / "platform.jsonl").read_text()


def test_a_ledger_that_does_not_answer_takes_nothing_in(world: World, monkeypatch):
    monkeypatch.setattr("spotify_ai_assets.resources.chain.Chain.records", lambda *_, **__: (_ for _ in ()).throw(TransientError("away")))
    with world.tools() as tools:
        tools.ledger.append("requested", {"request": "0"})
        with pytest.raises(TransientError):
            Suppression(world.settings).is_suppressed(["anybody"])
