"""The library under all models: fitting, searching, measuring, explaining, keeping, promoting. It owns no assets.

A domain brings its network, its samples and its loss, and owns what comes of them; here is what every model needs:

* ``fit`` with ``checkpoints`` and ``determinism``: one loop for all torch models, seeded, to a step count, resumable;
* ``metrics``, ``calibration``, ``explanation``: what may be said about a model, and how surely;
* ``search``: hyper-parameters, resumable, and whether the search earned its keep;
* ``registry``, ``gates``, ``cards``: versions, who serves, what it takes to serve, and the card that says so;
* ``adapters``: models of four makes behind one ``predict``;
* ``jobs``: promotion and rollback as runs; ``images`` and ``model_tables``: a model's table in the lake, the image of its champion.

Nothing here knows a domain.
"""
