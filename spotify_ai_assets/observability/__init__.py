"""What is told of the platform while it works: metrics, traces, alerts, the audit trail.

It knows contracts and resources, not domains.
"""
