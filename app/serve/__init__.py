"""Processes and sockets of `pagepool serve`: a supervisor, its workers, and the HTTP door that they open."""
