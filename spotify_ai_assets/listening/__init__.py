"""Streaming analytics: what was played, by how many, where, and what rose.

A *listen* is a raw event, a *play* a cleaned one, a *stream* a play of 30 s or more.

Assets, in order: ``listening/events`` (intake of listening files), ``listening/rejected`` and ``listening/imports`` (what
intake refused and did), ``listening/chart_entries`` (published charts), ``listening/plays``, ``listening/sessions``,
``listening/listener_track_days``, ``listening/track_days``, ``listening/artist_days``, ``listening/country_days``,
``listening/charts``.

Pages made from these tables belong to ``reports``, names and albums to ``catalog``.
"""
