"""Who is to be forgotten, by keyed hashes."""

import dataclasses

import pytest

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.resources.audit import open_ledger
from spotify_ai_assets.resources.suppression import Suppression
from spotify_ai_assets.settings import Settings


def suppress(settings: Settings, user: str, *pseudonyms: str) -> None:
    mine = Suppression(settings)
    body = {"request": "0", "user": mine.hash("user", user), "pseudonyms": [mine.hash("pseudonym", each) for each in pseudonyms]}
    open_ledger(settings).append("requested", body)


def test_asking_makes_neither_a_ledger_nor_a_key(settings: Settings):
    assert Suppression(settings).is_suppressed(["anna"]) == set() == Suppression(settings).are_suppressed_pseudonyms(["x"])
    assert list(settings.data.iterdir()) == []


def test_the_list_knows_who_is_on_it_and_says_it_to_nobody(settings: Settings):
    suppress(settings, "anna", "a" * 32)
    mine = Suppression(settings)
    assert mine.is_suppressed(["anna", "bert", "a" * 32, "Anna"]) == {"anna"} and mine.count() == 1
    assert mine.are_suppressed_pseudonyms(["a" * 32, "anna", "b" * 32]) == {"a" * 32}
    text = "".join(str(record) for record in open_ledger(settings).records())
    assert "anna" not in text and "a" * 32 not in text


def test_an_id_and_an_equal_pseudonym_have_two_hashes_and_another_key_gives_others(settings: Settings, tmp_path):
    mine, others = Suppression(settings), Suppression(dataclasses.replace(settings, data=tmp_path / "other"))
    assert len({mine.hash("user", "x"), mine.hash("pseudonym", "x"), others.hash("user", "x")}) == 3
    assert mine.hash("user", "x") == Suppression(settings).hash("user", "x") and len(mine.hash("user", "x")) == 64


def test_a_lost_key_is_told_and_none_is_made_in_its_place(settings: Settings):
    suppress(settings, "anna", "a" * 32)
    (settings.data / "keys" / "ledger.key").unlink()
    for ask in (Suppression(settings).is_suppressed, Suppression(settings).are_suppressed_pseudonyms):
        with pytest.raises(SettingsError, match=r"keys/ledger\.key"):
            ask(["anna"])
    with pytest.raises(SettingsError):
        Suppression(settings).hash("user", "bert")
    assert not any((settings.data / "keys").iterdir())


def test_another_key_is_told_by_the_mark_of_the_first(settings: Settings, monkeypatch):
    mine = Suppression(settings)
    body = {"request": "0", "user": mine.hash("user", "anna"), "pseudonyms": [], "key_mark": mine.mark}
    open_ledger(settings).append("requested", body)
    assert mine.is_suppressed(["anna"]) == {"anna"} == Suppression(settings).is_suppressed(["anna", "bert"])
    monkeypatch.setenv("SPOTIFY_AI_LEDGER_KEY", "ab" * 32)
    for ask in (Suppression(settings).is_suppressed, Suppression(settings).are_suppressed_pseudonyms):
        with pytest.raises(SettingsError, match="another key"):
            ask(["anna"])
    with pytest.raises(SettingsError, match="another key"):
        Suppression(settings).hash("user", "anna")


def test_it_follows_the_ledger_at_once_or_after_its_pause(settings: Settings):
    now = [0.0]
    quick, slow = Suppression(settings), Suppression(settings, pause_s=1.0, clock=lambda: now[0])
    suppress(settings, "anna")
    assert quick.is_suppressed(["anna"]) == slow.is_suppressed(["anna"]) == {"anna"}
    suppress(settings, "bert")
    assert quick.is_suppressed(["bert"]) == {"bert"} and slow.is_suppressed(["bert"]) == set()
    now[0] = 1.5
    assert slow.is_suppressed(["bert"]) == {"bert"}


def test_a_late_pseudonym_of_a_later_step_counts_too(settings: Settings):
    suppress(settings, "anna")
    mine = Suppression(settings)
    open_ledger(settings).append("suppressed", {"request": "0", "pseudonyms": [mine.hash("pseudonym", "late")]})
    assert mine.are_suppressed_pseudonyms(["late", "early"]) == {"late"}
