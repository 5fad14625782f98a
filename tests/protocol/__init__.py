"""The front doors' tests. A package, so that the server which they share is stopped before other tests begin."""
