"""Candidates: code submitted for a spec revision, the findings and report about it, the approval of a second actor.

It refuses to be: the judge. Gates and rubric live in `app.verification`; this room keeps what they found.
"""
