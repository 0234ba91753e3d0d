"""Pages that people read, made from the tables of the other domains.

Assets, in order: ``reports/daily_listening``, the figures of a day's page as a table; writing the page is part of making it.

``daily_listening.py`` computes the figures, ``pages.py`` lays them out as HTML, ``drawing.py`` draws their charts as SVG,
``notation.py`` writes numbers and dates in the reader's language. A figure that is not on a page belongs to ``listening``.
"""
