"""Call a published tool: authorise, validate, choose a version, replay or start, wait or hand back a handle.

It refuses to be: an executor. What happens inside a run is the runtime's.
"""
