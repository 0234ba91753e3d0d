"""What the assets of recommendations work with beside the lake: models and their tracking, indices, and releases."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from spotify_ai_assets.resources import open_locks
from spotify_ai_assets.training.workplace import Workplace

if TYPE_CHECKING:
    from spotify_ai_assets.making import Inputs
    from spotify_ai_assets.recommendations.releases import OpenedRelease, Releases
    from spotify_ai_assets.recommendations.serving.stock import Stock

FORGETTING = "recommendations.forgetting"
"""The lock that who publishes shares, and who forgets people or tracks holds alone."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Workshop(Workplace):
    """The workplace of one step of recommendations."""

    @cached_property
    def releases(self) -> "Releases":
        """Releases, and the pointer to the one that serves."""
        from spotify_ai_assets.recommendations.releases import Releases

        return Releases(self.artifacts)

    @cached_property
    def current(self) -> "OpenedRelease":
        """The release that serves, opened once for all partitions of a step."""
        return self.releases.open_current()

    @cached_property
    def stock(self) -> "Stock":
        """What that release knows, ready to answer."""
        from spotify_ai_assets.recommendations.serving.stock import Stock

        return Stock(self.current)

    def teller(self, what: str) -> Callable[[int, int], None]:
        """Tells how far one kind of work is."""
        return lambda done, total: self.tell(what, done, total)

    @property
    def scratch(self) -> Path:
        """A folder for what a killed training goes on from."""
        folder = self.settings.data / "scratch" / "recommendations"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def publishes(make: "Callable[[Inputs, Workshop], Made]") -> "Callable[[Inputs, Workshop], Made]":
    """A step that publishes models, indices or releases: never while somebody is being forgotten from them."""

    @wraps(make)
    def apart(read: "Inputs", workshop: Workshop) -> Made:
        with open_locks(workshop.settings).shared(FORGETTING):
            return make(read, workshop)

    return apart
