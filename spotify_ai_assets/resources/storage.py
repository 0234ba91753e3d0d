"""Where the bytes of a table lie: a local folder or an object store, behind the same few operations.

Here are paths, writing one data file, reading the footers of data files and making things durable. What a table is belongs to
``lake.py``.
"""

import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from spotify_ai_assets.errors import SettingsError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_REMOTE_READS = 16


class Storage:
    """The root of the lake.

    Args:
        root: A folder, or ``s3://bucket/prefix``. Endpoint, region and credentials come from the usual ``AWS_…``
            environment variables, which Delta, polars and Arrow all read.

    Raises:
        SettingsError: The address has a percent sign, which Delta takes for an escape, or an equals sign, which polars takes
            for a partition.
    """

    def __init__(self, root: str) -> None:
        if "%" in root or "=" in root:
            raise SettingsError("the lake's address must not have a percent or an equals sign")
        self.root = root.rstrip("/")
        self.is_local = "://" not in root

    def uri(self, key: str, path: str = "") -> str:
        """The address of a table, or of a file in it."""
        return "/".join(part for part in (self.root, key, path) if part)

    def write(self, key: str, path: str, frame: pl.DataFrame, *, statistics: bool, metadata: dict[str, str]) -> int:
        """Write one data file under a name that was never used; durable when this returns.

        Returns:
            Its size in bytes.
        """
        uri = self.uri(key, path)
        if self.is_local:
            target = Path(uri)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                frame.write_parquet(file, compression="zstd", statistics=statistics, metadata=metadata)
                file.flush()
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            self.sync_folders([target.parent, target.parent.parent])
            return size
        # One put of a finished buffer: an object appears whole or not at all, and its size is known without asking.
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", statistics=statistics, metadata=metadata)
        with self._objects().open_output_stream(uri.partition("://")[2]) as stream:
            stream.write(buffer.getbuffer())
        return buffer.getbuffer().nbytes

    def _objects(self) -> "FileSystem":
        from pyarrow.fs import S3FileSystem

        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"), region=region)

    def footers(self, key: str, paths: list[str]) -> list[dict[str, str]]:
        """The key-value metadata of data files.

        Raises:
            OSError: A file is not there.
            polars.exceptions.ComputeError: A file is not whole.
        """
        uris = [self.uri(key, path) for path in paths]
        if self.is_local or len(uris) < 2:  # threads would only slow local reads down
            return [pl.read_parquet_metadata(uri) for uri in uris]
        with ThreadPoolExecutor(_REMOTE_READS) as pool:
            return list(pool.map(pl.read_parquet_metadata, uris))

    def sync_folders(self, folders: Iterable[Path]) -> None:
        """Make the names in these folders durable."""
        for folder in folders:
            sync_path(folder)

    def sync_log(self, key: str, version: int) -> None:
        """Make a commit durable: its log file, a checkpoint made with it and the hint that names the checkpoint."""
        if not self.is_local:
            return
        log = Path(self.uri(key, "_delta_log"))
        commit, checkpoint = log / f"{version:020}.json", log / f"{version:020}.checkpoint.parquet"
        # A commit may be gone where its checkpoint is, and the hint may be torn away from both.
        for path in [commit, checkpoint, log / "_last_checkpoint"] if checkpoint.exists() else [commit]:
            if path.exists():
                sync_path(path)
        # The first commit made the folders themselves: down from the one that holds the lake.
        folders = log.parents[: key.count("/") + 3] if version == 0 else ()
        self.sync_folders([log, *folders])


def sync_path(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
