"""Files that mean harm in the landing spool, through the import job: each is refused, and what lies beside it is imported."""

import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from spotify_ai_assets.importing import run_import
from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.listening.landing import open_landing
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings

LISTEN = {"user_id": "somebody", "track_name": "Song", "artist_name": "Band", "played_ms": 60_000}


def listens(count: int, title: str = "Song") -> bytes:
    rows = ({**LISTEN, "track_name": title, "started_at": f"2026-03-02T08:{number:02}:00Z"} for number in range(count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Poison:
    """Writes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (self.mark,)


def poisoned(mark: Path) -> bytes:
    return pickle.dumps(Poison(mark))


def packed_poison(mark: Path) -> bytes:
    """An array file of NumPy that holds an object."""
    file = io.BytesIO()
    np.save(file, np.array([Poison(mark)], dtype=object), allow_pickle=True)
    return file.getvalue()


def torch_poison(mark: Path) -> bytes:
    """A checkpoint as PyTorch writes it: a zip with a pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", poisoned(mark))
        archive.writestr("archive/version", "3")
    return file.getvalue()


def bomb(_mark: Path) -> bytes:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("huge.jsonl", "w", force_zip64=True) as member,
    ):
        for _ in range(400):
            member.write(bytes(1 << 20))
    return file.getvalue()


def nested_bomb(_mark: Path) -> bytes:
    inner = gzip.compress(gzip.compress(bytes(50 << 20)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jsonl.gz", inner)
    return file.getvalue()


def leaving_zip(_mark: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("../escaped.jsonl", "/tmp/escaped.jsonl", "..\\escaped.jsonl", "a/../../escaped.jsonl"):
            archive.writestr(name, listens(3, "Escaped"))
    return file.getvalue()


def linking_tar(mark: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for kind, name in ((tarfile.SYMTYPE, "soft.jsonl"), (tarfile.LNKTYPE, "hard.jsonl")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, str(mark.parent / "outside.jsonl")
            archive.addfile(link)
    return file.getvalue()


ATTACKS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "a pickle": ("model.pkl", poisoned),
    "a pickle that says it is JSON": ("listens.json", poisoned),
    "an array of objects": ("features.npy", packed_poison),
    "a checkpoint of PyTorch": ("model.pt", torch_poison),
    "a zip bomb": ("export.zip", bomb),
    "a bomb in layers": ("layers.zip", nested_bomb),
    "a zip that leaves its folder": ("leaving.zip", leaving_zip),
    "a tar of links": ("links.tar.gz", linking_tar),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_means_harm_is_set_aside_and_its_neighbour_imported(
    attack: str, instance: dg.DagsterInstance, lake: Lake, settings: Settings, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(listens(5, "Outside"))
    name, make = ATTACKS[attack]
    contents = make(mark)
    settings.landing.mkdir(parents=True)
    (settings.landing / name).write_bytes(contents)
    (settings.landing / "z good.jsonl").write_bytes(listens(4))
    run_import(instance, lake, settings, open_landing(settings))

    assert lake.scan(EVENTS.key).collect()["track_name"].to_list() == ["Song"] * 4
    assert [path.name for path in (settings.data / "quarantine").iterdir()] == [hashlib.sha256(contents).hexdigest()]
    assert not mark.exists(), "what was in it ran"
    assert outside.read_bytes() == listens(5, "Outside")
    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/escaped.jsonl").exists()
    scratch = settings.data / "scratch"
    assert sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file()) == 0 if scratch.exists() else True


def test_the_poison_would_run_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(poisoned(tmp_path / "executed"))  # noqa: S301
    assert (tmp_path / "executed").exists()


def test_links_in_the_spool_lead_nowhere(instance: dg.DagsterInstance, lake: Lake, settings: Settings, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private.jsonl").write_bytes(listens(5, "Outside"))
    settings.landing.mkdir(parents=True)
    (settings.landing / "good.jsonl").write_bytes(listens(4))
    (settings.landing / "link.jsonl").symlink_to(outside / "private.jsonl")
    (settings.landing / "linked").symlink_to(outside)
    (settings.landing / "dangling.jsonl").symlink_to(tmp_path / "nothing")
    (settings.landing / "passwd.csv").symlink_to("/etc/passwd")
    os.mkfifo(settings.landing / "pipe.jsonl")
    run_import(instance, lake, settings, open_landing(settings))

    assert lake.scan(EVENTS.key).collect()["track_name"].to_list() == ["Song"] * 4
    assert (outside / "private.jsonl").read_bytes() == listens(5, "Outside")
    assert Path("/etc/passwd").exists()
    aside = settings.data / "quarantine"
    assert not aside.exists() or not list(aside.iterdir())


@pytest.mark.parametrize(
    "name", ["a..b", "a\nb", "=cmd|' /C calc'!A0", "$(touch executed)", "`id`", "-rf", "CON", "ü\u202egpj.exe", "%2e%2e%2f", "x" * 240]
)
def test_a_name_of_a_file_is_only_a_name(name: str, instance: dg.DagsterInstance, lake: Lake, settings: Settings, tmp_path: Path) -> None:
    path = settings.landing / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(listens(4))
    broken = settings.landing / f"{name}.gz"
    broken.write_bytes(b"\x1f\x8b broken")
    run_import(instance, lake, settings, open_landing(settings))

    assert lake.scan(EVENTS.key).collect().height == 4
    assert [len(each.name) for each in (settings.data / "quarantine").iterdir()] == [64]
    shutil.rmtree(settings.landing)
    assert not [each for each in tmp_path.rglob("*") if name in each.name]
