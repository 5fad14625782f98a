"""All SQL of the runtime. Private to the room.

Writes on the hot path are bulk writes for the group writer: `(session, arguments) -> results`, one result per argument.

It refuses to be: a place where anything is decided. Decisions are in `state.py`; here they are guarded and stored.
"""
