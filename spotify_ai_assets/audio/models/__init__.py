"""Models of sound, trained on what audio analysis stores: log-mels, and for perception the features.

* ``mels``: packing into bytes, reading in pieces, scaling; ``augmentation``: changes that leave what is heard the same;
* ``networks``: the convolutional trunk and its two heads (torch; imported only where a network is needed);
* ``sound_classifier``: genre, mood or any other label set, with calibrated probabilities; ``validation``: what may be claimed of it;
* ``encoder``: an embedding learnt without labels; ``evidence``: whether it is better than what costs nothing;
* ``explanations``: which times and frequencies an answer came from;
* ``perceptual`` with ``perceptual_labels``, ``perceptual_evidence`` and ``estimator``: what people hear in a track, such as valence,
  learnt from labelled tracks and the features rather than from mels.

Everything is functions of arrays; a model is a dictionary of arrays and a JSON document. Keeping and serving belong to ``training``.
"""
