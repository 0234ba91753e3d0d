"""The UI's API on a real webserver and daemon: what a person clicks, a schedule asks for and a sensor notices becomes a run."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from processes import ENDED, FIRST, LAST, LOCATION, Client, execution, import_demo, serving, spotify_ai, wait

from spotify_ai_assets.maintenance.jobs import MADE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("graphql")]

MADE_KEYS = [table.key for table in MADE]
DRY_RUN = (
    "mutation($s: ScheduleSelector!, $t: Float!) { scheduleDryRun(selectorData: $s, timestamp: $t) { __typename"
    " ... on DryRunInstigationTick { evaluationResult { error { message } runRequests { runKey tags { key value } } } } } }"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the server."""
    data = tmp_path_factory.mktemp("graphql") / "data"
    import_demo(data)
    return data


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Client]:
    """A server with its daemon, once ``stale_days`` has made every imported day."""
    with serving("dagster", "dev", "--workspace", "workspace.yaml", log=data.parent / "log", data=data) as client:
        wait(lambda: [each for each in client.runs(pipelineName="backfill") if each["status"] == "SUCCESS"], 180)
        yield client


def made_by(client: Client, key: str) -> dict[str, str]:
    """The run that made each day of an asset last."""
    query = (
        "query($k: AssetKeyInput!) { assetOrError(assetKey: $k) { ... on Asset"
        " { assetMaterializations(limit: 500) { partition runId } } } }"
    )
    found = client(query, k={"path": key.split("/")})["assetOrError"]["assetMaterializations"]
    return {each["partition"]: each["runId"] for each in reversed(found)}


def quiet(client: Client) -> bool:
    """Whether no run is under way or waiting."""
    return all(each["status"] in ENDED for each in client.runs())


def looked(client: Client, sensor: str, since: float) -> bool:
    """Whether a sensor has ended a tick that began after a moment."""
    query = (
        "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor"
        " { sensorState { ticks(limit: 1) { timestamp endTimestamp } } } } }"
    )
    ticks = client(query, s={**LOCATION, "sensorName": sensor})["sensorOrError"]["sensorState"]["ticks"]
    return bool(ticks and ticks[0]["endTimestamp"] and ticks[0]["timestamp"] > since)


def test_imported_days_are_made_without_anybody_asking(server: Client, data: Path) -> None:
    tables = {each["table"]: each for each in spotify_ai(data, "status")["tables"]}
    days = [date.fromisoformat(FIRST) + timedelta(days=number) for number in range(20)]
    assert {key: tables[key]["partitions"] for key in MADE_KEYS} == {table.key: sum(map(table.has, days)) for table in MADE}
    assert {tables[key]["stale"] for key in MADE_KEYS} == {0}
    run = next(each for each in server.runs(pipelineName="backfill") if each["status"] == "SUCCESS")
    assert run["tags"]["dagster/sensor_name"] == "stale_days"
    lines = [json.loads(line) for line in (data / "logs" / "platform.jsonl").read_text().splitlines()]
    of_run = [line for line in lines if line.get("run_id") == run["id"]]
    assert {line["step_key"] for line in of_run} == {key.replace("/", "__") for key in MADE_KEYS}
    trace = run["tags"]["spotify_ai/trace_id"]
    assert {(line["trace_id"], line["partition"]) for line in of_run} == {(trace, f"{FIRST}...{LAST}")}
    commits = DeltaTable(str(data / "lake" / "listening" / "charts")).history()
    assert (run["id"], trace) in {(each.get("run_id"), each.get("trace_id")) for each in commits}
    assert run["tags"]["spotify_ai/pid"].isdigit(), "the run's own process claimed it"


def test_one_day_of_all_assets_is_made_by_a_click(server: Client) -> None:
    run_id = server.launch("backfill", tags={"dagster/partition": LAST}, assets=MADE_KEYS)
    assert server.finished(run_id) == "SUCCESS"
    assert {made_by(server, key)[LAST] for key in MADE_KEYS} == {run_id}


def test_a_range_of_days_is_one_run(server: Client) -> None:
    days = [f"2026-06-{day}" for day in range(12, 17)]
    parameters = {"assetSelection": [{"path": key.split("/")} for key in MADE_KEYS], "partitionNames": days, "tags": []}
    mutation = (
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p)"
        " { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"
    )
    answer = server(mutation, p=parameters)["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    query = "query($b: String!) { partitionBackfillOrError(backfillId: $b) { ... on PartitionBackfill { status } } }"

    def status() -> str:
        return server(query, b=answer["backfillId"])["partitionBackfillOrError"]["status"]

    wait(lambda: status() not in ("REQUESTED", "CANCELING"), 180)
    assert status() == "COMPLETED_SUCCESS"
    runs = server.runs(tags=[{"key": "dagster/backfill", "value": answer["backfillId"]}])
    assert [each["status"] for each in runs] == ["SUCCESS"]
    assert {made_by(server, key)[day] for key in MADE_KEYS for day in days} == {runs[0]["id"]}


def evaluate(client: Client, schedule: str, at: datetime) -> list[dict[str, Any]]:
    """The run requests of one evaluation of a schedule."""
    answer = client(DRY_RUN, s={**LOCATION, "scheduleName": schedule}, t=at.timestamp())["scheduleDryRun"]
    result = answer["evaluationResult"]
    assert result["error"] is None
    return result["runRequests"]


def test_the_schedule_asks_for_yesterday_and_its_run_refreshes_the_report(server: Client) -> None:
    wait(lambda: quiet(server))
    # A leaf that was made in the same interval as its inputs counts as made after them, so that interval must be over.
    now = time.time()
    wait(lambda: looked(server, "leaves", now), 150)
    before = made_by(server, "reports/daily_listening")[FIRST]
    [request] = evaluate(server, "every_morning", datetime(2026, 6, 10, 5, tzinfo=UTC))
    tags = {tag["key"]: tag["value"] for tag in request["tags"]}
    assert (request["runKey"], tags["dagster/partition"]) == (FIRST, FIRST)
    assert len(tags["spotify_ai/trace_id"]) == 32
    mutation = (
        "mutation($p: [ExecutionParams!]!) { launchMultipleRuns(executionParamsList: $p) { __typename"
        " ... on LaunchMultipleRunsResult { launchMultipleRunsResult { __typename ... on LaunchRunSuccess { run { id } } } } } }"
    )
    launched = server(mutation, p=[execution("daily_listening", tags=tags)])["launchMultipleRuns"]["launchMultipleRunsResult"]
    run_id = launched[0]["run"]["id"]
    assert server.finished(run_id) == "SUCCESS"
    assert made_by(server, "listening/charts")[FIRST] == run_id
    refreshed = wait(lambda: (made := made_by(server, "reports/daily_listening")[FIRST]) != before and made, 150)
    [run] = server.runs(runIds=[refreshed])
    assert run["tags"]["dagster/sensor_name"] == "leaves"


def test_a_landed_file_is_imported_and_all_that_it_touches_is_made_again(server: Client, data: Path) -> None:
    wait(lambda: quiet(server))
    known = {each["id"] for each in server.runs()}
    pages = data / "reports" / "daily_listening" / "en"
    before = {path.name: path.stat().st_mtime_ns for path in pages.glob("2*.html")}
    for path in sorted((data.parent / "data_world" / "late").rglob("*")):
        if path.is_file():
            target = data / "landing" / path.relative_to(data.parent / "data_world" / "late")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target.with_name(f".{target.name}"))
            target.with_name(f".{target.name}").replace(target)

    def fresh(job: str) -> list[dict[str, Any]]:
        return [each for each in server.runs(pipelineName=job) if each["id"] not in known and each["status"] in ENDED]

    [imported] = wait(lambda: fresh("import_landing"), 90)
    assert (imported["status"], imported["tags"]["dagster/sensor_name"]) == ("SUCCESS", "landed_files")
    assert not any(path.is_file() for path in (data / "landing").rglob("*"))
    made = wait(lambda: fresh("backfill"), 150)
    assert {each["status"] for each in made} == {"SUCCESS"}
    assert {each["stale"] for each in spotify_ai(data, "status")["tables"] if each["table"] in MADE_KEYS} == {0}
    changed = [name for name, stamp in before.items() if (pages / name).stat().st_mtime_ns != stamp]
    assert changed


def test_a_run_whose_worker_is_killed_is_tried_again(server: Client) -> None:
    """By the code server and Dagster's run retries; the tags of the killed process are not those of the second try."""
    wait(lambda: quiet(server))
    run_id = server.launch("backfill", tags={"dagster/partition": LAST}, assets=MADE_KEYS)
    pid = wait(lambda: next((each["tags"].get("spotify_ai/pid") for each in server.runs(runIds=[run_id])), None), 60)
    os.kill(int(pid), signal.SIGKILL)
    assert server.finished(run_id) == "FAILURE"
    retry = wait(lambda: [each for each in server.runs() if each["tags"].get("dagster/parent_run_id") == run_id], 90)[0]
    assert server.finished(retry["id"]) == "SUCCESS"
    [retry] = server.runs(runIds=[retry["id"]])
    assert retry["tags"]["spotify_ai/pid"] != pid
    assert retry["tags"]["spotify_ai/trace_id"] == server.runs(runIds=[run_id])[0]["tags"]["spotify_ai/trace_id"]
