"""Forgetting a person, and the proof of it: the ledger, the steps of an erasure, the byte scan, the signed receipt.

The targets come from contracts and stores; what is registered nowhere keeps a test from passing. How a domain forgets is the
business of that domain.
"""
