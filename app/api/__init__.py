"""REST under `/api/v1`: thin routes over the use cases of the rooms below, errors as problem details.

It refuses to be: a place for rules. A route reads the request, calls one use case, and shapes nothing that the room has shaped.
"""
