"""Tests of `app.api` without Redis: the real routes on a fake pool."""
