"""What a release knows, ready to answer: its items, histories, model and vectors, and what follows from them once and for all."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spotify_ai_assets.recommendations.serving.answers import Ask, Recommended
from spotify_ai_assets.recommendations.serving.items import Items
from spotify_ai_assets.recommendations.serving.merging import History, LivePlay, merge_plays, stack_histories
from spotify_ai_assets.recommendations.serving.nearness import Leaning, lean
from spotify_ai_assets.recommendations.serving.reasons import NOTHING, Reason, Weighed, weigh
from spotify_ai_assets.recommendations.serving.shelves import POLICIES, choose_dated

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

    from spotify_ai_assets.recommendations.indices.vectors import VectorIndex
    from spotify_ai_assets.recommendations.models.contract import Contributions, Model
    from spotify_ai_assets.recommendations.releases import OpenedRelease

FRESH, NEXT_ITEM = "fresh_releases", "sequence"
_MOST_FRESH = 2000
"""So many items the shelf of fresh releases can choose from: all that fit it, and the newest others."""


def find_vectors(index: "VectorIndex", ids: Sequence[str]) -> np.ndarray:
    """Vectors of some ids, float32, shape (n, d); zeros for those that are not in the index."""
    vectors = np.zeros((len(ids), index.dimensions), np.float32)
    places = [place for place, each in enumerate(ids) if each in index]
    vectors[places] = index.vectors_of([ids[place] for place in places])
    return vectors


class Stock:
    """What a release knows.

    Args:
        opened: The release.

    Attributes:
        version: Of the release.
        items: What can be recommended.
        histories: What listeners have heard.
        ends_on: Last day of the data.
        tracks: Index of the tracks' vectors.
        artists: Index of the artists' vectors.
    """

    def __init__(self, opened: "OpenedRelease") -> None:
        from spotify_ai_assets.recommendations.models.recipes import unpack

        self.version = opened.version
        self.items = Items.from_frame(opened.items)
        self.histories = opened.histories
        self.ends_on = opened.histories.as_of.date()
        self.tracks, self.artists = opened.tracks, opened.artists
        self._model = unpack(opened.model_folder)

    def history_of(self, listener: str, plays: Iterable[LivePlay] = ()) -> History:
        """What a listener has heard, with live plays, each counted once."""
        return merge_plays(self.histories, listener, plays, self.items)

    # The model's scores --------------------------------------------------------------------------------------------------

    def score(self, asks: Sequence[Ask], *, is_radio: bool = False) -> np.ndarray:
        """Scores of all items by the model, float32, shape (asks, items); minus infinity where it does not know an item.

        Who has no history that the model knows gets what is popular in their country.

        Args:
            asks: Whose histories.
            is_radio: By the model of the next item, where there is one.
        """
        usual = self._for_radio if is_radio else self._model
        known = stack_histories([ask.history for ask in asks], self.items.known)
        countries = np.array([ask.country for ask in asks], dtype=object)
        scores = np.full((len(asks), len(self.items)), -np.inf, np.float32)
        is_stranger = np.diff(known.indptr) == 0
        for model, rows in ((usual, np.flatnonzero(~is_stranger)), (self._for_strangers, np.flatnonzero(is_stranger))):
            if len(rows):
                scores[rows, : self.items.known] = model.score(known[rows], countries[rows].tolist())
        return scores

    def explain(self, ask: Ask, items: np.ndarray, *, is_radio: bool = False) -> "Contributions":
        """What the score of items, all of them the model's, is made of; plays are those of ``known_of`` the history."""
        known = stack_histories([ask.history], self.items.known)
        usual = self._for_radio if is_radio else self._model
        return (usual if known.nnz else self._for_strangers).explain(known, items, ask.country)

    def known_of(self, history: History) -> np.ndarray:
        """The items of a history that the model knows."""
        return history.items[history.items < self.items.known]

    def weigh(self, ask: Ask, items: np.ndarray, *, is_radio: bool = False) -> list[Weighed]:
        """What speaks for items by the model; nothing for one that it does not know."""
        inside = items[items < self.items.known]
        said = weigh(self.explain(ask, inside, is_radio=is_radio)) if len(inside) else []
        found = dict(zip(inside.tolist(), said, strict=True))
        return [found.get(item, NOTHING) for item in items.tolist()]

    @cached_property
    def _for_strangers(self) -> "Model":
        """What answers for those without a history: the blend where it has popularity in it, else popularity alone."""
        from spotify_ai_assets.recommendations.models.blend import FALLBACK, Blend
        from spotify_ai_assets.recommendations.models.contract import Facts
        from spotify_ai_assets.recommendations.models.popularity import Popularity

        if isinstance(self._model, Blend) and FALLBACK in self._model.members:
            return self._model
        served = self.histories.histories
        return Popularity.fit(served.matrix, None, Facts(countries=served.countries.tolist(), ages=served.ages))

    @cached_property
    def _for_radio(self) -> "Model":
        """The member that knows what comes next; the whole model where there is none."""
        from spotify_ai_assets.recommendations.models.blend import Blend

        members = self._model.members if isinstance(self._model, Blend) else {}
        return next((member for name, member in members.items() if member.name == NEXT_ITEM), self._model)

    @cached_property
    def countries(self) -> frozenset[str]:
        """The countries whose own popularity is known: few listeners are told that of the world."""
        from spotify_ai_assets.recommendations.models.blend import FALLBACK, Blend
        from spotify_ai_assets.recommendations.models.popularity import Popularity

        model = self._for_strangers
        popular = model.members[FALLBACK] if isinstance(model, Blend) else model
        return frozenset(popular.countries if isinstance(popular, Popularity) else ())

    # Nearness ------------------------------------------------------------------------------------------------------------

    def score_fresh(self, asks: Sequence[Ask], scores: np.ndarray) -> np.ndarray:
        """Nearness of what came out lately, of the shape of the model's scores; of strangers popularity, what nobody has played last."""
        rows, vectors, artists = self._fresh
        near = np.full_like(scores, -np.inf)
        for place, ask in enumerate(asks):
            if len(ask.history.items):
                near[place, rows] = self._lean(ask.history).score(vectors, artists)
            else:
                near[place, rows] = np.where(np.isfinite(scores[place, rows]), scores[place, rows], 0.0)
        return near

    def explain_fresh(self, ask: Ask, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each play adds to the nearness of items by content, and what by artist; both float64, shape (items, plays)."""
        return self._lean(ask.history).explain(self.vectors_of(items), self.items.artists[items])

    def weigh_fresh(self, ask: Ask, items: np.ndarray) -> list[Weighed]:
        """What speaks for items by nearness, in terms of all items of the history."""
        from spotify_ai_assets.recommendations.models.contract import Contributions

        content, artist = self.explain_fresh(ask, items)
        kinds = np.where(artist.sum(1) >= content.sum(1), "plays", "content").tolist()
        by_kind = {kind: weigh(Contributions(content + artist, {}), carried_by=kind) for kind in set(kinds)}
        return [by_kind[kind][place] for place, kind in enumerate(kinds)]

    def vectors_of(self, items: np.ndarray) -> np.ndarray:
        """Unit vectors of items, float32, shape (n, d); zeros where there is none."""
        return find_vectors(self.tracks, self.items.tracks[items].tolist())

    def _lean(self, history: History) -> Leaning:
        return lean(history.weights, self.vectors_of(history.items), self.items.artists[history.items])

    @cached_property
    def _fresh(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the shelf of fresh releases chooses from: numbers, vectors, artists."""
        fitting, others = choose_dated(POLICIES[FRESH], self.items, self.ends_on)
        first = np.flatnonzero(fitting & ~self.items.is_removed)
        rows = np.concatenate([first, others[: max(_MOST_FRESH - len(first), 0)]])
        return rows, self.vectors_of(rows), self.items.artists[rows]

    # Telling -------------------------------------------------------------------------------------------------------------

    def show(self, place: int, item: int, score: float, propensity: float = 1.0, reason: Reason | None = None) -> Recommended:
        """An item at a place, the first of which is 0."""
        artist_id, artist_name = self.items.artist_of(item)
        track_id, name = str(self.items.tracks[item]), str(self.items.names[item])
        return Recommended(place + 1, track_id, name, artist_id, artist_name, float(score), float(propensity), reason)

    def count_shared(self, one: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How many listeners have heard both items of each pair; 0 where the model does not know one of them."""
        is_known = (one < self.items.known) & (others < self.items.known)
        left, right = self._heard[:, one[is_known]], self._heard[:, others[is_known]]
        shared = np.zeros(len(one), np.int64)
        shared[is_known] = np.asarray(left.multiply(right).sum(0)).ravel()
        return shared

    def count_shared_artists(self, one: int, others: np.ndarray) -> np.ndarray:
        """How many listeners have heard an artist and each of several others."""
        return np.asarray(self._heard_artists[:, others].multiply(self._heard_artists[:, [one]]).sum(0)).ravel()

    @cached_property
    def is_new(self) -> np.ndarray:
        """Which items came out lately, bool, shape (items,)."""
        return choose_dated(POLICIES[FRESH], self.items, self.ends_on)[0]

    @cached_property
    def is_played(self) -> np.ndarray:
        """Of which artists the model knows a track, bool, shape (artists,)."""
        return np.bincount(self.items.artists[: self.items.known], minlength=len(self.items.artist_ids)) > 0

    @cached_property
    def _heard_artists(self) -> "csc_matrix":
        from scipy.sparse import csc_matrix

        known = self.items.known
        shape = known, len(self.items.artist_ids)
        owners = csc_matrix((np.ones(known, np.float32), (np.arange(known), self.items.artists[:known])), shape=shape)
        heard = csc_matrix(self._heard @ owners)
        heard.data = np.ones_like(heard.data)
        return heard

    @cached_property
    def _heard(self) -> "csc_matrix":
        from scipy.sparse import csc_matrix

        heard = csc_matrix(self.histories.histories.matrix, dtype=np.float32)
        heard.data = np.ones_like(heard.data)
        return heard
