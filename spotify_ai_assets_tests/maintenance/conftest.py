"""The world of four tastes, for what needs a trained recommender to look after."""

from taste_world import own_taste_world, taste_world

__all__ = ["own_taste_world", "taste_world"]
