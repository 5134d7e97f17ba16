"""Pagepool: a page cache as a service, zswap with a network in front."""

__version__ = "0.1.0"
