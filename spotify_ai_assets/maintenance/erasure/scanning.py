"""The byte scan: where the identifiers of a person stand, in every file below some folders and in databases.

Each file is read twice: its bytes as they lie on the disk, with what was deleted but not cleared, and what it holds decoded. Names
of files and folders and targets of links are read too. Nothing is skipped in silence: what cannot be decoded is listed, and a
scan with such a list proves nothing.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from spotify_ai_assets.maintenance.erasure.decoding import CHUNK, Decoder, Limits, Unescaper, is_text
from spotify_ai_assets.maintenance.erasure.forms import Needles
from spotify_ai_assets.maintenance.erasure.searching import Finder, Place
from spotify_ai_assets.stores import STORES

VERSION = "1"
"""Version of the scanner; another one reads or seeks something else."""

Progress = Callable[[str, int, int | None], None]
"""Told a store, the bytes read so far and all of them."""

_IDENTITIES = frozenset(store.name for store in STORES if store.personal == "identity")
"""Stores in which names of files are people's own."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A value in a file, a database or a name.

    Attributes:
        store: Name of the folder or database.
        path: Where in it; may itself be personal, so never for messages.
        place: The same for messages: the path, or its digest where a person may be in it.
        inside: What was decoded to find it, such as ``parquet``; empty for the bytes as they are, ``name`` for a name.
        value: Name of the value that was found.
        form: How it was written.
        count: How often.
    """

    store: str
    path: str
    place: str
    inside: str
    value: str
    form: str
    count: int


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Something that could not be read to its end.

    Attributes:
        store: Name of the folder or database.
        path: Where in it; may itself be personal, so never for messages.
        place: The same for messages.
        inside: What it is.
        rule: Why: see ``decoding.UndecodableError``.
    """

    store: str
    path: str
    place: str
    inside: str
    rule: str


@dataclass(slots=True)
class StoreCount:
    """What a scan did in one store.

    Attributes:
        files: Files, or tables and keys of a database.
        bytes: Their bytes.
        decoded: Bytes that came out of decoding.
        hits: Occurrences.
        undecodable: What could not be read to its end.
    """

    files: int = 0
    bytes: int = 0
    decoded: int = 0
    hits: int = 0
    undecodable: int = 0


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan read, and what it found.

    Attributes:
        version: Version of the scanner.
        forms: Names of the forms that were sought.
        narrowed: Names of values that were sought in text only, because they say too little.
        hits: Where values are, in order.
        undecodable: What could not be read to its end.
        vanished: Files that were gone when their turn came.
        by_store: What was done in each store.
        listing_sha256: Digest of the list of all files: store, path, size and SHA-256 of each.
    """

    version: str
    forms: tuple[str, ...]
    narrowed: tuple[str, ...]
    hits: tuple[Hit, ...]
    undecodable: tuple[Undecodable, ...]
    vanished: int
    by_store: Mapping[str, StoreCount]
    listing_sha256: str

    @property
    def files(self) -> int:
        """Files that were read."""
        return sum(count.files for count in self.by_store.values())

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(count.bytes for count in self.by_store.values())

    @property
    def decoded(self) -> int:
        """Bytes that came out of decoding."""
        return sum(count.decoded for count in self.by_store.values())

    @property
    def is_clean(self) -> bool:
        """Whether everything was read and nothing found."""
        return not self.hits and not self.undecodable

    def as_json(self) -> dict[str, Any]:
        """The result without anything personal: for ledgers, receipts and ``--json``."""
        return {
            "scanner": self.version,
            "clean": self.is_clean,
            "files": self.files,
            "bytes": self.bytes,
            "decoded_bytes": self.decoded,
            "vanished": self.vanished,
            "forms": list(self.forms),
            "narrowed": list(self.narrowed),
            "listing_sha256": self.listing_sha256,
            "stores": {name: asdict(count) for name, count in self.by_store.items()},
            "hits": [_shown(each) for each in self.hits],
            "undecodable": [_shown(each) for each in self.undecodable],
        }


def _shown(found: Hit | Undecodable) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if name != "path"}


def data_roots(data: Path, *, leave_out: Iterable[str] = ("demo",)) -> dict[str, Path]:
    """Every folder and file directly below the data folder, by its name.

    Args:
        data: The data folder.
        leave_out: Names to leave out; the world outside of the demo is nobody's data.
    """
    left_out = set(leave_out)
    return {path.name: path for path in sorted(data.iterdir()) if path.name not in left_out}


def scan(
    roots: Mapping[str, Path],
    needles: Needles,
    *,
    databases: Mapping[str, str] | None = None,
    keys: Sequence[bytes] = (),
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> ScanResult:
    """Seek values in everything below some folders and in databases.

    Args:
        roots: Folders or files by the name of their store.
        needles: What is sought.
        databases: Addresses of servers by the name of their store: ``postgresql…``, ``redis…``, ``rediss…``, ``unix…``, ``s3…``.
        keys: Fernet keys of files that are kept encrypted.
        progress: Told how far it is.
        limits: How far packed things may grow.

    Returns:
        What was read and found; a file that cannot be read is told there, not raised.
    """
    run = _Scan(needles, keys, limits or Limits(), progress or (lambda store, done, total: None))
    listed = [(store, path, relative) for store, root in roots.items() for path, relative in _list(root, partial(run.refuse, store))]
    run.total = sum(_size(path) for _, path, _ in listed)
    for store, path, relative in listed:
        run.read_path(store, path, relative)
    for name, url in (databases or {}).items():
        run.read_database(name, url)
    return run.result(needles)


@dataclass(slots=True)
class _Scan:
    """The state of a scan."""

    needles: Needles
    keys: Sequence[bytes]
    limits: Limits
    progress: Progress
    total: int = 0
    done: int = 0
    vanished: int = 0
    by_store: dict[str, StoreCount] = field(default_factory=dict)
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)
    listing: list[str] = field(default_factory=list)
    personal: set[tuple[str, str]] = field(default_factory=set)
    finder: Finder = field(init=False)
    decoder: Decoder = field(init=False)

    def __post_init__(self) -> None:
        self.finder = Finder(self.needles)
        self.decoder = Decoder(self.limits, self.keys, has_numbers=self.needles.has_numbers)

    def refuse(self, store: str, relative: str) -> None:
        self.refused.append((store, relative, "", "unreadable"))

    def count(self, store: str) -> StoreCount:
        return self.by_store.setdefault(store, StoreCount())

    def read_path(self, store: str, path: Path, relative: str) -> None:
        """A file, its name, or the name of an empty folder, a link or a pipe."""
        self.finder.search((store, relative, "name"), (os.fsencode(relative),), is_text=True)
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                self.finder.search((store, relative, "link"), (os.fsencode(path.readlink()),), is_text=True)
            elif stat.S_ISREG(status.st_mode):
                self._read_file(store, path, relative)
        except FileNotFoundError:
            self.vanished += 1
        except OSError:
            self.refuse(store, relative)

    def _read_file(self, store: str, path: Path, relative: str) -> None:
        with path.open("rb") as file:
            self._read_open(store, relative, file, path)

    def _read_open(self, store: str, relative: str, file: BinaryIO, path: Path | None) -> None:
        count = self.count(store)
        digest = hashlib.sha256()
        size = self._read_bytes((store, relative, ""), file, digest)
        count.files += 1
        count.bytes += size
        file.seek(0)
        for reading in self.decoder.decode(file, size, path):
            count.decoded += self._search((store, relative, reading.inside), reading.chunks, is_text=reading.is_text)
        self.refused += [(store, relative, inside, rule) for inside, rule in self.decoder.refused]
        self.listing.append(f"{store}\0{relative}\0{size}\0{digest.hexdigest()}")
        self.done += size
        self.progress(store, self.done, max(self.total, self.done))

    def _read_bytes(self, place: Place, file: BinaryIO, digest: Any) -> int:
        head = file.read(CHUNK)

        def chunks() -> Iterator[bytes]:
            chunk = head
            while chunk:
                digest.update(chunk)
                yield chunk
                chunk = file.read(CHUNK)

        return self._search(place, chunks(), is_text=is_text(head[:4096]))

    def _search(self, place: Place, chunks: Iterable[bytes], *, is_text: bool) -> int:
        return self.finder.search(place, self._with_escapes(place, chunks) if is_text else chunks, is_text=is_text)

    def _with_escapes(self, place: Place, chunks: Iterable[bytes]) -> Iterator[bytes]:
        store, relative, inside = place
        unescape = Unescaper()
        for chunk in chunks:
            if plain := unescape(chunk):
                self.finder.search((store, relative, f"{inside}/escapes".strip("/")), (plain,), is_text=True)
            yield chunk

    def read_database(self, name: str, url: str) -> None:
        """All that a server tells of itself."""
        from spotify_ai_assets.maintenance.erasure.databases import read_database, read_objects

        count = self.count(name)
        try:
            if url.startswith("s3://"):
                for relative, open_object in read_objects(url):
                    self.finder.search((name, relative, "name"), (relative.encode(),), is_text=True)
                    with open_object() as file:
                        self._read_open(name, relative, file, None)
                return
            for part, chunks in read_database(url):
                count.files += 1
                count.bytes += self._search((name, part, "rows"), chunks, is_text=True)
        except Exception:  # a server may fail in any way; that it could not be read is what counts
            self.refused.append((name, "", "database", "unreadable"))

    def result(self, needles: Needles) -> ScanResult:
        found = self.finder.finds.settle()
        hidden = {(store, path) for (store, path, inside), _ in found if inside in ("name", "link")}

        def place(store: str, path: str) -> str:
            is_personal = store in _IDENTITIES or (store, path) in hidden
            return f"sha256:{hashlib.sha256(os.fsencode(path)).hexdigest()}" if is_personal else path

        hits = sorted(
            (
                Hit(store, path, place(store, path), inside, form.value, form.name, number)
                for ((store, path, inside), form), number in found.items()
            ),
            key=lambda hit: (hit.store, hit.path, hit.inside, hit.value, hit.form),
        )
        undecodable = [
            Undecodable(store, path, place(store, path), inside, rule) for store, path, inside, rule in sorted(set(self.refused))
        ]
        for hit in hits:
            self.count(hit.store).hits += hit.count
        for each in undecodable:
            self.count(each.store).undecodable += 1
        return ScanResult(
            version=VERSION,
            forms=needles.names,
            narrowed=needles.narrowed,
            hits=tuple(hits),
            undecodable=tuple(undecodable),
            vanished=self.vanished,
            by_store=dict(sorted(self.by_store.items())),
            listing_sha256=hashlib.sha256("\n".join(sorted(self.listing)).encode(errors="surrogateescape")).hexdigest(),
        )


def _list(root: Path, refuse: Callable[[str], None]) -> Iterator[tuple[Path, str]]:
    """What lies below a folder, in order; of folders only the empty ones, since the others are in the paths of what they hold."""
    if not root.is_dir():
        yield root, root.name
        return
    for folder, folders, names in os.walk(root, onerror=lambda error: refuse(os.path.relpath(error.filename, root))):
        folders.sort()
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        if not folders and not names and here != root:
            yield here, os.fspath(here.relative_to(root))
        for name in sorted([*names, *links]):
            yield here / name, os.fspath((here / name).relative_to(root))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
