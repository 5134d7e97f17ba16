"""A service that keeps its pages in a dict: what the contract says of pages, frames and types, over real HTTP.

It is small and slow on purpose, and shares no code with the client or the service. A test can make it answer the next
requests otherwise (`answer_next`), and look at what came (`requests`).
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import deque
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

import uvicorn

from tests.client.fake_pages import (
    MAX_EXTENT_PAGES,
    PAGE_SIZE,
    ZERO,
    Refusal,
    decode,
    encode,
    etag_of,
    frame,
    kind_of,
    runs_of,
    stored_length,
)

LIMIT = (1 << 63) // PAGE_SIZE

Answer = tuple[int, dict[str, str], bytes]


def json_answer(document: Any) -> Answer:
    return 200, {"content-type": "application/json"}, json.dumps(document).encode()


class FakeService:
    """An ASGI application in a thread of its own, on a free port or a Unix socket."""

    def __init__(self, uds: Path | None = None) -> None:
        self.reset()
        config = uvicorn.Config(
            self, host="127.0.0.1", port=0, uds=uds and str(uds), log_level="critical", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._uds = uds
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def reset(self) -> None:
        """As it was when it started."""
        self.pages: dict[int, dict[int, bytes]] = {}
        self.corrupt: set[tuple[int, int]] = set()
        self.configurations: dict[int, dict[str, Any]] = {}
        self.parameters: dict[str, Any] = {"enabled": True, "compressor": "lz4", "max_pool_bytes": 0}
        self.token: str | None = None
        self.requests: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.is_stalled = False  # whether requests for frames wait
        self.map_step = LIMIT  # how far one answer of the allocation map tells
        self.max_pages: int | None = None
        self._next: deque[Answer] = deque()

    @property
    def url(self) -> str:
        if self._uds is not None:
            return f"unix:{self._uds}"
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def answer_next(self, status: int, document: Any = None, body: bytes = b"", **headers: str) -> None:
        """Queue an answer for the next request, whatever it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if document is not None:
            body = json.dumps(document).encode()
            named.setdefault("content-type", "application/problem+json")
        self._next.append((status, named, body))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.requests.append(f"{scope['method']} {scope['path']}")
        await asyncio.sleep(0)
        while self.is_stalled and scope["path"].startswith("/v1/frames"):  # noqa: ASYNC110 - another thread ends it
            await asyncio.sleep(0.005)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        try:
            status, named, content = self._answer(scope["method"], scope["path"], query, headers, body)
        except Refusal as refusal:
            status, named = refusal.status, {"content-type": "application/problem+json"} | refusal.headers
            content = b"" if scope["method"] == "HEAD" else json.dumps(refusal.members).encode()
        self.in_flight -= 1
        named = {"x-request-id": "fake"} | named | ({} if status == 204 else {"content-length": str(len(content))})
        raw = [(name.encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    def _answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:  # noqa: PLR0911
        if self._next:
            return self._next.popleft()
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "unauthorized")
        if path == "/v1/pool":
            return json_answer(self._numbers())
        if path == "/v1/parameters":
            self.parameters |= json.loads(body) if method == "PATCH" else {}
            return json_answer(self.parameters)
        if path == "/readyz":
            return json_answer({"status": "ready", "lost_nodes": []})
        if path == "/metrics":
            stored = len([request for request in self.requests if request.startswith("PUT")])
            text = f'pagepool_stores_total{{kind="zero"}} {stored}\npagepool_loads_total{{result="miss"}} 0\n'
            return 200, {"content-type": "text/plain"}, text.encode()
        if path == "/v1/types":
            held = sorted(
                type_ for type_ in self.pages.keys() | self.configurations if type_ > int(query.get("after", -1))
            )
            limit = int(query.get("limit", 100))
            shown = held[:limit]
            after = shown[-1] if len(held) > limit else None
            return json_answer({"types": [self._type(type_) for type_ in shown], "next": after})
        if match := re.fullmatch(r"/v1/types/(\d+)(/extents|/map)?", path):
            return self._types(method, int(match[1]), match[2], query, body)
        if match := re.fullmatch(r"/v1/(pages|frames)/(\d+)/(\d+|zero|invalidate|load)(/take)?", path):
            return self._pages(method, match, query, headers, body)
        raise Refusal(404, "not_found")

    # Pages

    def _pages(  # noqa: PLR0911
        self, method: str, match: re.Match[str], query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> Answer:
        form, area, where, take = match[1], self.pages.setdefault(int(match[2]), {}), match[3], match[4]
        if not where.isdigit():
            asked = [o for offset, count in json.loads(body)["extents"] for o in range(offset, offset + count)]
            if where == "load":
                return self._frames(int(match[2]), asked, lz4_wanted="lz4" in query)
            if where == "zero":
                area.update(dict.fromkeys(asked, ZERO))
                return json_answer({"zeroed": len(asked)})
            return json_answer({"invalidated": len([o for o in asked if area.pop(o, None) is not None])})
        offset, count = int(where), int(query.get("count", 1))
        if offset + count > LIMIT:
            raise Refusal(422, "bad_address")
        if method == "PUT":
            incoming = decode(offset, body) if form == "frames" else self._split(offset, body)
            return self._store(area, incoming, offset, headers)
        asked = list(range(offset, offset + count))
        if form == "frames":
            return self._frames(int(match[2]), asked, lz4_wanted="lz4" in query)
        missing = [o for o in asked if o not in area]
        if method == "DELETE":
            self._check_match(area, offset, headers)
            gone = [o for o in asked if area.pop(o, None) is not None]
            if count > 1:
                return json_answer({"invalidated": len(gone)})
            if not gone:
                raise Refusal(404, "page_missing", missing=[[offset, 1]])
            return 204, {}, b""
        if missing and query.get("missing") != "zero":
            raise Refusal(404, "page_missing", missing=runs_of(missing))
        data = b"".join(area.get(o, ZERO) for o in asked)
        named = {"content-type": "application/octet-stream"}
        if count == 1 and not missing:
            named |= {"etag": etag_of(data), "page-kind": kind_of(data), "page-stored-length": str(stored_length(data))}
            if headers.get("if-none-match") == named["etag"]:
                return 304, {"etag": named["etag"]}, b""
        if take:
            del area[offset]
        return 200, named, data

    def _split(self, offset: int, body: bytes) -> dict[int, bytes]:
        if not body or len(body) % PAGE_SIZE:
            raise Refusal(400, "bad_page_length", previous="kept")
        return {offset + i: body[i * PAGE_SIZE : (i + 1) * PAGE_SIZE] for i in range(len(body) // PAGE_SIZE)}

    def _check_match(self, area: dict[int, bytes], offset: int, headers: dict[str, str]) -> None:
        held = etag_of(area[offset]) if offset in area else None
        wanted, unwanted = headers.get("if-match"), headers.get("if-none-match")
        if (wanted is not None and (held is None or wanted not in {held, "*"})) or (
            unwanted is not None and held is not None and unwanted in {held, "*"}
        ):
            raise Refusal(412, "precondition_failed", previous="kept")

    def _store(
        self, area: dict[int, bytes], incoming: dict[int, bytes], offset: int, headers: dict[str, str]
    ) -> Answer:
        self._check_match(area, offset, headers)
        if not self.parameters["enabled"]:
            for o in incoming:
                area.pop(o, None)
            raise Refusal(503, "stores_disabled", previous="invalidated")
        room = None if self.max_pages is None else self.max_pages - sum(map(len, self.pages.values()))
        taken = dict(list(incoming.items())[:room])
        area.update(taken)
        if len(taken) < len(incoming):
            rejected = runs_of([o for o in incoming if o not in taken])
            raise Refusal(507, "pool_full", previous="invalidated", stored=len(taken), rejected=rejected, retry_after=1)
        kinds = [kind_of(page) for page in incoming.values()]
        counts = ", ".join(f"{kind}={kinds.count(kind)}" for kind in ("zero", "same", "compressed", "raw"))
        named = {"page-counts": counts}
        return 204, named | ({"etag": etag_of(incoming[offset])} if set(incoming) == {offset} else {}), b""

    def _frames(self, type_: int, asked: list[int], *, lz4_wanted: bool) -> Answer:
        area = self.pages.get(type_, {})
        frames = [
            frame(offset, 1, 5)
            if (type_, offset) in self.corrupt
            else encode(offset, area.get(offset), lz4_wanted=lz4_wanted)
            for offset in asked
        ]
        body = b"".join(frames) + frame(0, len(asked), 255)
        return 200, {"content-type": "application/octet-stream"}, body

    # Types

    def _types(self, method: str, type_: int, view: str | None, query: dict[str, str], body: bytes) -> Answer:
        area = self.pages.get(type_, {})
        if view == "/extents":
            start, count = int(query["from"]), int(query["count"])
            until = min(start + count, start + self.map_step)
            return json_answer({"until": until, "extents": self._runs(area, start, until)})
        if view == "/map":
            start, count, cells = int(query["from"]), int(query["count"]), int(query["cells"])
            size = -(-count // cells)
            return json_answer(
                {
                    "cells": [
                        self._cell(area, o, min(size, start + count - o)) for o in range(start, start + count, size)
                    ]
                }
            )
        if method == "PUT":
            self.configurations[type_] = json.loads(body)
            return json_answer(self.configurations[type_])
        if method == "DELETE":
            self.pages.pop(type_, None)
            self.configurations.pop(type_, None)
            return 204, {}, b""
        if not area and type_ not in self.configurations:
            raise Refusal(404, "type_unknown")
        return json_answer(self._type(type_))

    def _runs(self, area: dict[int, bytes], start: int, until: int) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = []
        at = start

        def add(offset: int, count: int, state: str) -> None:
            if runs and runs[-1]["state"] == state:
                runs[-1]["count"] += count
            elif count:
                runs.append({"offset": offset, "count": count, "state": state})

        for offset in sorted(o for o in area if start <= o < until):
            add(at, offset - at, "hole") if offset > at else None
            add(offset, 1, "zero" if area[offset] == ZERO else "data")
            at = offset + 1
        if at < until:
            add(at, until - at, "hole")
        return runs

    def _cell(self, area: dict[int, bytes], offset: int, count: int) -> dict[str, int]:
        held = [page for o, page in area.items() if offset <= o < offset + count]
        kinds = [kind_of(page) for page in held]
        cell = {kind: kinds.count(kind) for kind in ("zero", "same", "compressed", "raw")}
        return {"offset": offset, "count": count, "bytes": sum(map(stored_length, held))} | cell

    def _type(self, type_: int) -> dict[str, Any]:
        pages = list(self.pages.get(type_, {}).values())
        return {"type": type_, "configuration": self.configurations.get(type_, {})} | self._counts(pages)

    def _numbers(self) -> dict[str, Any]:
        pages = [page for area in self.pages.values() for page in area.values()]
        counts = self._counts(pages)
        mib = {f"{name}_mib": round(counts[f"{name}_bytes"] / (1 << 20), 2) for name in ("pool", "logical")}
        return (
            counts
            | mib
            | {
                "page_size": PAGE_SIZE,
                "max_extent_pages": MAX_EXTENT_PAGES,
                "state": "open",
                "limit_bytes": 0,
                "limit_mib": 0.0,
                "limit_used_percent": None,
                "saved_mib": round(mib["logical_mib"] - mib["pool_mib"], 2),
                "zero_share_percent": round(100 * counts["zero_pages"] / max(1, len(pages)), 2),
                "hit_rate": None,
                "redis_used_memory_bytes": 1 << 20,
            }
        )

    def _counts(self, pages: list[bytes]) -> dict[str, Any]:
        kinds = [kind_of(page) for page in pages]
        pool_bytes = sum(map(stored_length, pages))
        return {
            "stored_pages": len(pages),
            "zero_pages": kinds.count("zero"),
            "same_filled_pages": kinds.count("same"),
            "compressed_pages": kinds.count("compressed"),
            "incompressible_pages": kinds.count("raw"),
            "pool_bytes": pool_bytes,
            "logical_bytes": len(pages) * PAGE_SIZE,
            "compression_ratio": round(len(pages) * PAGE_SIZE / pool_bytes, 3) if pool_bytes else None,
        }
