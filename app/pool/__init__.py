"""The story of a page: store, load, invalidate, admission. Transport-free; raises only `app.errors`."""
