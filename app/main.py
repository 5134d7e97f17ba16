"""The ASGI application. `create_app` is a factory: nothing is read, opened or built when this module is imported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse

from app import __version__
from app.api import dashboard, error_responses, image, openapi, operations, pages, types
from app.api.authorization import Authorization
from app.api.dependencies import Context
from app.api.guards import AllowedHosts
from app.api.paths import PathTable
from app.api.request_middleware import RequestMiddleware
from app.serve.startup_refused import StartupRefused
from app.settings import Settings


def create_app(settings: Settings | None = None, *, context: Context | None = None) -> FastAPI:
    """The application, with every route of the API.

    Args:
        settings: read from the environment if left out.
        context: what handlers work with; if left out, the lifespan opens `app.wiring.ProcessContext`, so that the app
            can be made, and described, with no Redis in reach.

    Raises:
        StartupRefused: a setting is wrong.
    """
    settings = settings or Settings()
    try:
        allowed_hosts = AllowedHosts.from_settings(settings)
    except ValueError as error:
        raise StartupRefused(f"PAGEPOOL_ALLOWED_HOSTS: {error}") from error
    described = APIRouter()
    # Routes are tried in order, at a price; the door answers most calls on pages without them, and none on images.
    routers = [
        image.router,
        pages.router,
        pages.gather_router,
        types.router,
        operations.router,
        dashboard.router,
        described,
    ]

    @described.get("/openapi.json", include_in_schema=False)
    async def get_openapi() -> JSONResponse:
        return JSONResponse(description())

    authorization = Authorization(settings, routers)
    # FastAPI's pages of documentation load scripts from another host; the description itself is served as it is.
    app = FastAPI(
        title="Pagepool",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, authorization, context),
    )
    description = cache(lambda: openapi.build(app))
    app.openapi = description  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    if context is not None:
        app.state.context = context

    for router in routers:
        app.include_router(router)
    paths = PathTable(routers)
    error_responses.install(app, paths)
    app.add_middleware(
        RequestMiddleware,
        settings=settings,
        allowed_hosts=allowed_hosts,
        authorization=authorization,
        paths=paths,
    )
    return app


def _lifespan(
    settings: Settings, authorization: Authorization, context: Context | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        if context is not None:
            async with authorization.tokens.watched():
                yield {}
            return
        # Only a service that runs needs Redis and what speaks to it; `pagepool openapi` does not.
        from app.serve.door_context import DoorContext  # noqa: PLC0415
        from app.serve.worker_context import TELEMETRY_STATE  # noqa: PLC0415
        from app.wiring import ProcessContext  # noqa: PLC0415

        async with authorization.tokens.watched(), ProcessContext.open(settings) as opened:
            app.state.context = opened
            # uvicorn gives the lifespan's state to its protocol class: the protocol door finds its context there, and
            # the worker what all workers count in.
            yield {"door": DoorContext(opened, authorization), TELEMETRY_STATE: opened.telemetry}

    return lifespan
