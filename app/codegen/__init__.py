"""Code generation: a model is asked for the tests of a spec and, without having seen them, for its implementation.

It refuses to be: trusted. What a model writes becomes a candidate like any other, and its author is the one who asked.
"""
