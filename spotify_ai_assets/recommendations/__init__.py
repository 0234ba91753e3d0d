"""Recommendations: who likes what, models of taste, the gate, indices and releases, shelves, and the stream that keeps them fresh.

Assets, in order: ``recommendations/interactions``, ``evaluation``, ``model``, ``track_index``, ``artist_index``, ``listener_index``,
``release``, ``for_listeners``, ``similar_tracks``, ``similar_artists``, ``radio``.

Rooms: ``models`` (numbers only), ``evaluation`` (figures, gate, experiments), ``indices`` (vectors on disk, releases),
``serving`` (the recommender, shelves, reasons), ``realtime`` (the worker of the stream). What a track sounds like belongs to
``audio``, what was played to ``listening``.
"""
