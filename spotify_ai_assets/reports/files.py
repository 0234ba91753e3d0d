"""Files that others read while they are written: whole in either their old or their new state."""

import os
import tempfile
from pathlib import Path

from spotify_ai_assets.resources.storage import sync_path


def write_file(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a text, durably; the folders above it are made.

    Args:
        path: The file.
        text: All that it holds; line ends stay as they are.
        mode: Who may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for its owner only; a page is for whoever may read the folder.
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_path(path.parent)
