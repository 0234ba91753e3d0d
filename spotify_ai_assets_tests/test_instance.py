"""One instance, however it is reached: from any folder, with DAGSTER_HOME or in the checkout without it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from processes import LAST, environment, import_demo, run, serving, spotify_ai

from spotify_ai_assets.settings import ROOT

LITTER = {"history", "storage", "schedules", "logs", ".nux", ".telemetry", ".logs_queue", ".dg"}
"""What Dagster leaves in its home where nothing tells it otherwise."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 20 days of listens, whose only run is their import."""
    data = tmp_path_factory.mktemp("instance") / "data"
    import_demo(data)
    return data


def run_ids(text: str) -> set[str]:
    return set(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", text))


def entries() -> set[str]:
    return {path.name for path in ROOT.iterdir()}


def known(data: Path, cwd: Path = ROOT) -> set[str]:
    """The runs that the platform's own command line knows."""
    return {each["run"] for each in spotify_ai(data, "status", cwd=cwd, home=None)["runs"]}


@pytest.mark.slow
def test_the_instance_is_the_same_from_every_folder(data: Path, tmp_path: Path) -> None:
    expected = known(data)
    assert len(expected) >= 1
    assert known(data, tmp_path) == expected
    for folder in (ROOT, tmp_path, Path("/")):
        assert expected <= run_ids(run("dagster", "run", "list", cwd=folder, data=data))
    assert list(tmp_path.iterdir()) == []


def test_the_instance_sends_no_telemetry_and_asks_for_no_mail(data: Path, tmp_path: Path) -> None:
    told = run("dagster", "instance", "info", cwd=tmp_path, data=data)
    settings = yaml.safe_load(told.partition("Instance configuration:\n-----------------------\n")[2].partition("\n\n\n")[0])
    assert settings["telemetry"] == {"enabled": False}
    assert settings["nux"] == {"enabled": False}
    assert settings["local_artifact_storage"]["class"] == "EmbeddedArtifacts"


def test_many_processes_may_create_the_instance_at_once(tmp_path: Path) -> None:
    """Dagster's own storage is left with two schema versions, and nothing opens it again."""
    code = "from spotify_ai_assets.runs import open_instance; print(len(open_instance().get_runs()))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    first = [
        subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = [(*process.communicate(timeout=120), process.returncode) for process in first]
    assert [(out.strip(), status) for out, _, status in told] == [("0", 0)] * 4, [errors[-1000:] for _, errors, _ in told]
    assert known(tmp_path) == set()


def test_dg_lists_and_checks_the_definitions(data: Path) -> None:
    listed = json.loads(run("dg", "list", "defs", "--json", data=data, home=None))
    assert "listening/charts" in json.dumps(listed)
    assert "loaded successfully" in run("dg", "check", "defs", data=data, home=None)


@pytest.mark.slow
def test_dg_launch_in_the_checkout_records_its_run_on_the_same_instance(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    before = known(copy)
    run("dg", "launch", "--assets", "listening/plays", "--partition", LAST, data=copy, home=None)
    assert len(known(copy) - before) == 1
    assert next(each for each in spotify_ai(copy, "status")["tables"] if each["table"] == "listening/plays")["partitions"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [("dagster", "dev"), ("dg", "dev"), ("dagster", "dev", "--workspace", "workspace.yaml")], ids=" ".join)
def test_the_ui_started_in_the_checkout_is_that_of_the_same_instance(command: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    home = ROOT if "--workspace" in command else None
    before = entries()
    with serving(*command, log=tmp_path / "log", data=copy, home=home) as client:
        assert known(copy) <= {each["id"] for each in client.runs()}
        run_id = client.launch("daily_listening", tags={"dagster/partition": LAST})
        assert client.finished(run_id) == "SUCCESS"
    assert run_id in known(copy), "the run's own process wrote to the same storage"
    assert run_id in run_ids(run("dagster", "run", "list", cwd=tmp_path, data=copy))
    left = (entries() - before) & LITTER
    assert left <= {"logs", ".logs_queue"}, "state belongs below the data folder"
    assert {f"/{name}/" for name in left} <= set((ROOT / ".gitignore").read_text().split())


def test_make_ui_uses_the_checkout_as_its_home() -> None:
    assert "export DAGSTER_HOME := $(CURDIR)" in (ROOT / "Makefile").read_text()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dagster"]["module_name"] == "spotify_ai_assets.definitions"
