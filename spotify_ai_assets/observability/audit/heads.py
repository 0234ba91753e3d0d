"""Signed heads of the chains, kept beside the backups: what shows that a chain was cut off or written anew.

A head is the number and digest of a chain's newest record, signed with Ed25519 (RFC 8032) by the key ``audit``. Whoever changes the
database cannot change what was witnessed, unless they have that key and the place of the backups too.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_ai_assets.resources.chain_records import Head, canonical, to_text
from spotify_ai_assets.resources.durable_file import replace_file
from spotify_ai_assets.resources.storage import sync_path

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

KEEP_ALL = timedelta(days=7)
"""For how long each exported head is kept; of older ones the last of each day stays."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head that was witnessed.

    Attributes:
        chain: The chain's name.
        sequence: Number of its newest record.
        digest: Of that record.
        at: When, ISO 8601 in UTC.
        public_key: Of who signed, 64 hexadecimal digits.
        signature: Over the canonical JSON of all else, 128 hexadecimal digits.
    """

    chain: str
    sequence: int
    digest: str
    at: str
    public_key: str
    signature: str

    @property
    def head(self) -> Head:
        """The head alone."""
        return Head(self.sequence, self.digest)

    @property
    def file(self) -> str:
        """The name of its file: sorted by chain and number."""
        return f"{self.chain}-{self.sequence:012}-{self.digest[:8]}.json"


def sign_head(chain: str, head: Head, at: datetime, seed: bytes) -> SignedHead:
    """Sign a head.

    Args:
        chain: The chain's name.
        head: Its end.
        at: When that was seen.
        seed: The private key, 32 bytes.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(seed)
    told = SignedHead(chain, head.sequence, head.digest, to_text(at), key.public_key().public_bytes_raw().hex(), "")
    return SignedHead(**{**asdict(told), "signature": key.sign(_signed_text(told)).hex()})


def is_genuine(signed: SignedHead, seed: bytes) -> bool:
    """Whether a head was signed with this key and says what it said then."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    try:
        public.verify(bytes.fromhex(signed.signature), _signed_text(signed))
    except (InvalidSignature, ValueError):
        return False
    return public.public_bytes_raw().hex() == signed.public_key


def _signed_text(signed: SignedHead) -> bytes:
    return canonical({name: value for name, value in asdict(signed).items() if name != "signature"}).encode()


class Heads:
    """Exported heads: a file each, in a folder or below a prefix of an object store.

    Args:
        place: A folder, or ``s3://bucket/prefix``, whose endpoint and credentials the usual ``AWS_…`` variables name.
    """

    def __init__(self, place: str) -> None:
        self._place = place.rstrip("/")
        self._is_local = "://" not in place

    def put(self, signed: SignedHead) -> None:
        """Keep a head; durable when this returns.

        Raises:
            OSError: It cannot be kept.
        """
        text = f"{canonical(asdict(signed))}\n".encode()
        if self._is_local:
            with replace_file(Path(self._place) / signed.file) as file:
                file.write(text)
            return
        with self._objects().open_output_stream(f"{self._prefix}/{signed.file}") as stream:
            stream.write(text)

    def read(self, seed: bytes) -> tuple[dict[str, list[Head]], list[str]]:
        """All heads by chain, and a sentence for each file that is none or was not signed with this key.

        Raises:
            OSError: They cannot be read.
        """
        found: dict[str, list[Head]] = {}
        wrong: list[str] = []
        for name, text in self._files():
            try:
                signed = _parsed(text)
            except (ValueError, TypeError):
                wrong.append(f"the exported head {name} cannot be read")
                continue
            if is_genuine(signed, seed):
                found.setdefault(signed.chain, []).append(signed.head)
            else:
                wrong.append(f"the exported head {name} was not signed with this platform's key, or was changed")
        return found, wrong

    def newest(self) -> dict[str, int]:
        """The highest number that was witnessed of each chain, as the files say; no key is asked for.

        Raises:
            OSError: They cannot be read.
        """
        found: dict[str, int] = {}
        for _name, signed in self._readable():
            found[signed.chain] = max(found.get(signed.chain, 0), signed.sequence)
        return found

    def genuine(self, seed: bytes) -> Iterator[tuple[str, SignedHead]]:
        """The heads that were signed with this key, by the names of their files."""
        return ((name, signed) for name, signed in self._readable() if is_genuine(signed, seed))

    def set_aside(self, names: Iterable[str]) -> None:
        """Move heads to ``lost/``, where they are evidence and no witness any more.

        Raises:
            OSError: One cannot be moved.
        """
        for name in names:
            if self._is_local:
                aside = Path(self._place) / "lost"
                aside.mkdir(exist_ok=True)
                (Path(self._place) / name).rename(aside / name)
                sync_path(aside)
                sync_path(aside.parent)
            else:
                self._objects().move(f"{self._prefix}/{name}", f"{self._prefix}/lost/{name}")

    def thin(self, now: datetime) -> int:
        """Remove what is older than seven days, but for the last head of each day; gives how many were removed."""
        told = {name: signed for name, signed in self._readable()}
        doomed = outdated(told, now)
        for name in doomed:
            if self._is_local:
                (Path(self._place) / name).unlink(missing_ok=True)
            else:
                self._objects().delete_file(f"{self._prefix}/{name}")
        return len(doomed)

    def _readable(self) -> Iterator[tuple[str, SignedHead]]:
        for name, text in self._files():
            try:
                yield name, _parsed(text)
            except (ValueError, TypeError):
                continue

    def _files(self) -> Iterator[tuple[str, bytes]]:
        if self._is_local:
            folder = Path(self._place)
            for path in sorted(folder.glob("[!.]*.json")):
                yield path.name, path.read_bytes()
            return
        from pyarrow.fs import FileSelector

        objects = self._objects()
        for each in objects.get_file_info(FileSelector(self._prefix, allow_not_found=True)):
            if each.is_file and each.base_name.endswith(".json"):
                with objects.open_input_stream(each.path) as stream:
                    yield each.base_name, stream.read()

    @property
    def _prefix(self) -> str:
        return self._place.partition("://")[2]

    def _objects(self) -> "FileSystem":
        from pyarrow.fs import S3FileSystem

        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"), region=region)


def outdated(heads: Mapping[str, SignedHead], now: datetime) -> list[str]:
    """Which files may go: older than seven days and not the last of their chain's day."""
    last: dict[tuple[str, str], str] = {}
    for name, signed in sorted(heads.items(), key=lambda item: item[1].sequence):
        last[signed.chain, signed.at[:10]] = name
    kept, limit = set(last.values()), to_text(now - KEEP_ALL)
    return sorted(name for name, signed in heads.items() if signed.at < limit and name not in kept)


def witness(chains: Mapping[str, Callable[[], Head]], heads: Heads, at: datetime, seed: bytes) -> list[SignedHead]:
    """Export the heads of chains as they are now.

    Args:
        chains: By name, what gives the head of a chain.
        heads: Where they are kept.
        at: The time.
        seed: The key ``audit``.

    Raises:
        OSError: One cannot be kept.
        TransientError: A database does not answer.
    """
    found = [sign_head(name, head(), at, seed) for name, head in chains.items()]
    for each in found:
        heads.put(each)
    return found


def _parsed(text: bytes) -> SignedHead:
    told = SignedHead(**json.loads(text))
    texts = (told.chain, told.digest, told.at, told.public_key, told.signature)
    if not isinstance(told.sequence, int) or not all(isinstance(each, str) for each in texts):
        raise TypeError
    return told
