"""Settings from the environment: pure, validated, secrets by the name of their variable only."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, unquote_plus, urlsplit

from spotify_ai_assets.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
EXECUTORS = ("in_process", "multiprocess")
LANGUAGES = ("en", "de", "fr")
MODEL_SIZES = ("full", "demo")
STREAM_SCHEMES = ("redis://", "rediss://", "unix://")

SECRETS = (
    "SPOTIFY_AI_VAULT_URL",
    "SPOTIFY_AI_LEDGER_URL",
    "SPOTIFY_AI_TRACKING_URL",
    "SPOTIFY_AI_STREAM_URL",
    "SPOTIFY_AI_PSEUDONYM_SEED",
    "SPOTIFY_AI_LANDING_KEY",
    "SPOTIFY_AI_LEDGER_KEY",
    "SPOTIFY_AI_BACKUP_KEY",
    "SPOTIFY_AI_RECEIPT_KEY",
    "SPOTIFY_AI_AUDIT_KEY",
    "SPOTIFY_AI_SENTRY_DSN",
    "SPOTIFY_AI_PAGERDUTY_KEY",
    "SPOTIFY_AI_SLACK_WEBHOOK",
    "SPOTIFY_AI_DEADMAN_URL",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
)
"""Variables whose values are secret, or whose URLs hold a password. Each of the platform's own may name a file instead, with ``_FILE``
after its name; Amazon's and OpenTelemetry's are read by other libraries."""

_PER_TEAM = ("SPOTIFY_AI_SENTRY_DSN_", "SPOTIFY_AI_PAGERDUTY_KEY_", "SPOTIFY_AI_SLACK_WEBHOOK_")

_PASSWORD = re.compile(r"(pass(word|wd|phrase)?|pwd|secret|token|api_?key)$", re.IGNORECASE)
"""How parameters of a URL end whose values are secret, such as libpq's ``password`` and ``sslpassword``."""

_LONGEST_SECRET = 65_536
_SHORTEST_SECRET = 8
_SHORTEST_SECRET_PATH = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between a laptop and production.

    What may hold a password is left out where settings are printed, and may come from a file: see ``secret``.

    Attributes:
        data: Folder of all state, ``SPOTIFY_AI_DATA``; the checkout's ``data/`` unless set.
        lake: Where tables live, a folder or ``s3://bucket/prefix``, ``SPOTIFY_AI_LAKE``.
        vault_url: Database of the identity vault, ``SPOTIFY_AI_VAULT_URL``; SQLite below ``data`` unless set.
        executor: How the steps of a run execute, ``SPOTIFY_AI_EXECUTOR``.
        language: Language of texts, ``SPOTIFY_AI_LANG``.
        listener: Whose listens a file holds that names nobody, ``SPOTIFY_AI_LISTENER``.
        pseudonym_seed: Makes pseudonyms reproducible, ``SPOTIFY_AI_PSEUDONYM_SEED``; for demos and tests only.
        keep_landing_days: How long an imported landing file is kept, ``SPOTIFY_AI_KEEP_LANDING_DAYS``; encrypted with the
            key in ``SPOTIFY_AI_LANDING_KEY``. 0 removes it after its commit.
        ui_url: Where pages link to runs, ``SPOTIFY_AI_UI_URL``.
        tracking_url: Where MLflow records trainings, ``SPOTIFY_AI_TRACKING_URL``; SQLite below ``data`` unless set.
        audio_workers: How many processes measure audio, ``SPOTIFY_AI_AUDIO_WORKERS``; as many as cores and memory allow unless set.
        stream_url: Where listens stream in, ``SPOTIFY_AI_STREAM_URL``: ``redis://…``, ``rediss://…`` or ``unix://…`` of a Redis; a
            spool folder below ``data`` unless set.
        text_model: What embeds texts, ``SPOTIFY_AI_TEXT_MODEL``: a folder or hub id of sentence-transformers, or ``ngrams``;
            the extra ``minilm`` where it is installed unless set.
        ledger_url: Database of the erasure ledger and the audit trail, ``SPOTIFY_AI_LEDGER_URL``; SQLite below ``data`` unless set.
        backups: Where backups go, a folder or ``s3://bucket/prefix``, ``SPOTIFY_AI_BACKUPS``; below ``data`` unless set.
        k_anonymity: Of how many listeners reports and exports tell something, at least, ``SPOTIFY_AI_K_ANONYMITY``; 1 tells of each.
        model_size: ``SPOTIFY_AI_MODEL_SIZE``: ``full``, or ``demo`` for models that are trained in seconds and say so on their cards.
    """

    data: Path
    lake: str
    vault_url: str = field(repr=False)
    executor: str = "in_process"
    language: str = "en"
    listener: str = "local"
    pseudonym_seed: str | None = field(default=None, repr=False)
    keep_landing_days: int = 0
    ui_url: str = "http://127.0.0.1:3000"
    tracking_url: str = field(default="", repr=False)
    audio_workers: int | None = None
    stream_url: str = field(default="", repr=False)
    text_model: str = ""
    model_size: str = "full"
    k_anonymity: int = 10
    ledger_url: str = field(default="", repr=False)
    backups: str = ""

    @property
    def landing(self) -> Path:
        """The spool that the landing sensor watches."""
        return self.data / "landing"

    @property
    def stream(self) -> Path:
        """The spool folder of the stream, where no Redis carries it."""
        return self.data / "stream"

    @property
    def reports(self) -> Path:
        """Where pages are written."""
        return self.data / "reports"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read and validate the settings.

        Raises:
            SettingsError: A variable has an unusable value; the message names the variable and what it accepts.
        """
        data = Path(environment.get("SPOTIFY_AI_DATA") or ROOT / "data").resolve()
        keep = environment.get("SPOTIFY_AI_KEEP_LANDING_DAYS", "0")
        if not keep.isdigit():
            raise SettingsError("SPOTIFY_AI_KEEP_LANDING_DAYS must be a whole number of days")
        workers = environment.get("SPOTIFY_AI_AUDIO_WORKERS") or "0"
        if not workers.isdigit():
            raise SettingsError("SPOTIFY_AI_AUDIO_WORKERS must be a number of processes")
        stream_url = secret("SPOTIFY_AI_STREAM_URL", environment) or ""
        if stream_url and not stream_url.startswith(STREAM_SCHEMES):
            raise SettingsError(f"SPOTIFY_AI_STREAM_URL must begin with {', '.join(STREAM_SCHEMES)}")
        return cls(
            data=data,
            lake=environment.get("SPOTIFY_AI_LAKE") or str(data / "lake"),
            vault_url=secret("SPOTIFY_AI_VAULT_URL", environment) or f"sqlite:///{data / 'vault' / 'identities.db'}",
            executor=_one_of(environment, "SPOTIFY_AI_EXECUTOR", EXECUTORS),
            language=_one_of(environment, "SPOTIFY_AI_LANG", LANGUAGES),
            listener=environment.get("SPOTIFY_AI_LISTENER") or "local",
            pseudonym_seed=secret("SPOTIFY_AI_PSEUDONYM_SEED", environment) or None,
            keep_landing_days=int(keep),
            ui_url=environment.get("SPOTIFY_AI_UI_URL") or "http://127.0.0.1:3000",
            tracking_url=secret("SPOTIFY_AI_TRACKING_URL", environment) or f"sqlite:///{data / 'mlflow' / 'mlflow.db'}",
            audio_workers=int(workers) or None,
            stream_url=stream_url,
            text_model=environment.get("SPOTIFY_AI_TEXT_MODEL") or "",
            ledger_url=secret("SPOTIFY_AI_LEDGER_URL", environment) or f"sqlite:///{data / 'ledger' / 'ledger.db'}",
            backups=environment.get("SPOTIFY_AI_BACKUPS") or str(data / "backups"),
            model_size=_one_of(environment, "SPOTIFY_AI_MODEL_SIZE", MODEL_SIZES),
            k_anonymity=_positive(environment, "SPOTIFY_AI_K_ANONYMITY", 10),
        )


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """A secret by the name of its variable, or of the file that the variable with ``_FILE`` after its name names.

    A file keeps the secret out of what shows the environment of processes, and is what container platforms mount. Whitespace around
    its text is no part of it.

    Args:
        name: The variable, such as ``SPOTIFY_AI_SENTRY_DSN``.
        environment: Where it is looked up.

    Returns:
        The secret; ``None`` where neither is set.

    Raises:
        SettingsError: Both are set, or the file cannot be read or holds no text of at most 64 KiB. The message names the variable,
            never the file or what is in it.
    """
    told, file = environment.get(name), environment.get(f"{name}_FILE")
    if not file:
        return told or None
    if told:
        raise SettingsError(f"{name} and {name}_FILE are both set; only one may be")
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(_LONGEST_SECRET + 1).decode().strip()
    except (OSError, ValueError):
        raise SettingsError(f"{name}_FILE names no file of text that can be read") from None
    if not 0 < len(text) <= _LONGEST_SECRET:
        raise SettingsError(f"{name}_FILE names a file that is empty or too long")
    return text


def secret_values(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The values that must appear nowhere: every secret, and the passwords within secret URLs, as written and decoded.

    A URL may hold a password before its host or among its parameters. A value of fewer than eight characters is left out: to hide it
    everywhere would hide much that is not secret. So is a URL without a password, such as that of a file. What cannot be read is left
    out too: whoever needs it says so.
    """
    found: set[str] = set()
    for name in {*SECRETS, *(each.removesuffix("_FILE") for each in environment if each.startswith(_PER_TEAM))}:
        with suppress(SettingsError):
            found |= _hidden_parts(secret(name, environment) or "")
    return frozenset(each for each in found if len(each) >= _SHORTEST_SECRET)


def _hidden_parts(value: str) -> set[str]:
    """What of a secret is to be hidden: of an address what lets somebody in, of anything else the whole."""
    if "://" not in value:
        return {value}
    try:
        parts = urlsplit(value)
        passwords = {parts.password or "", *_passwords_in(parts.query)} - {""}
    except ValueError:
        return {value}
    secrets = set(passwords)
    if parts.scheme in ("http", "https"):  # such as a webhook: whoever knows its path may use it
        secrets |= {parts.username or "", *(part for part in (value, parts.path, parts.query) if len(part) >= _SHORTEST_SECRET_PATH)}
    return secrets | {unquote(each) for each in secrets} | {unquote_plus(each) for each in passwords} | ({value} if passwords else set())


def _passwords_in(query: str) -> set[str]:
    """The passwords among the parameters of a URL, as written: libpq, SQLAlchemy and Redis take some there."""
    pairs = (pair.partition("=") for pair in query.split("&"))
    return {told for name, _, told in pairs if _PASSWORD.search(unquote_plus(name))}


def _positive(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    value = environment.get(name) or str(otherwise)
    if not value.isdecimal() or not int(value):
        raise SettingsError(f"{name} must be a whole number from 1")
    return int(value)


def _one_of(environment: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = environment.get(name) or allowed[0]
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(allowed)}")
    return value
