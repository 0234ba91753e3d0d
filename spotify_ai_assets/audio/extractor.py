"""The extractor's name, written down: contracts make it the version of what it measures, and need not import what measures."""

RECORDED = "521625ca29edaa59"
"""What ``analysis.EXTRACTOR`` is. A test fails when a measure was changed and this was not: the change makes every analysis stale."""
