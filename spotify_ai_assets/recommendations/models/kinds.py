"""Every kind of model by its name, imported when it is asked for."""

from importlib import import_module

from spotify_ai_assets.recommendations.models.contract import Model

_KINDS = {
    "popularity": "Popularity",
    "cooccurrence": "Cooccurrence",
    "als": "ALS",
    "ease": "Ease",
    "spectral": "Spectral",
    "two_tower": "TwoTower",
    "sequence": "Sequence",
    "blend": "Blend",
}
KINDS = tuple(_KINDS)


def find_model(name: str) -> type[Model]:
    """The class of a kind; what follows a colon, as in ``spectral:wide``, tells several of one kind apart.

    Raises:
        ValueError: There is no such kind.
    """
    kind = name.partition(":")[0]
    if kind not in _KINDS:
        raise ValueError(f"no model is called {kind}; there are {', '.join(KINDS)}")
    return getattr(import_module(f"spotify_ai_assets.recommendations.models.{kind}"), _KINDS[kind])
