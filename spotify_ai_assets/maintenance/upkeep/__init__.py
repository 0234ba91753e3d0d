"""What keeps the platform small: retention, compaction, orphans, log rotation, pruning of runs.

Nothing here removes what a table, a pointer or the latest materialisation of a partition still needs.
"""
