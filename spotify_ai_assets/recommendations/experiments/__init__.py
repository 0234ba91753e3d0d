"""Which of two recommenders listeners prefer: assignment of variants, interleaved shelves, and estimates from logged shelves.

``assignment`` says who sees what without keeping it, ``interleaving`` compares two rankings within one shelf, ``policies`` draws
shelves by chance and knows the chance, ``counterfactual`` estimates from such shelves what another policy would have earned.
"""
