"""HTTP: parses requests, calls the pool, answers. Nothing below this package knows of HTTP."""
