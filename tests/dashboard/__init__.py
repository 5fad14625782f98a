"""The dashboard's tests. A package, so that the browser is closed, with the event loop that its driver keeps, before other tests begin."""
