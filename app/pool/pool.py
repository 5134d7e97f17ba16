"""Everything that the API asks of a pool, in one object; the parts tell the story."""

from __future__ import annotations

from app.pool.images import Images
from app.pool.operations import Operations
from app.pool.pages import Pages


class Pool(Pages, Images, Operations):
    """Pages, the areas that they lie in (types) and these as disk images, and the operation of the whole."""
