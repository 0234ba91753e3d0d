"""The world of four tastes, for tests that need a trained recommender."""

from taste_world import own_taste_world, taste_world

__all__ = ["own_taste_world", "taste_world"]
