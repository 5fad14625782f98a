"""Published tools: immutable content-addressed versions, channels with weights, the catalog.

It refuses to be: a way round verification. Publishing reads the stored report; nothing else makes a version.
"""
