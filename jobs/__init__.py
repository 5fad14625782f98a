"""The worker: arq wakes it, the database says what there is to do.

It refuses to be: where work is done. A job is a name and an id, handed to a use case of a room.
"""
