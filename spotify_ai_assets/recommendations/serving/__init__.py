"""Answers to listeners: shelves, what is like a track or an artist, radio, each with its reason.

``stock`` is what a release knows. ``shelving`` and ``likeness`` answer from it, for one or for many at once; ``published`` makes tables
of their answers, and ``recommender`` is the object that a service holds, so that batch and service cannot disagree. Pure: the rules
of ``shelves``, ``reasons``, ``nearness``, ``filters``, and ``merging`` of live plays into histories.
"""
