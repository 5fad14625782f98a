"""The dashboard: server-rendered pages over the use cases of the rooms below, with HTMX for what moves.

It refuses to be: a place for rules. A page shows what a use case answers and sends what a person decides; every action works
without JavaScript, and every confirmation is enforced here on the server, not in the browser.
"""
