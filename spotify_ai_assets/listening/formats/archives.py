"""Opens a file as the members in it: undoes compression and archives by what the first bytes tell."""

import stat
from collections.abc import Iterator
from pathlib import Path

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import streams
from spotify_ai_assets.listening.formats.members import ZIP, Member, find_unpacker, first_bytes, is_packed, is_tar
from spotify_ai_assets.listening.formats.tars import compressed_tar, plain_tar
from spotify_ai_assets.listening.formats.zips import zip_archive


def open_members(path: Path) -> Iterator[Member]:
    """The files in a file: itself, what is compressed in it, or each regular file of an archive.

    Plain files, gzip, zstd, zip, tar, and tar inside gzip or zstd. Members of a compressed tar are cheapest to read while the
    iterator stands at them; read later, the archive is unpacked again.

    Args:
        path: A file.

    Yields:
        Members in the archive's order. An entry that is unsafe (path outside the archive, link, device, nested archive,
        encrypted) is a member whose ``refused`` names the rule; the others go on.

    Raises:
        UnreadableFileError: There is no such file, or it is no regular file, is damaged, or would unpack to too much.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        raise UnreadableFileError("missing_file", "there is no such file, or it cannot be reached") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError("not_a_file", "only regular files are read")

    def raw() -> Iterator[bytes]:
        return streams.read_chunks(path)

    start = first_bytes(raw(), 512)
    unpack = find_unpacker(start)
    if unpack:

        def unpacked() -> Iterator[bytes]:
            return streams.limit_size(unpack(raw()), streams.size_limit(status.st_size))

        inner = _first_or_nothing(unpacked())
        if is_tar(inner):
            yield from compressed_tar(unpacked)
        else:
            yield Member(path.name, unpacked, refused="nested_archive" if is_packed(inner) else None)
    elif start.startswith(ZIP):
        yield from zip_archive(path, status.st_size)
    elif is_tar(start):
        yield from plain_tar(path)
    else:
        yield Member(path.name, raw, path=path)


def _first_or_nothing(chunks: Iterator[bytes]) -> bytes:
    try:
        return first_bytes(chunks, 512)
    except UnreadableFileError:
        return b""
