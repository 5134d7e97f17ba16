"""The naive row: what a page cache looks like when it is written in ten lines."""

import os

import lz4.block
from fastapi import FastAPI, Request, Response
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["NAIVE_REDIS_URL"])


@app.put("/pages/{type_}/{offset}", status_code=204)
async def store(type_: int, offset: int, request: Request) -> None:
    """Store a page."""
    await redis.set(f"{type_}:{offset}", lz4.block.compress(await request.body()))


@app.get("/pages/{type_}/{offset}")
async def load(type_: int, offset: int) -> Response:
    """Load a page."""
    blob = await redis.get(f"{type_}:{offset}")
    return Response(lz4.block.decompress(blob), media_type="application/octet-stream") if blob else Response("", 404)
