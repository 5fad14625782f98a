"""The execution spec: one JSON document that is a tool's whole contract, and everything that can be told from it alone.

The value (`model`), its canonical form and digest, its lint, keys and invariants (`expressions`, `invariants`), validators
of its schemas, the typed contract generated from it, and its saved revisions.

It refuses to be: a runner. It knows no sandbox, no connector and no run; what it needs of connectors is passed in as a
`catalog.ConnectorCatalog`. Text that is not published yet is compiled in a child process only (`checking`).
"""
