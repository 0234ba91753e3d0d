"""``spotify-ai audit``: green on a whole trail, red after one flipped byte."""

import json
import sqlite3

import pytest
from typer.testing import CliRunner, Result

from spotify_ai_assets.cli import app
from spotify_ai_assets.resources.audit import open_audit, open_ledger
from spotify_ai_assets.settings import ROOT


@pytest.fixture
def command(monkeypatch, tmp_path):
    for name, value in (("SPOTIFY_AI_DATA", str(tmp_path)), ("SPOTIFY_AI_PSEUDONYM_SEED", "test")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", str(ROOT))

    def run(*arguments: str, status: int = 0) -> Result:
        done = CliRunner().invoke(app, ["audit", *arguments])
        assert done.exit_code == status, done.output
        return done

    return run


@pytest.fixture
def told(command, settings):
    """The JSON of a command, on a trail of three records and a ledger of one."""
    trail = open_audit(settings)
    for number in range(3):
        trail.record("job", subject=f"job_{number}", who={"kind": "schedule", "name": "daily"}, figures={"seconds": number})
    open_ledger(settings).append("requested", {"request": "x"})
    return lambda *arguments, status=0: json.loads(command(*arguments, "--json", status=status).stdout)


def flip(path, text: bytes) -> None:
    """Change one bit of the first place where a text lies in a file."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole = bytearray(path.read_bytes())
    whole[whole.index(text)] ^= 1
    path.write_bytes(whole)


def test_verify_is_green_and_after_one_flipped_byte_red(told, command, settings):
    assert told("verify") == {"whole": True, "records": {"audit": 3, "erasure": 1}, "broken": {"audit": [], "erasure": [], "heads": []}}
    assert "audit: 3 records, whole" in command("verify").stdout
    flip(settings.data / "ledger" / "ledger.db", b"job_1")
    assert told("verify", status=1)["broken"]["audit"] == ["record 2 was changed"]
    assert "record 2 was changed" in command("verify", status=1).stderr


def test_verify_is_red_when_the_ledger_was_changed(told, settings):
    flip(settings.data / "ledger" / "ledger.db", b'"request"')
    assert told("verify", status=1)["broken"]["erasure"] == ["record 1 was changed"]


def test_an_exported_head_shows_that_the_trail_was_cut_off(told, settings):
    assert told("head", "--export")["audit"]["sequence"] == 4
    with sqlite3.connect(settings.data / "ledger" / "ledger.db") as connection:
        connection.execute("DROP TRIGGER chain_no_delete")
        connection.execute("DELETE FROM chain_records WHERE sequence > 2")
    connection.close()
    assert told("verify", status=1)["broken"]["audit"] == ["the chain ends at record 2, though record 4 was witnessed"]


def test_a_loss_that_is_accepted_makes_verify_green_and_is_in_the_trail(told, settings):
    told("head", "--export")
    with sqlite3.connect(settings.data / "ledger" / "ledger.db") as connection:
        connection.execute("DROP TRIGGER chain_no_delete")
        connection.execute("DELETE FROM chain_records WHERE sequence > 2")
    connection.close()
    told("verify", status=1)
    assert told("head", "--accept-loss")["audit"]["sequence"] == 3
    assert told("verify")["whole"]
    assert told("search", "--action", "loss accepted")["records"][0]["body"]["figures"]["heads"] == 1


def test_a_forged_head_is_told(told, settings):
    told("head", "--export")
    head = next((settings.data / "backups" / "heads").glob("audit*"))
    head.write_text(head.read_text().replace('"sequence":4', '"sequence":3'))
    assert len(told("verify", status=1)["broken"]["heads"]) == 1


def test_a_database_that_is_none_is_told_in_words(told, settings):
    (settings.data / "ledger" / "ledger.db").write_bytes(b"no database" * 1000)
    assert "damaged" in told("verify", status=1)["broken"]["audit"][0]


def test_search_finds_what_it_is_asked_for(told, command):
    found = told("search", "--action", "job", "--who", "daily", "--limit", "2")["records"]
    assert [record["body"]["subject"] for record in found] == ["job_2", "job_1"]
    assert [record["sequence"] for record in told("search", "--subject", "job_0")["records"]] == [1]
    assert told("search", "--until", "2001-01-01")["records"] == []
    assert "job_2" in command("search", "--subject", "job_2").stdout
    assert "Nothing was recorded." in command("search", "--subject", "nothing").stdout


def test_search_sees_the_configuration_that_it_runs_with(told):
    assert told("search", "--action", "configured")["records"][0]["body"]["subject"] == "first seen"


def test_head_tells_number_and_digest_of_both_chains(told, command, settings):
    assert told("head") == {"audit": open_audit(settings).head()._asdict(), "erasure": open_ledger(settings).head()._asdict()}
    assert "erasure" in command("head").stdout


def test_what_is_no_day_is_refused(command):
    command("search", "--since", "yesterday", status=2)
