"""A Dagster asset platform for music streaming: listening events in, trustworthy statistics out.

Domains, in the order in which data flows through them:

* ``catalog``: tracks, albums and artists as found at their sources.
* ``listening``: streaming analytics, from raw listens to plays, sessions, daily tables and charts.
* ``reports``: pages that people read, made from the tables above.

``definitions.py`` assembles them; ``contracts.py`` says what a table is; ``resources/lake.py`` keeps the tables.
"""
