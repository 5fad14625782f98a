"""Collections of JSON records: what tools read and, where declared, write.

It refuses to be: a database for other systems. A record is a document with a key and a version, no more.
"""
