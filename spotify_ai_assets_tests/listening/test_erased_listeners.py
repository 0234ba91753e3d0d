"""Listens of somebody who is to be forgotten are refused and counted; nothing of them is kept, in no form."""

import gzip

import pytest
from cryptography.fernet import Fernet
from exports import counts, lines, native, open_intake, write

from spotify_ai_assets.importing import run_import
from spotify_ai_assets.listening.contracts import EVENTS, KEPT_FILES, REJECTED
from spotify_ai_assets.listening.landing import KEY_VARIABLE, open_landing
from spotify_ai_assets.resources import open_vault
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
