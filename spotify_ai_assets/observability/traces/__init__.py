"""Spans of runs, steps and partitions, built from the event log, so that they survive whatever was killed."""
