"""What tracks sound like, measured from the audio files themselves.

Assets, in order: ``audio/files`` and ``audio/rejected`` from what landed, with ``audio/labels``, ``audio/perceptual_labels`` and
``audio/given_links``; ``audio/track_links``; ``audio/features``, ``audio/spectrograms``, ``audio/fingerprints`` and
``audio/evidence`` from one pass over each file; the models ``audio/encoder``, ``audio/sound_model`` and ``audio/perceptual_model``;
what they give, ``audio/embeddings``, ``audio/predictions``, ``audio/explanations`` and ``audio/perceptual``; ``audio/anomalies`` and
``audio/drift``.

Its rooms: ``intake`` finds files and decodes them in confined processes, ``measures`` measures a signal, ``faults`` judges one,
``models`` learns from many; ``analysis.py`` is the one pass that calls them. Fitting, keeping and promoting models is ``training``'s;
what is made of embeddings for listeners belongs to recommendations.
"""
