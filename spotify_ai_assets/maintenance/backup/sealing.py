"""Encryption of what a backup holds: compressed, then sealed by AES-256-GCM to the name under which it is kept.

Two keys come from the one of backups, by BLAKE3's key derivation: for content and for names; its mark tells a wrong key from a
damaged backup. A piece is named by the keyed digest of its bytes: equal pieces are kept once, and whoever does not
have the key cannot tell by a name whether some known file is in the backup. The name is authenticated with the content, so that
pieces cannot change places.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from blake3 import blake3

from spotify_ai_assets.maintenance.backup.places import BackupError
from spotify_ai_assets.resources.keys import mark_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_CONTEXT = "spotify_ai_assets backup 2026-11 "
_NONCE_BYTES = 12
_PLAIN, _ZSTD = b"\x00", b"\x01"
_LEVEL = 3


@dataclass(frozen=True)
class Seal:
    """Seals and opens content.

    Attributes:
        key: 32 bytes.
    """

    key: bytes

    def __repr__(self) -> str:
        return "Seal()"

    @property
    def mark(self) -> str:
        """16 hexadecimal digits that tell this key from others and lead back to none."""
        return mark_key(self.key)

    def name(self, content: bytes) -> str:
        """The name of a piece: 64 hexadecimal digits."""
        return blake3(content, key=self._names).hexdigest()

    def close(self, name: str, content: bytes) -> bytes:
        """Content as it is kept under a name: nonce, then ciphertext and tag of a flag and the content, compressed where that helps."""
        import zstandard

        packed = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(content)
        inner = _ZSTD + packed if len(packed) < len(content) else _PLAIN + content
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, inner, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """The content that is kept under a name.

        Raises:
            BackupError: A bit of it differs, it was kept under another name, or the key is another one.
        """
        import zstandard
        from cryptography.exceptions import InvalidTag

        try:
            inner = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            raise BackupError(f"{name[:80]} of the backups is damaged, or was sealed with another key") from None
        return zstandard.ZstdDecompressor().decompress(inner[1:]) if inner[:1] == _ZSTD else inner[1:]

    def open_piece(self, name: str, sealed: bytes) -> bytes:
        """A piece, held against its name as well.

        Raises:
            BackupError: As for ``open``.
        """
        content = self.open(name, sealed)
        if self.name(content) != name:
            raise BackupError(f"piece {name} of the backups is another one")
        return content

    @cached_property
    def _names(self) -> bytes:
        return _derived(self.key, "names")

    @cached_property
    def _cipher(self) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(_derived(self.key, "content"))


def _derived(key: bytes, purpose: str) -> bytes:
    return blake3(key, derive_key_context=_CONTEXT + purpose).digest()
