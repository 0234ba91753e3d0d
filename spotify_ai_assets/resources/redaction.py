"""The last step before anything is written down or sent: what must not be told is hidden.

Hidden are the values of secrets, wherever they stand, and whatever looks like a secret or like a person: passwords within URLs, tokens,
e-mail addresses, network addresses that are not this machine's, a listener named by a Spotify URI. Real ids of listeners have no form
of their own, so no redaction finds them: nothing that writes a message is given any (see the identity vault).
"""

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from spotify_ai_assets.settings import secret_values

HIDDEN = "[hidden]"

_SECRET_NAME = re.compile(
    r"(?:SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|WEBHOOK|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|DSN|_KEY)(?:_|$)", re.IGNORECASE
)
_SHORTEST = 8

_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@:'\"<>]*:[^\s@'\"<>]{0,256}@")
_AUTHORIZATION = re.compile(r"\b(bearer|basic|sentry|token)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_NAMED = re.compile(
    r"""(?P<name>["']?(?<![\w.-])[\w.-]{0,64}?(?:secret|passwo?r?d|passwd|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)s?\b["']?\s*[=:]\s*)"""
    r"""(?P<value>"[^"]*"|'[^']*'|(?!\d+(?:\.\d+)?(?:[\s,;&}\])"']|$))[^\s,;&}\])"'\[][^\s,;&}\])"']*)""",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web tokens
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # Amazon
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_\w{20,}"
    r"|\bxox[abeoprs]-[\w-]{10,}"  # Slack
    r"|\bsk[-_](?:live[-_]|test[-_])?[A-Za-z0-9_-]{20,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_WEBHOOK = re.compile(r"(?<=://)(hooks\.slack\.com|hc-ping\.com)/[^\s'\"<>]+")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_LISTENER = re.compile(r"(spotify:user:|open\.spotify\.com/user/)[^\s:/?'\"<>]+")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f.]{0,40}:[0-9A-Fa-f.]{0,40}:)[0-9A-Fa-f:]{2,45}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])")


class Redaction:
    """Hides what must not be told.

    Args:
        secrets: Values that are hidden wherever they stand; those of fewer than eight characters are passed over, since they would
            hide much that is not secret.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one may begin with another.
        known = sorted({each for each in secrets if len(each) >= _SHORTEST}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """A text without what must not be told. What was hidden once stays as it is."""
        if self._secrets:
            text = self._secrets.sub(HIDDEN, text)
        if "://" in text:
            text = _WEBHOOK.sub(rf"\1/{HIDDEN}", _URL_PASSWORD.sub(f"{HIDDEN}@", text))
        text = _NAMED.sub(rf"\g<name>{HIDDEN}", _AUTHORIZATION.sub(rf"\1\2{HIDDEN}", _TOKENS.sub(HIDDEN, text)))
        text = _LISTENER.sub(rf"\1{HIDDEN}", text)
        if "@" in text:
            text = _EMAIL.sub(HIDDEN, text)
        return _IPV6.sub(_hide_address, _IPV4.sub(_hide_address, text))

    def all_of(self, value: Any) -> Any:
        """A value of JSON with every text in it redacted, names of fields too."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self(str(name)): self.all_of(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.all_of(each) for each in value]
        return value


def _hide_address(match: re.Match[str]) -> str:
    """Hide a network address unless it leads nobody anywhere: this machine, or none."""
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return match[0]
    return match[0] if address.is_loopback or address.is_unspecified else HIDDEN


def secrets_of(environment: Mapping[str, str]) -> frozenset[str]:
    """The values of an environment that must appear nowhere: the platform's secrets, and others that go by a secret's name."""
    named = {value for name, value in environment.items() if _SECRET_NAME.search(name) and "://" not in value and value[:1] != "/"}
    return secret_values(environment) | named


def open_redaction(environment: Mapping[str, str] | None = None) -> Redaction:
    """The redaction that knows the secrets of an environment, this process's unless given; secrets in files are read once a process."""
    told = os.environ if environment is None else environment
    return _redaction_of(tuple(sorted((name, value) for name, value in told.items() if _SECRET_NAME.search(name) or name.endswith(_ALSO))))


_ALSO = ("_URL", "_FILE", "_HEADERS", "_SEED")


@lru_cache(maxsize=8)
def _redaction_of(told: tuple[tuple[str, str], ...]) -> Redaction:
    return Redaction(secrets_of(dict(told)))
