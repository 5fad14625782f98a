"""MCP at `/mcp`: published tools under their own names, and management tools, over streamable HTTP in both protocol eras.

It refuses to be: a place for rules, or a second REST. It lists, calls one use case, and says how the answer looks to a model.
"""
