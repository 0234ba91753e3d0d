"""Model files that cannot hold code: what a version may consist of.

Pickle runs code when it is read, and it hides: in ``.pt``, ``.bin`` and ``.ckpt`` files, in object arrays of numpy, under any
name. So the suffix must be one of a few, and the first bytes must not be a pickle or an archive that holds one.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from spotify_ai_assets.training.errors import UnsafeModelError

SUFFIXES = (".safetensors", ".onnx", ".npz", ".json", ".txt", ".md", ".png", ".csv", ".parquet")
"""What files of a model may end in."""

_HEAD = 1 << 12


def refuse_unsafe(files: Mapping[str, bytes | Path]) -> None:
    """Look at each file of a model.

    Args:
        files: Content or place of each, by its path inside the version.

    Raises:
        UnsafeModelError: A file could hold code; the message names it.
    """
    for path, content in files.items():
        suffix = PurePosixPath(path).suffix
        if suffix not in SUFFIXES:
            raise UnsafeModelError(f"{path}: a model's files end in one of {', '.join(SUFFIXES)}")
        if suffix == ".npz":
            _refuse_objects(path, content)
        elif suffix == ".safetensors":  # begins with the length of its header, which may look like anything
            _refuse_broken(path, content)
        elif _is_pickle(content[:_HEAD] if isinstance(content, bytes) else _head(content)):
            raise UnsafeModelError(f"{path}: it is a pickle or an archive, whatever its name says")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _is_pickle(head: bytes) -> bool:
    """Protocols 2 to 5 begin with their number, 0 and 1 with an opcode that no format here begins with; torch's are archives."""
    return head.startswith((b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"cos\n", b"c__builtin__\n", b"(dp", b"(lp", b"(i"))


def _refuse_objects(path: str, content: bytes | Path) -> None:
    """Each member of an npz must be an array of numbers or text: its header says so before anything is read."""
    from numpy.lib import format as npy

    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    version = npy.read_magic(member)
                    _, _, dtype = npy.read_array_header_1_0(member) if version == (1, 0) else npy.read_array_header_2_0(member)
                if dtype.hasobject:
                    raise UnsafeModelError(f"{path}: {name} holds objects, not numbers")
    except (zipfile.BadZipFile, ValueError) as error:
        raise UnsafeModelError(f"{path}: it is not an archive of arrays") from error


def _refuse_broken(path: str, content: bytes | Path) -> None:
    from safetensors import SafetensorError, deserialize, safe_open

    try:
        if isinstance(content, bytes):
            deserialize(content)
        else:
            with safe_open(content, framework="numpy") as file:
                file.keys()
    except SafetensorError as error:
        raise UnsafeModelError(f"{path}: it is not a safetensors file") from error
