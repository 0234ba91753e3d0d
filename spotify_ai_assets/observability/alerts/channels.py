"""The channels: what a delivery looks like to Sentry, to PagerDuty and to a chat that takes Slack's webhooks.

A channel is set up by a secret, ``SPOTIFY_AI_SENTRY_DSN``, ``SPOTIFY_AI_PAGERDUTY_KEY`` or ``SPOTIFY_AI_SLACK_WEBHOOK``; one of a team,
such as ``slack:audio``, by the same name with the team's after it, ``SPOTIFY_AI_SLACK_WEBHOOK_<TEAM>``. Nothing is sent here: a request
is made of a delivery, and the same delivery makes the same request.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.observability.alerts.incidents import Delivery
from spotify_ai_assets.observability.alerts.notices import KINDS, Route, Severity
from spotify_ai_assets.settings import secret

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

SECRET_OF: Mapping[str, str] = {
    "sentry": "SPOTIFY_AI_SENTRY_DSN",
    "pagerduty": "SPOTIFY_AI_PAGERDUTY_KEY",
    "slack": "SPOTIFY_AI_SLACK_WEBHOOK",
}
PAGERDUTY_URL = "SPOTIFY_AI_PAGERDUTY_URL"
_EVENTS = "https://events.pagerduty.com/v2/enqueue"
_CLIENT = "spotify_ai_assets"
_SUMMARY, _DETAIL, _MESSAGE = 1024, 4000, 3000
"""The most characters that the services take of a title, of a detail and of a message."""

_LEVELS: dict[Severity, str] = {"info": "info", "warning": "warning", "error": "error", "critical": "fatal"}
_SIGNS: dict[Severity, str] = {"info": "ℹ️", "warning": "⚠️", "error": "❌", "critical": "🚨"}
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to a channel, by POST. It is printed without its address, which is a secret.

    Attributes:
        url: Where to.
        body: What.
        headers: Of it.
    """

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(repr=False)


def channels_in_use(routes: Iterable[Route]) -> list[str]:
    """Every channel that routes lead to."""
    return list(dict.fromkeys(route.channel for route in routes))


def variable_of(channel: str) -> str:
    """The variable that sets a channel up."""
    kind, _, name = channel.partition(":")
    return "_".join(filter(None, (SECRET_OF[kind], name.upper())))


def configured(channels: Iterable[str], environment: Mapping[str, str]) -> Collection[str]:
    """The channels that are set up.

    Raises:
        SettingsError: A secret cannot be read.
    """
    return [channel for channel in channels if secret(variable_of(channel), environment)]


def request_of(delivery: Delivery, environment: Mapping[str, str]) -> Request | None:
    """What a delivery sends.

    Args:
        delivery: What is told, and to which channel.
        environment: Names the channel's address or key.

    Returns:
        The request; ``None`` where the channel knows no such thing: Sentry has no end of a trouble.

    Raises:
        SettingsError: The channel is not set up any more, or its secret is no address.
    """
    variable = variable_of(delivery.channel)
    told = secret(variable, environment)
    if not told:
        raise SettingsError(f"{variable} is not set")
    make = dict(zip(KINDS, _MAKERS, strict=True))[delivery.channel.partition(":")[0]]
    return make(delivery, told, environment)


def _sentry(delivery: Delivery, dsn: str, _environment: Mapping[str, str]) -> Request | None:
    """An event as Sentry's own kit makes it, in an envelope; troubles of one key are one issue."""
    if delivery.action == "resolve":
        return None
    from sentry_sdk import Client, Scope
    from sentry_sdk.transport import Transport
    from sentry_sdk.utils import BadDsn

    caught: list[Envelope] = []

    class Catch(Transport):
        """Keeps an envelope instead of sending it: sending is the router's."""

        def capture_envelope(self, envelope: "Envelope") -> None:
            """Keep it."""
            caught.append(envelope)

    try:
        client = Client(
            dsn=dsn,
            transport=Catch,
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            release=f"{_CLIENT}@{version(_CLIENT)}",  # which the kit would ask git for
            send_client_reports=False,
            attach_stacktrace=False,
            max_breadcrumbs=0,
            server_name="",
            enable_logs=False,
            shutdown_timeout=0,
        )
        client.capture_event(_sentry_event(delivery), scope=Scope())  # type: ignore[arg-type]  # the kit's Event is a closed TypedDict
    except BadDsn:
        raise SettingsError(f"{variable_of(delivery.channel)} is no DSN of Sentry") from None
    assert client.transport
    parsed = client.transport.parsed_dsn
    assert parsed
    auth = parsed.to_auth(f"{_CLIENT}/{version(_CLIENT)}")
    client.close(timeout=0)
    headers = {"Content-Type": "application/x-sentry-envelope", "X-Sentry-Auth": auth.to_header()}
    return Request(auth.get_api_url(), caught[0].serialize(), headers)


def _sentry_event(delivery: Delivery) -> dict[str, Any]:
    notice = delivery.notice
    return {
        "event_id": delivery.event_id,
        "timestamp": delivery.told_at.astimezone(UTC).isoformat(),
        "level": _LEVELS[notice.severity],
        "logger": _CLIENT,
        "message": notice.title,
        "fingerprint": [delivery.key],
        "tags": {"owner": notice.owner, "subject": notice.subject},
        "extra": {**notice.facts, **({"text": notice.text} if notice.text else {}), **({"link": notice.link} if notice.link else {})},
    }


def _pagerduty(delivery: Delivery, key: str, environment: Mapping[str, str]) -> Request:
    """An event of the Events API, version 2: it opens an incident or ends it, by the dedupe key."""
    body: dict[str, Any] = {
        "routing_key": key,
        "event_action": delivery.action,
        "dedup_key": delivery.key,
        "client": _CLIENT,
    }
    notice = delivery.notice
    if notice.link:
        body["client_url"] = notice.link
    if delivery.action == "trigger":
        details = {name: value[:_DETAIL] for name, value in {**notice.facts, "text": notice.text}.items() if value}
        body["payload"] = {
            "summary": notice.title[:_SUMMARY],
            "source": notice.subject,
            "severity": notice.severity,
            "timestamp": delivery.told_at.astimezone(UTC).isoformat(),
            "component": notice.subject.rpartition("/")[2],
            "group": notice.owner,
            "class": notice.subject.partition("/")[0],
            "custom_details": details,
        }
        body["links"] = [{"href": notice.link, "text": _("Where to look")}] if notice.link else []
    return Request(environment.get(PAGERDUTY_URL) or _EVENTS, _encoded(body), _JSON)


def _slack(delivery: Delivery, url: str, _environment: Mapping[str, str]) -> Request:
    """A message of a webhook as Slack, Mattermost and others take it."""
    notice, sign = delivery.notice, "✅" if delivery.action == "resolve" else _SIGNS[delivery.notice.severity]
    lines = [f"{sign} *{_escaped(notice.title)}*"]
    if delivery.action == "trigger":
        lines += [_escaped(notice.text)] if notice.text else []
        lines += [f"• {_escaped(name)}: {_escaped(value)}" for name, value in notice.facts.items()]
        lines += [_("Owner: {owner}").format(owner=_escaped(notice.owner))]
    if notice.link:
        lines.append(f"<{_escaped(notice.link)}>")
    return Request(url, _encoded({"text": "\n".join(lines)[:_MESSAGE]}), _JSON)


_MAKERS: tuple[Callable[[Delivery, str, Mapping[str, str]], Request | None], ...] = (_sentry, _pagerduty, _slack)
"""In the order of ``KINDS``."""


def _escaped(text: str) -> str:
    """A text that Slack reads as such: what names people, channels or addresses is escaped, what formats is taken out."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("*", "∗").replace("`", "'").replace("@", "@\u200b")


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
