"""Models of taste behind one contract: popularity, co-occurrence, ALS, EASE, spectral filter, two towers, sequences, and their blend.

They know matrices and numbered items, neither tables nor people. Nothing imports this room at load.
"""
