"""Indices of tracks, artists and listeners: vectors that are searched, and the histories that are served.

They know vectors, ids and files; which versions belong together is for ``releases`` to say. Nothing imports this room at load.
"""
