"""Who may do what: tenants, API keys, permissions.

It refuses to be: a session store for browsers (the dashboard signs in with a key) or a policy language.
"""
