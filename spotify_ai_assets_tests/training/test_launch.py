import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from spotify_ai_assets.recommendations.models.attention import pack_sequences
from spotify_ai_assets.training.distributed import ALONE
from spotify_ai_assets.training.errors import LaunchError
from spotify_ai_assets.training.launch import do_job, find_task, launch, read_result, write_job

TASK = "spotify_ai_assets.recommendations.models.attention:train"
ITEMS = 40
CONFIG = {"dimensions": 16, "layers": 1, "heads": 2, "length": 10, "dropout": 0.2, "epochs": 40, "batch_size": 16, "learning_rate": 0.01}
TOLERANCE = 1e-6
"""Of the losses of a resumed fit, relative to the undisturbed one's."""


def write(folder: Path, **config: object) -> Path:
    rng = np.random.default_rng(0)
    walks = [(rng.integers(ITEMS) + np.arange(rng.integers(3, 20))) % ITEMS for _ in range(160)]
    write_job(folder, TASK, pack_sequences(walks, ITEMS), CONFIG | config)
    return folder


def test_a_job_done_alone_leaves_its_tensors_and_what_happened(tmp_path):
    folder = write(tmp_path / "job", epochs=3)
    do_job(folder, ALONE)
    tensors, report = read_result(folder)
    assert tensors["items"].shape == (ITEMS, CONFIG["dimensions"])
    assert report.ranks == 1 and report.resumed_at == 0 and report.losses[-1] < report.losses[0]
    do_job(folder, ALONE)
    again, report = read_result(folder)
    assert report.resumed_at == len(report.losses)
    assert {name: values.tobytes() for name, values in again.items()} == {name: values.tobytes() for name, values in tensors.items()}


@pytest.mark.parametrize(
    "name", ["os:system", "spotify_ai_assets_tests.x:y", "spotify_ai_assets.training.fit", "spotify_ai_assets.training.fit:"]
)
def test_a_task_of_another_package_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="a task is a module and a function of spotify_ai_assets"):
        find_task(name)
    with pytest.raises(ValueError, match="a task is"):
        write_job(tmp_path / "job", name, {}, {})


def kill_a_rank(folder: Path, killed: list[int]) -> None:
    """Kill one of the ranks that work on a folder, by SIGKILL, once it has left a checkpoint and gone on from it."""
    checkpoint = folder / "checkpoint.safetensors"
    for _ in range(4_000):
        time.sleep(0.02)
        if checkpoint.is_file():
            break
    time.sleep(0.1)
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            # The agent that watches the ranks has the same arguments, but runs another module.
            if (
                str(folder).encode() in command
                and b"torch.distributed.run" not in command
                and b"RANK=1" in (process / "environ").read_bytes()
            ):
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(int(process.name))
                return
        except (OSError, ValueError):
            continue


@pytest.mark.slow
def test_ranks_of_torchrun_survive_the_death_of_one_and_end_on_the_undisturbed_losses(tmp_path):
    expected, undisturbed = launch(write(tmp_path / "undisturbed"), 2, timeout=300)
    disturbed = write(tmp_path / "disturbed")
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_rank, args=(disturbed, killed))
    killer.start()
    tensors, report = launch(disturbed, 2, timeout=300)
    killer.join()
    assert killed and 0 < report.resumed_at < len(report.losses)
    assert report.ranks == undisturbed.ranks == 2
    np.testing.assert_allclose(report.losses, undisturbed.losses, rtol=TOLERANCE)
    for name, values in expected.items():
        np.testing.assert_allclose(tensors[name], values, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_ranks_follow_one_where_nothing_is_dropped(tmp_path):
    _, two = launch(write(tmp_path / "two", dropout=0.0, epochs=5), 2, timeout=300)
    do_job(write(tmp_path / "one", dropout=0.0, epochs=5), ALONE)
    _, one = read_result(tmp_path / "one")
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-3)


@pytest.mark.slow
def test_a_job_that_always_fails_says_why(tmp_path):
    folder = write(tmp_path / "job")
    (folder / "job.json").write_text(json.dumps({"task": TASK, "config": {"colour": 1}}))
    with pytest.raises(LaunchError, match="unknown settings colour"):
        launch(folder, 2, restarts=0, timeout=300)
