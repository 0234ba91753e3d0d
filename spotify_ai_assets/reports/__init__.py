"""Pages that people read, made from the tables of the other domains.

Assets: ``reports/daily_listening`` and ``reports/anomalies`` of each day, ``reports/weekly_trends`` and ``reports/cohorts`` of each
week, ``reports/year_in_review`` of each month. Each is the figures of a page as a table; writing pages and files is part of
making it.

A module of that name computes the figures, in the tidy form of ``figures.py``; a module in ``pages/`` lays them out as HTML;
``charts.py`` and ``drawing.py`` draw, ``notation.py`` writes numbers and dates in the reader's language. ``documents.py`` gives the
figures as JSON and CSV, by the schemas in ``schemas/``; ``publication.py`` puts everything into the folder of reports. A figure
that is not on a page belongs to ``listening``.
"""
