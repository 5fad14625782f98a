"""What happened, for people and machines: the audit trail, logs, metrics, traces, health.

It refuses to be: a place where anything is decided, or where a secret or personal data is kept unerasably.
"""
