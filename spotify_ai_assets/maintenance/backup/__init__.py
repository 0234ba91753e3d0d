"""Backups and the proof that they can be restored: what is saved and in which order, where it is kept, restoring, the weekly drill.

A backup is pointers first, data second: each table, model and release that a copied database names is in it. Whose erasure was
requested stays erased: every restore replays the ledger before anything opens.
"""
