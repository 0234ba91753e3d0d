"""Backups through restic, where it is installed: the same promises, by a tool that many people read and use.

A backup is one restic snapshot of the trees and of the staged files, its manifest among them; restic's tags hold the backup's name
and figures. The key of backups is the repository's password, which restic is given by its environment, never by an argument.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.maintenance.backup.places import BackupError, Folder, Place, holds
from spotify_ai_assets.maintenance.backup.snapshots import STAGED, Manifest, Progress, Saved, Snapshot, moment_of
from spotify_ai_assets.maintenance.backup.trees import LEFT_OUT, Tree

CONFIGURATION = "config"
"""What restic makes first in a repository; its name is the same in folders and buckets."""

MANIFEST = "manifest.json"
_TAG = "spotify-ai"
_INCOMPLETE = 3
_NO_SUCH_FILE = 2


class ResticRepository:
    """A restic repository.

    Args:
        root: A folder, or ``s3://bucket/prefix``.
        key: 32 bytes.
        cache: Where restic keeps what it knows of a repository in a bucket.
        program: Its path.
    """

    engine = "restic"

    def __init__(self, root: str, key: bytes, cache: Path, program: str = "restic") -> None:
        self._root, self._key, self._cache, self._program = root, key, cache, program

    @staticmethod
    def is_at(place: Place) -> bool:
        """Whether there is such a repository in a place."""
        return holds(place, CONFIGURATION)

    @staticmethod
    def is_installed() -> bool:
        """Whether there is a restic."""
        return shutil.which("restic") is not None

    def save(self, manifest: Manifest, trees: Sequence[Tree], progress: Progress) -> Saved:
        """Keep the files of these trees as one snapshot of restic.

        Raises:
            BackupError: The repository is for another password, or something lies in an object store, which restic does not read.
            TransientError: It failed otherwise.
        """
        if not all(tree.is_local for tree in trees):
            raise BackupError("restic reads folders only, and the lake is none: back it up by the embedded engine, to another place")
        self._create()
        staged = next(Path(tree.root) for tree in trees if tree.name == STAGED)
        (staged / MANIFEST).write_text(json.dumps(manifest.as_json()))
        excluded = staged.parent / f"{staged.name}.without"
        lines = [_pattern(Path(tree.root) / each) for tree in trees for each in sorted(tree.without)]
        lines += [f"{_pattern(Path(tree.root))}/**/{each}" for tree in trees for each in sorted(LEFT_OUT)]
        excluded.write_text("\n".join(lines) + "\n")
        tags = [_TAG, f"id={manifest.id}", *(f"{name}={value}" for name, value in manifest.facts.items())]
        roots = [tree.root for tree in trees if Path(tree.root).is_dir()]
        options = [part for tag in tags for part in ("--tag", tag)]
        # The id of the parent is told, since restic looks for one of the same host, and hosts are renamed.
        parent = [part for known in self._list()[-1:] for part in ("--parent", known["id"])]
        command = ["backup", "--json", "--host", "spotify-ai", "--exclude-file", str(excluded), *parent, *options, "--", *roots]
        progress(self.engine, 0, None)
        before = self._stored()
        try:
            done = self._call(*command)
        finally:
            excluded.unlink()
        summary = next((line for line in _lines(done.stdout) if line.get("message_type") == "summary"), None)
        vanished = _vanished(done.stderr)
        if summary is None or done.returncode not in (0, _INCOMPLETE) or (done.returncode == _INCOMPLETE and vanished is None):
            if summary:
                self._forget([summary["snapshot_id"]])
            raise TransientError(f"restic did not finish the backup: {_reason(done)}")
        # What restic calls added is counted before it compresses.
        added = summary["data_added"] if before is None else (self._stored() or 0) - before
        return Saved(summary["total_files_processed"], summary["total_bytes_processed"], added, vanished or 0)

    def snapshots(self) -> list[Snapshot]:
        """All backups, the oldest first.

        Raises:
            BackupError: The repository is for another password.
        """
        found = []
        for each in self._list():
            tags = dict(tag.split("=", 1) for tag in each["tags"] if "=" in tag)
            name = tags.pop("id")
            found.append(Snapshot(name, moment_of(name), self.engine, {key: int(value) for key, value in tags.items()}))
        return sorted(found, key=lambda each: each.id)

    def manifest(self, snapshot: str) -> Manifest:
        """What a backup promises.

        Raises:
            BackupError: There is no such backup, or its manifest is damaged.
        """
        known = self._find(snapshot)
        staged = next((path for path in known["paths"] if Path(path).name == STAGED), None)
        done = self._call("dump", known["id"], f"{staged}/{MANIFEST}")
        try:
            return Manifest.from_json(json.loads(done.stdout))
        except ValueError:
            raise BackupError(f"the manifest of the backup cannot be read: {_reason(done)}") from None

    def extract(self, snapshot: str, target: Path, progress: Progress) -> int:
        """Write the files of a backup below a folder, each tree under its name.

        Raises:
            BackupError: Something in the repository is damaged.
        """
        known, roots = self._find(snapshot), self.manifest(snapshot).roots
        whole = target / ".whole"
        progress("", 0, None)
        done = self._call("restore", known["id"], "--target", str(whole))
        if done.returncode:
            raise BackupError(f"restic could not restore the backup: {_reason(done)}")
        for name, root in roots.items():
            # Trees lie one in the other where the lake is kept below another store; the inner one was moved first then.
            if (source := whole / root.lstrip("/")).is_dir():
                shutil.move(source, target / name)
        shutil.rmtree(whole)
        return sum(len(files) for _, _, files in os.walk(target))

    def forget(self, snapshots: Iterable[str]) -> None:
        """Remove backups and all that no other one needs.

        Raises:
            TransientError: restic failed.
        """
        gone = set(snapshots)
        if doomed := [each["id"] for each in self._list() if _name(each) in gone]:
            self._forget(doomed)

    def check(self, progress: Progress) -> list[str]:
        """Let restic read everything.

        Returns:
            What it says, where something is not whole.
        """
        if not self._list():
            return []
        progress(self.engine, 0, None)
        done = self._call("check", "--read-data")
        return [] if done.returncode == 0 else [_reason(done)]

    def _stored(self) -> int | None:
        """How many bytes the repository has, where it is a folder."""
        return None if self._root.startswith("s3://") else sum(Folder(Path(self._root)).sizes("").values())

    def _create(self) -> None:
        if self._root.startswith("s3://") or not (Path(self._root) / CONFIGURATION).exists():
            done = self._call("cat", "config")
            if done.returncode == 0:
                return
            if "wrong password" in done.stderr:
                raise _another_key()
            done = self._call("init")
            if done.returncode:
                raise TransientError(f"restic could not make a repository: {_reason(done)}")
        else:
            self._call("unlock")  # only what a dead restic of this machine left; who writes is alone here

    def _list(self) -> list[dict[str, Any]]:
        if not self._root.startswith("s3://") and not (Path(self._root) / CONFIGURATION).exists():
            return []
        done = self._call("snapshots", "--json", "--tag", _TAG)
        if done.returncode:
            if "wrong password" in done.stderr:
                raise _another_key()
            if "Is there a repository" in done.stderr:
                return []
            raise TransientError(f"restic could not list the backups: {_reason(done)}")
        return sorted(json.loads(done.stdout) or [], key=_name)

    def _find(self, snapshot: str) -> dict[str, Any]:
        moment_of(snapshot)
        found = [each for each in self._list() if _name(each) == snapshot]
        if not found:
            raise BackupError("there is no such backup")
        return found[0]

    def _forget(self, ids: Sequence[str]) -> None:
        done = self._call("forget", "--prune", *ids)
        if done.returncode:
            raise TransientError(f"restic could not remove backups: {_reason(done)}")

    def _call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        cached = ["--no-cache"] if not self._root.startswith("s3://") else ["--cache-dir", str(self._cache)]
        command = [self._program, "--repo", _address(self._root, os.environ), *cached, *arguments]
        names = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy")
        kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name in names}
        return subprocess.run(
            command, env={**kept, "RESTIC_PASSWORD": self._key.hex()}, capture_output=True, text=True, check=False, umask=0o077
        )


def _another_key() -> BackupError:
    return BackupError("these backups were made with another key: give it as SPOTIFY_AI_BACKUP_KEY, or put keys/backup.key back")


def _address(root: str, environment: Mapping[str, str]) -> str:
    """The address of a place as restic writes it."""
    if not root.startswith("s3://"):
        return root
    endpoint = environment.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"
    return f"s3:{endpoint.rstrip('/')}/{root.removeprefix('s3://')}"


def _pattern(path: Path) -> str:
    """A path as restic's exclude patterns write it."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", str(path)).replace("$", "$$")


def _name(known: Mapping[str, Any]) -> str:
    return next((tag.removeprefix("id=") for tag in known["tags"] or () if tag.startswith("id=")), "")


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _vanished(stderr: str) -> int | None:
    """How many files were gone when restic came to read them; ``None`` where it failed at something that is there."""
    errors = [line for line in _lines(stderr) if line.get("message_type") == "error"]
    is_gone = [(each.get("error") or {}).get("Err") == _NO_SUCH_FILE for each in errors]
    return len(errors) if all(is_gone) else None


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    """The last line that restic printed, without the paths in it: names of files may be somebody's."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("{")]
    return re.sub(r"/\S+", "…", lines[-1])[:200] if lines else f"status {done.returncode}"
