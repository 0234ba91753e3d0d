"""Insight: what rises, what broke, what is fake, who stays, what comes next.

Assets, in order: ``listening/suspicious_streams`` and its counts ``suspicious_track_days``, ``suspicious_artist_days``,
``suspicious_country_days`` (the artificial part of the daily tables: a total less its suspicious part is genuine),
``genuine_charts``, ``country_hours``, ``anomalies``, ``trends``, ``change_points``, ``forecasts``, ``new_listeners``,
``cohorts``, ``funnels``, ``genre_mix``, ``stream_share``, ``year_in_review``.

Each module computes one of them from frames; nothing here knows where they lie. What simply counts plays belongs to
``listening`` itself, pages to ``reports``.
"""
