"""Real time: listens that stream in are seen by the recommender at once, and are in the lake half a minute later, exactly once.

``producing`` swaps real ids for pseudonyms and sends; ``messages`` is what a message looks like. ``worker`` reads: it puts the
value of each play into the ``live`` store, which the recommender asks at each request, and hands rows to ``batches``, which
commits them to ``listening/events``; only then a message is acknowledged. ``lag`` measures, ``folding`` keeps the listeners'
vectors fresh, ``parity`` compares the stream's answers with those of the batch.

The stream itself, Redis or a folder, is ``resources/stream.py``.
"""
