"""Listens of somebody who is to be forgotten are refused and counted; nothing of them is kept, in no form."""

import gzip

import pytest
from cryptography.fernet import Fernet
from exports import BEGIN, counts, imports, lines, native, open_intake, write

from spotify_ai_assets.errors import LockTimeoutError
from spotify_ai_assets.importing import run_import
from spotify_ai_assets.listening.contracts import EVENTS, KEPT_FILES, REJECTED
from spotify_ai_assets.listening.intake import INTAKE_LOCK
from spotify_ai_assets.listening.landing import KEY_VARIABLE, SpooledFiles, open_landing
from spotify_ai_assets.maintenance.erasure import machine
from spotify_ai_assets.resources import open_locks, open_vault
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings

GONE, STAYS = "gone@example.invalid", "stays@example.invalid"


def records(count: int = 6) -> list[dict]:
    return [native(number, user_id=(GONE, STAYS)[number % 2]) for number in range(count)]


def test_they_are_refused_by_rule_and_the_vault_never_hears_of_them(lake: Lake, tmp_path):
    intake = open_intake(lake, tmp_path, erased=lambda users: {user for user in users if user == GONE})
    (report,) = intake.take(write(tmp_path / "a.jsonl", lines(records())))
    assert counts(report) == (6, 3, 0, 3) and intake.holds_erased and len(intake.listeners) == 1
    assert lake.scan(REJECTED.key).collect().select("row", "rule").rows() == [
        (1, "erased_listener"),
        (3, "erased_listener"),
        (5, "erased_listener"),
    ]
    assert intake._vault.find(GONE) is None and intake._vault.find(STAYS)
    intake.take(write(tmp_path / "b.jsonl", lines(records()[1::2])))
    assert not intake.holds_erased, "the next file is another one"


@pytest.fixture
def platform(settings: Settings, monkeypatch) -> Settings:
    monkeypatch.setenv(KEY_VARIABLE, Fernet.generate_key().decode())
    suppression = Suppression(settings)
    body = {"request": "0", "user": suppression.hash("user", GONE), "pseudonyms": []}
    open_ledger(settings).append("requested", body)
    return Settings.from_environment(
        {"SPOTIFY_AI_DATA": str(settings.data), "SPOTIFY_AI_PSEUDONYM_SEED": "test", "SPOTIFY_AI_KEEP_LANDING_DAYS": "5"}
    )


def test_a_file_of_theirs_is_neither_kept_nor_quarantined(platform: Settings, lake: Lake, instance):
    broken = gzip.compress(lines(records(500)))[:-20]
    for name, content in {
        "whole.jsonl": lines(records()),
        "broken.jsonl.gz": broken,
        "other.jsonl": lines([native(99, user_id=STAYS)]),
    }.items():
        write(platform.landing / name, content)
    theirs = [native(number, user_id=STAYS) for number in range(500)]
    write(platform.landing / "broken too.jsonl.gz", gzip.compress(lines(theirs), mtime=0)[:-20])
    run_import(instance, lake, platform, open_landing(platform))
    assert not any(path.is_file() for path in platform.landing.rglob("*"))
    kept, aside = list((platform.data / "kept").iterdir()), list((platform.data / "quarantine").iterdir())
    assert len(kept) == len(aside) == 1 and aside[0].read_bytes() == gzip.compress(lines(theirs), mtime=0)[:-20]
    vault = open_vault(platform)
    assert lake.scan(KEPT_FILES.key).collect()["listener_id"].to_list() == [vault.find(STAYS)] and vault.find(GONE) is None
    assert lake.scan(EVENTS.key).collect()["listener_id"].unique().to_list() == [vault.find(STAYS)]


def test_a_request_that_comes_while_a_file_is_read_keeps_its_listens_out(lake: Lake, tmp_path):
    asked: list[set[str]] = []

    def erased(users):
        asked.append(set(users))
        return asked[-1] & {GONE} if len(asked) > 1 else set()

    intake = open_intake(lake, tmp_path, erased=erased)
    later = [native(1500 + number, user_id=GONE) for number in range(2)]
    (report,) = intake.take(write(tmp_path / "a.jsonl", lines([*records(), *records()[:2], *later])))
    assert asked[0] == {GONE, STAYS} and counts(report) == (10, 3, 1, 6) and intake.holds_erased
    assert lake.scan(EVENTS.key).collect()["listener_id"].unique().to_list() == [intake._vault.find(STAYS)]
    told = lake.scan(REJECTED.key).collect().sort("row").select("row", "rule").rows()
    assert told == [(row, "erased_listener") for row in (1, 3, 5, 7, 9, 10)]
    (noted,) = imports(lake)
    assert noted["first_day"] == noted["last_day"] == BEGIN.date(), "not even on which days somebody listened is noted"


def test_an_erasure_waits_for_the_file_that_is_being_imported(platform: Settings, lake: Lake, instance):
    others = open_locks(platform, 0.05)
    held: list[bool] = []

    class Watched(SpooledFiles):
        def done(self, path, digest, reports, *, may_keep=True):
            with others.shared(INTAKE_LOCK):
                held.append(True)
            with pytest.raises(LockTimeoutError), others.exclusive(INTAKE_LOCK):
                pass
            SpooledFiles.done(self, path, digest, reports, may_keep=may_keep)

    for name in ("a.jsonl", "b.jsonl"):
        write(platform.landing / name, lines([native(len(name), user_id=STAYS)]))
    landing = open_landing(platform)
    run_import(instance, lake, platform, Watched(landing.folder, landing.aside, landing.kept, landing.keep_days))
    assert held == [True, True]
    with others.exclusive(INTAKE_LOCK):
        pass


def test_an_erasure_goes_no_further_while_a_file_is_being_imported(settings: Settings, lake: Lake, instance, monkeypatch):
    monkeypatch.setattr(machine, "BACKUP_S", 0.05)
    tools = machine.Tools(settings, lake, open_vault(settings), instance)
    batch = machine._Batch(tools, tools.ledger, [], {}, lambda step, how_far: None)
    with open_locks(settings).shared(INTAKE_LOCK), pytest.raises(LockTimeoutError):
        machine._suppress(batch)
    assert machine._suppress(batch) == {"pseudonyms": 0}
