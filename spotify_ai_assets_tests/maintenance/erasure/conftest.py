"""Platforms on which erasures are tried."""

from erasure_worlds import never, world
from taste_world import own_taste_world, taste_world

__all__ = ["never", "own_taste_world", "taste_world", "world"]
