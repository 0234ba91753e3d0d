import multiprocessing
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_ai_assets.errors import ContractError, PermanentError, SettingsError, TransientError
from spotify_ai_assets.resources.identities import USER_ID, Vault, random_pseudonym, seeded_pseudonyms


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/vault/identities.db"
    address = request.getfixturevalue("postgres")
    _execute(address, "DROP TABLE IF EXISTS identities")
    return address


def _execute(url: str, statement: str) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _found(url: str, pattern: re.Pattern[bytes]) -> set[bytes]:
    """What matches in the bytes of all files of the database, PostgreSQL's log of writes left out."""
    if url.startswith("sqlite"):
        folder = Path(url.removeprefix("sqlite:///")).parent
    else:
        _execute(url, "CHECKPOINT")
        folder = Path(url.partition("host=")[2]) / "data" / "base"
    return {match for path in folder.rglob("*") if path.is_file() for match in pattern.findall(path.read_bytes())}


def test_a_new_user_gets_32_hexadecimal_digits(url):
    pseudonym = Vault(url).swap(["anna"])["anna"]
    assert re.fullmatch(r"[0-9a-f]{32}", pseudonym)


def test_a_known_user_keeps_the_pseudonym_after_reopening(url):
    first = Vault(url).swap(["anna", "ben"])
    assert Vault(url).swap(["ben", "anna", "anna"]) == first
    assert Vault(url).count() == 2


def test_random_pseudonyms_do_not_repeat_and_do_not_depend_on_the_user():
    assert len({random_pseudonym("anna") for _ in range(1000)}) == 1000


def test_seeded_pseudonyms_do_not_depend_on_the_order_of_arrival(url, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    one = Vault(url, seeded_pseudonyms("demo"))
    two = Vault(other, seeded_pseudonyms("demo"))
    for user in ("anna", "ben", "cleo"):
        one.swap([user])
    assert two.swap(["cleo", "ben", "anna"]) == one.swap(["anna", "ben", "cleo"])


def test_another_seed_gives_other_pseudonyms():
    assert seeded_pseudonyms("one")("anna") != seeded_pseudonyms("two")("anna")


def test_find_issues_nothing(url):
    vault = Vault(url)
    assert vault.find("anna") is None
    assert vault.count() == 0
    assert vault.swap(["anna"])["anna"] == vault.find("anna")


def test_resolve_leads_back_to_the_user_and_nowhere_for_strangers(url):
    vault = Vault(url)
    pseudonym = vault.swap(["anna"])["anna"]
    assert vault.resolve(pseudonym) == "anna"
    assert vault.resolve("0" * 32) is None


def test_unknown_names_what_was_never_issued(url):
    vault = Vault(url)
    issued = set(vault.swap(["anna", "ben"]).values())
    assert vault.unknown(issued) == set()
    assert vault.unknown(issued | {"f" * 32}) == {"f" * 32}


def test_swapping_nobody_gives_nothing(url):
    assert Vault(url).swap([]) == {}


_IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_IDS, max_size=10))
def test_any_text_is_kept_to_the_letter(url, users):
    vault = Vault(url)
    swapped = vault.swap(users)
    assert set(swapped) == set(users)
    assert len(set(swapped.values())) == len(set(users))
    assert {vault.resolve(pseudonym) for pseudonym in swapped.values()} == set(users)


def test_ids_that_look_like_sql_or_json_are_only_text(url):
    users = [
        "'; DROP TABLE identities; --",
        '"',
        "\\",
        ":object",
        "%(object)s",
        '{"a": 1}',
        "😀",
        "e\u0301",
        "\u00e9",
        "Anna",
        "anna",
        " anna",
        "1",
        "\n",
    ]
    vault = Vault(url)
    assert set(vault.swap(users)) == set(users)
    assert vault.count() == len(users)


@pytest.mark.parametrize("user", ["", "x" * 513, "a\0b", "\ud800"])
def test_an_id_that_no_database_holds_is_refused_without_being_shown(url, user):
    vault = Vault(url)
    with pytest.raises(ContractError) as caught:
        vault.swap(["anna", user])
    assert vault.count() == 0
    assert not user or user not in str(caught.value)


def test_the_longest_id_is_held(url):
    user = "😀" * 512
    assert re.fullmatch(USER_ID, user)
    vault = Vault(url)
    assert vault.resolve(vault.swap([user])[user]) == user


def test_a_collision_is_drawn_again(url):
    draws = iter(["a" * 32, "a" * 32, "b" * 32])
    vault = Vault(url, lambda _: next(draws))
    assert vault.swap(["anna"]) == {"anna": "a" * 32}
    assert vault.swap(["ben"]) == {"ben": "b" * 32}


def test_a_source_that_repeats_itself_is_given_up_and_leaves_nothing_behind(url):
    vault = Vault(url, lambda _: "a" * 32)
    with pytest.raises(PermanentError, match="taken"):
        vault.swap(["anna", "ben"])
    assert vault.count() == 0


def test_a_frame_loses_its_real_ids_and_keeps_its_rows(url):
    vault = Vault(url)
    frame = pl.DataFrame({"row": [1, 2, 3, 4], "user": ["anna", "ben", None, "anna"], "n": [1, 2, 3, 4]})
    swapped = vault.pseudonymise(frame, "user", "listener_id")
    assert swapped.columns == ["row", "listener_id", "n"]
    assert swapped["listener_id"].to_list() == [vault.find("anna"), vault.find("ben"), None, vault.find("anna")]
    assert swapped.drop("listener_id").equals(frame.drop("user"))
    assert vault.count() == 2


@pytest.mark.parametrize("users", [[], [None, None]])
def test_a_frame_without_users_is_swapped_too(url, users):
    swapped = Vault(url).pseudonymise(pl.DataFrame({"user": users}), "user", "listener_id")
    assert swapped.schema == {"listener_id": pl.String}
    assert len(swapped) == len(users)


@pytest.mark.slow
def test_two_hundred_thousand_users_are_issued_and_found_in_seconds(url):
    vault = Vault(url)
    users = [f"user-{number:08d}" for number in range(200_000)]
    start = time.perf_counter()
    issued = vault.swap(users)
    issuing = time.perf_counter() - start
    start = time.perf_counter()
    found = vault.swap(users)
    finding = time.perf_counter() - start
    assert found == issued
    assert len(set(issued.values())) == 200_000
    assert vault.unknown(issued.values()) == set()
    # Several times what a free core takes, as others may be at work.
    assert issuing < 30
    assert finding < 10


def _swap_overlapping(url: str, offset: int, answers) -> None:
    vault = Vault(url)
    got = {}
    for start in range(0, 400, 50):
        got |= vault.swap([f"user-{(number * 7 + offset) % 500}" for number in range(start, start + 150)])
    answers.put(got)


def test_four_processes_that_meet_the_same_users_get_one_answer(url):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_swap_overlapping, args=(url, offset, answers)) for offset in range(4)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    kept = Vault(url).swap([f"user-{number}" for number in range(500)])
    assert all(kept[user] == pseudonym for answer in got for user, pseudonym in answer.items())
    assert len(set(kept.values())) == 500
    assert min(len(answer) for answer in got) > 300


_ENDLESS = """
import sys
from spotify_ai_assets.resources.identities import Vault
vault, number = Vault(sys.argv[1]), 0
while True:
    vault.swap([f"{sys.argv[2]}-{number + step}" for step in range(2000)])
    number += 2000
    print(number, flush=True)
"""


def test_a_process_killed_while_swapping_leaves_a_usable_vault(url):
    acknowledged = {}
    for turn in range(3):
        process = subprocess.Popen([sys.executable, "-c", _ENDLESS, url, str(turn)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.13 * turn)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split()
        process.wait(timeout=30)
        process.stdout.close()
        acknowledged[turn] = int(lines[-1]) if lines else 2000
    vault = Vault(url)
    count = vault.count()
    assert count % 2000 == 0
    assert count >= sum(acknowledged.values())
    assert len(vault.swap([f"{turn}-{number}" for turn, total in acknowledged.items() for number in range(total)])) == sum(
        acknowledged.values()
    )
    assert vault.count() == count


def test_no_byte_of_a_forgotten_user_remains(url):
    vault = Vault(url)
    # Many small transactions split pages, and splits leave copies behind.
    users = [f"canary{number * 7919 % 20_011:06d}x" for number in range(20_000)]
    issued = {}
    for start in range(0, len(users), 1000):
        issued |= vault.swap(users[start : start + 1000])
    doomed = set(users[::4])
    pattern = re.compile(rb"canary\d{6}x|[0-9a-f]{32}")
    gone = {value.encode() for user in doomed for value in (user, issued[user])}
    kept = {value.encode() for user in set(users) - doomed for value in (user, issued[user])}
    assert gone | kept <= _found(url, pattern)
    assert vault.forget(*(issued[user] for user in doomed)) == 5_000
    left = _found(url, pattern)
    assert kept <= left
    assert not gone & left
    assert vault.count() == 15_000
    assert vault.swap([users[0]])[users[0]] != issued[users[0]]


def test_forgetting_twice_or_a_stranger_changes_nothing(url):
    vault = Vault(url)
    pseudonym = vault.swap(["anna", "ben"])["anna"]
    assert vault.forget(pseudonym) == 1
    assert vault.forget(pseudonym, "0" * 32) == 0
    assert vault.resolve(pseudonym) is None
    assert vault.count() == 1


def test_the_files_of_sqlite_are_private(tmp_path):
    folder = tmp_path / "deep" / "vault"
    vault = Vault(f"sqlite:///{folder}/identities.db")
    assert not folder.exists()
    vault.swap(["anna"])
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{folder}/identities.db")
    with engine.connect() as connection:
        # An open reader keeps the write-ahead log in place.
        assert connection.exec_driver_sql("select count(*) from identities").scalar() == 1
        vault.swap(["ben"])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    engine.dispose()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes["identities.db-wal"] == 0o600
    assert set(modes.values()) == {0o600}


def test_sqlite_is_set_to_survive_power_loss_and_to_clear_what_it_deletes(tmp_path):
    vault = Vault(f"sqlite:///{tmp_path}/identities.db")
    with vault._transaction() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "busy_timeout": 60_000}


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://me:s3cret@host/db",
        "postgresql+nonsense://me:s3cret@host/db",
        "s3cret",
        "postgresql+psycopg2://me:s3cret@host:12x/db",
    ],
)
def test_an_unusable_address_is_refused_without_being_shown(url):
    with pytest.raises(SettingsError, match="SPOTIFY_AI_VAULT_URL") as caught:
        Vault(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@127.0.0.1:1/db",
        "postgresql+psycopg2://me:s3cret@127.0.0.1:1/db",
        "postgresql+psycopg2://me@127.0.0.1:1/db?password=s3cret",
        "postgresql+psycopg2://me@127.0.0.1:1/db?nonsense=s3cret",
    ],
)
def test_neither_repr_nor_failure_shows_the_password(url, monkeypatch):
    monkeypatch.setattr("spotify_ai_assets.resources.private_database.time.sleep", lambda _: None)
    vault = Vault(url)
    with pytest.raises((TransientError, PermanentError)) as caught:
        vault.swap(["anna"])
    for text in (repr(vault), str(vault), str(caught.value), repr(caught.value)):
        assert "s3cret" not in text
        assert "anna" not in text
    assert caught.value.__suppress_context__


def test_loading_the_module_imports_no_database_library():
    code = "import sys, spotify_ai_assets.resources.identities; print('sqlalchemy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
