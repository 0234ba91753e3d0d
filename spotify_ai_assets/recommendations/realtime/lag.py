"""How far behind the stream is, and how much comes in: figures of a sliding window.

The lag of a message is the time from its acceptance by the stream to the moment at which the recommender sees it. Across
machines it is as good as their clocks agree.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Lag:
    """Figures of a window.

    Attributes:
        messages: How many became visible in it.
        per_second: How many in a second.
        p50_s: Half of them had at most this lag, in seconds; 0 where there were none.
        p95_s: 95 % of them.
        p99_s: 99 % of them.
    """

    messages: int = 0
    per_second: float = 0.0
    p50_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0


class LagMeter:
    """Keeps the lags of the last minute.

    Args:
        window: How long one counts.
    """

    def __init__(self, window: timedelta = WINDOW) -> None:
        self._window = window
        self._seen: deque[tuple[datetime, np.ndarray]] = deque()
        self._since: datetime | None = None

    def note(self, accepted_at: Iterable[datetime], now: datetime) -> None:
        """Messages became visible."""
        self._since = self._since or now
        # A clock that runs behind the other would make a lag negative.
        lags = np.array([max((now - moment).total_seconds(), 0.0) for moment in accepted_at])
        if len(lags):
            self._seen.append((now, lags))

    def measure(self, now: datetime) -> Lag:
        """The figures of the window that ends now."""
        while self._seen and self._seen[0][0] <= now - self._window:
            self._seen.popleft()
        if not self._seen or self._since is None:
            return Lag()
        lags = np.concatenate([each for _, each in self._seen])
        seconds = max(min(self._window, now - self._since).total_seconds(), 1.0)
        p50, p95, p99 = (float(value) for value in np.quantile(lags, (0.5, 0.95, 0.99)))
        return Lag(len(lags), len(lags) / seconds, p50, p95, p99)
