"""Faults of recordings: what a file shows of them, how it is judged, and which files are the same recording.

In order: ``evidence`` measures a file in the one pass in which it is read; ``judgement`` tells from the numbers which faults it has;
``fingerprints`` and ``duplicates`` find copies, changed speed and pitch among them; ``outliers`` finds recordings unlike the others
of their artist; ``pictures`` draws the place of a fault. ``kernels`` is compiled and imported where it is used. One closed form for
each fault, no training: ``benchmarks/audio_faults.py`` plants faults and scores each.
"""
