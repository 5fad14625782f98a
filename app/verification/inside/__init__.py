"""Programs that run inside the verification sandbox, on candidate text: standard library only, JSON in, JSON out.

It refuses to be: imported by the service. The service ships this folder's text into a sandbox and reads what is printed there.
"""
