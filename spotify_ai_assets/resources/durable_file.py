"""A file that takes the place of the one before in one step: a reader, a kill or a full disk finds the old one or the new one."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from spotify_ai_assets.resources.storage import sync_path


@contextmanager
def replace_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write to, which becomes ``path`` where the block ends without an error; durable then.

    Args:
        path: The file to come; its folder is made where it is missing.
        mode: Its permissions.

    Raises:
        OSError: It cannot be written; the file before is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        sync_path(path.parent)
    finally:
        scratch.unlink(missing_ok=True)
