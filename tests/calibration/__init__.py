"""`make calibrate`: correct tools that must pass, and seeded defects each of which one of its gates must refuse.

It refuses to be: a proof that the gates are complete. It measures them on mistakes that authors make, and thresholds are set from that.
"""
