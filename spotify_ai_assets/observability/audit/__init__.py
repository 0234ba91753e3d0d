"""The audit trail: who did what, when, to which inputs and outputs, in one chain of hashes.

``entries.py`` says what is recorded of a run, a materialisation, a promotion and a change of configuration; ``jobs.py`` follows the
event log and the pointers of artifacts, each exactly once; ``heads.py`` signs the heads of the chains and keeps them beside the
backups, so that a chain that was cut off or written anew is found; ``verification.py`` counts both chains again. The chain itself is
``resources/chain.py``.
"""
