"""Tracks, albums and artists as found at their sources: landing files now, the Spotify Web API later.

Assets, in order: ``catalog/artists``, ``catalog/albums``, ``catalog/tracks``, ``catalog/text_embeddings``.

``ids.py`` is the one rule by which every domain names a track or an artist. What people listened to does not belong here
(``listening``), nor what a track sounds like (``audio``).
"""
