"""The guest side: the toolkit that every tool may import, and the bundled tools by family.

It refuses to be: a place for service code. Nothing below imports `app` or `jobs`.
"""
