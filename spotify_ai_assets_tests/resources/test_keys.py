import base64
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import at_once

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.resources.keys import has_key, mark_key, open_key

GIVEN = bytes(range(32))


def test_a_key_is_made_on_first_use_and_kept(settings):
    key = open_key(settings, "ledger", {})
    assert len(key) == 32
    assert open_key(settings, "ledger", {}) == key


def test_each_purpose_has_a_key_of_its_own(settings):
    assert open_key(settings, "ledger", {}) != open_key(settings, "backup", {})


def test_a_kept_key_is_for_its_owner_alone(settings):
    open_key(settings, "ledger", {})
    folder = settings.data / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ledger.key").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["ledger.key"]


@pytest.mark.parametrize("text", [GIVEN.hex(), GIVEN.hex().upper(), base64.urlsafe_b64encode(GIVEN).decode()])
def test_a_key_of_the_environment_is_taken_and_none_is_made(settings, text):
    assert open_key(settings, "backup", {"SPOTIFY_AI_BACKUP_KEY": text}) == GIVEN
    assert not (settings.data / "keys").exists()


def test_a_key_may_come_from_a_file(settings, tmp_path):
    (tmp_path / "mounted").write_text(f"{GIVEN.hex()}\n")
    assert open_key(settings, "audit", {"SPOTIFY_AI_AUDIT_KEY_FILE": str(tmp_path / "mounted")}) == GIVEN


@pytest.mark.parametrize("text", ["short", GIVEN.hex()[:-1], "g" * 64, base64.urlsafe_b64encode(GIVEN[:31]).decode(), "=" * 44, "é" * 43])
def test_what_is_no_key_is_refused_without_being_shown(settings, text):
    with pytest.raises(SettingsError) as refused:
        open_key(settings, "backup", {"SPOTIFY_AI_BACKUP_KEY": text})
    assert "SPOTIFY_AI_BACKUP_KEY" in str(refused.value)
    assert text not in str(refused.value)


@given(st.binary(min_size=32, max_size=32))
def test_both_spellings_of_any_key_are_the_same_key(key):
    from spotify_ai_assets.settings import Settings

    unused = Settings.from_environment({"SPOTIFY_AI_DATA": "/nowhere"})
    for text in (key.hex(), base64.urlsafe_b64encode(key).decode(), base64.urlsafe_b64encode(key).decode().rstrip("=")):
        assert open_key(unused, "audit", {"SPOTIFY_AI_AUDIT_KEY": text}) == key


def test_whether_a_key_is_there_is_asked_without_making_one_and_its_mark_leads_back_to_nothing(settings):
    assert not has_key(settings, "ledger", {}) and list(settings.data.iterdir()) == []
    key = open_key(settings, "ledger", {})
    assert has_key(settings, "ledger", {}) and has_key(settings, "backup", {"SPOTIFY_AI_BACKUP_KEY": GIVEN.hex()})
    assert len(mark_key(key)) == 16 and mark_key(key) != mark_key(GIVEN) and mark_key(key) not in key.hex()


def test_a_damaged_key_is_refused_and_not_made_anew(settings):
    open_key(settings, "ledger", {})
    path = settings.data / "keys" / "ledger.key"
    path.write_bytes(path.read_bytes()[:31])
    with pytest.raises(SettingsError, match="damaged"):
        open_key(settings, "ledger", {})
    assert len(path.read_bytes()) == 31


def test_a_key_that_others_can_read_is_refused(settings):
    open_key(settings, "ledger", {})
    (settings.data / "keys" / "ledger.key").chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        open_key(settings, "ledger", {})


def test_a_link_in_the_place_of_a_key_is_not_followed(settings, tmp_path):
    (settings.data / "keys").mkdir()
    (tmp_path / "elsewhere").write_bytes(GIVEN)
    (settings.data / "keys" / "ledger.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        open_key(settings, "ledger", {})


@pytest.mark.parametrize("name", ["", "../up", "Ledger", "a/b", "x" * 40])
def test_a_name_that_leads_elsewhere_is_refused(settings, name):
    with pytest.raises(SettingsError):
        open_key(settings, name, {})


def _open(settings) -> bytes:
    return open_key(settings, "ledger", {})


def test_processes_that_make_a_key_at_once_get_the_same(settings):
    assert len(set(at_once(_open, [settings] * 32))) == 1
    assert [path.name for path in (settings.data / "keys").iterdir()] == ["ledger.key"]
