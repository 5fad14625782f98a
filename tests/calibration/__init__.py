"""`make calibrate`: correct tools that must pass and seeded defects that must be refused, each by the gate that should see it.

It refuses to be: a proof that the gates are complete. It measures them on mistakes that authors make; thresholds are set from what it measures.
"""
