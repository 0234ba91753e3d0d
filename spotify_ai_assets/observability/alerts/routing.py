"""The router: takes notices, keeps one trouble one incident, and sends what is due until it is taken.

``tell`` is all that the rest of the platform needs. It never fails for a channel's sake: what a channel does not take now is sent again,
later and later, for a day; ``deliver`` does so at each tick of its sensor. That this path itself works is watched from outside: as long
as it does, ``beat`` calls the address of a dead man's switch, which raises an alarm of its own when the calls stop.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic

from spotify_ai_assets.errors import PermanentError, PlatformError
from spotify_ai_assets.observability.alerts.channels import Request, channels_in_use, configured, request_of
from spotify_ai_assets.observability.alerts.incidents import Delivery, Incident, Incidents, open_incidents
from spotify_ai_assets.observability.alerts.notices import ROUTES, Notice, hidden, parse_routes
from spotify_ai_assets.resources.outgoing import Answer, send
from spotify_ai_assets.resources.redaction import open_redaction
from spotify_ai_assets.resources.texts import readable
from spotify_ai_assets.settings import Settings, secret

DEADMAN_URL = "SPOTIFY_AI_DEADMAN_URL"
PATIENCE = timedelta(hours=24)
"""How long a channel that does not take a delivery is tried again."""

OVERDUE = timedelta(minutes=15)
"""Whoever is told of nothing for so long is better told by the dead man's switch."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 900.0
_TIMEOUT_S = 5.0
_AT_ONCE = 50
_BUDGET_S = 25.0
"""A sensor has a minute."""

_TRY_AGAIN = (408, 425, 429)
_LOG = logging.getLogger(__name__)

Post = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class Told:
    """What became of notices.

    Attributes:
        changed: The incidents that they opened or ended.
        sent: How many deliveries went out, of these and of earlier notices.
        waiting: How many wait to be sent again.
    """

    changed: tuple[Incident, ...] = ()
    sent: int = 0
    waiting: int = 0


def tell(
    settings: Settings,
    *notices: Notice,
    environment: Mapping[str, str] = os.environ,
    now: datetime | None = None,
    post: Post | None = None,
) -> Told:
    """Tell of troubles and of their ends: whoever is to know by the routes is told once of each.

    Args:
        settings: Say where the router's memory is.
        notices: In the order in which they happened.
        environment: Sets up channels and routes.
        now: The present.
        post: Sends a request; through the guard for outgoing requests unless given.

    Returns:
        What came of it. A channel that does not answer is no failure here: what is due is kept and sent again.

    Raises:
        SettingsError: The routes, or a channel's secret, cannot be read.
    """
    at = now or datetime.now(UTC)
    incidents, hide = open_incidents(settings), open_redaction(environment)
    routes = parse_routes(environment.get(ROUTES, ""))
    ready = configured(channels_in_use(routes), environment)
    changed = [each for notice in notices for each in incidents.note(hidden(readable(notice), hide), routes, ready, at)]
    return _deliver(incidents, environment, at, post, tuple(changed))


def deliver(
    settings: Settings, *, environment: Mapping[str, str] = os.environ, now: datetime | None = None, post: Post | None = None
) -> Told:
    """Send what is due, and forget what is long over. Arguments are those of ``tell``."""
    at, incidents = now or datetime.now(UTC), open_incidents(settings)
    incidents.expire(at)
    return _deliver(incidents, environment, at, post)


def beat(settings: Settings, *, environment: Mapping[str, str] = os.environ, now: datetime | None = None, post: Post | None = None) -> str:
    """Call the dead man's switch, unless alerts have not gone out for a while: silence is what it is for.

    Args:
        settings: Say where the router's memory is.
        environment: ``SPOTIFY_AI_DEADMAN_URL`` names the address.
        now: The present.
        post: As of ``tell``.

    Returns:
        What was done, in a few words.

    Raises:
        PlatformError: The address does not answer, or refuses.
    """
    url, at = secret(DEADMAN_URL, environment), now or datetime.now(UTC)
    if not url:
        return "no dead man's switch is set up"
    oldest = open_incidents(settings).figures().oldest_waiting_at
    if oldest and at - oldest > OVERDUE:
        return "alerts wait to be sent; the dead man's switch is left to go off"
    answer = (post or _post)(Request(url, b"", {}))
    if answer.status >= 400:
        raise PlatformError(f"the dead man's switch answers with status {answer.status}")
    return "the dead man's switch was called"


def _deliver(
    incidents: Incidents, environment: Mapping[str, str], now: datetime, post: Post | None, changed: tuple[Incident, ...] = ()
) -> Told:
    """Send what is due, one after the other; what follows an earlier delivery of its trouble comes in the next round."""
    sent, end = 0, monotonic() + _BUDGET_S
    while monotonic() < end and (due := incidents.take_due(now, _AT_ONCE)):
        for delivery in due:
            sent += _send(incidents, delivery, environment, now, post or _post)
            if monotonic() >= end:
                break
    return Told(changed, sent, incidents.figures().waiting)


def _send(incidents: Incidents, delivery: Delivery, environment: Mapping[str, str], now: datetime, post: Post) -> bool:
    """Send one delivery and note what came of it.

    Returns:
        Whether it was taken.
    """
    try:
        request = request_of(delivery, environment)
        if request is None:
            incidents.settle(delivery, now)
            return False
        answer = post(request)
    except PermanentError as error:
        return _give_up(incidents, delivery, now, f"{type(error).__name__}: {error}")
    except (PlatformError, OSError) as error:
        return _try_later(incidents, delivery, now, type(error).__name__)
    except Exception as error:  # such as a text that a channel cannot hold: it must not hold up others
        return _give_up(incidents, delivery, now, type(error).__name__)
    if answer.status < 300:
        incidents.settle(delivery, now)
        return True
    if answer.status in _TRY_AGAIN or answer.status >= 500:
        return _try_later(incidents, delivery, now, f"status {answer.status}", retry_after(answer, now))
    return _give_up(incidents, delivery, now, f"status {answer.status}")


def _give_up(incidents: Incidents, delivery: Delivery, now: datetime, reason: str) -> bool:
    incidents.settle(delivery, now, reason=reason)
    _LOG.error("an alert to %s was given up: %s", delivery.channel, reason)
    return False


def _try_later(incidents: Incidents, delivery: Delivery, now: datetime, reason: str, wait: timedelta | None = None) -> bool:
    until = now + (wait if wait is not None else pause_after(delivery))
    if until - delivery.told_at > PATIENCE:
        return _give_up(incidents, delivery, now, f"{reason}, for {PATIENCE.total_seconds() / 3600:.0f} hours")
    incidents.postpone(delivery, until, reason)
    _LOG.warning("an alert to %s waits: %s", delivery.channel, reason)
    return False


def pause_after(delivery: Delivery) -> timedelta:
    """How long to wait after a try that failed: twice as long each time, up to a quarter of an hour, less up to a fifth.

    The fifth depends on the delivery alone, so that many that failed together do not come back together.
    """
    longest = min(_FIRST_PAUSE_S * 2.0 ** min(delivery.attempts - 1, 16), _LONGEST_PAUSE_S)
    return timedelta(seconds=longest * (1 - int(delivery.event_id[:4], 16) / 0xFFFF / 5))


def retry_after(answer: Answer, now: datetime) -> timedelta | None:
    """How long an answer asks to wait by its ``Retry-After`` (RFC 9110, 10.2.3): seconds or a date, an hour at most; ``None`` without."""
    told = answer.headers.get("retry-after", "").strip()
    if told.isdecimal():
        wait = timedelta(seconds=min(int(told[:9]), 3600))
    else:
        try:
            wait = parsedate_to_datetime(told) - now
        except (ValueError, TypeError):
            return None
    return min(max(wait, timedelta(seconds=1)), timedelta(hours=1))


def _post(request: Request) -> Answer:
    """Send a request through the guard; the operator's own setting names the address."""
    return send(request.url, method="POST", body=request.body, headers=request.headers, trusted=[request.url], timeout_s=_TIMEOUT_S)
