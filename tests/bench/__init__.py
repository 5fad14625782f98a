"""`make bench`: ratios against a peer or a bare baseline, both measured in the same run, since machines are noisy.

It refuses to be: a test. A ratio that misses its aim is printed as it is.
"""
