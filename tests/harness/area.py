"""One type of a running service, as a test drives it: calls, and calls that must succeed."""

from __future__ import annotations

from typing import Any

import httpx

from tests.harness import frames
from tests.harness.pages import split
from tests.harness.service import Service

OCTETS = {"Content-Type": "application/octet-stream"}
NUMBERS = ("stored_pages", "zero_pages", "same_filled_pages", "incompressible_pages", "pool_bytes")


class Area:
    """A type that no other test uses."""

    def __init__(self, service: Service, type_: int, page_size: int = 4096) -> None:
        self.service = service
        self.type = type_
        self.page_size = page_size
        self.base = f"/v1/types/{type_}"
        self.image = f"{self.base}/image"

    @property
    def client(self) -> httpx.Client:
        """The service's client."""
        return self.service.client

    def url(self, offset: int) -> str:
        """Path of a page."""
        return f"/v1/pages/{self.type}/{offset}"

    def frames_url(self, offset: int) -> str:
        """Path of an extent in frames."""
        return f"/v1/frames/{self.type}/{offset}"

    def put(self, offset: int, *pages: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """PUT the pages as one body."""
        return self.client.put(self.url(offset), content=b"".join(pages), headers={**OCTETS, **(headers or {})})

    def get(self, offset: int, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        """GET a page, or an extent with `count`."""
        return self.client.get(self.url(offset), params=query, headers=headers)

    def head(self, offset: int, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        """HEAD a page."""
        return self.client.head(self.url(offset), params=query, headers=headers)

    def delete(self, offset: int, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        """DELETE a page, or an extent with `count`."""
        return self.client.delete(self.url(offset), params=query, headers=headers)

    def take(self, offset: int, headers: dict[str, str] | None = None) -> httpx.Response:
        """POST …/take."""
        return self.client.post(self.url(offset) + "/take", headers=headers)

    def put_frames(self, offset: int, *parts: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """PUT frames."""
        return self.client.put(self.frames_url(offset), content=b"".join(parts), headers={**OCTETS, **(headers or {})})

    def get_frames(self, offset: int, **query: Any) -> httpx.Response:
        """GET an extent in frames."""
        return self.client.get(self.frames_url(offset), params=query)

    def gather(self, *extents: tuple[int, int], **query: Any) -> httpx.Response:
        """POST …/load for these extents."""
        body = {"extents": [list(extent) for extent in extents]}
        return self.client.post(f"/v1/frames/{self.type}/load", json=body, params=query)

    def over_ranges(self, call: str, *extents: tuple[int, int]) -> httpx.Response:
        """POST …/invalidate or …/zero for these extents."""
        return self.client.post(f"/v1/pages/{self.type}/{call}", json={"extents": [list(each) for each in extents]})

    def store(self, offset: int, *pages: bytes) -> httpx.Response:
        """PUT that must succeed."""
        response = self.put(offset, *pages)
        assert response.status_code == 204, response.text
        return response

    def load(self, offset: int, count: int = 1) -> bytes:
        """GET that must succeed."""
        response = self.get(offset, **({"count": count} if count != 1 else {}))
        assert response.status_code == 200, response.text
        return response.content

    def load_pages(self, offset: int, count: int) -> list[bytes]:
        """GET of an extent that must succeed, page by page."""
        return split(self.load(offset, count), self.page_size)

    def load_frames(self, offset: int, count: int = 1, **query: Any) -> dict[int, bytes | frames.FrameKind]:
        """GET in frames that must succeed, by offset."""
        response = self.get_frames(offset, count=count, **query)
        assert response.status_code == 200, response.text
        return frames.by_offset(frames.read(response.content, self.page_size))

    def is_absent(self, offset: int) -> bool:
        """Whether the page is a miss; any answer but 200 and 404 fails."""
        status = self.get(offset).status_code
        assert status in {200, 404}
        return status == 404

    def configure(self, **configuration: Any) -> httpx.Response:
        """PUT the type's configuration."""
        return self.client.put(self.base, json=configuration)

    def show(self) -> dict[str, Any]:
        """GET the type; must succeed."""
        response = self.client.get(self.base)
        assert response.status_code == 200, response.text
        return response.json()

    def numbers(self) -> dict[str, int]:
        """The type's five counts, all 0 when it is unknown."""
        response = self.client.get(self.base)
        if response.status_code == 404:
            return dict.fromkeys(NUMBERS, 0)
        return {name: response.json()[name] for name in NUMBERS}

    def drop(self) -> None:
        """DELETE the type; must succeed."""
        response = self.client.delete(self.base)
        assert response.status_code == 204, response.text
