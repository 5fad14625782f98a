"""Values and ports that every room stands on: settings, database, clock, ids, errors, outbox, change feed, fault points.

It refuses to be: a place for anything that knows a business noun. If it names a tool, a run or a spec, it lives elsewhere.
"""
