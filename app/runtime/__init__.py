"""Execute one Program: runs, journal, effect ledger, retries, dead letters.

It refuses to be: a catalog. It is handed a Program and a database; which version is called and by whose leave is decided
above. Verification runs this very code on a private database.
"""
