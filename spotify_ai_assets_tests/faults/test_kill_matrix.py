"""The kill matrix: whatever is killed during a day's run, every partition ends up made once, as if nothing had happened.

One platform with a home of its own lives through all of it, two days of listens at a time. Their run is launched without waiting for
the schedule's tick, and what dies is started again, as a supervisor would; nothing else is done by hand. When it is killed follows
from the seed, in tables that the run has committed until then, so a busy machine changes nothing.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deltalake import DeltaTable
from invented import day, land
from kill_servers import Servers, children_of, command_of
from processes import ENDED, spotify_ai, wait

from spotify_ai_assets.backfill import recount
from spotify_ai_assets.maintenance.jobs import MADE
from spotify_ai_assets.partitions import range_tags
from spotify_ai_assets.resources import open_lake
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import ONLY_STALE, launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("kill_matrix")]

SEED = int(os.environ.get("KILL_MATRIX_SEED", "20261121"))
VICTIMS = ("webserver", "daemon", "code server", "run worker", "step", "reboot")
DAYS = 2
LISTENS = {"count": 120, "listeners": 12}
PATIENCE_S = 240.0

Partitions = dict[tuple[str, str], str]
"""Digest by table and day."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one kill.

    Attributes:
        victim: What was killed.
        after: The table that the run had committed when it was killed.
        ended: How the run that was under way ended.
        runs: How many runs it took in all.
        seconds: From the kill until everything was there and recorded.
        expected: The partitions that the days have.
        committed: How often each was committed.
        recorded: How often each is recorded as materialised with the digest that it has.
    """

    victim: str
    after: str
    ended: str
    runs: int
    seconds: float
    expected: Partitions
    committed: Counter[tuple[str, str]]
    recorded: Counter[tuple[str, str]]


class Platform:
    """The platform under test, its lake and what is expected of it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.lake = lake_of(self.data)
        self.servers = Servers(folder, self.data)
        self.random = random.Random(SEED)

    def land(self, number: int) -> list[str]:
        """The listens of the numbered pair of days arrive."""
        numbers = range(number * DAYS, (number + 1) * DAYS)
        land(self.lake, numbers, **LISTENS)
        return [str(day(each)) for each in numbers]

    def launch(self, days: list[str]) -> str:
        """The run that ``stale_days`` asks for, without waiting for its next tick."""
        tags = launch_tags(**{ONLY_STALE: "true"}, **range_tags(*(day(0).fromisoformat(name) for name in (days[0], days[-1]))))
        return self.servers.client.launch("backfill", tags=tags)

    def wait_for_table(self, run_id: str, key: str, days: list[str]) -> None:
        """Until a run has committed a table of these days."""
        end = time.monotonic() + PATIENCE_S
        while not set(days) <= set(self.lake.states(key)):
            assert time.monotonic() < end, "the run does not come as far as it is to be killed at"
            status = self.servers.client.runs(runIds=[run_id])[0]["status"]
            assert status not in ENDED, f"the run ended before it was killed: {status}"
            time.sleep(0.2)

    def worker(self, run_id: str) -> int:
        """The process of a run."""
        tags = wait(
            lambda: next((each["tags"] for each in self.servers.client.runs(runIds=[run_id])), {}).get("spotify_ai/pid"), PATIENCE_S
        )
        return int(tags)

    def settled(self, days: list[str]) -> bool:
        """Whether everything of these days is in the lake and recorded, and nothing is under way."""
        expected = partitions(self.lake, days)
        if any(table.has(day(0).fromisoformat(name)) and (table.key, name) not in expected for table in MADE for name in days):
            return False
        if any(each["status"] not in ENDED for each in self.servers.client.runs()):
            return False
        recorded = self.recorded(days)
        return all(recorded[each] for each in expected)

    def recorded(self, days: list[str]) -> Counter[tuple[str, str]]:
        """How often Dagster has recorded each partition of these days with the digest that it has in the lake."""
        expected = partitions(self.lake, days)
        query = (
            "query($k: AssetKeyInput!) { assetOrError(assetKey: $k) { ... on Asset { assetMaterializations(limit: 1000)"
            " { partition metadataEntries { label ... on TextMetadataEntry { text } } } } } }"
        )
        found: Counter[tuple[str, str]] = Counter()
        for key in {key for key, _ in expected}:
            events = self.servers.client(query, k={"path": key.split("/")})["assetOrError"].get("assetMaterializations", [])
            for event in events:
                digest = next((entry.get("text") for entry in event["metadataEntries"] if entry["label"] == "digest"), "")
                if digest and expected.get((key, event["partition"]), "").startswith(digest):
                    found[key, event["partition"]] += 1
        return found


def lake_of(data: Path) -> Lake:
    return open_lake(Settings.from_environment({"SPOTIFY_AI_DATA": str(data)}), TABLES)


def partitions(lake: Lake, days: list[str]) -> Partitions:
    """The digest of every partition of these days that is there."""
    return {(table.key, name): state.digest for table in MADE for name, state in lake.states(table.key).items() if name in days}


def commits(lake: Lake, days: list[str]) -> Counter[tuple[str, str]]:
    """How often each partition of these days was committed."""
    found: Counter[tuple[str, str]] = Counter()
    for table in MADE:
        place = lake.storage.uri(table.key)
        for commit in DeltaTable(place).history() if DeltaTable.is_deltatable(place) else ():
            found.update((table.key, name) for name in commit.get("partitions") or () if name in days)
    return found


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("kill_matrix"))
    try:
        platform.servers.start()
        yield platform
    finally:
        platform.servers.close()


@pytest.fixture(scope="module")
def rows(platform: Platform) -> list[Row]:
    """Every kill, one after the other; the table is printed whatever comes of it."""
    found: list[Row] = []
    try:
        for number, victim in enumerate(VICTIMS):
            found.append(kill(platform, number, victim))
    finally:
        print(f"\n{table_of(found)}")
    return found


def kill(platform: Platform, number: int, victim: str) -> Row:
    """Let a pair of days arrive, kill something while they are made, and wait until all is well."""
    days = platform.land(number)
    early = [table.key for table in MADE if table.has(day(number * DAYS)) and table.has(day(number * DAYS + 1))][:8]
    after = platform.random.choice(early[1:])
    if victim == "step":
        platform.servers.kill("code_server")
        platform.servers.start("code_server", executor="multiprocess")
    known = {each["id"] for each in platform.servers.client.runs()}
    run_id = platform.launch(days)
    platform.wait_for_table(run_id, "listening/plays" if victim == "step" else after, days)
    killed = time.monotonic()
    KILLS[victim](platform, run_id)
    ended = wait(
        lambda: next((each["status"] for each in platform.servers.client.runs(runIds=[run_id]) if each["status"] in ENDED), None),
        PATIENCE_S,
    )
    wait(lambda: platform.settled(days), PATIENCE_S)
    seconds = time.monotonic() - killed
    runs = [each for each in platform.servers.client.runs() if each["id"] not in known and each["jobName"] == "backfill"]
    return Row(
        victim,
        "listening/plays" if victim == "step" else after,
        ended,
        len(runs),
        seconds,
        partitions(platform.lake, days),
        commits(platform.lake, days),
        platform.recorded(days),
    )


def _server(name: str) -> Callable[[Platform, str], None]:
    def strike(platform: Platform, _run_id: str) -> None:
        platform.servers.kill(name)
        time.sleep(1)
        platform.servers.start(name)

    return strike


def _worker(platform: Platform, run_id: str) -> None:
    os.kill(platform.worker(run_id), signal.SIGKILL)


def _step(platform: Platform, run_id: str) -> None:
    """One step's process dies; then the code server is one whose steps run in the run's process again, which is quicker."""
    worker = platform.worker(run_id)
    step = wait(lambda: [pid for pid in children_of(worker) if "resource_tracker" not in command_of(pid)], PATIENCE_S)[0]
    os.kill(step, signal.SIGKILL)
    wait(lambda: platform.servers.client.runs(runIds=[run_id])[0]["status"] in ENDED, PATIENCE_S)
    platform.servers.kill("code_server")
    platform.servers.start("code_server")


def _everything(platform: Platform, _run_id: str) -> None:
    platform.servers.kill_all()
    platform.servers.start()


KILLS: dict[str, Callable[[Platform, str], None]] = {
    "webserver": _server("webserver"),
    "daemon": _server("daemon"),
    "code server": _server("code_server"),
    "run worker": _worker,
    "step": _step,
    "reboot": _everything,
}


def table_of(rows: list[Row]) -> str:
    """The matrix as text."""
    lines = [
        f"seed {SEED}",
        f"{'killed':<12}{'after':<36}{'run':<9}{'runs':>5}{'s':>7}{'partitions':>12}{'made once':>11}{'recorded':>10}",
    ]
    for row in rows:
        once = [sum(row.committed[each] == 1 for each in row.expected), sum(bool(row.recorded[each]) for each in row.expected)]
        lines.append(
            f"{row.victim:<12}{row.after:<36}{row.ended:<9}{row.runs:>5}{row.seconds:>7.1f}{len(row.expected):>12}{once[0]:>11}{once[1]:>10}"
        )
    return "\n".join(lines)


def test_every_partition_is_made_exactly_once_and_recorded(rows: list[Row]) -> None:
    """Made is what the lake committed. A second try records again what it finds made, as does ``dead_runs``; always the same digest."""
    assert [row.victim for row in rows] == list(VICTIMS)
    wrong = {row.victim: {each: row.committed[each] for each in row.expected if row.committed[each] != 1} for row in rows}
    assert {victim: found for victim, found in wrong.items() if found} == {}
    missing = {row.victim: [each for each in row.expected if not row.recorded[each]] for row in rows}
    assert {victim: found for victim, found in missing.items() if found} == {}


def test_a_run_survives_servers_and_what_dies_with_its_process_is_tried_again(rows: list[Row]) -> None:
    servers, processes = ("webserver", "daemon", "code server"), ("run worker", "step", "reboot")
    assert {row.victim: row.ended for row in rows if row.victim in servers} == dict.fromkeys(servers, "SUCCESS")
    assert {row.victim: (row.ended, row.runs > 1) for row in rows if row.victim in processes} == dict.fromkeys(processes, ("FAILURE", True))


def test_digests_equal_those_of_a_platform_in_which_nothing_was_killed(rows: list[Row], tmp_path: Path) -> None:
    undisturbed = tmp_path / "data"
    numbers = range(len(VICTIMS) * DAYS)
    land(lake_of(undisturbed), numbers, **LISTENS)
    assert spotify_ai(undisturbed, "backfill", "run")["refused"] == {}
    killed = {each: digest for row in rows for each, digest in row.expected.items()}
    assert killed == partitions(lake_of(undisturbed), [str(day(number)) for number in numbers])


def test_nothing_is_stale_or_differs_from_its_digest_afterwards(rows: list[Row], platform: Platform) -> None:
    found = recount(platform.lake, MADE, None, None, lambda *_: None)
    assert (found["stale"], found["differing"]) == ([], [])
    assert found["partitions"] == sum(len(row.expected) for row in rows)
