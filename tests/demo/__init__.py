"""`make demo`: Toolmint's main job, end to end, as its users do it: an agent over MCP, an operator over REST, a real SMTP server.

It refuses to be: a script of wishes. What it prints as promised stands beside what the SMTP server's own log says.
"""
