"""The pool's rules, and two more: its types are read and written as disk images as well."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.harness import pages
from tests.model.pool_model import IMAGE_BYTES, PAGE, PALETTE, SPAN, PoolModel, areas, extents, offsets


class PoolAndImageModel(PoolModel):
    """Bytes of the image are bytes of the pages; zeros written over a hole leave a hole."""

    @rule(which=areas, offset=offsets, length=st.integers(1, 30 * PAGE), shift=st.integers(0, PAGE - 1))
    def read_image(self, which: int, offset: int, length: int, shift: int) -> None:
        start = min(offset * PAGE + shift, IMAGE_BYTES - 1)
        end = min(start + length, IMAGE_BYTES)
        response = self.areas[which].client.get(
            self.areas[which].image, headers={"Range": f"bytes={start}-{start + length - 1}"}
        )
        assert response.status_code == 206
        assert response.content == self.image_bytes(which, start, end)

    def image_bytes(self, which: int, start: int, end: int) -> bytes:
        first = start // PAGE
        held = self.held[which]
        body = b"".join(held[at].page if at in held else pages.zero() for at in range(first, -(-end // PAGE)))
        return body[start - first * PAGE : end - first * PAGE]

    @rule(which=areas, offset=offsets, shift=st.integers(0, PAGE - 1), numbers=extents, cut=st.integers(0, PAGE - 1))
    @precondition(lambda self: self.is_enabled and not self.limit and self.most_pages > 2 * SPAN)
    def write_image(self, which: int, offset: int, shift: int, numbers: list[int], cut: int) -> None:
        start = min(offset * PAGE + shift, IMAGE_BYTES - 1)
        data = b"".join(PALETTE[number] for number in numbers)[cut:][: IMAGE_BYTES - start]
        end = start + len(data)
        first, after = start // PAGE, -(-end // PAGE)
        whole = self.image_bytes(which, first * PAGE, after * PAGE)
        new = whole[: start - first * PAGE] + data + whole[end - first * PAGE :]
        response = self.areas[which].client.put(
            self.areas[which].image, content=data, headers={"Content-Range": f"bytes {start}-{end - 1}/*"}
        )
        assert response.status_code == 204, response.text
        for at, each in enumerate(pages.split(new), first):
            if any(each) or at in self.held[which]:
                self.keep(which, at, each)
