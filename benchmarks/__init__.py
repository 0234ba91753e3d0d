"""The platform against bare code, side by side in one run: ``python -m benchmarks.<name>``.

* ``listening``: one large day through the daily job, over the same functions in bare polars.
* ``backfill``: sixty days through the command line, over a bare loop of the same functions and ``lake.write``.
* ``scale``: what sixteen times the listens cost, as more listens a day and as more days.
* ``load``: importing the code location, over ``import dagster``.

``measuring.py`` takes times, ``listens.py`` draws listens, ``bare.py`` is the other side. How to read the numbers: ``README.md``.
"""
