"""What is told to people: a notice of a trouble or of its end, and to whom it goes.

A trouble is known by its subject, such as ``run/daily_listening``, and by the parts of it that hurt, such as days. The key made of both
is the same for every notice of one trouble, which is what keeps one trouble one incident.
No Dagster, no clock and no environment here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from spotify_ai_assets.contracts import WHOLE
from spotify_ai_assets.errors import SettingsError

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the greatest."""

PLATFORM = "team:platform"
"""Who answers for what has no owner of its own."""

ANYBODY = "*"
"""The owner of a route for those who have none."""

ROUTES = "SPOTIFY_AI_ALERT_ROUTES"
KINDS: tuple[str, ...] = ("sentry", "pagerduty", "slack")
"""The kinds of channels; a channel is a kind, or a kind and whose, such as ``slack:audio``."""

_KEY_LENGTH = 255
"""The longest key that PagerDuty takes."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell: something hurts, or it is well again. It holds no personal value, nor any secret.

    Attributes:
        subject: What it is about, such as ``run/daily_listening``, ``check/listening/plays:contract``, ``health/lake``.
        title: One line.
        is_healthy: Whether it is well.
        severity: How bad it is; of no meaning when it is well.
        owner: Who answers for it, as contracts say it.
        text: More than the title, a few lines.
        parts: Which parts of the subject: days or shards; the whole unless given.
        occurrence: What happened, by an id: told twice, such as by a sensor that starts again, it counts once.
        facts: Names and values for whoever looks into it.
        link: Where to look.
        tables: Of a run that failed the tables whose steps did, so that it is well once others have made them; of one that succeeded the
            tables that it made, for each of the parts. The empty name stands for what no other run makes good.
        wholes: The tables without partitions that a run made.
    """

    subject: str
    title: str
    is_healthy: bool
    severity: Severity = "error"
    owner: str = PLATFORM
    text: str = ""
    parts: tuple[str, ...] = (WHOLE,)
    occurrence: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    link: str = ""
    tables: tuple[str, ...] = ()
    wholes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What every notice of one trouble shares."""
        return key_of(self.subject, self.parts)

    def to_json(self) -> str:
        """As one JSON document."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Notice":
        """The notice of a JSON document."""
        told = json.loads(text)
        return cls(**{**told, **{name: tuple(told.get(name, ())) for name in ("parts", "tables", "wholes")}})


def key_of(subject: str, parts: Sequence[str]) -> str:
    """The dedupe key of a subject and its parts: ``run/daily_listening/2026-06-09...2026-06-28``."""
    named = [part for part in parts if part != WHOLE]
    label = "...".join(dict.fromkeys((min(named), max(named)))) if named else ""
    return "/".join(filter(None, (subject, label)))[:_KEY_LENGTH]


def worst(severities: Iterable[Severity]) -> Severity:
    """The greatest of some severities; the least of all where there is none."""
    return SEVERITIES[max(map(SEVERITIES.index, severities), default=0)]


@dataclass(frozen=True, slots=True)
class Route:
    """Whose troubles go where.

    Attributes:
        owner: Whose, or ``*`` for owners without a route of their own.
        channel: Where to: ``sentry``, ``pagerduty``, ``slack``, or one of them and whose, such as ``slack:audio``.
        least: The least severity that is told.
        after: After how many failures in a row.
    """

    owner: str
    channel: str
    least: Severity = "warning"
    after: int = 1


DEFAULT_ROUTES = (Route(ANYBODY, "sentry"), Route(ANYBODY, "pagerduty", "error"), Route(ANYBODY, "slack"))
"""Where nothing else is set, everything goes everywhere, but nobody is woken for a warning."""


def parse_routes(text: str) -> tuple[Route, ...]:
    """The routes of a setting: a JSON list such as ``[{"owner": "team:audio", "channel": "slack:audio", "from": "warning", "after": 2}]``.

    Args:
        text: Of ``SPOTIFY_AI_ALERT_ROUTES``; the default routes where it is empty.

    Raises:
        SettingsError: It is no such list; the message says what a route may hold.
    """
    if not text.strip():
        return DEFAULT_ROUTES
    try:
        told = json.loads(text)
        if not isinstance(told, list):
            raise TypeError
        return tuple(_parse_route(each) for each in told)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SettingsError(
            f"{ROUTES} must be a JSON list of routes, each with an owner, a channel ({', '.join(KINDS)}, each with :name or without), "
            f"from ({', '.join(SEVERITIES)}) and after (a number of failures from 1)"
        ) from None


def _parse_route(told: Mapping[str, Any]) -> Route:
    route = Route(told["owner"], told["channel"], told.get("from", "warning"), told.get("after", 1))
    kind, _, name = route.channel.partition(":")
    is_known = kind in KINDS and (not name or name.isidentifier()) and route.least in SEVERITIES and isinstance(route.owner, str)
    if not is_known or type(route.after) is not int or route.after < 1 or set(told) - {"owner", "channel", "from", "after"}:
        raise ValueError
    return route


def routes_of(notice: Notice, routes: Iterable[Route], failures: int) -> list[Route]:
    """The routes that a trouble takes once it has failed so many times in a row: its owner's, or everybody's where the owner has none."""
    every = list(routes)
    own = [route for route in every if route.owner == notice.owner] or [route for route in every if route.owner == ANYBODY]
    severity = SEVERITIES.index(notice.severity)
    return [route for route in own if severity >= SEVERITIES.index(route.least) and failures >= route.after]


def hidden(notice: Notice, hide: Any) -> Notice:
    """A notice whose texts went through a redaction.

    Args:
        notice: As it was told.
        hide: Takes a text and gives it without what must not be told.
    """
    facts = {hide(name): hide(value) for name, value in notice.facts.items()}
    return replace(notice, title=hide(notice.title), text=hide(notice.text), facts=facts)
