"""Pagepool's API description, and what checks it and makes SDKs from it. None of this runs in the service."""
