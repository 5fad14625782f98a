"""Verification: gates that look at a candidate, the rubric computed from what they saw, and the report.

Whatever parses or runs candidate text happens in the sandbox (`inside/` holds the programs that run there); the dynamic gates use the
real runtime on scripted connectors and private databases, so that what is verified is what will run.

It refuses to be: a waiver. A gate that crashes is an error of the candidate, a dimension without evidence blocks, and nothing here
publishes or approves.
"""
