"""The store: keys and bytes in Redis, one round trip a step. Only this package (and the wiring) knows Redis."""
