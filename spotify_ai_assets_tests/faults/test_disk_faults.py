"""A full disk and a failing one, at each file-changing system call: the old state or the new one, and an error in words.

strace gives ENOSPC or EIO in the place of a call's result, once, or from some call on as a disk that stays full does.
"""

import errno
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import strace
from chain_steps import open_chain, open_vault
from lake_tables import DAY, day_rows, later, numbers, open_lake, whole_rows
from strace import Call, Nursery

from spotify_ai_assets.resources.chain import Entry

pytestmark = [pytest.mark.slow, pytest.mark.fault]

FULL, FAILING = "ENOSPC", "EIO"
WORDS = {FULL: ("No space left on device", "disk is full"), FAILING: ("Input/output error", "I/O error", "SQLITE_IOERR")}
OLD, NEW = {f"i{n}": n for n in range(3)}, {f"i{n}": n for n in range(7)}
WRITES = ("write", "pwrite64", "writev", "ftruncate", "fallocate", "openat", "link", "linkat", "rename", "renameat", "mkdir", "mkdirat")
SYNCS = ("fsync", "fdatasync")
GROWING = ("write", "pwrite64", "writev", "ftruncate", "fallocate", "mkdir", "mkdirat")


@pytest.fixture(scope="module")
def nurseries(tmp_path_factory) -> Iterator[dict[str, Nursery]]:
    strace.require()
    found = {name: Nursery(tmp_path_factory.mktemp(name), name) for name in ("lake_steps", "chain_steps")}
    yield found
    for nursery in found.values():
        nursery.close()


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    """A folder with a lake, a ledger and a vault in which something is already."""
    folder = tmp_path_factory.mktemp("disk") / "before"
    lake = open_lake(folder)
    lake.write("a/days", day_rows({"other": 1}, later(1)), later(1))
    lake.write("a/days", day_rows(OLD), DAY)
    lake.append("a/whole", whole_rows({"old": 1.0}), transaction="t-old")
    open_chain(folder).append_all([Entry("deed", {"n": f"old {n}"}) for n in range(5)])
    open_chain(folder).export(folder / "chain.jsonl")
    open_vault(folder).swap([f"old {n}" for n in range(50)])
    return folder


def points(calls: list[Call], names: tuple[str, ...]) -> list[tuple[Call, int]]:
    """Calls by their kind and which of them; of a file that has another name in each run there is none twice."""
    chosen = [call for call in calls if call.name in names and not call.path.endswith("/error")]
    return [(call, n + 1) for call, times in Counter(chosen).items() for n in range(times)]


def sweep(nursery: Nursery, before: Path, at: Path, step: str, error: str, look: Callable[[Path], str]) -> Counter[str]:
    """Fail a step at its file-changing calls, one run per call; what was seen afterwards is counted."""
    shutil.copytree(before, at)
    is_done, calls = nursery.run(step, at)
    assert is_done
    names = WRITES if error == FULL else (*WRITES, *SYNCS)
    seen: Counter[str] = Counter()
    for call, n in points(calls, names):
        shutil.rmtree(at)
        shutil.copytree(before, at)
        is_done, _ = nursery.run(step, at, "-P", call.path, "-e", f"inject={call.name}:error={error}:when={n}", may_fail=True)
        seen[outcome(at, look, is_done)] += 1
        if not is_done:
            told = (at / "error").read_text()
            assert in_words(told, error), f"{call}: {told}"
    print(f"\n{step} {error}: {dict(seen)}")
    return seen


def fill(nursery: Nursery, before: Path, at: Path, step: str, look: Callable[[Path], str]) -> Counter[str]:
    """Let the disk be full from the first, third, fifth … write on; what was seen afterwards is counted."""
    shutil.copytree(before, at)
    is_done, calls = nursery.run(step, at)
    assert is_done
    # Only the folder's own files: a library that cannot write to its own pipes waits for ever.
    paths = [part for path in sorted({call.path for call in calls}) for part in ("-P", path)]
    seen: Counter[str] = Counter()
    for n in range(1, sum(call.name in GROWING for call in calls) + 1, 2):
        shutil.rmtree(at)
        shutil.copytree(before, at)
        is_done, _ = nursery.run(step, at, *paths, "-e", f"inject={','.join(GROWING)}:error={FULL}:when={n}+", may_fail=True)
        seen[outcome(at, look, is_done)] += 1
    print(f"\n{step} {FULL} from then on: {dict(seen)}")
    return seen


def outcome(at: Path, look: Callable[[Path], str], is_done: bool) -> str:
    """What is there, and whether the step said that it was done."""
    state = look(at)
    assert state == "new" or not is_done, "an acknowledged step was lost"
    return f"{state}, {'done' if is_done else 'failed'}"


def in_words(told: str, error: str) -> bool:
    """Whether an error says what happened, or is one of the platform's, which do."""
    number = getattr(errno, error)
    return f"OSError({number}," in told or "TransientError(" in told or any(words in told for words in WORDS[error])


def look_at_lake(at: Path) -> str:
    lake = open_lake(at)
    found = numbers(lake)
    assert found in (OLD, NEW), "neither the old day nor the new one"
    assert numbers(lake, later(1)) == {"other": 1}
    lake.write("a/days", day_rows({"next": 5}, later(2)), later(2))
    assert (numbers(lake), numbers(lake, later(2))) == (found, {"next": 5}) and lake.mend("a/days") == []
    return "new" if found == NEW else "old"


def look_at_appended(at: Path) -> str:
    lake = open_lake(at)
    found = dict(lake.scan("a/whole").collect().iter_rows())
    assert found in ({"old": 1.0}, {"old": 1.0, "new": 1.0})
    lake.append("a/whole", whole_rows({"new": 1.0}), transaction="t-new")
    assert lake.scan("a/whole").collect()["id"].sort().to_list() == ["new", "old"]
    return "new" if "new" in found else "old"


def look_at_ledger(at: Path, added: int = 1) -> str:
    chain = open_chain(at)
    count = chain.head().sequence
    assert count in (5, 5 + added) and chain.verify() == []
    assert chain.append("deed", {"n": "next"}).sequence == count + 1
    return "new" if count > 5 else "old"


def look_at_vault(at: Path) -> str:
    vault = open_vault(at)
    count = vault.count()
    assert count in (50, 250) and vault.find("old 1")
    assert len(vault.swap([f"new {n}" for n in range(200)])) == 200 and vault.count() == 250
    return "new" if count == 250 else "old"


def look_at_forgotten(at: Path) -> str:
    vault = open_vault(at)
    count = vault.count()
    assert count in (50, 48) and vault.find("old 3")
    vault.forget(*vault.swap(["old 1", "old 2"]).values())  # it may be repeated, and then nothing is left
    assert vault.count() == 48 and vault.find("old 1") is None and vault.find("old 2") is None
    return "new" if count == 48 else "old"


@pytest.mark.parametrize("error", [FULL, FAILING])
@pytest.mark.parametrize(
    ("module", "step", "look"),
    [
        ("lake_steps", "write", look_at_lake),
        ("lake_steps", "append", look_at_appended),
        ("chain_steps", "append", look_at_ledger),
        ("chain_steps", "append_all", lambda at: look_at_ledger(at, 5)),
        ("chain_steps", "swap", look_at_vault),
        ("chain_steps", "forget", look_at_forgotten),
    ],
    ids=["lake-write", "lake-append", "ledger-append", "ledger-append_all", "vault-swap", "vault-forget"],
)
def test_a_full_or_failing_disk_at_any_call_leaves_old_or_new(nurseries, before, tmp_path, module, step, look, error):
    seen = sweep(nurseries[module], before, tmp_path / "at", step, error, look)
    assert any(what.endswith("failed") for what in seen)


@pytest.mark.parametrize(
    ("module", "step", "look"),
    [("lake_steps", "write", look_at_lake), ("chain_steps", "append", look_at_ledger), ("chain_steps", "swap", look_at_vault)],
    ids=["lake-write", "ledger-append", "vault-swap"],
)
def test_a_disk_that_stays_full_leaves_old_or_new(nurseries, before, tmp_path, module, step, look):
    seen = fill(nurseries[module], before, tmp_path / "at", step, look)
    assert any(what.startswith("old, failed") for what in seen)
