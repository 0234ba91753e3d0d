"""What keeps the platform itself in order: making again what is stale, burying dead runs.

It knows contracts and resources, not domains: a job here works on whatever tables are declared.
"""
