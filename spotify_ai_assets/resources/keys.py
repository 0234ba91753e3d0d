"""Keys of 32 random bytes, each for one purpose: given by environment, else made on first use and kept below the data folder.

A key is never in a message, a log line, a run or a backup. Whoever loses ``keys/`` and gave no key by environment loses what
only that key opens: backups, the link between an erased person and the ledger, the signature of the audit trail's heads.
"""

import base64
import binascii
import hmac
import os
import re
import secrets
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.resources.storage import sync_path
from spotify_ai_assets.settings import Settings, secret

KEY_BYTES = 32
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def open_key(settings: Settings, name: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """The key of a purpose.

    Args:
        settings: Name the data folder.
        name: The purpose, such as ``ledger`` or ``backup``; lower-case letters, digits and underscores.
        environment: Where ``SPOTIFY_AI_<NAME>_KEY``, or ``SPOTIFY_AI_<NAME>_KEY_FILE`` with the name of a file, is looked up:
            64 hexadecimal digits, or 32 bytes in urlsafe base64.

    Returns:
        32 bytes; the same for all processes, also for those that make it at the same time.

    Raises:
        SettingsError: What the environment gives is no key, or the kept file is damaged or readable by others.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError("the name of a key is lower-case letters, digits and underscores")
    variable = f"SPOTIFY_AI_{name.upper()}_KEY"
    given = secret(variable, environment)
    if given is not None:
        return _parsed(given, variable)
    path = settings.data / "keys" / f"{name}.key"
    try:
        return _kept(path)
    except FileNotFoundError:
        _make(path)
        return _kept(path)


def has_key(settings: Settings, name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the key of a purpose is there; asking makes none."""
    return secret(f"SPOTIFY_AI_{name.upper()}_KEY", environment) is not None or os.path.lexists(settings.data / "keys" / f"{name}.key")


def mark_key(key: bytes) -> str:
    """What tells a key from others and leads back to none: 16 hexadecimal digits."""
    return hmac.digest(key, b"spotify-ai: the mark of this key", "sha256").hex()[:16]


def _parsed(text: str, variable: str) -> bytes:
    refusal = SettingsError(f"{variable} must be 64 hexadecimal digits, or 32 bytes in urlsafe base64")
    try:
        if re.fullmatch(r"[0-9a-fA-F]{64}", text):
            return bytes.fromhex(text)
        # The decoder skips what is not of its alphabet, which would make two texts one key.
        if not re.fullmatch(r"[A-Za-z0-9_-]{43}=?", text):
            raise refusal
        found = base64.urlsafe_b64decode(text.rstrip("=") + "=")
    except (binascii.Error, ValueError):
        raise refusal from None
    if len(found) != KEY_BYTES:
        raise refusal
    return found


def _kept(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mode, found = os.fstat(descriptor).st_mode, os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if stat.S_IMODE(mode) & 0o077:
        raise SettingsError(f"keys/{path.name} can be read by others: take that permission away (chmod 600)")
    if len(found) != KEY_BYTES:
        raise SettingsError(f"keys/{path.name} is damaged: it must hold {KEY_BYTES} bytes; put it back from where you keep keys")
    return found


def _make(path: Path) -> None:
    """Write a new key beside and link it to its name: whole or not there, and of several processes the first one's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{uuid.uuid4().hex}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)
        except FileExistsError:
            return
        sync_path(path.parent)
        sync_path(path.parent.parent)
    finally:
        scratch.unlink()
