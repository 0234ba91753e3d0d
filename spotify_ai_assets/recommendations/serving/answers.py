"""Questions and answers: who asks for shelves, and what stands on them."""

from dataclasses import dataclass

from spotify_ai_assets.recommendations.serving.filters import NO_FILTERS, Filters
from spotify_ai_assets.recommendations.serving.merging import History
from spotify_ai_assets.recommendations.serving.reasons import Reason

NOWHERE = "ZZ"
"""What plays have for a country where their source tells none."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question for one listener's shelves.

    Attributes:
        history: What they have heard.
        listener: Pseudonym; empty for nobody in particular.
        filters: What they wish to leave out.
    """

    history: History
    listener: str = ""
    filters: Filters = NO_FILTERS

    @property
    def country(self) -> str:
        """Where they are; an empty text where nobody knows."""
        country = self.filters.country or self.history.country
        return "" if country == NOWHERE else country


@dataclass(frozen=True, slots=True)
class Recommended:
    """A track on a shelf, on the radio, or like another.

    Attributes:
        rank: 1 is the best.
        track_id: The track.
        name: Its title.
        artist_id: Its first artist.
        artist_name: That artist's name.
        score: Comparable within one answer.
        propensity: With which probability it was put there, given the places before.
        reason: Why; where it was asked for.
    """

    rank: int
    track_id: str
    name: str
    artist_id: str
    artist_name: str
    score: float
    propensity: float = 1.0
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class SimilarArtist:
    """An artist like another.

    Attributes:
        rank: 1 is the most alike.
        artist_id: The artist.
        name: Their name.
        score: Cosine of the two vectors.
        reason: Why.
    """

    rank: int
    artist_id: str
    name: str
    score: float
    reason: Reason
