"""The app on a fake pool, called through ASGI."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.api.fake_pool import FakeContext, FakePool

BASE_URL = "http://127.0.0.1:8000"


_default_app = cache(lambda: create_app(Settings(_env_file=None), context=FakeContext()))


class Api:
    """Calls an app with a pool of its own; paths go out as they are given, so that odd ones can be tried."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.context = FakeContext()
        self.app = _default_app() if settings is None else create_app(settings, context=self.context)
        self.app.state.context = self.context

    @property
    def pool(self) -> FakePool:
        return self.context.pool

    def call(self, method: str, target: str, **arguments: Any) -> httpx.Response:
        return asyncio.run(self._call(method, target, arguments))

    async def _call(self, method: str, target: str, arguments: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
            request = client.build_request(method, "/", **arguments)
            request.url = request.url.copy_with(raw_path=target.encode())
            return await client.send(request)

    def get(self, target: str, **arguments: Any) -> httpx.Response:
        return self.call("GET", target, **arguments)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def pool(api: Api) -> FakePool:
    return api.pool


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a response, which must be this one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:pagepool:error:{code}"
    assert document["title"]
    assert document["detail"]
    return document
