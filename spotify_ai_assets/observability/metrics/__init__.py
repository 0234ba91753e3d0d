"""Figures for Prometheus: from the instance, the lake and the audit trail, pulled, as timestamps and counts."""
