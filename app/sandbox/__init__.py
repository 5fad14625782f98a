"""The sandbox: where generated code runs, cut off from everything but one channel to its host.

It refuses to be: a runtime (it knows no effects, journals or specs), and a convenience: where isolation cannot be proven nothing generated
runs, and there is no way to run a tool inside a service process.
"""
