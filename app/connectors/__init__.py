"""Ports to the world: each performs one kind of effect or read, and has a scripted twin.

It refuses to be: the ledger. A connector is told to perform one item once; whether it may is decided by the runtime.
"""
