"""The client's version, which its distribution reads from here."""

__version__ = "0.1.0"
